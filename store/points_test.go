package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"farshore/transport/chunk"
)

// testPoint is a restore point with something of everything; n makes it differ.
func testPoint(n int, volume string, regions ...string) Point {
	p := Point{ID: fmt.Sprintf("backup-%03d", n), Policy: "databases", Region: "paris", Project: "p1",
		Volume: PointVolume{ID: volume, Name: "db <1>", Size: 10, Type: "ssd", Zone: "nova", Bootable: true,
			Metadata: map[string]string{"dr": "gold"}, Image: map[string]string{"os": "ü"}},
		Snapshot: fmt.Sprint("snapshot-", n), SnapshotOurs: true, Taken: 1_790_000_000_000_000 + int64(n), Made: 1_790_000_060_000_000 + int64(n),
		Container: "volumebackups", Prefix: fmt.Sprintf("volume_%s/20260921141320/az_nova_backup_%03d", volume, n), Why: "the first", Objects: 2, Bytes: 3_000,
		Metadata: Sum{1, byte(n)}, Blocks: 327_680, BlockSize: 32_768, BlocksDigest: Sum{2, byte(n)}}
	for _, r := range regions {
		p.SetCopy(PointCopy{Region: r, Project: "p1", State: CopyLanded, Backup: p.ID, Container: p.Container, Prefix: p.Prefix, Objects: 2, Bytes: 3_000,
			Metadata: p.Metadata, Began: p.Made + 1, Shipped: p.Made + 2, Landed: p.Made + 3, Proof: Proof{At: p.Made + 4, Kind: "blocks", OK: true}})
	}
	return p
}

func putPoint(t testing.TB, l *Ledger, p Point) {
	t.Helper()
	if err := l.UpdatePoint(context.Background(), p.ID, setPoint(p)); err != nil {
		t.Fatalf("put point %s: %v", p.ID, err)
	}
}

func setPoint(p Point) func(*Point, bool) bool {
	return func(to *Point, _ bool) bool {
		*to = p
		to.Copies = slices.Clone(p.Copies)
		return true
	}
}

func pointIDs(t testing.TB, l *Ledger, volume string) (out []string) {
	t.Helper()
	all, err := l.Points(volume)
	if err != nil {
		t.Fatalf("points of %q: %v", volume, err)
	}
	for _, p := range all {
		out = append(out, p.ID)
	}
	return out
}

func TestPointsAreDurableAndFoundByVolume(t *testing.T) {
	ctx := context.Background()
	path := tempPath(t)
	l := open(t, path, Options{})
	want := testPoint(2, "v1", "lyon", "berlin")
	for _, p := range []Point{testPoint(3, "v1"), want, testPoint(1, "v2", "lyon"), testPoint(4, "v")} {
		putPoint(t, l, p)
	}
	same := testPoint(5, "v1")
	same.Taken = want.Taken // as old: by id
	putPoint(t, l, same)
	check := func() {
		t.Helper()
		for volume, ids := range map[string][]string{"": {"backup-001", "backup-002", "backup-005", "backup-003", "backup-004"}, "v1": {"backup-002", "backup-005", "backup-003"},
			"v2": {"backup-001"}, "v": {"backup-004"}, "v3": nil, "v1\x00": nil, "\xff": nil} {
			if got := pointIDs(t, l, volume); !slices.Equal(got, ids) {
				t.Errorf("points of %q: %v, want %v", volume, got, ids)
			}
		}
		got, ok, err := l.Point(want.ID)
		if d := cmp.Diff(want, got); !ok || err != nil || d != "" {
			t.Errorf("%v %v %s", ok, err, d)
		}
	}
	check()
	if err := l.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	check()
	closeAndCheck(t, l)
	l = open(t, path, Options{})
	check()
	if _, ok, err := l.Point("never"); ok || err != nil {
		t.Errorf("a point that never was: %v, %v", ok, err)
	}

	err := l.UpdatePoint(ctx, want.ID, func(p *Point, exists bool) bool {
		if d := cmp.Diff(want, *p); !exists || d != "" {
			t.Errorf("handed out: %v %s", exists, d)
		}
		p.ID, p.Volume.ID, p.Gone = "not heeded", "v2", 7
		p.DropCopy("lyon")
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := l.Point(want.ID)
	if _, there := got.Copy("lyon"); there || got.ID != want.ID || got.Gone != 7 || len(got.Copies) != 1 {
		t.Errorf("changed: %+v", got)
	}
	if got := pointIDs(t, l, "v1"); !slices.Equal(got, []string{"backup-005", "backup-003"}) {
		t.Errorf("it is found by its old volume: %v", got)
	}
	for _, id := range []string{want.ID, "backup-004", "never"} {
		if err := l.UpdatePoint(ctx, id, func(*Point, bool) bool { return false }); err != nil {
			t.Fatal(err)
		}
	}
	if got := pointIDs(t, l, ""); !slices.Equal(got, []string{"backup-001", "backup-005", "backup-003"}) {
		t.Errorf("after the removal: %v", got)
	}
	commits := l.Stats().Commits
	putPoint(t, l, same)
	if n := l.Stats().Commits - commits; n != 0 {
		t.Errorf("a point that came out the same cost %d commits", n)
	}
	closeAndCheck(t, l)
}

// Whoever changes a point sees what all others before made of it.
func TestPointsAreChangedOneAfterTheOther(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				err := l.UpdatePoint(context.Background(), "p", func(p *Point, exists bool) bool {
					if exists != (p.Bytes > 0) {
						t.Errorf("exists is %v at %d", exists, p.Bytes)
					}
					p.Region, p.Volume.ID = "paris", "v"
					p.Bytes++
					return true
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if p, _, err := l.Point("p"); p.Bytes != 160 || err != nil {
		t.Errorf("%d changes of 160, %v", p.Bytes, err)
	}
	closeAndCheck(t, l)
}

func TestWhatIsNoPointIsRefusedAlone(t *testing.T) {
	l := fresh(t)
	ctx := context.Background()
	good := testPoint(1, "v1", "berlin", "lyon")
	putPoint(t, l, good)
	for name, spoil := range map[string]func(*Point){
		"no region":      func(p *Point) { p.Region = "" },
		"no volume":      func(p *Point) { p.Volume.ID = "" },
		"volume's bytes": func(p *Point) { p.Volume.ID = "\xff" },
		"descending":     func(p *Point) { slices.Reverse(p.Copies) },
		"region twice":   func(p *Point) { p.Copies[1].Region = "berlin" },
		"no state":       func(p *Point) { p.Copies[0].State = "" },
		"made-up state":  func(p *Point) { p.Copies[0].State = "proven" },
		"copy nowhere":   func(p *Point) { p.Copies[0].Region = "" },
	} {
		err := l.UpdatePoint(ctx, good.ID, func(p *Point, _ bool) bool { spoil(p); return true })
		if !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), good.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := make([]byte, MaxData+1)
	for name, err := range map[string]error{
		"point without id":    l.UpdatePoint(ctx, "", setPoint(good)),
		"point's bytes":       l.UpdatePoint(ctx, "\xff", setPoint(good)),
		"work without id":     l.PutWork(ctx, Work{Kind: "backup", Region: "paris"}),
		"work without kind":   l.PutWork(ctx, Work{ID: "w", Region: "paris"}),
		"work without region": l.PutWork(ctx, Work{ID: "w", Kind: "backup"}),
		"large work":          l.PutWork(ctx, Work{ID: "w", Kind: "backup", Region: "paris", Data: big}),
		"drill without id":    l.PutDrill(ctx, Drill{}),
		"large drill":         l.PutDrill(ctx, Drill{ID: "d", Report: big}),
		"forget no name":      l.ForgetObjects(ctx, 1, []string{"a", ""}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	err := l.UpdatePoint(gone, good.ID, func(*Point, bool) bool { t.Error("it ran for nobody"); return false })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if p, ok, err := l.Point(good.ID); !ok || err != nil || cmp.Diff(good, p) != "" {
		t.Errorf("it changed: %v %v %s", ok, err, cmp.Diff(good, p))
	}
	putPoint(t, l, testPoint(2, "v1")) // the ledger goes on
	closeAndCheck(t, l)
}

func TestWorksAndDrillsAreKept(t *testing.T) {
	ctx := context.Background()
	path := tempPath(t)
	l := open(t, path, Options{})
	data := []byte(`{"z":1,  "a":"<ü>"}`)
	works := []Work{{ID: "w2", Kind: "backup", Region: "paris", Policy: "databases", Began: 1, Data: data}, {ID: "w3", Kind: "volume", Region: "lyon", Point: "p", Resource: "r", Began: 1},
		{ID: "w1", Kind: "import", Region: "lyon", Began: 2}}
	drills := []Drill{{ID: "d2", Policy: "databases", Began: 1, OK: true, Report: data}, {ID: "d1", Policy: "databases", Began: 2}, {ID: "d0", Policy: "other", Began: 3, Report: []byte("no JSON")}}
	for i := range works {
		if err := errors.Join(l.PutWork(ctx, works[i]), l.PutDrill(ctx, drills[i])); err != nil {
			t.Fatal(err)
		}
	}
	closeAndCheck(t, l)
	l = open(t, path, Options{})
	if got, err := l.Works(); err != nil || cmp.Diff(works, got) != "" {
		t.Errorf("works: %v %s", err, cmp.Diff(works, got))
	}
	for policy, want := range map[string][]Drill{"": drills, "databases": drills[:2], "other": drills[2:], "none": nil} {
		if got, err := l.Drills(policy); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("drills of %q: %v %s", policy, err, cmp.Diff(want, got))
		}
	}
	works[1].Resource = "known now"
	if err := errors.Join(l.PutWork(ctx, works[1]), l.DropWork(ctx, "w2"), l.DropWork(ctx, "never")); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Works(); err != nil || cmp.Diff(works[1:], got) != "" {
		t.Errorf("works: %v %s", err, cmp.Diff(works[1:], got))
	}
	closeAndCheck(t, l)
	ro := open(t, path, Options{ReadOnly: true})
	for what, err := range map[string]error{"point": ro.UpdatePoint(ctx, "p", nil), "work": ro.PutWork(ctx, works[0]), "drop": ro.DropWork(ctx, "w1"), "drill": ro.PutDrill(ctx, drills[0]),
		"forget": ro.ForgetObjects(ctx, 1, []string{"a"})} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
}

// More than a page of records is read in pages, and none twice.
func TestPointsAndWorksBeyondAPage(t *testing.T) {
	path := tempPath(t)
	closeAndCheck(t, open(t, path, Options{}))
	const n = 2*MaxPage + 5
	tamper(t, path, func(tx *bbolt.Tx) error {
		works, drills := tx.Bucket([]byte(bucketWorks)), tx.Bucket([]byte(bucketDrills))
		for i := range n {
			key := fmt.Appendf(nil, "%06d", i)
			w, err1 := sealJSON(kindWork, key, &Work{ID: string(key), Kind: "k", Region: "r", Began: int64(n - i)})
			d, err2 := sealJSON(kindDrill, key, &Drill{ID: string(key)})
			if err := errors.Join(err1, err2, works.Put(key, w), drills.Put(key, d)); err != nil {
				return err
			}
		}
		return nil
	})
	l := open(t, path, Options{})
	works, err1 := l.Works()
	drills, err2 := l.Drills("")
	if err1 != nil || err2 != nil || len(works) != n || len(drills) != n || works[0].ID != fmt.Sprintf("%06d", n-1) || drills[n-1].ID != works[0].ID {
		t.Errorf("%d works, %d drills of %d: %v, %v", len(works), len(drills), n, err1, err2)
	}
	closeAndCheck(t, l)
}

// What is forgotten leaves nothing behind: no record, replica, index, counter, intent,
// chunk or need; and what is not named stays.
func TestForgetObjects(t *testing.T) {
	l := open(t, tempPath(t), Options{NoSync: true})
	ctx := context.Background()
	r, r2 := route(t, l, paris("a"), lyon("a")), route(t, l, paris("a"), lyon("b"))
	other := route(t, l, paris("b"), lyon("a"))
	const n = MaxPage + 20
	var gone []string
	for i := range n {
		name := fmt.Sprintf("v/%06d", i)
		gone = append(gone, name)
		o := testObject(name, r.ID, r2.ID)
		if i%1000 == 1 {
			o.Missing, o.Replicas[0].State = 1, Lost
		}
		l.Update(r.From, name, set(o))
	}
	l.Update(r.From, "v/", set(testObject("v/", r.ID)))
	l.Update(r.From, "w", set(testObject("w", r.ID, r2.ID)))
	l.Update(other.From, gone[0], set(testObject(gone[0], other.ID)))
	lay := chunk.Layout{Size: 20, Chunk: 10}
	for _, id := range []RouteID{r.ID, r2.ID, other.ID} {
		l.SetNeeds(id, gone[0], []Need{{1}})
		err := errors.Join(l.AddIntents(ctx, []Intent{{Route: id, Name: gone[0], Layout: lay}, {Route: id, Name: "only meant"}}),
			l.ChunkDone(ctx, id, gone[0], ChunkRecord{Index: 1}, &HashState{Chunks: 1}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := l.ForgetObjects(ctx, r.From, append(gone, "never", "only meant", gone[0])); err != nil {
		t.Fatal(err)
	}
	page, err := l.Page(r.From, "", "", "", 0)
	if got := names(page); !slices.Equal(got, []string{"v/", "w"}) || err != nil {
		t.Errorf("left: %v, %v", got, err)
	}
	if got, _ := l.MissingPage(r.From, "", 0); len(got) != 0 {
		t.Errorf("missing: %v", names(got))
	}
	for _, id := range []RouteID{r.ID, r2.ID} {
		ins, _ := l.Intents(id, "", 0)
		chunks, _, _ := l.Chunks(id, gone[0])
		needs, _ := l.Needs(id, gone[0])
		if len(ins)+len(chunks)+len(needs) != 0 {
			t.Errorf("left on route %d: %v, %v, %v", id, ins, chunks, needs)
		}
	}
	if ins, _ := l.Intents(other.ID, "", 0); len(ins) != 2 {
		t.Errorf("another place's intents: %v", ins)
	}
	if _, ok, _ := l.Get(other.From, gone[0]); !ok {
		t.Error("another place's object of that name went too")
	}
	if err := l.ForgetObjects(ctx, 99, []string{"a"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown place: %v", err)
	}
	if err := l.ForgetObjects(ctx, r.From, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	// In order with what is queued about the same name, before and after.
	l.Update(r.From, "x", set(testObject("x", r.ID)))
	if err := l.ForgetObjects(ctx, r.From, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := l.Get(r.From, "x"); ok {
		t.Error("what was queued before is there")
	}
	closeAndCheck(t, l)
}

// What rots is named by whoever reads it, and a write that meets it stops the ledger.
func TestBitRotInWhatFormat3Brought(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 3)
	tamper(t, path, func(tx *bbolt.Tx) error {
		for bucket, key := range map[string]string{bucketPoints: "backup-002", bucketWorks: "work-1", bucketDrills: "drill-1"} {
			b := tx.Bucket([]byte(bucket))
			v := slices.Clone(b.Get([]byte(key)))
			if v == nil {
				return fmt.Errorf("no record %q", key)
			}
			v[len(v)/2] ^= 1
			if err := b.Put([]byte(key), v); err != nil {
				return err
			}
		}
		return nil
	})
	var found []string
	for _, p := range problems(t, path) {
		found = append(found, p.Kind+" "+p.Key)
	}
	if want := []string{`record points/"backup-002"`, `record works/"work-1"`, `record drills/"drill-1"`}; !slices.Equal(found, want) {
		t.Errorf("check: %v", found)
	}
	l := open(t, path, Options{})
	_, _, errPoint := l.Point("backup-002")
	_, errPoints := l.Points("")
	_, errVolume := l.Points("volume-1")
	_, errWorks := l.Works()
	_, errDrills := l.Drills("")
	for says, errs := range map[string][]error{`point "backup-002"`: {errPoint, errPoints, errVolume, l.Dump(context.Background(), new(strings.Builder))},
		`work "work-1"`: {errWorks}, `drill "drill-1"`: {errDrills}} {
		for i, err := range errs {
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), says) || !strings.Contains(fmt.Sprint(err), "checksum") {
				t.Errorf("%d: got %v, want %s", i, err, says)
			}
		}
	}
	if p, ok, err := l.Point("backup-001"); !ok || err != nil || p.ID != "backup-001" {
		t.Errorf("the neighbour: %v, %v", ok, err)
	}
	err := l.UpdatePoint(context.Background(), "backup-002", func(*Point, bool) bool { t.Error("a false record was handed out"); return true })
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("update: %v", err)
	}
	_ = l.Close() // says it again
}

func TestCheckFindsContradictionsOfPoints(t *testing.T) {
	point := func(n int, change func(*Point)) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			p := testPoint(n, "volume-1", "berlin", "lyon")
			change(&p)
			v, err := sealJSON(kindPoint, []byte(p.ID), &p)
			return errors.Join(err, tx.Bucket([]byte(bucketPoints)).Put([]byte(p.ID), v))
		}
	}
	increment := func(p *Point) { p.Copies[1].Parent = "backup-001" }
	for name, c := range map[string]struct {
		do   func(tx *bbolt.Tx) error
		want string
	}{
		"parent lost": {func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte(bucketPoints)).Delete([]byte("backup-001")), tx.Bucket([]byte(bucketVolumes)).Delete(volumeKey("volume-1", "backup-001")))
		}, `reference points/"backup-002": its copy in lyon is an increment upon backup backup-001`},
		"parent expired":    {point(1, func(p *Point) { p.Copies[1].State = CopyExpired }), `reference points/"backup-002": its copy in lyon`},
		"parent synthetic":  {point(1, func(p *Point) { p.Copies[1].Backup = "another" }), `reference points/"backup-002": its copy in lyon`},
		"parent elsewhere":  {point(1, func(p *Point) { p.DropCopy("lyon") }), `reference points/"backup-002": its copy in lyon`},
		"on another volume": {point(1, func(p *Point) { p.Volume.ID = "volume-2" }), `index volumes/"\x00\bvolume-2backup-001": is not there|index volumes/"\x00\bvolume-1backup-001": names a point that is not there, or of another volume`},
		"not in the index": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketVolumes)).Delete(volumeKey("volume-1", "backup-002"))
		}, `index volumes/"\x00\bvolume-1backup-002": is not there`},
		"index of nothing": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketVolumes)).Put([]byte("x"), []byte{1}) }, `index volumes/"x": names`},
		"under another name": {func(tx *bbolt.Tx) error {
			p := testPoint(7, "volume-1")
			v, err := sealJSON(kindPoint, []byte("other"), &p)
			return errors.Join(err, tx.Bucket([]byte(bucketPoints)).Put([]byte("other"), v))
		}, `record points/"other": record does not decode: it says that it is "backup-007"`},
		"invalid": {point(1, func(p *Point) { p.Region = "" }), `record points/"backup-001": record does not decode: invalid record: point "backup-001": no region`},
		"unknown field": {func(tx *bbolt.Tx) error {
			key := []byte("w")
			v, err := sealJSON(kindWork, key, map[string]any{"id": "w", "kind": "k", "region": "r", "later": 1})
			return errors.Join(err, tx.Bucket([]byte(bucketWorks)).Put(key, v))
		}, `record works/"w": record does not decode: json: unknown field "later"`},
		"expired child": {func(tx *bbolt.Tx) error {
			return errors.Join(point(1, func(p *Point) { p.Copies[1].State = CopyExpired })(tx), point(2, func(p *Point) { increment(p); p.Copies[1].State = CopyExpired })(tx))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			sample(t, path, 3)
			tamper(t, path, c.do)
			var got []string
			for _, p := range problems(t, path) {
				got = append(got, p.String())
			}
			want := strings.Split(c.want, "|")
			if c.want == "" {
				want = nil
			}
			if len(got) != len(want) {
				t.Fatalf("found %q, want %q", got, want)
			}
			for i := range want {
				if !strings.HasPrefix(got[i], want[i]) {
					t.Errorf("found %s, want %s", got[i], want[i])
				}
			}
		})
	}
}
