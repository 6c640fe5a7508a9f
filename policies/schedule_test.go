package policies

import (
	"strings"
	"testing"
	"time"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func limits(t *testing.T, z *time.Location, total Rate, windows ...string) Limits {
	t.Helper()
	l := Limits{Total: total, Timezone: z}
	for _, w := range windows {
		s, err := ParseSlot(w)
		if err != nil {
			t.Fatalf("ParseSlot(%q): %v", w, err)
		}
		l.Timetable = append(l.Timetable, s)
	}
	return l
}

func TestRateAt(t *testing.T) {
	paris := zone(t, "Europe/Paris")
	const total = 400 << 20
	l := limits(t, paris, total, "mon-fri 08:00-18:00 100MiB/s", "fri 22:00-06:00 50MiB/s", "mon 09:00-10:00 10MiB/s", "sat-mon 12:00-24:00 200MiB/s")
	for _, c := range []struct {
		at   string // 4 January 2027 is a Monday
		want Rate
	}{
		{"2027-01-04 07:59:59", total},
		{"2027-01-04 08:00:00", 100 << 20},
		{"2027-01-04 09:30:00", 10 << 20}, // the slowest of two
		{"2027-01-04 17:59:59", 100 << 20},
		{"2027-01-04 18:00:00", 200 << 20}, // sat-mon goes over the week's end
		{"2027-01-05 18:00:00", total},
		{"2027-01-08 21:59:59", total},
		{"2027-01-08 22:00:00", 50 << 20},
		{"2027-01-09 05:59:59", 50 << 20}, // Friday's window goes on into Saturday
		{"2027-01-09 06:00:00", total},
		{"2027-01-08 05:00:00", total}, // Thursday has none
		{"2027-01-09 23:59:59", 200 << 20},
		{"2027-01-10 00:00:00", total}, // 24:00 is the end
	} {
		at, err := time.ParseInLocation(time.DateTime, c.at, paris)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.RateAt(at.UTC()); got != c.want {
			t.Errorf("RateAt(%s) = %s, want %s", c.at, got, c.want)
		}
	}
	if got := (Limits{}).RateAt(time.Now()); got != 0 {
		t.Errorf("no limits give %s", got)
	}
	only := limits(t, nil, 0, "daily 10:00-11:00 1MB/s")
	if got := only.RateAt(time.Date(2027, 1, 1, 10, 30, 0, 0, time.UTC)); got != 1e6 {
		t.Errorf("a window without a total gives %s", got)
	}
}

// Minutes for which a window is open on the days summer time begins and ends.
func TestRateAtDST(t *testing.T) {
	paris := zone(t, "Europe/Paris")
	for _, c := range []struct {
		window  string
		noon    time.Time
		minutes int
	}{
		{"daily 22:00-06:00 1MB/s", time.Date(2027, 3, 26, 12, 0, 0, 0, paris), 8 * 60},
		{"daily 22:00-06:00 1MB/s", time.Date(2027, 3, 27, 12, 0, 0, 0, paris), 7 * 60},
		{"daily 22:00-06:00 1MB/s", time.Date(2027, 10, 30, 12, 0, 0, 0, paris), 9 * 60},
		{"daily 02:00-03:00 1MB/s", time.Date(2027, 3, 27, 12, 0, 0, 0, paris), 0},
		{"daily 02:00-03:00 1MB/s", time.Date(2027, 10, 30, 12, 0, 0, 0, paris), 120},
		{"sun 00:00-24:00 1MB/s", time.Date(2027, 3, 27, 12, 0, 0, 0, paris), 11 * 60},
	} {
		l := limits(t, paris, 0, c.window)
		minutes := 0
		end := time.Date(c.noon.Year(), c.noon.Month(), c.noon.Day()+1, 12, 0, 0, 0, paris)
		for at := c.noon; at.Before(end); at = at.Add(time.Minute) {
			if l.RateAt(at) > 0 {
				minutes++
			}
		}
		if minutes != c.minutes {
			t.Errorf("%q is open %d minutes from %s, want %d", c.window, minutes, c.noon, c.minutes)
		}
	}
}

func TestParseSlotRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"mon-fri 08:00-18:00":            "three parts",
		"mon 08:00-18:00 100MiB/s extra": "three parts",
		"mo 08:00-18:00 1MB/s":           `"mo" is not a day`,
		"mon- 08:00-18:00 1MB/s":         `"mon-" is not a day`,
		"mon 8:00-18:00 1MB/s":           `"8:00" is not a time of day`,
		"mon 08:00-24:01 1MB/s":          `"24:01" is not a time of day`,
		"mon 08:60-09:00 1MB/s":          `"08:60" is not a time of day`,
		"mon 24:00-09:00 1MB/s":          "begins at 00:00",
		"mon 08:00-08:00 1MB/s":          "another time",
		"mon 08:00 1MB/s":                "not a span of time",
		"mon 08:00-09:00 1MB":            "did you mean MB/s",
		"mon 08:00-09:00 off":            "needs a rate",
	} {
		if _, err := ParseSlot(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSlot(%q): %v, want %q", text, err, want)
		}
	}
}

func TestScheduleNext(t *testing.T) {
	for _, c := range []struct{ schedule, zone, after, want string }{
		{"0 */4 * * *", "Europe/Paris", "2027-01-01T01:00:00Z", "2027-01-01T04:00:00+01:00"},
		{"0 3 * * sun", "Europe/Paris", "2027-01-01T00:00:00Z", "2027-01-03T03:00:00+01:00"},
		{"@daily", "UTC", "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"},
		// 28 March 2027: 02:00 becomes 03:00. What falls into the hour left out comes at its end, once.
		{"30 2 * * *", "Europe/Paris", "2027-03-27T12:00:00Z", "2027-03-28T03:00:00+02:00"},
		{"30 2 * * *", "Europe/Paris", "2027-03-28T00:59:59Z", "2027-03-28T03:00:00+02:00"},
		{"30 2 * * *", "Europe/Paris", "2027-03-28T01:00:00Z", "2027-03-29T02:30:00+02:00"},
		{"0 2 * * *", "Europe/Paris", "2027-03-27T12:00:00Z", "2027-03-28T03:00:00+02:00"},
		{"0 3 * * *", "Europe/Paris", "2027-03-27T12:00:00Z", "2027-03-28T03:00:00+02:00"},
		{"*/15 * * * *", "Europe/Paris", "2027-03-28T00:45:00Z", "2027-03-28T03:00:00+02:00"},
		{"30 1 * * *", "Europe/Paris", "2027-03-28T00:30:00Z", "2027-03-29T01:30:00+02:00"},
		{"30 2 29 3 *", "Europe/Paris", "2027-03-27T12:00:00Z", "2027-03-29T02:30:00+02:00"},
		// 31 October 2027: 03:00 becomes 02:00.
		{"30 2 * * *", "Europe/Paris", "2027-10-30T12:00:00Z", "2027-10-31T02:30:00+02:00"},
		{"*/30 * * * *", "Europe/Paris", "2027-10-31T00:30:00Z", "2027-10-31T02:00:00+01:00"},
		{"0 4 * * *", "Europe/Paris", "2027-10-30T12:00:00Z", "2027-10-31T04:00:00+01:00"},
		// Half an hour only, and at midnight elsewhere.
		{"15 2 * * *", "Australia/Lord_Howe", "2027-10-02T12:00:00Z", "2027-10-03T02:30:00+11:00"},
	} {
		s, err := ParseSchedule(c.schedule)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := time.Parse(time.RFC3339, c.after)
		if got := s.Next(after, zone(t, c.zone)).Format(time.RFC3339); got != c.want {
			t.Errorf("%q after %s = %s, want %s", c.schedule, c.after, got, c.want)
		}
	}
}

// Over two years no day is without its run, and time always goes forward.
func TestScheduleNextEveryDay(t *testing.T) {
	for _, name := range []string{"Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"} {
		z := zone(t, name)
		s, err := ParseSchedule("30 2 * * *")
		if err != nil {
			t.Fatal(err)
		}
		days := map[string]int{}
		at := time.Date(2026, 12, 31, 12, 0, 0, 0, z)
		for at.Year() < 2029 {
			next := s.Next(at, z)
			if !next.After(at) {
				t.Fatalf("%s: next after %s is %s", name, at, next)
			}
			at = next
			days[at.Format(time.DateOnly)]++
		}
		for d := time.Date(2027, 1, 1, 12, 0, 0, 0, z); d.Year() < 2029; d = d.AddDate(0, 0, 1) {
			if n := days[d.Format(time.DateOnly)]; n < 1 || n > 2 {
				t.Errorf("%s: %d runs on %s", name, n, d.Format(time.DateOnly))
			}
		}
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "not a cron schedule",
		"* * * *":               "not a cron schedule",
		"0 0 0 * * *":           "not a cron schedule",
		"61 * * * *":            "not a cron schedule",
		"TZ=0":                  "timezone key",
		"CRON_TZ=UTC 0 0 * * *": "timezone key",
		"@every 5m":             "use the key every",
		"@reboot":               "not a cron schedule",
		"0 0 30 2 *":            "never comes",
	} {
		if _, err := ParseSchedule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSchedule(%q): %v, want %q", text, err, want)
		}
	}
}

func TestPolicyNext(t *testing.T) {
	at := time.Date(2027, 1, 1, 0, 30, 0, 0, time.UTC)
	hourly, err := ParseSchedule("@hourly")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    Policy
		want time.Time
	}{
		{Policy{Every: 5 * time.Minute}, at.Add(5 * time.Minute)},
		{Policy{Schedule: hourly}, at.Add(30 * time.Minute)},
		{AdHoc("a", "c", []string{"b"}, "", true), time.Time{}},
	} {
		if got := c.p.Next(at); !got.Equal(c.want) {
			t.Errorf("Next = %s, want %s", got, c.want)
		}
	}
}
