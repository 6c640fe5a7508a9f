package transport_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// live is the retry layer over a real endpoint, a real login and real connections
// to a fake region. Its waits take no time.
type live struct {
	transport.Sink
	link  *transport.Link
	at    *fakecloud.Region
	login *region.Region
	again atomic.Int64 // repeated tries
}

func startLive(t *testing.T, idle time.Duration) *live {
	t.Helper()
	c, err := fakecloud.Start(fakecloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	file, err := c.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &live{at: c.Region("RegionOne")}
	if l.login, err = region.Open(t.Context(), region.Config{Name: "east", Cloud: "RegionOne", CloudsFile: file, Idle: idle}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.login.Close)
	clock := new(transporttest.Quick)
	l.link = transport.NewLink(transport.LinkOptions{Region: "east", Clock: clock})
	ep := swift.New(l.login.SwiftConnection(), swift.Options{Region: "east", Project: l.login.Identity().Project})
	l.Sink = transport.Retry(ep, l.link, transport.RetryPolicy{Clock: clock, Observer: func(transport.Attempt) { l.again.Add(1) }})
	l.at.CreateContainer("c")
	return l
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func bodyOf(b []byte) transport.Body {
	m := md5.Sum(b)
	return transport.Body{Size: int64(len(b)), MD5: hex.EncodeToString(m[:]), Open: func() (io.Reader, error) { return bytes.NewReader(b), nil }}
}

func TestLiveReads(t *testing.T) {
	data := noise(900_000)
	get := fakecloud.Match{Method: "GET", Class: fakecloud.ClassObject, Times: 2}
	for name, do := range map[string]fakecloud.Action{
		"reset": fakecloud.Truncate(100_000, fakecloud.CutReset),
		"close": fakecloud.Truncate(100_000, fakecloud.CutClose),
		"stall": fakecloud.StallReply(100_000),
		"503":   fakecloud.Status(503, nil),
		"429":   fakecloud.Status(429, map[string]string{"Retry-After": "30"}),
		"lost":  fakecloud.Reset(),
		"hang":  fakecloud.Stall(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := startLive(t, 1500*time.Millisecond)
			l.at.Put("c", "o", data, nil)
			l.at.AddFault(fakecloud.Fault{Name: name, Match: get, Do: do})
			o, r, err := l.Open(t.Context(), "c", "o", transport.OpenOptions{Length: -1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil || !bytes.Equal(got, data) || o.Size != int64(len(data)) {
				t.Errorf("%v, %d bytes of %d", err, len(got), len(data))
			}
			if n := l.login.Counters().Requests["GET object"]; n != 3 || l.again.Load() != 2 {
				t.Errorf("%d requests, %d repeated", n, l.again.Load())
			}
			if err := l.at.VerifyFaultsUsed(); err != nil {
				t.Error(err)
			}
			if s := l.link.Stats(); s.InFlight != 0 || s.Retries != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// An object is replaced between two requests of one reader.
func TestLiveReadOfAReplacedObject(t *testing.T) {
	l := startLive(t, 0)
	data := noise(300_000)
	l.at.Put("c", "o", data, nil)
	l.at.AddFault(fakecloud.Fault{Name: "cut", Match: fakecloud.Match{Method: "GET", Times: 1}, Do: fakecloud.Truncate(100_000, fakecloud.CutReset)})
	_, r, err := l.Open(t.Context(), "c", "o", transport.OpenOptions{Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.ReadFull(r, make([]byte, 50_000)); err != nil {
		t.Fatal(err)
	}
	l.at.Put("c", "o", noise(300_001), nil)
	if _, err = io.ReadAll(r); !transport.Is(err, transport.Changed) {
		t.Errorf("%v is %v", err, transport.ClassOf(err))
	}
}

func TestLiveWrites(t *testing.T) {
	data := noise(900_000)
	put := fakecloud.Match{Method: "PUT", Class: fakecloud.ClassObject, Times: 2}
	for name, c := range map[string]struct {
		do   fakecloud.Action
		puts int64 // requests of ours
	}{
		"reply lost":     {fakecloud.LoseReply(), 2}, // stored at the first try, found at the second
		"reply hangs":    {fakecloud.HangReply(), 2},
		"reset":          {fakecloud.TruncateRequest(200_000), 3},
		"stalled":        {fakecloud.StallRequest(200_000), 3},
		"damaged":        {fakecloud.FlipRequest(1000), 2},
		"498":            {fakecloud.Status(498, nil), 3},
		"500":            {fakecloud.Status(500, nil), 3},
		"503 with delay": {fakecloud.Status(503, map[string]string{"Retry-After": "600"}), 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := startLive(t, 1500*time.Millisecond)
			m := put
			m.Times = int(c.puts - 1)
			l.at.AddFault(fakecloud.Fault{Name: name, Match: m, Do: c.do})
			h := transport.Header{transport.OriginHeader: "west/1/x", "Content-Type": "a/b"}
			rec, err := l.Put(t.Context(), "c", "o", bodyOf(data), transport.PutOptions{IfAbsent: true, Header: h})
			if err != nil || rec.ETag != bodyOf(data).MD5 || time.Since(rec.Modified).Abs() > time.Minute {
				t.Errorf("%+v %v", rec, err)
			}
			if o, ok := l.at.Get("c", "o"); !ok || !bytes.Equal(o.Bytes(), data) {
				t.Error("something else was stored")
			}
			if n := l.login.Counters().Requests["PUT object"]; n != c.puts {
				t.Errorf("%d PUTs, want %d", n, c.puts)
			}
			if err := l.at.VerifyFaultsUsed(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A manifest and a COPY whose replies are lost are looked for, not sent again.
func TestLiveLargeObjects(t *testing.T) {
	l := startLive(t, 0)
	ctx := t.Context()
	l.at.CreateContainer("s")
	a, b := noise(200_000), noise(100_000)
	whole := bodyOf(append(bytes.Clone(a), b...))
	var segments []transport.Segment
	for i, part := range [][]byte{a, b} {
		body := bodyOf(part)
		name := fmt.Sprint("part", i)
		if _, err := l.Put(ctx, "s", name, body, transport.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		segments = append(segments, transport.Segment{Container: "s", Name: name, ETag: body.MD5, Size: body.Size})
	}
	before := l.login.Counters().Requests["PUT object"]
	l.at.AddFault(fakecloud.Fault{Name: "lost", Match: fakecloud.Match{Method: "PUT", Times: 2}, Do: fakecloud.LoseReply()})
	h := transport.Header{"Content-Type": "a/b", "X-Object-Meta-A": "1", transport.OriginHeader: "west/1/x"}
	slo, err := l.PutManifest(ctx, "s", "manifest", segments, transport.PutOptions{Header: h, IfAbsent: true, DeleteAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := l.Collapse(ctx, "s", "manifest", "c", "o", whole.MD5, whole.Size, h)
	if err != nil || rec.ETag != whole.MD5 {
		t.Errorf("%+v %v", rec, err)
	}
	if o, ok := l.at.Get("c", "o"); !ok || o.SLO || int64(len(o.Bytes())) != whole.Size {
		t.Errorf("%+v", o)
	}
	if n := l.login.Counters().Requests["PUT object"] - before; n != 2 || slo.ETag == "" {
		t.Errorf("%d PUTs for one manifest and one COPY, %+v", n, slo)
	}
	if err := l.at.VerifyFaultsUsed(); err != nil {
		t.Error(err)
	}
}

// Everything at once: tokens end, a tenth of the requests is refused or cut, and
// every object arrives whole.
func TestLiveStorm(t *testing.T) {
	l := startLive(t, 0)
	seed := rand.Int64()
	t.Logf("seed %d", seed)
	for i, do := range []fakecloud.Action{fakecloud.Status(498, nil), fakecloud.Status(503, nil), fakecloud.Reset(), fakecloud.LoseReply(),
		fakecloud.Truncate(5000, fakecloud.CutReset)} {
		l.at.AddFault(fakecloud.Fault{Name: fmt.Sprint(i), Match: fakecloud.Match{Class: fakecloud.ClassObject, Rate: 0.04, Seed: seed + int64(i)}, Do: do})
	}
	want := map[string][]byte{}
	for i := range 120 {
		want[fmt.Sprintf("o%03d", i)] = noise(1000 + i*300)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var done atomic.Int64
	for name, data := range want {
		wg.Go(func() {
			if _, err := l.Put(ctx, "c", name, bodyOf(data), transport.PutOptions{IfAbsent: true}); err != nil {
				t.Errorf("put %s: %v", name, err)
				return
			}
			if done.Add(1)%40 == 0 {
				l.at.ExpireTokens()
			}
			_, r, err := l.Open(ctx, "c", name, transport.OpenOptions{Length: -1})
			if err != nil {
				t.Errorf("open %s: %v", name, err)
				return
			}
			got, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %s: %v", name, err)
			}
		})
	}
	wg.Wait()
	names := 0
	err := l.List(ctx, "c", transport.Range{}, func(p []transport.Entry) error { names += len(p); return nil })
	if err != nil || names != len(want) {
		t.Errorf("%v, %d names", err, names)
	}
	t.Logf("%d repeated, %+v, %+v", l.again.Load(), l.link.Stats(), l.login.Counters())
	if l.again.Load() == 0 || l.link.Stats().InFlight != 0 {
		t.Errorf("%+v", l.link.Stats())
	}
}

func TestLiveRegionDown(t *testing.T) {
	l := startLive(t, 0)
	if err := l.at.Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := l.Head(t.Context(), "c", "o")
	var e *transport.Error
	if !errors.As(err, &e) || e.Class != transport.Transient || e.Region != "east" || e.Container != "c" || e.Name != "o" || l.again.Load() != 5 {
		t.Errorf("%v, %d repeated", err, l.again.Load())
	}
	t.Log(err)
	if err := l.at.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Head(t.Context(), "c", "o"); !transport.Is(err, transport.NotFound) {
		t.Errorf("back again: %v", err)
	}
}
