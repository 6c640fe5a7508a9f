package volumes

import (
	"strings"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
)

// Six volumes are worked on four at once, and one of the quotas has room for two of them: two are
// shipped, and of the others nothing is begun, whoever looked at the quota at the same time.
func TestQuotaForSome(t *testing.T) {
	for name, c := range map[string]struct{ region, quota string }{
		"backups":          {"a", "backups"},
		"backup gigabytes": {"a", "backup_gigabytes"},
		"snapshots":        {"a", "snapshots"},
		"there":            {"b", "backups"},
		"gigabytes there":  {"b", "backup_gigabytes"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			const volumes, room = 6, 2
			for i := range volumes {
				g.volume("db-"+string(rune('0'+i)), uint64(4+i))
			}
			short := func(res report.Result) (n int) {
				t.Helper()
				for _, f := range res.Findings {
					if strings.Contains(f.Cause, "quota "+c.quota+": ") && strings.Contains(f.Cause, "nothing was begun") && f.Region == c.region {
						n++
					} else if c.region == "a" || !strings.Contains(f.Cause, "no destination can take it now; nothing was begun") {
						t.Errorf("%s, %s → %s", f.Op, f.Cause, f.Hint)
					}
				}
				return n
			}
			g.cloud.Region(c.region).SetQuota(fakecloud.Project, c.quota, room)
			want := volumes - room
			if c.region == "b" {
				want = 1 // said once a pass
			}
			res, err := g.try(ShipOptions{DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			if n := short(res); n != want || len(res.Points) != room {
				t.Errorf("planned: %d points, %d findings of the quota, want %d and %d", len(res.Points), n, room, want)
			}
			if res, err = g.try(ShipOptions{}); err != nil {
				t.Fatal(err)
			}
			made := room
			if c.quota == "snapshots" { // those that are backed up make room
				made, want = len(g.points()), volumes-len(g.points())
			}
			if n := short(res); n != want || made < room || len(g.points()) != made || g.count("a", "backup") != made || g.count("b", "backup") != made {
				t.Errorf("%d findings of the quota, want %d; %d points, %d and %d backups, want %d", n, want, len(g.points()), g.count("a", "backup"), g.count("b", "backup"), made)
			}
			g.clean()

			// With room, the others come.
			g.cloud.Region(c.region).SetQuota(fakecloud.Project, c.quota, 100)
			if res = g.ship(); len(g.points()) != volumes {
				t.Errorf("%d points, want %d: %+v", len(g.points()), volumes, res.Findings)
			}
			g.clean()
		})
	}
}
