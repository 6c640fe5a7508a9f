package year

import (
	"context"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/cinder"
	"farshore/transport/region"
	"farshore/transport/swift"
)

// What the world is asked to keep: schedules by the clocks of zones that change them on
// different days, by a half hour in one; copies at one, two and two of three regions.
const policyFile = `
regions:
  paris: {}
  lyon: {}
  berlin: {}
limits: {streams: 4, memory: 8MiB}
policies:
  - {name: daily,    from: paris, to: [lyon, berlin], containers: [c-daily], schedule: "30 2 * * *", timezone: Europe/Paris, rpo: 50h, audit: {every: 7d, read: 100%}}
  - {name: nightly,  from: paris, to: [lyon], containers: [c-nightly], schedule: "15 1 * * *", timezone: America/New_York, rpo: 26h, deletes: {propagate: true, after: 24h}, brake: {deletes: 20%, at_least: 6}}
  - {name: halfhour, from: paris, to: [berlin], containers: [c-halfhour], schedule: "45 1 * * *", timezone: Australia/Lord_Howe, rpo: 26h}
  - {name: often,    from: paris, to: [lyon, berlin], containers: [c-often], every: 2h, rpo: 5h, deletes: {propagate: true, after: 12h}, brake: {deletes: 20%, at_least: 6}, audit: {every: 3d, read: 100%}}
  - {name: any-one,  from: paris, to: [lyon, berlin], replicas: 1, containers: [c-any], every: 4h, rpo: 8h, audit: {every: 7d, read: 50%}}
  - {name: placed,   from: paris, to: [lyon, berlin], replicas: 1, containers: ["p-*"], every: 3h, rpo: 24h, place: {copies: 1, replace_after: 8h}, audit: {every: 5d, read: 100%}}
  - {name: exact,    from: paris, to: [berlin], containers: [c-exact], every: 6h, deletes: {propagate: true, after: 0s}, brake: {deletes: 20%, at_least: 6}}
  - {name: weekly,   from: paris, to: [lyon], containers: [c-weekly], schedule: "0 5 * * sun", timezone: Europe/Paris}
  - {name: back,     from: lyon, to: [paris], containers: [l-back], every: 5h, rpo: 12h}
  - {name: db-one,   from: paris, to: [lyon], volumes: {metadata: {p: one}}, schedule: "0 4 * * *", timezone: Europe/Paris, rpo: 60h, snapshot: {every: 20h}, keep: {last: 3, daily: 5, weekly: 2}, keep_source: {last: 2}, drill: {schedule: "0 12 * * wed"}}
  - {name: db-two,   from: paris, to: [lyon, berlin], volumes: {metadata: {p: two}}, schedule: "0 3 * * *", snapshot: {every: 20h}, keep: {last: 4}, keep_source: {last: 2}, max_chain: {source: 10, destination: 4}}
  - {name: db-three, from: paris, to: [berlin], volumes: {metadata: {p: three}}, schedule: "0 22 * * mon,thu", timezone: America/New_York, snapshot: {every: 48h}, keep: {last: 2, monthly: 2}, keep_source: {last: 1}, drill: {schedule: "0 12 1 * *"}}
`

// site is one region and what is known of it.
type site struct {
	*fakecloud.Region
	up     atomic.Bool
	moved  atomic.Int64  // when it went or came back, µs
	turns  atomic.Int64  // of outages and returns
	fuse   atomic.Int64  // requests until it breaks down in the middle of something; below 0: never
	broken chan struct{} // closed once it has, or when it was not to
}

// since is when the region went or came back.
func (s *site) since() time.Time { return time.UnixMicro(s.moved.Load()).UTC() }

// world is all of it.
type world struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	clock  *clock
	cloud  *fakecloud.Cloud
	sites  map[string]*site
	file   *policies.File
	ledger *store.Ledger
	engine *replicator.Engine
	ship   *volumes.Shipper
	lag    *lag.Tracker
	sched  *daemon.Scheduler
	disks  map[string]*fakecloud.BlockVolume // by policy

	gate  sync.RWMutex  // tasks hold it to read; the story and the judge alone, to write
	ended chan struct{} // a task has

	judge *judge
}

func newWorld(t *testing.T, seed uint64, began time.Time) *world {
	t.Helper()
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), clock: newClock(began), sites: map[string]*site{}, disks: map[string]*fakecloud.BlockVolume{}, ended: make(chan struct{}, 100)}
	var err error
	if w.file, err = policies.Parse("year.yaml", []byte(policyFile)); err != nil {
		t.Fatal(err)
	}
	block := fakecloud.BlockOptions{GiB: 64 << 10, BlockSize: 4096, ObjectSize: 16 << 10, Quota: map[string]int{"backups": 1000, "snapshots": 1000}}
	var list []fakecloud.RegionOptions
	for _, n := range []string{"paris", "lyon", "berlin"} {
		list = append(list, fakecloud.RegionOptions{Name: n, Block: block})
	}
	if w.cloud, err = fakecloud.Start(fakecloud.Options{Regions: list, Clock: w.clock.Now, TokenLife: 100_000 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cloud.Close() })
	if w.ledger, err = store.Open(filepath.Join(t.TempDir(), "ledger.db"), store.Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ledger.Close() })
	w.judge = newJudge(w)
	w.login()
	return w
}

func (w *world) login() {
	clouds, err := w.cloud.CloudsYAML(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	sinks, regions := map[string]transport.Sink{}, map[string]volumes.Region{}
	retry := transport.RetryPolicy{Clock: working{w.clock}, Refused: transport.RefusedPatience}
	open := func(name, cloud string) *region.Region {
		r, err := region.Open(w.t.Context(), region.Config{Name: name, Cloud: cloud, CloudsFile: clouds})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(r.Close)
		return r
	}
	for _, r := range w.cloud.Regions() {
		s := &site{Region: r}
		s.up.Store(true)
		s.fuse.Store(-1)
		w.sites[r.Name()] = s
		r.OnRequest(func(q *http.Request) { w.asked(s, q) })
		mine, admin := open(r.Name(), r.Name()), open(r.Name(), r.Name()+"-admin")
		sinks[r.Name()] = transport.Retry(swift.New(mine.SwiftConnection(), swift.Options{Region: r.Name(), Project: mine.Identity().Project}), nil, retry)
		blocks := func(x *region.Region) transport.BlockStorage {
			c, err := cinder.New(x, cinder.Options{Clock: w.clock.Now})
			if err != nil {
				w.t.Fatal(err)
			}
			return transport.RetryBlocks(c, nil, retry)
		}
		regions[r.Name()] = volumes.Region{Objects: sinks[r.Name()], Blocks: blocks(mine), Import: blocks(admin)}
	}
	w.lag = lag.New(lag.Options{Clock: w.clock, Memory: w.ledger, OnEvent: w.judge.event})
	w.engine = replicator.New(replicator.Options{Ledger: w.ledger, Regions: sinks, Limits: w.file.Limits, SideBySide: true, Clock: showing{c: w.clock}, Lag: w.lag})
	w.ship = volumes.New(volumes.Options{Ledger: w.ledger, Engine: w.engine, Regions: regions, Clock: working{w.clock}, Hands: &volumes.Hands{}, Lag: w.lag})
	var terms []lag.Terms
	for _, p := range w.file.Policies {
		terms = append(terms, lag.Terms{Policy: p.Name, Regions: p.To, RPO: p.RPO, Poll: p.LongestPause()})
	}
	if err := w.lag.Follow(terms, nil); err != nil {
		w.t.Fatal(err)
	}
}

// asked sees every request before it is handled.
func (w *world) asked(s *site, q *http.Request) {
	if n := s.fuse.Add(-1); n == 0 {
		w.stop(s)
	} else if n < -1 {
		s.fuse.Store(-1)
	}
	if q.Method == http.MethodDelete {
		if at := strings.SplitN(strings.TrimPrefix(q.URL.Path, "/v1/"), "/", 3); len(at) == 3 && at[2] != "" {
			w.judge.deletes(s, at[1], at[2])
		}
	}
}

// stop takes a region away. What it was asked for at that moment is cut off.
func (w *world) stop(s *site) {
	if !s.up.CompareAndSwap(true, false) {
		return
	}
	s.moved.Store(w.clock.Now().UnixMicro())
	s.turns.Add(1)
	s.broken = make(chan struct{})
	go func() {
		defer close(s.broken)
		if err := s.Stop(); err != nil {
			w.t.Error(err)
		}
	}()
}

func (w *world) start(s *site) {
	if s.up.Load() {
		return
	}
	<-s.broken
	if err := s.Start(); err != nil {
		w.t.Fatal(err)
	}
	s.moved.Store(w.clock.Now().UnixMicro())
	s.turns.Add(1)
	s.up.Store(true)
}

// tasks is what a daemon does for the policies (cmd/farshore makes the same of them).
func (w *world) tasks() []daemon.Task {
	var all []daemon.Task
	for _, p := range w.file.Policies {
		add := func(kind daemon.Kind, next func(time.Time) time.Time, do func(context.Context, *judged) daemon.Outcome) {
			all = append(all, daemon.Task{Policy: p.Name, Kind: kind, Next: next, First: kind == daemon.Pass && p.Every > 0, Patience: p.RPO / 4, Do: func(ctx context.Context) daemon.Outcome {
				w.gate.RLock()
				j := w.judge.begins(p, kind)
				out := do(ctx, j)
				w.judge.ends(j, out)
				w.gate.RUnlock()
				select {
				case w.ended <- struct{}{}:
				default:
				}
				return out
			}})
		}
		add(daemon.Pass, p.Next, func(ctx context.Context, j *judged) daemon.Outcome {
			if p.Volumes != nil {
				r, err := w.ship.Pass(ctx, p, volumes.ShipOptions{})
				return j.of(r, err)
			}
			token := w.judge.token(p.Name)
			jobs, err := w.engine.Jobs(ctx, p)
			if err != nil {
				return j.of(report.Result{}, err)
			}
			r, err := w.engine.Sync(ctx, p, jobs, replicator.SyncOptions{ReleaseBrake: token})
			j.released = r.BrakeReleased
			return j.of(r, err)
		})
		if p.Audit.Every > 0 && p.Volumes == nil {
			add(daemon.Audit, func(last time.Time) time.Time { return last.Add(p.Audit.Every) }, func(ctx context.Context, j *judged) daemon.Outcome {
				jobs, err := w.engine.Jobs(ctx, p)
				if err != nil {
					return j.of(report.Result{}, err)
				}
				r, err := w.engine.Audit(ctx, p, jobs, replicator.AuditOptions{Read: p.Audit.Read, Seed: int64(w.seed >> 1), Repair: true, KeepEdits: true})
				return j.of(r, err)
			})
		}
		if p.Drill != nil {
			add(daemon.Drill, func(last time.Time) time.Time { return p.Drill.Schedule.Next(last, p.Timezone) }, func(ctx context.Context, j *judged) daemon.Outcome {
				d, err := w.ship.Drill(ctx, volumes.DrillRequest{Policy: p, Wait: volumes.DefaultWait, Share: 1, Seed: 1, Version: "year"})
				j.drill = d
				return daemon.Outcome{Errors: d.Errors, Err: err}
			})
		}
	}
	return all
}

// live lets the schedule work for a while of the world's time, an hour's judgement at a time.
func (w *world) live(hours int, story func(hour int)) {
	sched, err := daemon.New(daemon.Options{Memory: w.ledger, Clock: waiting{w.clock}, Parallel: 3}, w.tasks())
	if err != nil {
		w.t.Fatal(err)
	}
	w.sched = sched
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	w.gate.Lock() // nothing runs before the story has begun
	go func() {
		defer close(ended)
		sched.Run(ctx)
	}()
	defer func() {
		w.judge.mu.Lock()
		w.judge.closed = true
		w.judge.mu.Unlock()
		cancel()
		<-ended
	}()
	began := w.clock.Now().Truncate(time.Hour)
	for hour := range hours {
		if hour > 0 {
			w.gate.Lock()
		}
		story(hour)
		w.gate.Unlock()
		w.until(began.Add(time.Duration(hour+1) * time.Hour))
		w.gate.Lock()
		w.lag.Tick()
		w.judge.hour()
		w.gate.Unlock()
		if w.t.Failed() {
			w.t.Fatalf("after %d hours, at %v", hour+1, w.clock.Now())
		}
	}
}

// until moves the time on from one moment that somebody waits for to the next, and stands
// still while tasks run: these take the time that they wait for.
func (w *world) until(end time.Time) {
	hang := time.Now().Add(time.Minute)
	for {
		// Asked of the schedule: a task that it has begun does not run yet, and on a busy
		// machine hours could pass before it does.
		if tasks := w.sched.Tasks(); slices.ContainsFunc(tasks, func(t control.Task) bool { return t.Running }) {
			select {
			case <-w.ended:
				hang = time.Now().Add(time.Minute)
			case <-time.After(time.Millisecond): // it has ended, and the schedule not yet heard of it
			}
			if time.Now().After(hang) {
				w.t.Fatalf("tasks hang: %+v", tasks)
			}
			continue
		}
		hang = time.Now().Add(time.Minute)
		at, set := w.clock.next()
		if at.IsZero() { // the schedule is about to wait
			select {
			case <-set:
			case <-w.ended:
			}
			continue
		}
		if !at.Before(end) {
			w.clock.to(end)
			return
		}
		w.clock.to(at)
	}
}

// release has a pass go on that a brake stopped.
func (w *world) release(policy, token string) {
	w.judge.give(policy, token)
	if err := w.sched.Order(control.Order{Do: control.RunNow, Policy: policy, Kind: string(daemon.Pass)}); err != nil {
		w.t.Error(err)
	}
}
