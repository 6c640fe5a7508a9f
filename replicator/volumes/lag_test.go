package volumes

import (
	"errors"
	"testing"
	"time"

	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/transport"
)

// A restore point waits for a destination from the time that it shows until it has landed
// there; what a region has is as old as the newest point that landed.
func TestLagOfPoints(t *testing.T) {
	g := newRig(t, rigOptions{}, "b", "c")
	g.volume("db", 1)
	var events []report.Event
	tracker := lag.New(lag.Options{Clock: g.clock, Memory: g.ledger, OnEvent: func(e report.Event) { events = append(events, e) }})
	if err := tracker.Follow([]lag.Terms{{Policy: "dbs", Regions: []string{"b", "c"}, RPO: 2 * time.Hour}}, nil); err != nil {
		t.Fatal(err)
	}
	ship := func(down ...string) {
		t.Helper()
		s := g.shipper()
		s.o.Lag, s.o.Down = tracker, map[string]error{}
		for _, name := range down {
			delete(s.o.Regions, name)
			s.o.Down[name] = &transport.Error{Op: "log in", Region: name, Class: transport.Transient, Err: errors.New("it is down")}
		}
		if res, err := s.Ship(t.Context(), g.policy, ShipOptions{}); err != nil || res.Errors > int64(len(down)) { // too few replicas
			t.Fatalf("%v %s", err, findingsOf(res))
		}
	}
	lagOf := func(region string) report.Lag {
		for _, l := range tracker.Lags() {
			if l.Region == region {
				return l
			}
		}
		t.Fatalf("no lag of %s", region)
		return report.Lag{}
	}
	since := func(point int) float64 {
		return g.clock.Now().Sub(time.UnixMicro(g.points()[point].Taken)).Seconds()
	}
	near := func(a, b float64) bool { return a-b < 1 && b-a < 1 }

	ship()
	for _, r := range []string{"b", "c"} {
		if l := lagOf(r); l.Items != 0 || l.Known != 0 || !near(l.AtMost, since(0)) || l.Past.Items != 1 || l.Past.Max < 3 || l.Past.Max > since(0) {
			t.Errorf("%s: %+v", r, l)
		}
	}
	g.clock.advance(time.Hour)
	ship("c")
	if l := lagOf("b"); l.Items != 0 || !near(l.AtMost, since(1)) || l.Past.Items != 2 {
		t.Errorf("%+v", l)
	}
	if l := lagOf("c"); l.Items != 1 || l.Bytes == 0 || !near(l.Known, since(1)) || !near(l.AtMost, since(0)) || since(0) < 3600 {
		t.Errorf("%+v", l)
	}
	g.clock.advance(2 * time.Hour)
	tracker.Tick()
	if len(events) != 1 || events[0].Kind != report.EventLate || events[0].Region != "c" || events[0].Oldest[0].Name != g.points()[1].ID {
		t.Fatalf("%+v", events)
	}
	ship()
	if l := lagOf("c"); l.Items != 0 || l.Known != 0 || !near(l.AtMost, since(2)) || l.Past.Items != 3 {
		t.Errorf("%+v", l)
	}
	tracker.Tick()
	g.clock.advance(time.Minute)
	tracker.Tick()
	if len(events) != 2 || events[1].Reason != report.ArrivedConfirmed || events[1].ID != events[0].ID {
		t.Fatalf("%+v", events)
	}
}
