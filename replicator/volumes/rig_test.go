package volumes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/store/storetest"
	"farshore/transport"
	"farshore/transport/cinder"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// leap is a clock on which every wait is over at once, and the time it took has passed.
type leap struct {
	mu  sync.Mutex
	now time.Time
}

// It begins now: logins compare their token's end with the machine's clock.
func newLeap() *leap { return &leap{now: time.Now().UTC().Truncate(time.Second)} }

func (c *leap) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *leap) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func (c *leap) NewTimer(d time.Duration) transport.Timer {
	c.advance(d)
	return transporttest.Rung(c.Now())
}

// slow shows the time of a leap, but its timers are real: the engine's own ticking
// must not make time pass.
type slow struct {
	transport.SystemClock
	c *leap
}

func (s slow) Now() time.Time { return s.c.Now() }

// rig is a fake cloud with a source and destinations, and a ledger that can be closed
// and opened like a restarted program's.
type rig struct {
	t       *testing.T
	clock   *leap
	cloud   *fakecloud.Cloud
	from    *fakecloud.Region
	path    string
	ledger  *store.Ledger
	regions map[string]Region
	policy  policies.Policy
	wrap    func(name string, r Region) Region // what a test puts between the work and the regions
	hook    func(string) error                 // of the ledger
	admin   map[string]transport.BlockStorage
}

// rigOptions change what a rig has. The zero value is good.
type rigOptions struct {
	block     func(*fakecloud.BlockOptions)
	tokenLife time.Duration
	noImport  bool // no login of the rig may import
}

func newRig(t *testing.T, o rigOptions, to ...string) *rig {
	t.Helper()
	g := &rig{t: t, clock: newLeap(), path: filepath.Join(t.TempDir(), "ledger.db"), regions: map[string]Region{}, admin: map[string]transport.BlockStorage{}}
	bo := fakecloud.BlockOptions{GiB: 1 << 20, BlockSize: 4096, ObjectSize: 64 << 10, Pace: fakecloud.BlockPace{Step: time.Second, Window: 3 * time.Second},
		Quota: map[string]int{"backups": 100, "snapshots": 100}}
	if o.block != nil {
		o.block(&bo)
	}
	if o.tokenLife == 0 {
		o.tokenLife = 1000 * time.Hour
	}
	names := append([]string{"a"}, to...)
	var list []fakecloud.RegionOptions
	for _, n := range names {
		list = append(list, fakecloud.RegionOptions{Name: n, Block: bo})
	}
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: list, Clock: g.clock.Now, TokenLife: o.tokenLife})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	g.cloud, g.from = cloud, cloud.Region("a")
	file, err := cloud.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		r := g.login(file, n, n)
		sw := swift.New(r.SwiftConnection(), swift.Options{Region: n, Project: r.Identity().Project})
		cin, err := cinder.New(r, cinder.Options{Clock: g.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		adm, err := cinder.New(g.login(file, n, n+"-admin"), cinder.Options{Clock: g.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		retry := transport.RetryPolicy{Clock: g.clock}
		reg := Region{Objects: transport.Retry(sw, nil, retry), Blocks: transport.RetryBlocks(cin, nil, retry)}
		g.admin[n] = transport.RetryBlocks(adm, nil, retry)
		if !o.noImport {
			reg.Import = g.admin[n]
		}
		g.regions[n] = reg
	}
	g.policy = policies.NewPolicy("dbs", "a", to...)
	g.policy.Volumes = &policies.Volumes{All: true}
	g.policy.Snapshot = &policies.Snapshot{Every: time.Hour}
	g.open()
	return g
}

func (g *rig) login(file, name, cloud string) *region.Region {
	g.t.Helper()
	r, err := region.Open(g.t.Context(), region.Config{Name: name, Cloud: cloud, CloudsFile: file})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(r.Close)
	return r
}

func (g *rig) open() {
	g.t.Helper()
	l, err := store.Open(g.path, store.Options{Hook: g.hook, NoSync: true})
	if err != nil {
		g.t.Fatal(err)
	}
	g.ledger = l
	g.t.Cleanup(func() { _ = l.Close() })
}

// restart closes the ledger (a crashed one with an error) and opens it again, after
// checking it.
func (g *rig) restart() {
	g.t.Helper()
	_ = g.ledger.Close()
	storetest.MustCheck(g.t, g.path)
	g.open()
}

// shipper makes a shipper as a freshly started program would.
func (g *rig) shipper() *Shipper {
	regions, sinks := map[string]Region{}, map[string]transport.Sink{}
	for name, r := range g.regions {
		if g.wrap != nil {
			r = g.wrap(name, r)
		}
		regions[name], sinks[name] = r, r.Objects
	}
	limits := policies.Limits{Streams: 4, Memory: 8 << 20}
	engine := replicator.New(replicator.Options{Ledger: g.ledger, Regions: sinks, Clock: slow{c: g.clock}, Limits: limits})
	return New(Options{Ledger: g.ledger, Engine: engine, Regions: regions, Clock: g.clock, Poll: 8 * time.Second}) // a second at first
}

func (g *rig) try(o ShipOptions) (report.Result, error) {
	return g.shipper().Ship(context.Background(), g.policy, o)
}

// ship makes a pass that must run without an error finding.
func (g *rig) ship() report.Result {
	g.t.Helper()
	res, err := g.try(ShipOptions{})
	if err != nil {
		g.t.Fatalf("ship: %v", err)
	}
	if res.Errors > 0 {
		g.t.Fatalf("ship: findings %s", findingsOf(res))
	}
	return res
}

func findingsOf(res report.Result) string {
	var b strings.Builder
	for _, f := range res.Findings {
		fmt.Fprintf(&b, "\n%s %s %s %s: %s: %s → %s", f.Level, f.Kind, f.Region, f.Name, f.Op, f.Cause, f.Hint)
	}
	return b.String()
}

// volume makes a volume of a GiB (of the rig's size) with random content in its first half.
func (g *rig) volume(name string, seed uint64) *fakecloud.BlockVolume {
	g.t.Helper()
	v := g.from.AddVolume(name, 1, "", nil)
	g.scribble(v, seed, 0, v.Size()/2)
	return v
}

func (g *rig) scribble(v *fakecloud.BlockVolume, seed uint64, at, n int64) {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	_, _ = v.WriteAt(p, at)
}

// content is the bytes of a volume.
func content(v *fakecloud.BlockVolume) []byte {
	p := make([]byte, v.Size())
	_, _ = v.ReadAt(p, 0)
	return p
}

// restored restores a backup in a region into a new volume and gives its bytes.
func (g *rig) restored(name, backup string) []byte {
	g.t.Helper()
	ctx, b := g.t.Context(), g.regions[name].Blocks
	x, err := b.Backup(ctx, backup)
	if err != nil {
		g.t.Fatal(err)
	}
	v, err := b.CreateVolume(ctx, transport.VolumeSpec{Name: "restored-" + backup, Size: x.Size})
	if err != nil {
		g.t.Fatal(err)
	}
	g.until(func() bool { v, err = b.Volume(ctx, v.ID); return err != nil || v.Status != "creating" })
	if err == nil {
		err = b.RestoreBackup(ctx, backup, v.ID)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.until(func() bool { v, err = b.Volume(ctx, v.ID); return err != nil || v.Status != "restoring-backup" })
	if err != nil || v.Status != "available" {
		g.t.Fatalf("restore of %s in %s: status %s, %v", backup, name, v.Status, err)
	}
	out := content(g.cloud.Region(name).Volume(v.ID))
	if err := b.DeleteVolume(ctx, v.ID); err != nil {
		g.t.Fatal(err)
	}
	g.until(func() bool { _, err = b.Volume(ctx, v.ID); return transport.Is(err, transport.NotFound) })
	return out
}

func (g *rig) until(done func() bool) {
	g.t.Helper()
	for range 1000 {
		if done() {
			return
		}
		g.clock.advance(time.Second)
	}
	g.t.Fatal("it does not end")
}

// count counts what a region's Cinder has of a kind.
func (g *rig) count(region, kind string) (n int) {
	for _, x := range g.cloud.Region(region).BlockResources() {
		if x.Kind == kind {
			n++
		}
	}
	return n
}

// points gives all points of the ledger.
func (g *rig) points() []store.Point {
	g.t.Helper()
	list, err := g.ledger.Points("")
	if err != nil {
		g.t.Fatal(err)
	}
	return list
}

// clean asserts that nothing of a pass is left behind that should not be.
func (g *rig) clean() {
	g.t.Helper()
	works, err := g.ledger.Works()
	if err != nil || len(works) > 0 {
		g.t.Errorf("works are left: %+v, %v", works, err)
	}
	if n := g.count("a", "snapshot"); n > 0 {
		g.t.Errorf("%d snapshots are left", n)
	}
}
