package volumes

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator/report"
)

// life makes points of one volume, an hour apart, and has both sides decide after each, as
// passes do. It gives the most backups that the source and the destination had at a time.
func life(p policies.Policy, hours int) (source, destination int) {
	begin := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	src := side{Source: true, Choose: keeper(p.KeepSource, time.UTC)}
	dst := side{Choose: keeper(p.Keep, time.UTC), MaxChain: p.MaxChain.Destination, Gap: time.Hour}
	bound, _ := sourceChain(p)
	chain := 0
	for h := range hours {
		x := item{Point: fmt.Sprint(h), Backup: fmt.Sprint(h), Taken: begin.Add(time.Duration(h) * time.Hour).UnixMicro(), Landed: true}
		there := x
		if chain++; h == 0 || bound > 0 && chain > bound {
			chain = 1
		} else {
			x.Parent = src.Items[len(src.Items)-1].Backup
			there.Parent = dst.Items[len(dst.Items)-1].Backup
		}
		src.Items, dst.Items = append(src.Items, x), append(dst.Items, there)
		source, destination = max(source, src.settle()), max(destination, dst.settle())
	}
	return source, destination
}

// settle carries out what is decided, and gives the most backups there were meanwhile.
func (s *side) settle() int {
	most := len(s.Items)
	now := most
	for _, f := range s.decide() {
		for i := range s.Items {
			if s.Items[i].Point != f.Point {
				continue
			}
			switch f.Act {
			case report.Delete:
				now--
				s.Items = append(s.Items[:i:i], s.Items[i+1:]...)
			case report.Synthesize: // both are there until the old one is gone
				most = max(most, now+1)
				s.Items[i].Backup, s.Items[i].Parent = "full of "+f.Point, ""
			}
			break
		}
	}
	return most
}

// What docs/policy.md says of quotas is enough, and not much more than that.
func TestBackupsOfQuota(t *testing.T) {
	hourly := &policies.Snapshot{Every: time.Hour}
	for name, c := range map[string]struct {
		p     policies.Policy
		exact bool
	}{
		"days":      {policies.Policy{Snapshot: hourly, KeepSource: &policies.Keep{Last: 2}, Keep: &policies.Keep{Last: 24, Daily: 7}, MaxChain: policies.MaxChain{Source: 8, Destination: 8}}, true},
		"defaults":  {policies.Policy{Snapshot: hourly, FullEvery: 30 * 24 * time.Hour, KeepSource: &policies.Keep{Last: 1}, Keep: &policies.Keep{Last: 3}, MaxChain: policies.MaxChain{Source: 30, Destination: 8}}, true},
		"full only": {policies.Policy{Snapshot: hourly, KeepSource: &policies.Keep{Last: 2}, Keep: &policies.Keep{Last: 2}, MaxChain: policies.MaxChain{Source: 1, Destination: 1}}, true},
		"by age":    {policies.Policy{Snapshot: hourly, FullEvery: 5 * time.Hour, KeepSource: &policies.Keep{Last: 12}, Keep: &policies.Keep{Last: 4, Weekly: 4}, MaxChain: policies.MaxChain{Destination: 3}}, true},
		"older":     {policies.Policy{Snapshot: hourly, KeepSource: &policies.Keep{Last: 2, Daily: 3}, Keep: &policies.Keep{Last: 2, Daily: 7, Weekly: 4}, MaxChain: policies.MaxChain{Source: 8, Destination: 6}}, false},
	} {
		source, destination := life(c.p, 60*24)
		if n := sourceBackups(c.p); source > n || c.exact && source < n {
			t.Errorf("%s: %d at the source, the rule has %d", name, source, n)
		}
		n := destinationBackups(c.p)
		if destination > n || destination < n-2 {
			t.Errorf("%s: %d at the destination, the rule has %d", name, destination, n)
		}
	}
}

// The README's policy works on and on within the quota that Cinder has by default.
func TestReadmeFitsTheQuota(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(policies:\n  - name: databases\n.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("README.md has no policy of volumes")
	}
	file, err := policies.Parse("README.md", append([]byte("regions: {paris: {}, lyon: {}}\n"), m[1]...))
	if err != nil {
		t.Fatal(err)
	}
	p := file.Policies[0]
	g := newRig(t, rigOptions{block: func(o *fakecloud.BlockOptions) { o.Quota = map[string]int{"backups": 10} }}, "b")
	g.policy.Snapshot, g.policy.Keep, g.policy.KeepSource, g.policy.MaxChain = p.Snapshot, p.Keep, p.KeepSource, p.MaxChain
	v := g.volume("db", 1)
	for i := range 24 {
		g.scribble(v, uint64(10+i), int64(i)*40_000, 20_000)
		g.ship()
		g.retain()
		g.clock.advance(time.Hour)
	}
}

// Where a quota of backups is used up, the finding says how many a volume comes to, and by what.
func TestNoRoomSaysHowMuch(t *testing.T) {
	for region, want := range map[string]string{
		"a": "openstack quota set --backups 3 PROJECT; a volume comes to as many as 32 here: a chain (max_chain.source 30) and keep_source.last 2, as what",
		"b": "openstack quota set --backups 3 PROJECT; a volume comes to as many as 39 there: 31 points of keep and a chain (max_chain.destination 8). So raise",
	} {
		g := newRig(t, rigOptions{}, "b")
		g.policy.Keep, g.policy.KeepSource = &policies.Keep{Last: 24, Daily: 7}, &policies.Keep{Last: 2}
		g.cloud.Region(region).SetQuota(fakecloud.Project, "backups", 2)
		g.chain(1)
		g.retain()
		g.clock.advance(time.Hour)
		res, err := g.try(ShipOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hints := ""
		for _, f := range res.Findings {
			hints += f.Hint + "\n"
		}
		if !strings.Contains(hints, want) {
			t.Errorf("region %s: %s\nwant …%s", region, hints, want)
		}
	}
	for name, p := range map[string]policies.Policy{
		"no keep_source": {MaxChain: policies.MaxChain{Source: 30}},
		"no bound":       {KeepSource: &policies.Keep{Last: 2}},
	} {
		if got := sourceRoom(p); !strings.HasPrefix(got, "the backups of a volume have no bound here: ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := destinationRoom(policies.Policy{MaxChain: policies.MaxChain{Destination: 8}}); !strings.Contains(got, "have no bound there") {
		t.Error(got)
	}
	if got := sourceRoom(policies.Policy{Snapshot: &policies.Snapshot{Every: time.Hour}, FullEvery: 6 * time.Hour, KeepSource: &policies.Keep{Daily: 2}}); !strings.Contains(got, "as many as 19 here: a chain (6 in each full_every)") || !strings.Contains(got, "and a chain for each older point") {
		t.Error(got)
	}
}
