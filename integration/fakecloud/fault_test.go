package fakecloud

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func (g *rig) fault(f Fault) int {
	g.t.Helper()
	id := g.r.AddFault(f)
	g.t.Cleanup(func() {
		if err := g.r.VerifyFaultsUsed(); err != nil {
			g.t.Error(err)
		}
	})
	return id
}

func TestStatusFaults(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("x"), nil)
	id := g.fault(Fault{Name: "slow down", Match: Match{Method: "GET,HEAD", Container: "c", Name: "o", Skip: 1, Times: 2},
		Do: Status(498, map[string]string{"Retry-After": "7"})})
	g.must(200, "GET", "/c/o", "")
	g.header(g.must(498, "GET", "/c/o", ""), "Retry-After", "7")
	g.must(204, "HEAD", "/c", "")
	g.must(498, "HEAD", "/c/o", "")
	g.must(200, "GET", "/c/o", "")
	g.eq("struck", g.r.FaultCount(id), 2)
	storm := g.fault(Fault{Name: "storm", Match: Match{Class: ClassObject, Method: "PUT", Rate: 0.5, Seed: 3}, Do: Status(503, nil)})
	codes := map[int]int{}
	for range 200 {
		codes[g.do("PUT", "/c/p", "y").code]++
	}
	if codes[503] < 60 || codes[503] > 140 || codes[503]+codes[201] != 200 || g.r.FaultCount(storm) != codes[503] {
		t.Errorf("storm of rate 0.5: %v, struck %d", codes, g.r.FaultCount(storm))
	}
	g.r.RemoveFault(storm)
	g.must(201, "PUT", "/c/p", "y")
}

func TestVerifyFaultsUsedNamesTheIdle(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.AddFault(Fault{Name: "never", Do: Reset(), Match: Match{Name: "nobody"}})
	if err := g.r.VerifyFaultsUsed(); err == nil || !strings.Contains(err.Error(), `"never"`) {
		t.Errorf("an idle fault was not reported: %v", err)
	}
	g.r.ClearFaults()
	if err := g.r.VerifyFaultsUsed(); err != nil {
		t.Error(err)
	}
}

func TestTruncatedReplies(t *testing.T) {
	g := newRig(t, RegionOptions{})
	data := strings.Repeat("0123456789", 50_000)
	g.r.Put("c", "o", []byte(data), nil)
	for _, cut := range []Cut{CutReset, CutClose, CutShortLength, CutChunked} {
		for _, at := range []int64{0, 1, 300_000} {
			g.fault(Fault{Name: string(cut), Match: Match{Method: "GET", Name: "o", Times: 1}, Do: Truncate(at, cut)})
			a := g.do("GET", "/c/o", "")
			clean := cut == CutShortLength || cut == CutChunked
			if a.code != 200 || clean != (a.err == nil) || !strings.HasPrefix(data, a.body) {
				t.Errorf("%s at %d: status %d, %d bytes, error %v", cut, at, a.code, len(a.body), a.err)
			}
			if clean && int64(len(a.body)) != at || int64(len(a.body)) > at {
				t.Errorf("%s at %d: got %d bytes", cut, at, len(a.body))
			}
			if cut == CutReset && at == 0 && !errors.Is(a.err, syscall.ECONNRESET) {
				t.Errorf("reset: %v", a.err)
			}
			if cut == CutClose && !errors.Is(a.err, io.ErrUnexpectedEOF) {
				t.Errorf("close: %v", a.err)
			}
		}
	}
	g.eq("whole again", g.must(200, "GET", "/c/o", "").body, data)
}

func TestFlippedBytes(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("hello"), nil)
	g.fault(Fault{Match: Match{Method: "GET", Times: 1}, Do: FlipReply(1)})
	g.eq("flipped reply", g.must(200, "GET", "/c/o", "").body, "h\x9allo")
	g.fault(Fault{Match: Match{Method: "PUT", Times: 1}, Do: FlipRequest(2)})
	g.must(422, "PUT", "/c/p", "hello", "Etag", md5Hex([]byte("hello")))
	g.must(404, "HEAD", "/c/p", "")
	g.fault(Fault{Match: Match{Method: "PUT", Times: 1}, Do: Lie(2)})
	a := g.must(201, "PUT", "/c/p", "hello", "Etag", md5Hex([]byte("hello")))
	g.header(a, "Etag", md5Hex([]byte("hello")))
	a = g.must(200, "GET", "/c/p", "")
	g.header(a, "Etag", md5Hex([]byte("hello")))
	g.eq("lie", a.body, "he\x93lo")
	if !g.r.Corrupt("c", "o") || g.r.Corrupt("c", "none") {
		t.Error("Corrupt")
	}
	a = g.must(200, "GET", "/c/o", "")
	g.header(a, "Etag", md5Hex([]byte("hello")))
	g.eq("at rest", a.body, "he\x93lo")
	g.eq("range of it", g.must(206, "GET", "/c/o", "", "Range", "bytes=2-3").body, "\x93l")
}

func TestTruncatedAndLostRequests(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	g.fault(Fault{Match: Match{Method: "PUT", Times: 1}, Do: TruncateRequest(100_000)})
	if a := g.do("PUT", "/c/o", strings.Repeat("x", 5_000_000)); a.err == nil {
		t.Errorf("cut request answered %d", a.code)
	}
	g.must(404, "HEAD", "/c/o", "")
	g.fault(Fault{Match: Match{Method: "PUT", Times: 1}, Do: LoseReply()})
	if a := g.do("PUT", "/c/o", "stored"); a.err == nil {
		t.Errorf("lost reply arrived: %d", a.code)
	}
	g.eq("stored all the same", g.must(200, "GET", "/c/o", "").body, "stored")
	g.fault(Fault{Match: Match{Method: "GET", Times: 1}, Do: Reset()})
	if a := g.do("POST", "/c/o", ""); a.code != 202 {
		t.Errorf("the wrong request was struck: %+v", a)
	}
	// net/http retries a GET on a reused connection by itself.
	g.client.CloseIdleConnections()
	if a := g.do("GET", "/c/o", ""); a.err == nil {
		t.Errorf("reset request answered %d", a.code)
	}
}

// A stalled request ends when its client gives up, never by itself.
func TestStalls(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("0123456789"), nil)
	for name, act := range map[string]Action{"before": Stall(), "reply": StallReply(4), "hang": HangReply()} {
		ctx, cancel := context.WithCancel(context.Background())
		g.r.ClearFaults()
		g.r.AddFault(Fault{Name: name, Match: Match{Times: 1}, Do: act})
		done := make(chan reply)
		go func() { done <- g.doCtx(ctx, "GET", "/c/o", "") }()
		select {
		case a := <-done:
			t.Errorf("%s: not stalled: %+v", name, a)
		case <-time.After(50 * time.Millisecond): // long enough to notice one that does not stall
			cancel()
			if a := <-done; !errors.Is(a.err, context.Canceled) || len(a.body) > 4 {
				t.Errorf("%s: %+v", name, a)
			}
		}
		cancel()
		if err := g.r.VerifyFaultsUsed(); err != nil {
			t.Error(err)
		}
	}
	g.r.ClearFaults()
	ctx, cancel := context.WithCancel(context.Background())
	g.r.AddFault(Fault{Match: Match{Method: "PUT", Times: 1}, Do: StallRequest(10)})
	time.AfterFunc(50*time.Millisecond, cancel)
	if a := g.doCtx(ctx, "PUT", "/c/p", strings.Repeat("x", 20_000_000)); a.err == nil {
		t.Errorf("stalled upload answered %d", a.code)
	}
	g.must(404, "HEAD", "/c/p", "")
	// Stop must not wait for a client that never goes.
	g.r.AddFault(Fault{Match: Match{Times: 1}, Do: Stall()})
	arrived, gone := make(chan struct{}), make(chan reply, 1)
	g.r.OnRequest(func(*http.Request) { close(arrived) })
	go func() { gone <- g.do("GET", "/c/o", "") }()
	<-arrived
	if err := g.r.Stop(); err != nil {
		t.Error(err)
	}
	if a := <-gone; a.err == nil {
		t.Errorf("answered by a stopped region: %+v", a)
	}
}

func TestObjectReplacedWhileRead(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte(strings.Repeat("a", 1000)), nil)
	g.fault(Fault{Match: Match{Method: "GET", Times: 1}, Do: Hook(500, func() { g.r.Put("c", "o", []byte("new"), nil) })})
	// The one being read goes on unharmed, as an open file does.
	g.eq("old", g.must(200, "GET", "/c/o", "").body, strings.Repeat("a", 1000))
	g.eq("new", g.must(200, "GET", "/c/o", "").body, "new")
	g.must(412, "GET", "/c/o", "", "If-Match", md5Hex([]byte(strings.Repeat("a", 1000))))
}

func TestListingLag(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "old", []byte("1"), nil)
	g.r.SetListingLag(10 * time.Second)
	g.must(201, "PUT", "/c/new", "x")
	g.must(204, "DELETE", "/c/old", "")
	g.must(201, "PUT", "/fresh", "")
	g.must(201, "PUT", "/fresh/o", "x")
	g.eq("lagging", strings.Join(names(g.list("/c?format=json")), " "), "old")
	g.eq("in a new container too", len(g.list("/fresh?format=json")), 0)
	g.must(200, "GET", "/c/new", "")
	g.must(404, "GET", "/c/old", "")
	g.clock.add(9 * time.Second)
	g.eq("still lagging", strings.Join(names(g.list("/c?format=json")), " "), "old")
	g.clock.add(2 * time.Second)
	g.eq("settled", strings.Join(names(g.list("/c?format=json")), " "), "new")
	g.r.SetListingLag(Forever)
	g.must(201, "PUT", "/c/later", "x")
	g.clock.add(time.Minute)
	g.eq("held back", strings.Join(names(g.list("/c?format=json")), " "), "new")
	g.r.FlushListings()
	g.eq("flushed", strings.Join(names(g.list("/c?format=json")), " "), "later new")
	g.must(204, "DELETE", "/c/new", "")
	g.r.SetListingLag(0)
	g.eq("over", strings.Join(names(g.list("/c?format=json")), " "), "later")
}

func TestStopAndStart(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("c", "o", []byte("kept"), nil)
	url := g.r.URL()
	if err := g.r.Stop(); err != nil {
		t.Fatal(err)
	}
	if a := g.do("GET", "/c/o", ""); !errors.Is(a.err, syscall.ECONNREFUSED) {
		t.Errorf("while stopped: %+v", a)
	}
	if err := g.r.Start(); err != nil {
		t.Fatal(err)
	}
	g.eq("same place", g.r.URL(), url)
	g.eq("data", g.must(200, "GET", "/c/o", "").body, "kept")
}

func TestTokensExpire(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.CreateContainer("c")
	g.must(204, "HEAD", "/c", "")
	g.r.ExpireTokens()
	g.must(401, "HEAD", "/c", "")
	g.token = g.r.Token(User, Project)
	g.must(204, "HEAD", "/c", "")
	g.clock.add(time.Hour - time.Second)
	g.must(204, "HEAD", "/c", "")
	g.clock.add(time.Second)
	g.must(401, "HEAD", "/c", "")
}

func TestCountersAndLog(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.LogRequests(true)
	var seen []string
	var mu sync.Mutex
	g.r.OnRequest(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method)
	})
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/o", "12345")
	g.must(200, "GET", "/c/o", "")
	g.must(206, "GET", "/c/o", "", "Range", "bytes=0-1")
	g.must(404, "HEAD", "/c/none", "")
	g.must(200, "GET", "/c?format=json&limit=5", "")
	c := g.r.Counters()
	g.eq("PUT", c.Of(ClassObject, "PUT"), Count{Requests: 1, In: 5})
	g.eq("GET", c.Of(ClassObject, "GET"), Count{Requests: 2, Out: 7})
	g.eq("HEAD", c.Of(ClassObject, "HEAD"), Count{Requests: 1, Failed: 1})
	g.eq("listing", c.Of(ClassListing, "GET").Requests, int64(1))
	g.eq("container", c.Of(ClassContainer, "PUT").Requests, int64(1))
	g.eq("total", c.Total().Requests, int64(6))
	log := g.r.Requests()
	g.eq("logged", len(log), 6)
	g.eq("range", log[3].Header.Get("Range"), "bytes=0-1")
	g.eq("query", log[5].Query, "format=json&limit=5")
	g.eq("no secrets", log[0].Header.Get("X-Auth-Token"), "")
	g.eq("bytes of o", g.r.ObjectBytesOut("c")["o"], int64(7))
	g.r.ResetCounters()
	g.eq("reset", g.r.Counters().Total(), Count{})
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, []string{"PUT", "PUT", "GET", "GET", "HEAD", "GET"}) {
		t.Errorf("observed %v", seen)
	}
}

func TestLinkLatencyAndBandwidth(t *testing.T) {
	g := newRig(t, RegionOptions{Latency: 30 * time.Millisecond})
	start := time.Now()
	g.must(201, "PUT", "/c", "")
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("a request took %v at 30 ms latency", d)
	}
	g.r.SetLatency(0)
	g.r.SetBandwidth(4 << 20)
	start = time.Now()
	g.must(201, "PUT", "/c/o", strings.Repeat("x", 400<<10))
	g.must(200, "GET", "/c/o", "")
	// 800 KiB at 4 MiB/s is 195 ms; the upper bound is for a busy machine.
	if d := time.Since(start); d < 150*time.Millisecond || d > 5*time.Second {
		t.Errorf("800 KiB at 4 MiB/s took %v", d)
	}
}

func TestAdmin(t *testing.T) {
	g := newRig(t, RegionOptions{})
	admin := func(method, what, body string) (int, string) {
		req, err := http.NewRequest(method, g.r.URL()+"/_fake/"+what, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, c := range []struct {
		method, what, body string
		code               int
	}{
		{"POST", "synthetic", `{"container":"big","count":1000,"seed":1,"size":100}`, 200},
		{"POST", "synthetic", `{"container":"big","count":1000}`, 409},
		{"POST", "put", `{"container":"c","name":"o","data":"text"}`, 200},
		{"POST", "corrupt", `{"container":"c","name":"o"}`, 200},
		{"POST", "corrupt", `{"container":"c","name":"none"}`, 404},
		{"POST", "faults", `{"Name":"f","Match":{"Method":"GET","Times":1},"Do":{"kind":"status","status":503}}`, 200},
		{"POST", "faults", `{"Do":{"kind":"nonsense"}}`, 400},
		{"POST", "nonsense", ``, 404},
		{"POST", "lag", `{"ms":-1}`, 200},
		{"POST", "flush", ``, 200},
	} {
		if code, body := admin(c.method, c.what, c.body); code != c.code {
			t.Errorf("%s %s %s: %d %s", c.method, c.what, c.body, code, body)
		}
	}
	g.must(503, "GET", "/c/o", "")
	g.eq("corrupted", g.must(200, "GET", "/c/o", "").body, "te\x87t")
	_, body := admin("GET", "counters", "")
	var counts map[string]Count
	if err := json.Unmarshal([]byte(body), &counts); err != nil || counts["object.GET"].Requests != 2 {
		t.Errorf("counters: %s %v", body, err)
	}
	_, body = admin("GET", "faults", "")
	g.eq("faults", body, `[{"id":1,"name":"f","kind":"status","seen":2,"struck":1}]`+"\n")
	admin("POST", "expire-tokens", "")
	g.must(401, "GET", "/c/o", "")
}
