package volumes

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/transport"
)

// A drill does not pass over what a policy protects and a region has nothing of: neither a volume
// that the policy names and that never got anywhere, nor one that another destination has.
func TestDrillOfWhatIsNotThere(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	g.volume("db", 1)
	g.volume("logs", 2)
	g.policy.To, g.policy.Replicas = []string{"b"}, 1
	g.ship()
	const nobody = "11111111-2222-4333-8444-555555555555"
	lacks := func(volumes policies.Volumes, region string, want ...string) {
		t.Helper()
		p := g.policy
		p.Volumes, p.To = &volumes, []string{region}
		d := g.drill(DrillRequest{Policy: p})
		var got []string
		for _, v := range d.Volumes {
			if v.Cause == "the region holds no point of it" && strings.Contains(v.Hint, "farshore sync dbs ships") && !v.OK {
				got = append(got, v.Restore.SourceVolumeName+"/"+v.Restore.SourceVolume)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || d.OK != (len(want) == 0) || d.Errors != int64(len(want)) {
			t.Errorf("drill of %+v in %s: %q, want %q: %+v", volumes, region, got, want, d)
		}
		var page bytes.Buffer
		if err := DrillPage(&page, d); err != nil {
			t.Fatal(err)
		}
		if html := page.String(); strings.Contains(html, "0001-01-01") || len(want) > 0 && !strings.Contains(html, "holds no point of it") {
			t.Errorf("page: %s", html)
		}
	}
	lacks(policies.Volumes{All: true}, "b")
	lacks(policies.Volumes{Names: []string{"db", "logs"}}, "b")
	lacks(policies.Volumes{Names: []string{"db", "logs", "mail"}}, "b", "mail/")
	lacks(policies.Volumes{IDs: []string{nobody}}, "b", "/"+nobody)
	var ids []string
	for _, x := range g.points() {
		ids = append([]string{x.Volume.Name + "/" + x.Volume.ID}, ids...)
	}
	lacks(policies.Volumes{All: true}, "c", ids...)
	g.bare("b", 0, 2)
}

// A volume's points are found by the name that it has now, and by one that it had: the newest is meant.
func TestRestoreOfARenamedVolume(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("db", 1)
	g.ship()
	now := "ledgers"
	if err := g.regions["a"].Blocks.ChangeVolume(context.Background(), v.ID(), transport.VolumeChange{Name: &now}); err != nil {
		t.Fatal(err)
	}
	g.clock.advance(time.Hour)
	g.ship()
	points := g.points()
	for _, name := range []string{"db", "ledgers", v.ID()} {
		out, findings, err := g.shipper().Restore(context.Background(), RestoreRequest{Point: name, To: "b", Name: "of " + name})
		if err != nil || len(findings) > 0 || out.Point != points[1].ID {
			t.Errorf("restore of %s: point %s, %+v, %v; want point %s and no finding", name, out.Point, findings, err, points[1].ID)
		}
	}
}
