package policies

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"400MiB/s": 400 << 20, "100MB/s": 100e6, "1Gbit/s": 125e6, "1.5 GiB/s": 3 << 29, "10kbit/s": 1250,
		"off": 0, "1B/s": 1, "80bit/s": 10, "2KB/s": 2000, "2kB/s": 2000, "0.5MiB/s": 512 << 10,
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"400":             "say the unit of 400",
		"400MiB":          "did you mean MiB/s",
		"100mb/s":         "did you mean MB/s for bytes or Mbit/s for bits",
		"100Mbps":         "did you mean MB/s for bytes or Mbit/s for bits",
		"1k":              "did you mean kB/s",
		"1gib/s":          "did you mean GiB/s",
		"5 apples":        "units are",
		"fast":            "is not a rate",
		"":                "is not a rate",
		"-5MB/s":          "is not a rate",
		"0MB/s":           "at least one byte",
		"1.2.3B/s":        "is not a number",
		"9e9MB/s":         "not a unit",
		"99999999999GB/s": "too large",
	} {
		if got, err := ParseRate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseRate(%q) = %d, %v; want %q", text, got, err, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"64MiB": 64 << 20, "5GB": 5e9, "1.5KiB": 1536, "7B": 7, "2 TiB": 2 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"64": "say the unit of 64", "64M": "did you mean MiB", "64mib": "did you mean MiB", "1Gbit": "not a unit of a size",
		"big": "is not a size", "1MiB/s": "did you mean MiB", "0B": "at least one byte", "5x": "units are",
	} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSize(%q) = %d, %v; want %q", text, got, err, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "1.5h": 90 * time.Minute, "0": 0, "0s": 0, "250ms": 250 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"5": "say the unit of 5", "5 min": "did you mean m?", "5minutes": "did you mean m?", "1h30": "say the unit of 1h30", "-5m": "is not a duration",
		"soon": "is not a duration", "": "empty", "5y": "units are", "1.2.3s": "is not a number", "9999999w": "too long", "3D": "did you mean d?",
	} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q) = %s, %v; want %q", text, got, err, want)
		}
	}
}

func TestParseShare(t *testing.T) {
	for text, want := range map[string]Share{"5%": 0.05, "0.5%": 0.005, "off": Off, "0%": 0, "100%": 1, "12 %": 0.12} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("ParseShare(%q) = %v, %v; want %v", text, float64(got), err, float64(want))
		}
	}
	for text, want := range map[string]string{"5": "in percent: 5%", "0.05": "in percent: 5%", "101%": "at most 100%", "few": "is not a share", "-1%": "is not a share"} {
		if got, err := ParseShare(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseShare(%q) = %v, %v; want %q", text, got, err, want)
		}
	}
}

// What is printed can be read again.
func TestUnitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1<<50).Draw(t, "bytes")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("%d bytes become %q, and that %d, %v", n, FormatSize(n), got, err)
		}
		if got, err := ParseRate(Rate(n).String()); err != nil || got != Rate(n) {
			t.Fatalf("rate %d becomes %q, and that %d, %v", n, Rate(n), got, err)
		}
		d := time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "ms")) * time.Millisecond
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%v becomes %q, and that %v, %v", d, FormatDuration(d), got, err)
		}
	})
	for d, want := range map[time.Duration]string{5 * time.Minute: "5m", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 0: "0s", time.Hour + time.Second: "1h0m1s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
	if Rate(0).String() != "off" || Off.String() != "off" || Share(0.05).String() != "5%" {
		t.Errorf("%q %q %q", Rate(0), Off, Share(0.05))
	}
}
