package year

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/policies"
	"farshore/store"
)

// A simulated year, or two weeks of one, in which both Europe and America leave summer
// time: outages that begin between passes and in the middle of them, deletes by mistake
// and on purpose, copies that somebody removes. FARSHORE_SEED=n makes the same one again.
func TestAYear(t *testing.T) {
	hours, calm := 11*24, 3*24
	if os.Getenv("FARSHORE_SCALE") == "full" {
		hours = 362 * 24
	} else if testing.Short() || raced {
		hours = 4 * 24
	}
	seed := rand.Uint64()
	if s := os.Getenv("FARSHORE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FARSHORE_SEED=%d", seed)
	began := time.Date(2026, time.October, 20, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, seed, began)
	s := &story{world: w}
	real := time.Now()
	w.live(hours+calm, func(hour int) {
		switch {
		case hour == 0:
			s.begin()
		case hour < hours:
			s.hour()
		case hour == hours:
			s.peace()
		default:
			s.people()
		}
	})
	w.judge.lastly(began)
	t.Logf("%d simulated hours in %v: %s", hours+calm, time.Since(real).Round(time.Second), w.judge)
	for _, what := range []string{"pass", "audit", "drill", "deletes", "chances", "points kept", "points that must stay", "points looked at"} {
		if w.judge.count[what] == 0 && !testing.Short() && !raced {
			t.Errorf("nothing was tried: %s", w.judge)
		}
	}
}

func (j *judge) String() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(j.count)) {
		out = append(out, fmt.Sprintf("%s %d", k, j.count[k]))
	}
	return strings.Join(out, ", ")
}

// story is what people and machines do. Every method is called with the gate closed.
type story struct {
	*world
	made    int
	outages []outage
	mishaps []mishap
}

type outage struct {
	site *site
	ends time.Time
}

// mishap is what was deleted by mistake, and when somebody puts it back.
type mishap struct {
	at      time.Time
	region  string
	objects map[object][]byte
}

func (s *story) oneIn(n int) bool { return s.rng.IntN(n) == 0 }

func (s *story) begin() {
	for _, p := range s.file.Policies {
		for _, c := range containersOf(p) {
			s.sites[p.From].CreateContainer(c)
			for range 15 {
				s.write(p, c, "")
			}
		}
		if p.Volumes != nil {
			s.disks[p.Name] = s.sites[p.From].AddVolume(p.Name, 1, "", p.Volumes.Metadata)
		}
	}
}

// write makes a new object, or overwrites one.
func (s *story) write(p policies.Policy, container, name string) {
	s.made++
	if name == "" {
		name = fmt.Sprintf("o%06d", s.made)
	}
	s.sites[p.From].Put(container, name, fmt.Appendf(nil, "%d %s", s.made, strings.Repeat("x", s.rng.IntN(200))), nil)
}

func (s *story) delete(p policies.Policy, container, name string) {
	x := object{container, name}
	if s.sites[p.From].Delete(container, name) && s.judge.gone[x].IsZero() {
		s.judge.gone[x] = s.clock.Now()
	}
}

func (s *story) hour() {
	for _, p := range s.file.Policies {
		if p.Volumes != nil {
			if s.oneIn(3) {
				_, _ = s.disks[p.Name].WriteAt(fmt.Appendf(nil, "%d", s.rng.Uint64()), s.rng.Int64N(s.disks[p.Name].Size()-64))
			}
			continue
		}
		for _, c := range containersOf(p) {
			names := s.sites[p.From].Names(c)
			switch x := s.rng.IntN(20); {
			case x < 3 && len(names) < 25:
				s.write(p, c, "")
			case x < 5 && len(names) > 0:
				s.write(p, c, names[s.rng.IntN(len(names))])
			case x < 7 && len(names) > 5:
				s.delete(p, c, names[s.rng.IntN(len(names))])
			}
		}
	}
	if s.oneIn(24 * 3) {
		s.loseMany()
	}
	if s.oneIn(24 * 3) {
		s.tamper()
	}
	if s.oneIn(36) {
		s.outage()
	}
	s.returns()
	s.people()
}

// loseMany deletes more than the brake lets through, on purpose or by mistake.
func (s *story) loseMany() {
	var can []policies.Policy
	for _, p := range s.file.Policies {
		if p.Deletes.Propagate {
			can = append(can, p)
		}
	}
	p := can[s.rng.IntN(len(can))]
	c := p.Containers[0]
	m := mishap{region: p.From, objects: map[object][]byte{}, at: s.clock.Now().Add(time.Duration(20+s.rng.IntN(20)) * time.Hour)}
	for _, n := range s.sites[p.From].Names(c) {
		if s.rng.IntN(4) > 0 {
			o, _ := s.sites[p.From].Get(c, n)
			m.objects[object{c, n}] = o.Bytes()
			s.delete(p, c, n)
		}
	}
	s.judge.count["losses"]++
	if s.oneIn(2) {
		s.mishaps = append(s.mishaps, m)
	}
}

// tamper removes or spoils a copy of a policy that audits would find it by.
func (s *story) tamper() {
	var can []policies.Policy
	for _, p := range s.file.Policies {
		if p.Audit.Every > 0 && p.Audit.Every < 30*24*time.Hour && p.Volumes == nil && p.Audit.Read > 0 {
			can = append(can, p)
		}
	}
	p := can[s.rng.IntN(len(can))]
	c := containersOf(p)[0]
	at := s.sites[p.To[s.rng.IntN(len(p.To))]]
	names := at.Names(c)
	if len(names) == 0 {
		return
	}
	name := names[s.rng.IntN(len(names))]
	if !s.recorded(at.Name(), c, name) { // what a pass left that was cut off is no audit's yet
		return
	}
	if p.Audit.Read == 1 && s.oneIn(2) {
		at.Corrupt(c, name)
	} else {
		at.Delete(c, name)
	}
	s.judge.tampered[p.Name] = append(s.judge.tampered[p.Name], object{c, name})
	s.judge.spoiled[p.Name] = true
	delete(s.judge.holds[p.Name], object{c, name})
	s.judge.count["tampered"]++
}

// recorded says whether the ledger has a confirmed copy of what is in a container of that
// name, in a region.
func (s *story) recorded(region, container, name string) bool {
	routes, err := s.ledger.Routes()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range routes {
		if r.Route.From.Container != container || r.Route.To.Region != region {
			continue
		}
		o, _, err := s.ledger.Get(r.From, name)
		if err != nil {
			s.t.Fatal(err)
		}
		if rep, ok := o.Replica(r.ID); ok && rep.State == store.Confirmed {
			return true
		}
	}
	return false
}

// outage takes a region away for hours, now or in the middle of what it is asked next.
func (s *story) outage() {
	names := slices.Sorted(maps.Keys(s.sites))
	x := s.sites[names[s.rng.IntN(len(names))]]
	if slices.ContainsFunc(s.outages, func(o outage) bool { return o.site == x }) {
		return
	}
	s.outages = append(s.outages, outage{x, s.clock.Now().Add(time.Duration(1+s.rng.IntN(30)) * time.Hour)})
	s.judge.count["outages"]++
	if s.oneIn(2) {
		x.fuse.Store(int64(1 + s.rng.IntN(40)))
	} else {
		s.stop(x)
	}
}

// returns brings back what has been away for long enough.
func (s *story) returns() {
	s.outages = slices.DeleteFunc(s.outages, func(o outage) bool {
		if s.clock.Now().Before(o.ends) {
			return false
		}
		o.site.fuse.Store(-1)
		s.start(o.site)
		return true
	})
}

// people put back what was deleted by mistake, and release brakes that stop what was meant.
func (s *story) people() {
	now := s.clock.Now()
	s.mishaps = slices.DeleteFunc(s.mishaps, func(m mishap) bool {
		if now.Before(m.at) {
			return false
		}
		for x, data := range m.objects {
			s.sites[m.region].Put(x.container, x.name, data, nil)
		}
		return true
	})
	for policy, b := range s.judge.brakes {
		if now.Sub(b.at) > 6*time.Hour && len(s.mishaps) == 0 {
			s.release(policy, b.token)
			delete(s.judge.brakes, policy)
		}
	}
}

// peace ends all outages and mishaps: everything has its chance from now on.
func (s *story) peace() {
	for i := range s.outages {
		s.outages[i].ends = time.Time{}
	}
	s.returns()
	for i := range s.mishaps {
		s.mishaps[i].at = time.Time{}
	}
	s.people()
}
