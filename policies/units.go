package policies

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is bytes per second; 0 means unlimited.
type Rate int64

// String writes the rate as the policy file does, in the largest unit that
// divides it: "100MiB/s", "off" for no limit.
func (r Rate) String() string {
	if r <= 0 {
		return "off"
	}
	return FormatSize(int64(r)) + "/s"
}

// FormatSize writes a number of bytes exactly, in the largest binary unit that
// divides it: "8MiB", "1500B".
func FormatSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// factor returns what one of a unit is in bytes.
func factor(unit string) (float64, bool) {
	switch unit {
	case "B":
		return 1, true
	case "kB", "KB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "TB":
		return 1e12, true
	case "KiB":
		return 1 << 10, true
	case "MiB":
		return 1 << 20, true
	case "GiB":
		return 1 << 30, true
	case "TiB":
		return 1 << 40, true
	case "bit":
		return 1. / 8, true
	case "kbit", "Kbit":
		return 1e3 / 8, true
	case "Mbit":
		return 1e6 / 8, true
	case "Gbit":
		return 1e9 / 8, true
	}
	return 0, false
}

// ParseRate reads a rate such as "400MiB/s", "100MB/s", "1Gbit/s", or "off" (0).
func ParseRate(text string) (Rate, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return 0, nil
	}
	number, unit := cutNumber(text)
	if number == "" {
		return 0, fmt.Errorf("%q is not a rate such as 100MiB/s, 1Gbit/s or off", text)
	}
	if unit == "" {
		return 0, fmt.Errorf("say the unit of %s: %sMiB/s, %sMB/s or %sMbit/s", text, text, text, text)
	}
	per, ok := strings.CutSuffix(unit, "/s")
	f, known := factor(per)
	if !ok || !known {
		return 0, fmt.Errorf("%q is not a unit of a rate%s", unit, rateHint(unit))
	}
	n, err := multiply(number, f)
	return Rate(n), err
}

// rateHint suggests a rate's unit for what was probably meant. Letter case is
// not guessed: between b and B lies a factor of eight.
func rateHint(unit string) string {
	if _, ok := factor(unit); ok {
		return fmt.Sprintf(" (did you mean %s/s?)", unit)
	}
	switch strings.ToLower(unit) {
	case "k", "m", "g", "k/s", "m/s", "g/s", "kb/s", "mb/s", "gb/s", "kbps", "mbps", "gbps", "kb", "mb", "gb":
		letter := strings.ToUpper(unit[:1])
		if letter == "K" {
			letter = "k"
		}
		return fmt.Sprintf(" (did you mean %sB/s for bytes or %sbit/s for bits?)", letter, letter)
	case "kib/s", "mib/s", "gib/s":
		return fmt.Sprintf(" (did you mean %siB/s?)", strings.ToUpper(unit[:1]))
	}
	return " (units are B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s, kbit/s, Mbit/s, Gbit/s)"
}

// ParseSize reads a number of bytes such as "64MiB" or "5GB".
func ParseSize(text string) (int64, error) {
	text = strings.TrimSpace(text)
	number, unit := cutNumber(text)
	if number == "" {
		return 0, fmt.Errorf("%q is not a size such as 64MiB", text)
	}
	if unit == "" {
		return 0, fmt.Errorf("say the unit of %s: %sMiB or %sMB", text, text, text)
	}
	f, ok := factor(unit)
	if !ok || strings.HasSuffix(unit, "bit") {
		hint := " (units are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)"
		if letter := strings.ToUpper(unit[:1]); strings.Contains("KMGT", letter) && !strings.HasSuffix(unit, "bit") {
			hint = fmt.Sprintf(" (did you mean %siB?)", letter)
		}
		return 0, fmt.Errorf("%q is not a unit of a size%s", unit, hint)
	}
	return multiply(number, f)
}

// cutNumber splits "1.5MiB" or "1.5 MiB" into its number and its unit.
func cutNumber(text string) (number, unit string) {
	i := 0
	for i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.') {
		i++
	}
	return text[:i], strings.TrimSpace(text[i:])
}

func multiply(number string, by float64) (int64, error) {
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", number)
	}
	n := math.Round(v * by)
	if n < 1 {
		return 0, errors.New("must be at least one byte")
	}
	if n >= 1<<62 {
		return 0, errors.New("is too large")
	}
	return int64(n), nil
}

// ParseDuration reads a duration such as "5m", "1h30m", "1d12h" or "2w": Go's
// own form plus d (24 hours) and w (7 days). It is never negative.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "0" {
		return 0, nil
	}
	if text == "" {
		return 0, errors.New("an empty duration: write 5m, 1h30m or 2d")
	}
	var total time.Duration
	for rest := text; rest != ""; {
		number, tail := cutNumber(rest)
		end := strings.IndexAny(tail, "0123456789.")
		if end < 0 {
			end = len(tail)
		}
		unit := tail[:end]
		if number == "" {
			return 0, fmt.Errorf("%q is not a duration such as 5m, 1h30m or 2d", text)
		}
		if unit == "" {
			return 0, fmt.Errorf("say the unit of %s: %ss, %sm, %sh or %sd", text, number, number, number, number)
		}
		one, ok := durationUnit(unit)
		if !ok {
			return 0, fmt.Errorf("%q is not a unit of time%s", unit, durationHint(unit))
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", number)
		}
		part := math.Round(v * float64(one))
		if part >= math.MaxInt64/2 || total >= math.MaxInt64/2 {
			return 0, errors.New("is too long")
		}
		total += time.Duration(part)
		rest = tail[end:]
	}
	return total, nil
}

func durationUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	case "w":
		return 7 * 24 * time.Hour, true
	}
	return 0, false
}

func durationHint(unit string) string {
	for _, known := range [][2]string{
		{"s", "s sec secs second seconds"}, {"m", "min mins minute minutes"}, {"h", "H hr hrs hour hours"},
		{"d", "D day days"}, {"w", "W week weeks"},
	} {
		for word := range strings.FieldsSeq(known[1]) {
			if unit == word {
				return fmt.Sprintf(" (did you mean %s?)", known[0])
			}
		}
	}
	return " (units are ms, s, m, h, d, w)"
}

// FormatDuration writes a duration shortly, as the policy file would: "5m",
// "24h", "1h30m".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// ParseShare reads a share such as "5%", "0.5%" or "off".
func ParseShare(text string) (Share, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return Off, nil
	}
	number, unit := cutNumber(text)
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a share such as 5%% or off", text)
	}
	if unit != "%" {
		if v > 0 && v < 1 {
			return 0, fmt.Errorf("say the share in percent: %g%%", v*100)
		}
		return 0, fmt.Errorf("say the share in percent: %s%%", number)
	}
	if v > 100 {
		return 0, errors.New("a share is at most 100%")
	}
	return Share(v / 100), nil
}
