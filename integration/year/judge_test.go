package year

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/store"
)

// judge compares what the regions really hold with what the policies promise. What it
// asserts:
//
//   - After a pass that had its chance - it ended without an error, and as many of its
//     candidates as it wants copies answered from a minute before it to its end - every object
//     of the source stands, byte for byte, at as many candidates as the policy wants, and
//     goes on to do so at every hour until the source changes it, whatever goes down.
//   - A destination's object is deleted only where the policy says so, by a pass of it, when
//     the source has lacked it for as long as the policy asks, whenever it was looked at, and in no pass more than the
//     brake lets through, unless a person released it. No source's object ever is.
//   - Late and arrived events of a policy and region alternate, in pairs of one id.
//   - What a policy that places containers takes from a candidate stands at as many others
//     as it places at that moment.
//   - A backup that the ledger has in a region is there, with the one it stands upon. Of all
//     restore points that a region ever had, those that the policy keeps are there; after a
//     pass that had its chance the others are not, but for what something stands upon.
//   - A daily schedule has its pass on every day of its zone's calendar.
//   - Without an outage, no pass or drill ends with an error but a brake's, and an audit
//     misses nothing that nobody took.
type judge struct {
	w *world

	mu       sync.Mutex
	closed   bool                         // what ends from now on was cut short
	now      map[string]*judged           // by policy: the task under way
	owner    map[string]*policies.Policy  // by container
	holds    map[string]map[object]string // by policy: what must be held, with its ETag
	tampered map[string][]object          // by policy: what somebody was at since an audit looked at it
	spoiled  map[string]bool              // by policy: somebody was, ever: what the source has no more cannot be sent again
	gone     map[object]time.Time         // when the source lost what no pass has seen there again
	brakes   map[string]brake             // by policy: a pass stopped by it
	tokens   map[string]string            // by policy: for its next pass
	late     map[string]string            // by policy and region: the event's id
	days     map[string]map[string]int    // by policy: passes begun, by the day of its zone
	dirty    map[string]bool              // policies about volumes of which a task has ended
	found    map[string]found             // by region
	had      map[string][]heldPoint       // by policy and region: restore points that the rules may keep
	count    map[string]int
}

type object struct{ container, name string }

type brake struct {
	token string
	at    time.Time
}

// judged is a task as it goes by.
type judged struct {
	policy   policies.Policy
	kind     daemon.Kind
	began    time.Time
	turns    map[string]int64
	known    map[string]int             // by container: objects there are anywhere when it begins
	deleted  map[string]map[string]bool // by container: names
	released bool
	result   report.Result
	drill    report.Drill
}

func newJudge(w *world) *judge {
	j := &judge{w: w, now: map[string]*judged{}, owner: map[string]*policies.Policy{}, holds: map[string]map[object]string{}, tampered: map[string][]object{},
		gone: map[object]time.Time{}, brakes: map[string]brake{}, tokens: map[string]string{}, late: map[string]string{}, days: map[string]map[string]int{},
		dirty: map[string]bool{}, spoiled: map[string]bool{}, found: map[string]found{}, had: map[string][]heldPoint{}, count: map[string]int{}}
	for i := range w.file.Policies {
		p := &w.file.Policies[i]
		for _, c := range containersOf(*p) {
			j.owner[c] = p
		}
		j.days[p.Name] = map[string]int{}
	}
	return j
}

// containersOf are the containers that the world has for a policy.
func containersOf(p policies.Policy) []string {
	if p.Place != nil {
		return []string{"p-0", "p-1", "p-2"}
	}
	return p.Containers
}

// begins takes down how things stand when a task begins; the gate is held.
func (j *judge) begins(p policies.Policy, kind daemon.Kind) *judged {
	x := &judged{policy: p, kind: kind, began: j.w.clock.Now(), turns: map[string]int64{}, known: map[string]int{}, deleted: map[string]map[string]bool{}}
	for n, s := range j.w.sites {
		x.turns[n] = s.turns.Load()
	}
	for _, c := range containersOf(p) {
		names := map[string]bool{}
		for _, r := range append([]string{p.From}, p.To...) {
			for _, n := range j.w.sites[r].Names(c) {
				names[n] = true
			}
		}
		x.known[c] = len(names)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.now[p.Name] != nil {
		j.w.t.Errorf("%s: a %s begins beside a %s", p.Name, kind, j.now[p.Name].kind)
	}
	j.now[p.Name] = x
	j.count[string(kind)]++
	if kind == daemon.Pass {
		zone := p.Timezone
		if zone == nil {
			zone = time.UTC
		}
		j.days[p.Name][x.began.In(zone).Format(time.DateOnly)]++
	}
	return x
}

// steady are the regions that were up from the task's beginning until now.
func (j *judge) steady(x *judged) (up []string) {
	for n, s := range j.w.sites {
		// For seconds after its return it is still taken for down.
		if s.up.Load() && s.turns.Load() == x.turns[n] && x.began.Sub(s.since()) > time.Minute {
			up = append(up, n)
		}
	}
	return up
}

// of is the outcome of an engine's work.
func (x *judged) of(r report.Result, err error) daemon.Outcome {
	x.result = r
	return daemon.Outcome{Errors: r.Errors, Err: err, Wait: errors.Is(err, replicator.ErrBrake)}
}

// ends judges a task that has ended; the gate is held.
func (j *judge) ends(x *judged, out daemon.Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t, p := j.w.t, x.policy
	delete(j.now, p.Name)
	if t.Failed() || j.closed {
		return // all is cut short
	}
	for c, names := range x.deleted {
		j.count["deletes"] += len(names)
		if p.Place == nil && !x.released && p.Brake.TripsDeletes(int64(len(names)), int64(x.known[c])) {
			t.Errorf("%s: a pass deleted %d of %d objects of %s past the brake", p.Name, len(names), x.known[c], c)
		}
	}
	if p.Volumes != nil {
		j.dirty[p.Name] = true
	}
	if out.Wait {
		j.count["brakes"]++
		if _, ok := j.brakes[p.Name]; !ok {
			j.brakes[p.Name] = brake{x.result.Brake, x.began}
		}
		return
	}
	up := j.steady(x)
	all := len(up) == len(j.w.sites)
	bad := out.Errors > 0
	if x.kind == daemon.Audit { // what no pass could carry yet is too few of something
		// A trim that an outage cuts short leaves copies that audits count as damaged, also
		// when the source has lost the object since.
		bad = p.Place == nil && x.result.Counts[report.KindMissing]+x.result.Counts[report.KindDamaged]+x.result.Counts[report.KindForeign]+x.result.Counts[report.KindFailed] > 0
	}
	if x.kind == daemon.Drill && !j.landed(p) {
		bad = false // outages kept every point from there: it says so, rightly
	}
	if all && !j.spoiled[p.Name] && (out.Err != nil || bad) {
		t.Errorf("%s: the %s of %v ended with %v, %d errors, although every region was up: %+v %+v", p.Name, x.kind, x.began, out.Err, out.Errors, x.result.Findings, x.drill.Findings)
	}
	if out.Err != nil {
		j.count["failed "+string(x.kind)]++
		return
	}
	if x.kind == daemon.Pass && p.Volumes != nil && all && out.Errors == 0 {
		j.trimmed(p)
	}
	if x.kind == daemon.Pass && p.Volumes == nil {
		delete(j.brakes, p.Name)
	}
	// A pass looks at the source only where it and a destination answer.
	if x.kind == daemon.Pass && p.Volumes == nil && slices.Contains(up, p.From) && slices.ContainsFunc(p.To, func(to string) bool { return slices.Contains(up, to) }) {
		for _, c := range containersOf(p) {
			for _, n := range j.w.sites[p.From].Names(c) {
				delete(j.gone, object{c, n})
			}
		}
	}
	if x.kind == daemon.Audit && all {
		// An audit looks at the copies of what there is, not of what the source has lost.
		j.tampered[p.Name] = slices.DeleteFunc(j.tampered[p.Name], func(o object) bool {
			_, there := j.w.sites[p.From].Get(o.container, o.name)
			return there || !slices.ContainsFunc(p.To, func(to string) bool {
				_, copied := j.w.sites[to].Get(o.container, o.name)
				return copied
			})
		})
		return
	}
	if x.kind != daemon.Pass || p.Volumes != nil || !slices.Contains(up, p.From) {
		return
	}
	candidates := 0
	for _, to := range p.To {
		if slices.Contains(up, to) {
			candidates++
		}
	}
	if candidates < p.Replicas {
		return
	}
	if p.Place != nil && candidates < len(p.To) {
		j.replaced(x, up)
		return
	}
	must := map[object]string{}
	for _, c := range containersOf(p) {
		for _, n := range j.w.sites[p.From].Names(c) {
			if x := (object{c, n}); !slices.Contains(j.tampered[p.Name], x) { // that waits for an audit
				o, _ := j.w.sites[p.From].Get(c, n)
				must[x] = o.ETag
			}
		}
	}
	j.holds[p.Name] = must
	j.count["chances"]++
	if j.held(p); t.Failed() {
		t.Errorf("%s: the pass of %v: up %v, %+v", p.Name, x.began, up, x.result)
	}
}

// elsewhere counts the other candidates that hold what one of them holds, or what the source has.
func (j *judge) elsewhere(p policies.Policy, at *site, x object) (n int) {
	here, _ := at.Get(x.container, x.name)
	src, _ := j.w.sites[p.From].Get(x.container, x.name)
	for _, to := range p.To {
		if o, ok := j.w.sites[to].Get(x.container, x.name); ok && to != at.Name() && (bytes.Equal(o.Bytes(), here.Bytes()) || bytes.Equal(o.Bytes(), src.Bytes())) {
			n++
		}
	}
	return n
}

// replaced judges a pass of a policy that places containers while a candidate is down: once
// passes have found it down for as long as replace_after, without a break of that length,
// another has what it held.
func (j *judge) replaced(x *judged, up []string) {
	p := x.policy
	for _, to := range p.To {
		s := j.w.sites[to]
		if slices.Contains(up, to) || s.up.Load() || s.since().After(x.began) {
			continue
		}
		f := j.found[to]
		if f.turn != s.turns.Load() || x.began.Sub(f.last) >= p.Place.ReplaceAfter {
			f = found{turn: s.turns.Load(), first: x.began}
		}
		f.last = x.began
		j.found[to] = f
		if f.last.Sub(f.first) <= p.Place.ReplaceAfter+time.Minute {
			continue
		}
		for _, c := range containersOf(p) {
			for _, n := range j.w.sites[p.From].Names(c) {
				if x := (object{c, n}); !slices.Contains(j.tampered[p.Name], x) && j.copies(p, x, up) < p.Replicas {
					j.w.t.Errorf("%s: %s has been down since %v, as a pass of %v found, and no region that answers has %s/%s", p.Name, to, s.since(), f.first, c, n)
				}
			}
		}
		j.count["replacements"]++
	}
}

// found is when passes found a region down.
type found struct {
	turn        int64
	first, last time.Time
}

// copies counts the regions that hold an object as its source has it.
func (j *judge) copies(p policies.Policy, x object, regions []string) (n int) {
	src, _ := j.w.sites[p.From].Get(x.container, x.name)
	for _, to := range p.To {
		if !slices.Contains(regions, to) {
			continue
		}
		if o, ok := j.w.sites[to].Get(x.container, x.name); ok && o.ETag == src.ETag && bytes.Equal(o.Bytes(), src.Bytes()) {
			n++
		}
	}
	return n
}

// held asserts that a policy's objects are held that must be.
func (j *judge) held(p policies.Policy) {
	for x, etag := range j.holds[p.Name] {
		o, ok := j.w.sites[p.From].Get(x.container, x.name)
		if !ok || o.ETag != etag {
			delete(j.holds[p.Name], x) // the source has changed it: it has its chance again
			continue
		}
		j.count["objects held"]++
		if n := j.copies(p, x, p.To); n < p.Replicas {
			j.w.t.Errorf("%s: %s/%s is held by %d regions, not %d", p.Name, x.container, x.name, n, p.Replicas)
		}
	}
}

// hour judges everything, with no task under way.
func (j *judge) hour() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.w.file.Policies {
		if p.Volumes == nil {
			j.held(p)
		} else if j.dirty[p.Name] {
			j.dirty[p.Name] = false
			points, err := j.w.ledger.Points("")
			if err != nil {
				j.w.t.Fatal(err)
			}
			j.unbroken(p, points)
			j.kept(p, points)
		}
	}
	j.count["hours"]++
}

// unbroken asserts that every backup that the ledger has of a policy is there, and its parent.
func (j *judge) unbroken(p policies.Policy, points []store.Point) {
	for _, region := range append([]string{p.From}, p.To...) {
		there := map[string]bool{"": true}
		for _, b := range j.w.sites[region].BlockResources() {
			if b.Kind == "backup" {
				there[b.ID] = b.Status == "available"
			}
		}
		for _, pt := range points {
			if pt.Policy != p.Name {
				continue
			}
			c, ok := pt.Copy(region)
			if region == pt.Region {
				c, ok = store.PointCopy{State: store.CopyLanded, Backup: pt.ID, Parent: pt.Parent}, pt.Gone == 0 && pt.Made != 0
			}
			if !ok || c.State != store.CopyLanded {
				continue
			}
			j.count["points kept"]++
			if !there[c.Backup] || !there[c.Parent] {
				j.w.t.Errorf("%s: in %s, the point of %v (backup %s upon %q): there %v, its parent %v", p.Name, region, time.UnixMicro(pt.Taken).UTC(), c.Backup, c.Parent, there[c.Backup], there[c.Parent])
			}
		}
	}
}

// deletes judges a DELETE of an object that a region is asked for.
func (j *judge) deletes(s *site, container, name string) {
	p := j.owner[container]
	if p == nil {
		return
	}
	_, there := j.w.sites[p.From].Get(container, name)
	j.mu.Lock()
	defer j.mu.Unlock()
	x := j.now[p.Name]
	switch {
	case s.Name() == p.From:
		j.w.t.Errorf("%s: the source was asked to delete %s/%s", p.Name, container, name)
	case x == nil || x.kind != daemon.Pass:
		j.w.t.Errorf("%s: %s was asked to delete %s/%s by no pass", p.Name, s.Name(), container, name)
	case p.Place != nil:
		j.count["trimmed"]++
		if n := j.elsewhere(*p, s, object{container, name}); n < p.Place.Copies && !slices.Contains(j.tampered[p.Name], object{container, name}) {
			j.w.t.Errorf("%s: %s was asked to delete %s/%s, which %d other candidates hold, not %d", p.Name, s.Name(), container, name, n, p.Place.Copies)
		}
	case there:
		j.w.t.Errorf("%s: %s was asked to delete %s/%s, which the source has", p.Name, s.Name(), container, name)
	case !p.Deletes.Propagate:
		j.w.t.Errorf("%s: %s was asked to delete %s/%s by a policy without deletes", p.Name, s.Name(), container, name)
	case j.w.clock.Now().Sub(j.gone[object{container, name}]) < p.Deletes.After:
		j.w.t.Errorf("%s: %s was asked to delete %s/%s, gone since %v, at %v", p.Name, s.Name(), container, name, j.gone[object{container, name}], j.w.clock.Now())
	}
	if x != nil {
		if x.deleted[container] == nil {
			x.deleted[container] = map[string]bool{}
		}
		x.deleted[container][name] = true
	}
}

// event hears of what was late and arrived.
func (j *judge) event(e report.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := e.Policy + " to " + e.Region
	j.count[string(e.Kind)]++
	switch open := j.late[key]; {
	case e.Kind == report.EventLate && open != "":
		j.w.t.Errorf("%s is late (%s) while it is late (%s)", key, e.ID, open)
	case e.Kind == report.EventLate:
		j.late[key] = e.ID
	case open != e.ID:
		j.w.t.Errorf("%s: arrived (%s), late was %q", key, e.ID, open)
	default:
		delete(j.late, key)
	}
}

func (j *judge) token(policy string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	token := j.tokens[policy]
	delete(j.tokens, policy)
	return token
}

func (j *judge) give(policy, token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tokens[policy] = token
}

// lastly judges the end of a calm that gave everything its chance.
func (j *judge) lastly(began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.w.t
	for key, id := range j.late {
		t.Errorf("%s: the late event %s has no arrived", key, id)
		for _, l := range j.w.lag.Lags() {
			if l.Policy+" to "+l.Region == key {
				t.Errorf("%+v", l)
			}
		}
	}
	for policy := range j.brakes {
		t.Errorf("%s: still stopped by its brake", policy)
	}
	end := j.w.clock.Now()
	for _, p := range j.w.file.Policies {
		if p.Volumes == nil && p.Name != "weekly" && len(j.tampered[p.Name]) == 0 { // a copy that somebody took waits for its audit
			for _, c := range containersOf(p) {
				for _, n := range j.w.sites[p.From].Names(c) {
					if j.copies(p, object{c, n}, p.To) < p.Replicas {
						t.Errorf("%s: in the end %s/%s is not kept", p.Name, c, n)
					}
				}
			}
		}
		fields := p.Schedule.String()
		if p.Schedule.IsZero() || fields[len(fields)-5:] != "* * *" {
			continue
		}
		zone := p.Timezone
		if zone == nil {
			zone = time.UTC
		}
		for day := began.In(zone).AddDate(0, 0, 1); day.Before(end.In(zone).AddDate(0, 0, -1)); day = day.AddDate(0, 0, 1) {
			if j.days[p.Name][day.Format(time.DateOnly)] == 0 {
				t.Errorf("%s: no pass on %s in %v", p.Name, day.Format(time.DateOnly), zone)
			}
		}
	}
}
