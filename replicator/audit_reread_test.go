package replicator

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// However audits follow each other, their slices lie end to end, and a round is over in
// time when the next audit comes when it was said to.
func TestSlicesCoverARound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hour := func(name string, lo, hi int) time.Duration {
			return time.Duration(rapid.IntRange(lo, hi).Draw(t, name)) * time.Hour
		}
		every := hour("every", 1, 50)
		all := every + hour("all in", 0, 500)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var at reread
		began := now
		for i := range 100 {
			s := sliceOf(at, now, every, all)
			if s.lo != at.Until || s.hi < s.lo || s.hi > 1 {
				t.Fatalf("audit %d: %+v after %+v", i, s, at)
			}
			next := now.Add(hour("pause", 1, int(every/time.Hour)))
			if late := next.Sub(began) > all; late && s.hi < 1 {
				t.Fatalf("audit %d: the next comes after the end of the round, and %g is read", i, s.hi)
			}
			if at = s.after(now); at.Until == 0 {
				began = now
			}
			now = next
		}
	})
}

// Audits read everything within the time that the policy gives them, each object once a
// round, through restarts, a region that is away and an audit that is cut short.
func TestEverythingIsRead(t *testing.T) {
	w := newWorld(t, "b", "d")
	const many, days = 200, 10
	names := make([]string, many)
	for i := range many {
		names[i] = fmt.Sprintf("o%03d", i)
		w.put(names[i], uint64(i), 10, nil)
	}
	w.sync()
	o := AuditOptions{ReadAll: days * 24 * time.Hour, Every: 24 * time.Hour, Repair: true}
	audit := func(ctx context.Context) (report.Result, error) {
		e := w.engine()
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		return e.Audit(ctx, w.policy, jobs, o)
	}
	read := map[string][]string{}
	taken := func() (most int) {
		for _, r := range []string{"b", "d"} {
			n := 0
			for _, c := range w.faults[r].Calls() {
				if c.Method == tt.Open && c.Err == nil {
					read[r] = append(read[r], c.Name)
					n++
				}
			}
			most = max(most, n)
		}
		w.forget()
		return most
	}
	for day := range days {
		w.down("d", day == 4)
		if day == 6 {
			ctx, cut := context.WithCancel(t.Context())
			w.faults["b"].Add(tt.Open, tt.Before(cut))
			if _, err := audit(ctx); err == nil {
				t.Fatal("it was not cut short")
			}
			w.forget()
		}
		r, err := audit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := taken(); day != 5 && n > many/4 {
			t.Errorf("day %d: %d of %d read", day, n, many)
		}
		x := r.Audit.Round
		if x == nil || !x.Whole.IsZero() != (day == days-1) {
			t.Fatalf("day %d: %+v", day, x)
		}
		if want := float64(day+1) / days; day < days-1 && day != 4 && (x.Covered < want-0.01 || x.Covered > want+0.01) {
			t.Errorf("day %d: covered %g", day, x.Covered)
		}
		w.restart()
		w.clock.advance(24 * time.Hour)
	}
	for r, got := range read {
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s: %d read, not each of %d once", r, len(got), many)
		}
	}
	// a region that is away for the whole of the round
	w.down("d", true)
	var late []report.Finding
	for range days + 2 {
		r, err := audit(t.Context())
		if err != nil && !transport.Is(err, transport.Transient) {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Kind == report.KindUnread {
				late = append(late, f)
			}
		}
		w.clock.advance(24 * time.Hour)
	}
	if len(late) == 0 || late[0].Region != "d" || late[0].Level != report.Warn {
		t.Errorf("findings %+v", late)
	}
}
