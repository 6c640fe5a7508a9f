package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"farshore/transport/chunk"
)

// sample is a closed ledger with something of everything.
func sample(t testing.TB, path string, objects int) {
	t.Helper()
	l := open(t, path, Options{Clock: func() time.Time { return time.Unix(1_790_000_000, 0) }})
	fillSample(t, l, objects)
	closeAndCheck(t, l)
}

func fillSample(t testing.TB, l *Ledger, objects int) {
	t.Helper()
	ctx := context.Background()
	r := route(t, l, paris("a"), lyon("a"))
	r2, err := l.Route(Route{From: paris("a"), FromPrefix: "p/", To: lyon("b"), ToPrefix: "q/"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetListed(r.ID, time.Unix(1_790_000_001, 0)); err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		o := testObject(fmt.Sprintf("%06d", i), r.ID, r2.ID)
		switch {
		case i%10 == 3:
			o.Missing = o.Version.Modified + 7
		case i%10 == 5:
			o.Replicas[1].State, o.Replicas[1].Note = Conflict, "not ours"
			o.Replicas[1].ETag = etag("theirs")
		case i%10 == 7:
			o.SHA256[0], o.Meta[0] = 1, 2
			o.Replicas[0].Version.Modified--
		}
		l.Update(r.From, o.Name, set(o))
	}
	l.UpdateSeries(r.From, "history", setSeries(testSeries("history", 5, r.ID, r2.ID)))
	l.SetNeeds(r.ID, "history", []Need{NeedOf("a_segments", "history/1"), NeedOf("a_segments", "history/2")})
	lay := chunk.Layout{Size: 30, Chunk: 10}
	v := Version{ETag: etag("big"), Modified: 1_790_000_000_000_000}
	err = errors.Join(
		l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "big", Version: v, Size: 30, Layout: lay, Began: 1_790_000_002_000_000}, {Route: r2.ID, Name: "small", Version: v, ETag: v.ETag, Size: 3}}),
		l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: 0, MD5: [16]byte{1, 2, 3}}, &HashState{Chunks: 1, MD5: []byte("md5 state"), SHA256: []byte("sha256 state")}),
		l.ChunkDone(ctx, r.ID, "big", ChunkRecord{Index: 2, MD5: [16]byte{4}}, nil),
		l.SavePass(ctx, Pass{Key: "assets paris/a", Began: 1_790_000_000_000_000, Resumed: 2, Ranges: []PassRange{{Hi: "m", Pos: "c"}, {Lo: "m", Done: true}}}),
		l.PutNote("probe lyon", []byte(`{"nul":true}`)),
		l.AddCompanion(r.From, Companion{Container: "a_segments"}),
		l.AddCompanion(r.From, Companion{Container: "shared", Prefix: "a/"}),
		l.PutProperties(r2.ID, [8]byte{7, 8}, 1_790_000_003_000_000),
		l.PutWork(ctx, Work{ID: "work-1", Kind: "backup", Region: "paris", Policy: "databases", Point: "backup-002", Began: 1_790_000_004_000_000, Data: []byte(`{"try":1}`)}),
		l.PutDrill(ctx, Drill{ID: "drill-1", Policy: "databases", Began: 1_790_000_005_000_000, OK: true, Report: []byte(`{"points":["backup-001"]}`)}))
	if err != nil {
		t.Fatal(err)
	}
	full, increment := testPoint(1, "volume-1", "berlin", "lyon"), testPoint(2, "volume-1", "lyon")
	increment.Parent, increment.Why, increment.Copies[0].Parent = full.ID, "", full.ID
	increment.Copies[0].Proof = Proof{}
	putPoint(t, l, full)
	putPoint(t, l, increment)
}

func TestFilesThatAreNoLedger(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	sample(t, good, 300)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, &bbolt.Options{PageSize: pageBytes})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(offsets ...int) []byte {
		b := bytes.Clone(whole)
		for _, at := range offsets {
			b[at] ^= 0x40
		}
		return b
	}
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"empty":               {nil, "the file is empty"},
		"text":                {[]byte(strings.Repeat("regions: {paris: {}}\n", 1000)), "not a farshore ledger"},
		"short text":          {[]byte("hello"), "not a farshore ledger"},
		"foreign database":    {other, "a database of something else"},
		"cut to one page":     {whole[:pageBytes], "cut short"},
		"cut to two pages":    {whole[:2*pageBytes], "cut short"},
		"cut in the middle":   {whole[:5*pageBytes+100], "cut short"},
		"both headers":        {flip(pageHeader+45, pageBytes+pageHeader+45), "both header pages"},
		"both magic numbers":  {flip(pageHeader, pageBytes+pageHeader), "not a farshore ledger"},
		"zeroes":              {make([]byte, len(whole)), "not a farshore ledger"},
		"random":              {randomBytes(1 << 16), "not a farshore ledger"},
		"list of free pages":  {damageFreelist(t, whole), "list of free pages"},
		"headers, then zeros": {append(bytes.Clone(whole[:2*pageBytes]), make([]byte, len(whole)-2*pageBytes)...), "list of free pages"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, ro := range []bool{false, true} {
				l, err := Open(path, Options{ReadOnly: ro})
				if err == nil {
					_ = l.Close()
				}
				var e *Error
				if !errors.Is(err, ErrCorrupt) || !errors.As(err, &e) || e.Path != path || e.Hint == "" || !strings.Contains(err.Error(), c.says) {
					t.Errorf("open (read-only %v): got %v, want ErrCorrupt: %s", ro, err, c.says)
				}
			}
			if err := Check(context.Background(), path, func(p Problem) error { return nil }); !errors.Is(err, ErrCorrupt) {
				t.Errorf("check: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.data) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Errorf("a folder was opened")
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b)
	return b
}

// damageFreelist lets the list of free pages claim a page that does not exist.
func damageFreelist(t *testing.T, whole []byte) []byte {
	t.Helper()
	h := newest([2]header{parseHeader(whole[pageHeader:]), parseHeader(whole[pageBytes+pageHeader:])})
	b := bytes.Clone(whole)
	at := h.freelist * pageBytes
	if native.Uint16(b[at+8:]) != flagFreelist || native.Uint16(b[at+10:]) == 0 {
		t.Fatal("no free pages to damage")
	}
	native.PutUint64(b[at+pageHeader:], 1<<40)
	return b
}

// One damaged header is what a power cut can leave: the other one counts, as bbolt
// intends, and Check says so.
func TestOneDamagedHeaderIsSurvivedAndTold(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 50)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		bad := bytes.Clone(whole)
		bad[i*pageBytes+pageHeader+50] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		found := problems(t, path)
		if len(found) != 1 || found[0].Kind != ProblemPage || found[0].Key != fmt.Sprint("page ", i) {
			t.Errorf("header %d: check found %v", i, found)
		}
		l := open(t, path, Options{})
		if s := l.Stats(); s.Objects != 50 {
			t.Errorf("header %d: %d objects", i, s.Objects)
		}
		if err := l.PutNote("k", []byte(fmt.Sprint(i))); err != nil { // writes over the damaged header, or the other one
			t.Error(err)
		}
		if err := l.PutNote("k", nil); err != nil {
			t.Error(err)
		}
		closeAndCheck(t, l)
	}
}

func TestNewerLedgerIsLeftAlone(t *testing.T) {
	path := tempPath(t)
	l, err := openSchema(path, Options{}, schemaVersion+1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	for _, o := range []Options{{}, {ReadOnly: true}} {
		if _, err := Open(path, o); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "newer farshore") {
			t.Errorf("open %+v: %v", o, err)
		}
	}
	if err := Check(context.Background(), path, nil); !errors.Is(err, ErrNewer) {
		t.Errorf("check: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Errorf("the file was changed")
	}
}

// A flipped byte in a record is found by whoever reads it and by Check, by name; and
// a write that meets it stops the ledger instead of building on it.
func TestBitRotInARecord(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 300)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := appendObjectTag("000123")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(whole, tag) == 0 {
		t.Fatal("the record is not in the file")
	}
	// Older copies of the page may lie about: all are damaged alike.
	bad := bytes.ReplaceAll(whole, tag, append([]byte{tag[0] ^ 1}, tag[1:]...))
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	found := problems(t, path)
	if len(found) != 1 || found[0].Kind != ProblemRecord || !strings.Contains(found[0].Key, `"000123"`) {
		t.Errorf("check found %v", found)
	}
	l := open(t, path, Options{})
	r, _, _ := l.FindRoute(Route{From: paris("a"), To: lyon("a")})
	_, _, errGet := l.Get(r.From, "000123")
	_, errPage := l.Page(r.From, "", "", "", 0)
	for what, err := range map[string]error{"get": errGet, "page": errPage} {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"000123"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := l.Page(r.From, "000123", "", "", 0); len(got) != 176 || err != nil {
		t.Errorf("the rest: %d, %v", len(got), err)
	}
	if o, ok, err := l.Get(r.From, "000122"); !ok || err != nil || o.Name != "000122" {
		t.Errorf("the neighbour: %v, %v", ok, err)
	}
	l.Update(r.From, "000123", func(*Object, bool) bool { t.Error("a false record was handed out"); return true })
	if err := l.Flush(context.Background()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("flush: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("close: %v", err)
	}
}

// appendObjectTag is how the sample's object's ETag lies in the file.
func appendObjectTag(name string) ([]byte, error) {
	b := appendTag(nil, etag(name))
	if len(b) != 17 {
		return nil, fmt.Errorf("tag of %d bytes", len(b))
	}
	return b[1:], nil
}

// Whatever byte of the file is flipped, nothing panics, hangs or eats the memory:
// it opens or says why not, and what is read is right or refused.
func TestFlippedBytesAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path := tempPath(t)
	sample(t, path, 400)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Growth ahead of the last page is not worth hitting.
	h := newest([2]header{parseHeader(whole[pageHeader:]), parseHeader(whole[pageBytes+pageHeader:])})
	whole = whole[:h.high*pageBytes]
	ro := open(t, path, Options{ReadOnly: true})
	r, _, _ := ro.FindRoute(Route{From: paris("a"), To: lyon("a")})
	good, err := ro.Page(r.From, "", "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, o := range good {
		want[o.Name] = fmt.Sprint(o)
	}
	_ = ro.Close()
	refused, found, harmless := 0, 0, 0
	for i := range 300 {
		bad := bytes.Clone(whole)
		// Half of the time in a page's header and first elements, where it hurts most.
		at := rnd.IntN(len(bad))
		if i%2 == 0 {
			at = at/pageBytes*pageBytes + rnd.IntN(80)
		}
		bad[at] ^= 1 << rnd.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		var ps []Problem
		err := Check(context.Background(), path, func(p Problem) error { ps = append(ps, p); return nil })
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			t.Errorf("byte %d: check: %v", at, err)
		case err != nil:
			refused++
		case len(ps) > 0:
			found++
		default:
			harmless++
		}
		l, err := Open(path, Options{ReadOnly: true})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d: open: %v", at, err)
			}
			continue
		}
		page, err := l.Page(r.From, "", "", "", 0)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: page: %v", at, err)
		}
		if err == nil && len(ps) == 0 && len(page) != len(want) {
			t.Errorf("byte %d: %d records of %d, and Check is content", at, len(page), len(want))
		}
		for _, o := range page {
			if want[o.Name] != fmt.Sprint(o) {
				t.Errorf("byte %d: a false record was believed: %+v", at, o)
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("byte %d: close: %v", at, err)
		}
	}
	t.Logf("%d files refused, %d with findings, %d with the flip in unused bytes", refused, found, harmless)
	if found < 50 {
		t.Errorf("the flips hit nothing")
	}
}

// tamper changes a closed ledger behind its back.
func tamper(t *testing.T, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsEachContradiction(t *testing.T) {
	one := be32(1)
	sub := func(tx *bbolt.Tx, top string) *bbolt.Bucket { return tx.Bucket([]byte(top)).Bucket(one) }
	object := func(name string, change func(o *Object)) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			o := testObject(name, 1)
			change(&o)
			v, err := appendObject(nil, 1, []byte(name), &o)
			if err != nil {
				return err
			}
			return sub(tx, bucketObjects).Put([]byte(name), v)
		}
	}
	for name, c := range map[string]struct {
		do   func(tx *bbolt.Tx) error
		want []string // the beginning of each problem
	}{
		"record under another name": {func(tx *bbolt.Tx) error {
			b := sub(tx, bucketObjects)
			return b.Put([]byte("000001x"), b.Get([]byte("000001")))
		}, []string{`record objects/1/"000001x"`}},
		"extra record": {object("new", func(*Object) {}), []string{"count places/1", "count routes/1"}},
		"missing without index": {object("000001", func(o *Object) { o.SetReplica(Replica{Route: 2, State: Confirmed, Version: o.Version}); o.Missing = 9 }),
			[]string{`index missing/1/"000001": is not there`, "count places/1"}},
		"lost without index": {object("000001", func(o *Object) { o.SetReplica(Replica{Route: 2, State: Lost, Version: o.Version}) }),
			[]string{`index troubled/1/"000001": is not there`, "count routes/2"}},
		"index without reason": {func(tx *bbolt.Tx) error { return sub(tx, bucketMissing).Put([]byte("000001"), []byte{1}) },
			[]string{`index missing/1/"000001": should not be there`}},
		"index without record": {func(tx *bbolt.Tx) error { return sub(tx, bucketTroubled).Put([]byte("zzz"), []byte{1}) },
			[]string{`index troubled/1/"zzz": names an object`}},
		"index lost": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMissing)).DeleteBucket(one) },
			slices.Repeat([]string{`index missing/1/`}, 3)},
		"index of a place without records": {func(tx *bbolt.Tx) error {
			b, err := tx.Bucket([]byte(bucketTroubled)).CreateBucket(be32(2))
			return errors.Join(err, b.Put([]byte("x"), []byte{1}))
		}, []string{`index troubled/2/"x": names an object`}},
		"replica on an unknown route": {object("000001", func(o *Object) {
			o.SetReplica(Replica{Route: 2, State: Confirmed, Version: o.Version})
			o.SetReplica(Replica{Route: 77, State: Confirmed, Version: o.Version})
		}), []string{`reference objects/1/"000001": has a replica on route 77`}},
		"route lost": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketRoutes)).Delete(one) },
			append(slices.Repeat([]string{"reference objects/1/"}, 30), "reference intents/00000001", "reference chunks/00000001", "reference series/1/", "reference needs/00000001")},
		"place lost": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketPlaces)).Delete(be32(3)) },
			append(slices.Repeat([]string{"reference objects/1/"}, 30), "reference routes/00000002", "reference intents/00000002", "reference series/1/", "reference properties/00000002")},
		"place twice": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucketPlaces))
			n, _ := b.NextSequence()
			key := be32(uint32(n))
			return b.Put(key, appendPlace(nil, key, &PlaceInfo{Place: paris("a")}))
		}, []string{"reference places/00000004"}},
		"number never given": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketPlaces)).SetSequence(2) },
			append(slices.Repeat([]string{"reference objects/1/"}, 30), "record places/00000003", "reference routes/00000002", "reference intents/00000002", "reference series/1/", "reference properties/00000002")},
		"chunks without intent": {func(tx *bbolt.Tx) error { return sub(tx, bucketIntents).Delete([]byte("big")) },
			slices.Repeat([]string{"reference chunks/1/"}, 3)},
		"chunk beyond the layout": {func(tx *bbolt.Tx) error {
			k := chunkKey("big", 3)
			return sub(tx, bucketChunks).Put(k, appendChunk(nil, 1, k, ChunkRecord{}))
		}, []string{"reference chunks/1/"}},
		"chunk key":  {func(tx *bbolt.Tx) error { return sub(tx, bucketChunks).Put([]byte{0, 9, 'x'}, []byte("x")) }, []string{"record chunks/1/"}},
		"intent":     {func(tx *bbolt.Tx) error { return sub(tx, bucketIntents).Put([]byte("i"), []byte("x")) }, []string{`record intents/1/"i"`}},
		"pass":       {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketPasses)).Put([]byte("p"), []byte("x")) }, []string{`record passes/"p"`}},
		"note":       {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketNotes)).Put([]byte("n"), []byte("x")) }, []string{`record notes/"n"`}},
		"created":    {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Delete([]byte(metaCreated)) }, []string{"record meta/created"}},
		"uuid":       {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Delete([]byte(metaUUID)) }, []string{"record meta/uuid"}},
		"no bucket":  {func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucketNotes)) }, []string{"bucket notes: is not there"}},
		"odd bucket": {func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err }, []string{`bucket "x": is not one of ours`}},
		"odd owner":  {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketObjects)).Put([]byte("x"), []byte("y")) }, []string{"bucket objects/78"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			sample(t, path, 30)
			tamper(t, path, c.do)
			var got []string
			for _, p := range problems(t, path) {
				got = append(got, p.String())
			}
			slices.Sort(got)
			slices.Sort(c.want)
			ok := len(got) == len(c.want)
			for _, w := range c.want {
				ok = ok && slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) })
			}
			if !ok {
				t.Errorf("got %d:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(c.want), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestCheckStopsWhenTold(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 30)
	tamper(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketRoutes)).Delete(be32(1)) })
	enough := errors.New("enough")
	seen := 0
	if err := Check(context.Background(), path, func(Problem) error { seen++; return enough }); !errors.Is(err, enough) || seen != 1 {
		t.Errorf("got %v after %d", err, seen)
	}
	// One step of the check can find three things at once.
	sample(t, path+"1", 30)
	tamper(t, path+"1", func(tx *bbolt.Tx) error {
		one := be32(1)
		return errors.Join(tx.Bucket([]byte(bucketObjects)).Bucket(one).Put([]byte("000003"), []byte("x")),
			tx.Bucket([]byte(bucketMissing)).Bucket(one).Put([]byte("0000021"), []byte{1}),
			tx.Bucket([]byte(bucketTroubled)).Bucket(one).Put([]byte("0000022"), []byte{1}))
	})
	if got := problems(t, path+"1"); len(got) != 3 {
		t.Errorf("found %v", got)
	}
	seen = 0
	if err := Check(context.Background(), path+"1", func(Problem) error { seen++; return enough }); !errors.Is(err, enough) || seen != 1 {
		t.Errorf("got %v after %d", err, seen)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	sample(t, path+"2", 3000)
	if err := Check(ctx, path+"2", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := Check(context.Background(), path+"3", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// A branch that leads back to itself would send bbolt's own check down until the
// stack overflows, which nothing can catch.
func TestCheckSurvivesPagesInACircle(t *testing.T) {
	path := tempPath(t)
	sample(t, path, 400)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := newest([2]header{parseHeader(data[pageHeader:]), parseHeader(data[pageBytes+pageHeader:])})
	circles := 0
	for id := uint64(2); id < h.high; id++ {
		p := data[id*pageBytes:]
		if native.Uint16(p[8:]) == flagBranch && native.Uint64(p) == id {
			native.PutUint64(p[pageHeader+8:], id)
			circles++
		}
	}
	if circles == 0 {
		t.Fatal("no branch page to damage")
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	found := problems(t, path)
	if len(found) == 0 || found[0].Kind != ProblemPage || found[0].Detail != "in use twice" {
		t.Errorf("check found %v", found)
	}
}
