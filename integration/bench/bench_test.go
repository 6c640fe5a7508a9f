package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/bench/proc"
	"farshore/integration/fakecloud"
)

// The floor copies for real, and what checks copies finds what is wrong with one.
func TestFloorAndCheck(t *testing.T) {
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: sourceName}, {Name: copyName}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	var creds [2]credentials
	var accounts [2]*account
	for i, r := range cloud.Regions() {
		creds[i] = credentials{AuthURL: r.AuthURL(), User: fakecloud.User, Password: fakecloud.Password, Project: fakecloud.Project, Domain: "Default", Region: r.Name()}
		if accounts[i], err = login(t.Context(), creds[i], 4); err != nil {
			t.Fatal(err)
		}
	}
	one, two := cloud.Region(sourceName), cloud.Region(copyName)
	for i := range 25 {
		one.Put("from", objectName(i), random(uint64(i), int64(i)*977), nil) // an empty one too
	}
	two.CreateContainer("to")
	spec, err := json.Marshal(floorSpec{From: creds[0], To: creds[1], Container: "from", Copied: "to", Streams: 4})
	if err != nil {
		t.Fatal(err)
	}
	one.ResetCounters()
	two.ResetCounters()
	if err := runFloor(t.Context(), strings.NewReader(string(spec))); err != nil {
		t.Fatal(err)
	}
	for _, r := range cloud.Regions() { // a request counts when its handling has ended, which Stop waits for
		if err := errors.Join(r.Stop(), r.Start()); err != nil {
			t.Fatal(err)
		}
	}
	if got := one.Counters().Total().Requests; got != 26 {
		t.Errorf("%d requests at the source, want a listing and 25 GETs", got)
	}
	if got := two.Counters().Total().Requests; got != 25 {
		t.Errorf("%d requests at the destination, want 25 PUTs", got)
	}
	check := func() error { return same(context.Background(), accounts[0], accounts[1], "from", "to") }
	if err := check(); err != nil {
		t.Fatalf("a right copy: %v", err)
	}
	two.Put("to", objectName(7), random(99, 7*977), nil)
	if err := check(); err == nil || !strings.Contains(err.Error(), objectName(7)) {
		t.Errorf("other bytes at the destination: %v", err)
	}
	two.Delete("to", objectName(7))
	two.Delete("to", objectName(24))
	accounts[1].patience = 0
	if err := check(); err == nil || !strings.Contains(err.Error(), objectName(7)) || !strings.Contains(err.Error(), objectName(24)) || !strings.Contains(err.Error(), "HEAD there 404") {
		t.Errorf("missing objects: %v", err)
	}
	for i := range 25 {
		two.Delete("to", objectName(i))
		one.Delete("from", objectName(i))
	}
	if err := check(); err == nil {
		t.Error("a copy of nothing counts")
	}
}

// A connection through a relay is as slow as a long way makes it, and every byte arrives.
func TestRelay(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // echoes
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	const size, rtt, window = 400_000, 30 * time.Millisecond, 100_000
	r, err := newRelay(ln.Addr().String(), path{RTT: rtt, Window: window})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	data := random(1, size)
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := c.Write(data); err != nil {
			t.Error(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
	})
	back, err := io.ReadAll(c)
	sending.Wait()
	if err != nil || string(back) != string(data) {
		t.Fatalf("%d bytes came back, error %v", len(back), err)
	}
	// The handshake, three round trips of slow start for the first 100,000 bytes, one
	// for each 100,000 after them, and half of one for the last to come back.
	if took := time.Since(began); took < 6*rtt {
		t.Errorf("%v for %d bytes: the way is too short", took, size)
	}
	if got := r.sent.Load(); got != size {
		t.Errorf("metered %d bytes", got)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives its relay")
	}
}

func TestFastest(t *testing.T) {
	moments := []int64{0, 10, 20, 90, 100, 110, 110}
	for window, want := range map[int]int64{1: 70, 2: 80, 3: 90, 100: 110} {
		if got := fastest(moments, window); got != want {
			t.Errorf("fastest %d moments: %d, want %d", window, got, want)
		}
	}
}

func TestClientLine(t *testing.T) {
	const line = "swift-proxy-one: %s 22/Nov/2026/18/12/15 GET /v1/AUTH_13/bench-1%%3Fformat%%3Djson HTTP/1.0 200 - x - - - - tx1 - 0.1 - - 1 2 -\n"
	at := func(who string) []byte {
		return []byte(strings.ReplaceAll(strings.Replace(line, "%s", who, 1), "%%", "%"))
	}
	if !clientLine(at("127.0.0.1 127.0.0.1"), []string{"bench-1"}) {
		t.Error("a client's request is not counted")
	}
	if clientLine(at("- -"), []string{"bench-1"}) {
		t.Error("Swift's own request is counted")
	}
	if clientLine(at("127.0.0.1 127.0.0.1"), []string{"bench"}) {
		t.Error("another container's request is counted")
	}
}

func TestRatiosArePaired(t *testing.T) {
	wall := func(ms ...int) (r result) {
		for _, x := range ms {
			r.Samples = append(r.Samples, sample{Usage: proc.Usage{Wall: time.Duration(x) * time.Millisecond}})
		}
		return r
	}
	got := ratio(wall(200, 3000, 410), wall(100, 1000, 200))
	if got.mid != 2.05 || got.low != 2 || got.high != 3 {
		t.Errorf("%+v", got)
	}
	if got := wall(1000, 4000, 2000, 5000).wall(); got.mid != 3 {
		t.Errorf("median of an even number: %+v", got)
	}
}

func TestMetrics(t *testing.T) {
	m := metrics([]byte("goos: linux\nBenchmarkFirstPass/listing/1000-2 \t 1\t 123 ns/op\t 45.5 records/s\nPASS\n"))
	if m["FirstPass/listing"]["records/s"] != 45.5 {
		t.Errorf("%v", m)
	}
}

func TestReplaceBlock(t *testing.T) {
	got, err := replaceBlock([]byte("a\n"+beginMark+"\nold\n"+endMark+"\nb\n"), "new\n")
	if want := "a\n" + beginMark + "\nnew\n" + endMark + "\nb\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := replaceBlock([]byte("no marks"), "new"); err == nil {
		t.Error("a page without marks was written")
	}
}

// The page that the tables go into has the marks.
func TestPage(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceBlock(doc, ""); err != nil {
		t.Error(err)
	}
}

// What a process used is its own, not its parent's.
func TestUsage(t *testing.T) {
	keep := make([]byte, 64<<20)
	for i := range keep {
		keep[i] = 1
	}
	u, err := proc.Run(exec.Command("sh", "-c", "sleep 0.2; exit 7"))
	if err != nil || u.Exit != 7 {
		t.Fatalf("%+v, %v", u, err)
	}
	if u.Wall < 200*time.Millisecond || u.Anon <= 0 || u.Anon > 16<<20 || u.HWM < u.Anon {
		t.Errorf("%+v", u)
	}
	if keep[len(keep)-1] != 1 {
		t.Error("unreachable: holds the memory until here")
	}
	if _, err := proc.Run(exec.Command("/nonexistent")); err == nil {
		t.Error("a program that does not exist ran")
	}
}
