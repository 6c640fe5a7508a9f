package volumes

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator/report"
	"farshore/store"
)

// retentionTable is what stands where after a point, worked out by hand. A point is
// DAY.HOUR, of a Monday's day 0: F is a full backup, S a synthetic full, none of both an
// increment upon the one before it; "0.00F-1.18" is all from one to the other.
//
// At the source, the last two stay with all they need: a chain of 20, and when the next
// begins, both until it has two. At the destination:
//   - The last 4, the last of each of 7 days, this one included, and of each of 4 weeks.
//   - A ninth backup in a row becomes a synthetic full: those of 00:00 on days 2 and 4 of
//     each five; on day 0 of each five the source's own chain begins anew.
//   - At 12:00, when the last 4 no longer need the chain before, the last point of each of
//     its days becomes a full by itself, and the others of the chain go.
//   - Days go after a week, day 6 (a Sunday) after 4 weeks.
var retentionTable = map[string]struct{ source, there string }{
	"0.00":  {"0.00F", "0.00F"},
	"0.18":  {"0.00F-0.18", "0.00F-0.18"},
	"1.18":  {"0.00F-1.18", "0.00F-1.18"},
	"2.00":  {"0.00F-2.00", "0.00F-1.18 2.00S"},
	"2.06":  {"0.00F-2.06", "0.00F-1.18 2.00S-2.06"},
	"2.12":  {"0.00F-2.12", "0.18S 1.18S 2.00S-2.12"},
	"3.18":  {"0.00F-3.18", "0.18S 1.18S 2.00S-3.18"},
	"4.00":  {"0.00F-4.00", "0.18S 1.18S 2.00S-3.18 4.00S"},
	"4.12":  {"0.00F-4.12", "0.18S 1.18S 2.18S 3.18S 4.00S-4.12"},
	"5.00":  {"0.00F-4.18 5.00F", "0.18S 1.18S 2.18S 3.18S 4.00S-4.18 5.00F"},
	"5.06":  {"5.00F-5.06", "0.18S 1.18S 2.18S 3.18S 4.00S-4.18 5.00F-5.06"},
	"5.12":  {"5.00F-5.12", "0.18S 1.18S 2.18S 3.18S 4.18S 5.00F-5.12"},
	"7.00":  {"5.00F-7.00", "1.18S 2.18S 3.18S 4.18S 5.00F-6.18 7.00S"},
	"7.12":  {"5.00F-7.12", "1.18S 2.18S 3.18S 4.18S 5.18S 6.18S 7.00S-7.12"},
	"14.12": {"10.00F-14.12", "6.18S 8.18S 9.18S 10.18S 11.18S 12.18S 13.18S 14.00S-14.12"},
	"20.00": {"15.00F-19.18 20.00F", "6.18S 13.18S 14.18S 15.18S 16.18S 17.18S 18.18S 19.00S-19.18 20.00F"},
	"27.18": {"25.00F-27.18", "6.18S 13.18S 20.18S 21.18S 22.18S 23.18S 24.18S 25.18S 26.18S 27.00S-27.18"},
	"28.00": {"25.00F-28.00", "13.18S 20.18S 22.18S 23.18S 24.18S 25.18S 26.18S 27.00S-28.00"},
	"29.18": {"25.00F-29.18", "13.18S 20.18S 23.18S 24.18S 25.18S 26.18S 27.18S 28.18S 29.00S-29.18"},
}

var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// dayHour names a point.
func dayHour(taken int64) string {
	d := time.UnixMicro(taken).Sub(monday)
	return fmt.Sprintf("%d.%02d", int(d.Hours())/24, int(d.Hours())%24)
}

// standing tells what a region holds, in the table's words.
func (g *rig) standing(region string) string {
	var out []string
	last, run := "", 0 // the backup before, and how many increments follow one another
	end := func(name string) {
		if run > 0 {
			out[len(out)-1] += "-" + name
		}
		run = 0
	}
	before := ""
	for _, p := range g.points() {
		c, ok := p.Copy(region)
		if region == p.Region {
			c, ok = store.PointCopy{State: store.CopyLanded, Backup: p.ID, Parent: p.Parent}, p.Gone == 0
		}
		if !ok || c.State == store.CopyExpired {
			continue
		}
		name := dayHour(p.Taken)
		switch {
		case c.State != store.CopyLanded:
			end(before)
			out = append(out, name+string(c.State))
		case c.Parent != "" && c.Parent == last:
			run++
		case c.Parent != "":
			end(before)
			out = append(out, name+"<"+c.Parent)
		case c.Synthetic:
			end(before)
			out = append(out, name+"S")
		default:
			end(before)
			out = append(out, name+"F")
		}
		last, before = c.Backup, name
	}
	end(before)
	return strings.Join(out, " ")
}

// unbroken asserts that every backup that the ledger has in a region is there, and its parent, too.
func (g *rig) unbroken(region string) {
	g.t.Helper()
	list, err := g.regions[region].Blocks.Backups(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	there := map[string]bool{"": true}
	for _, b := range list {
		there[b.ID] = b.Status == "available"
	}
	n := 0
	for _, p := range g.points() {
		c, ok := p.Copy(region)
		if region == p.Region {
			c, ok = store.PointCopy{Backup: p.ID, Parent: p.Parent}, p.Gone == 0
		}
		if !ok || c.State == store.CopyExpired {
			continue
		}
		n++
		if !there[c.Backup] || !there[c.Parent] {
			g.t.Fatalf("in %s, point %s (backup %s, upon %s): there %v, parent %v", region, dayHour(p.Taken), c.Backup, c.Parent, there[c.Backup], there[c.Parent])
		}
	}
	if n != len(list) {
		g.t.Fatalf("%s has %d backups, the ledger %d", region, len(list), n)
	}
}

// Thirty days of a point every six hours leave at both sides what was worked out by
// hand; in no hour does a point lack a parent; in the end every point left restores to
// its own bytes.
func TestThirtyDaysOfRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) {
		o.GiB, o.BlockSize, o.ObjectSize = 64<<10, 4096, 16<<10
		o.Pace = fakecloud.BlockPace{}
	}}, "b")
	g.policy.Snapshot = &policies.Snapshot{Every: 6 * time.Hour}
	g.policy.Keep, g.policy.KeepSource = &policies.Keep{Last: 4, Daily: 7, Weekly: 4}, &policies.Keep{Last: 2}
	g.policy.MaxChain = policies.MaxChain{Source: 20, Destination: 8}
	g.policy.FullEvery = 0
	v := g.volume("db", 1)
	want := map[string][]byte{}
	synthesized, seen := 0, 0
	for hour := range 30 * 24 {
		g.clock.advance(monday.Add(time.Duration(hour) * time.Hour).Sub(g.clock.Now()))
		name := fmt.Sprintf("%d.%02d", hour/24, hour%24)
		if hour%6 == 0 {
			g.scribble(v, uint64(hour), int64(hour%13)*4096, 5000)
			want[name] = content(v)
			if res, err := g.try(ShipOptions{SnapshotNow: true}); err != nil || res.Errors > 0 {
				t.Fatalf("%s: %v%s", name, err, findingsOf(res))
			}
		}
		res := g.retain()
		synthesized += res.Retention.Synthesized
		if hour%6 != 0 && res.Retention.Synthesized+res.Retention.Deleted > 0 {
			t.Errorf("%s: a retention with nothing new did something: %+v", name, res.Retention)
		}
		g.unbroken("a")
		g.unbroken("b")
		if row, ok := retentionTable[name]; ok && hour%6 == 0 {
			seen++
			if d := cmp.Diff(row.source, g.standing("a")); d != "" {
				t.Errorf("at the source after %s: %s", name, d)
			}
			if d := cmp.Diff(row.there, g.standing("b")); d != "" {
				t.Errorf("at the destination after %s: %s", name, d)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	if seen != len(retentionTable) {
		t.Errorf("%d rows of the table were compared", seen)
	}
	// 2 of each 5 days by the bound; of each day but the last one its last point.
	if synthesized != 12+29 {
		t.Errorf("%d synthetic fulls were made", synthesized)
	}
	g.consistent("a")
	g.consistent("b")
	for _, p := range g.points() {
		if c, _ := p.Copy("b"); c.State == store.CopyLanded && !bytes.Equal(g.restored("b", c.Backup), want[dayHour(p.Taken)]) {
			t.Errorf("point %s restores to other bytes", dayHour(p.Taken))
		}
	}
	if res := g.audit(AuditOptions{Read: 1}); res.Errors > 0 || res.Counts[report.KindUnknown] > 0 {
		t.Errorf("an audit afterwards: %s", findingsOf(res))
	}
	g.clean()
}
