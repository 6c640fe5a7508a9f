package policies

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a cron schedule of five fields (minute, hour, day of month, month,
// day of week) or one of @hourly, @daily, @weekly, @monthly, @yearly. The zero
// value is no schedule.
type Schedule struct {
	text string
	spec *cron.SpecSchedule
}

// ParseSchedule reads a cron schedule. A schedule whose day never comes, such as
// 30 February, is an error.
func ParseSchedule(text string) (Schedule, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "TZ=") {
		return Schedule{}, errors.New("a schedule has no timezone of its own: use the policy's timezone key")
	}
	if strings.HasPrefix(text, "@every") {
		return Schedule{}, errors.New("@every is not a schedule: use the key every")
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	parsed, err := parser.Parse(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("not a cron schedule of five fields: %w", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, errors.New("not a cron schedule of five fields")
	}
	s := Schedule{text: text, spec: spec}
	if s.Next(anyDay, time.UTC).IsZero() {
		return Schedule{}, errors.New("this day never comes")
	}
	return s, nil
}

// anyDay is where questions about a schedule as such begin.
var anyDay = time.Date(2027, time.January, 1, 0, 0, 0, 0, time.UTC)

// String returns the schedule as it was written.
func (s Schedule) String() string { return s.text }

// Equal tells whether two schedules are written alike.
func (s Schedule) Equal(o Schedule) bool { return s.text == o.text }

// IsZero tells whether there is no schedule.
func (s Schedule) IsZero() bool { return s.spec == nil }

// Next returns the first time after a moment, by the clock on the wall in zone
// (nil: UTC); zero if there is no schedule. A time that the change to summer time
// leaves out comes when the change is made, so that no day is without its
// pass; one that the change back repeats comes twice.
func (s Schedule) Next(after time.Time, zone *time.Location) time.Time {
	if s.spec == nil {
		return time.Time{}
	}
	if zone == nil {
		zone = time.UTC
	}
	after = after.In(zone)
	next := s.spec.Next(after)
	_, change := after.ZoneBounds()
	if change.IsZero() || (!next.IsZero() && !change.Before(next)) {
		return next
	}
	name, before := change.Add(-time.Second).Zone()
	_, behind := change.Zone()
	gap := time.Duration(behind-before) * time.Second
	wall := s.spec.Next(change.Add(-time.Second).In(time.FixedZone(name, before)))
	if wall.Before(change.Add(gap)) && !wall.IsZero() {
		return change
	}
	return next
}

// longestGap returns the longest pause between two times of the schedule among
// the next thousand.
func (s Schedule) longestGap(zone *time.Location) time.Duration {
	longest, at := time.Duration(0), s.Next(anyDay, zone)
	for range 1000 {
		next := s.Next(at, zone)
		longest, at = max(longest, next.Sub(at)), next
	}
	return longest
}

// Slot is one window of a timetable: on its days, between two times of the wall
// clock, no more than a rate. A window whose end is not after its beginning goes
// on into the next day ("fri 22:00-06:00" ends on Saturday).
type Slot struct {
	Days     [7]bool // by time.Weekday, on which the window begins
	From, To int     // minutes since midnight; To may be 1440
	Rate     Rate
}

func (s Slot) open(wall time.Time) bool {
	minute := wall.Hour()*60 + wall.Minute()
	today := wall.Weekday()
	if s.From < s.To {
		return s.Days[today] && minute >= s.From && minute < s.To
	}
	yesterday := (today + 6) % 7
	return (s.Days[today] && minute >= s.From) || (s.Days[yesterday] && minute < s.To)
}

// ParseSlot reads a window such as "mon-fri 08:00-18:00 100MiB/s", "sat,sun
// 00:00-24:00 1Gbit/s" or "daily 22:00-06:00 50MB/s".
func ParseSlot(text string) (Slot, error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return Slot{}, errors.New(`a window has three parts, as in "mon-fri 08:00-18:00 100MiB/s"`)
	}
	var s Slot
	var err error
	if s.Days, err = parseDays(fields[0]); err != nil {
		return Slot{}, err
	}
	from, to, ok := strings.Cut(fields[1], "-")
	if !ok {
		return Slot{}, fmt.Errorf("%q is not a span of time such as 08:00-18:00", fields[1])
	}
	if s.From, err = parseClock(from); err != nil {
		return Slot{}, err
	}
	if s.To, err = parseClock(to); err != nil {
		return Slot{}, err
	}
	if s.From == 24*60 {
		return Slot{}, errors.New("a window begins at 00:00, not at 24:00")
	}
	if s.From == s.To {
		return Slot{}, errors.New("a window ends at another time than it begins: for a whole day write 00:00-24:00")
	}
	s.Rate, err = ParseRate(fields[2])
	if err == nil && s.Rate == 0 {
		err = errors.New("a window needs a rate: it can only be slower than the total")
	}
	return s, err
}

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseDays(text string) (days [7]bool, err error) {
	if text == "daily" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		a, b := weekday(first), weekday(last)
		if a < 0 || b < 0 {
			return days, fmt.Errorf("%q is not a day: days are mon, tue, wed, thu, fri, sat, sun, spans such as mon-fri, lists such as sat,sun, or daily", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			days[d] = true
			if d == b {
				break
			}
		}
	}
	return days, nil
}

func weekday(text string) int {
	for i, d := range weekdays {
		if strings.EqualFold(text, d) {
			return i
		}
	}
	return -1
}

func parseClock(text string) (int, error) {
	h, m, ok := strings.Cut(text, ":")
	hour, okH := twoDigits(h)
	minute, okM := twoDigits(m)
	if !ok || !okH || !okM || minute > 59 || hour > 24 || (hour == 24 && minute != 0) {
		return 0, fmt.Errorf("%q is not a time of day such as 08:00", text)
	}
	return hour*60 + minute, nil
}

func twoDigits(s string) (int, bool) {
	if len(s) != 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' {
		return 0, false
	}
	return int(s[0]-'0')*10 + int(s[1]-'0'), true
}
