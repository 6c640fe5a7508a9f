//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/lab"
)

// hostile are object names that clients and servers have got wrong before.
var hostile = []string{
	"with space", "%41", "a%2Fb", "what?", "frag#ment", "new\nline", "/leading", "./dot", "a/./b", "a//b", "//", "../up", "semi;colon", "a&b=c", "plus+", "~tilde",
	"quote\"'`", "back\\slash", "<tag>", "tab\there", "emoji 🚢⚓", "e\u0301 decomposed", "\u00e9 composed", "中文/名前", "trailing/", "trailing ", ".", "x/..",
	strings.Repeat("n", 1024), strings.Repeat("\u00e9", 512), "\u200bzero width", "*", "[a]", "{b}", "$HOME", "|", "a:b", "@", "^",
}

// labWorld is two of the lab's regions with a scratch container each and a way to
// run the binary on them.
type labWorld struct {
	t        *testing.T
	lab      *lab.Lab
	way      way
	one, two *lab.Client // at the source, at the destination
	from, to string
	f        *farshore
}

// way is the regions of the lab that are copied from and to.
type way struct{ from, to string }

// eachWay runs a test from region one to region two; of a full run's tests, also from two
// to one.
func eachWay(t *testing.T, test func(t *testing.T, w way)) { someWays(t, scaled(1, 2), test) }

// thereAndBack runs a test from region one to region two and from two to one, whatever the run.
func thereAndBack(t *testing.T, test func(t *testing.T, w way)) { someWays(t, 2, test) }

func someWays(t *testing.T, n int, test func(t *testing.T, w way)) {
	ways := []way{{"one", "two"}, {"two", "one"}}
	for _, w := range ways[:n] {
		t.Run(w.from+" to "+w.to, func(t *testing.T) { test(t, w) })
	}
}

func newLabWorld(t *testing.T) *labWorld { t.Helper(); return way{"one", "two"}.world(t) }

func (x way) world(t *testing.T) *labWorld {
	t.Helper()
	l := lab.Require(t)
	w := &labWorld{t: t, lab: l, way: x, one: l.Client(t, "lab-"+x.from), two: l.Client(t, "lab-"+x.to)}
	w.from = lab.Scratch(t, w.one)
	w.to = w.from + "-copy"
	t.Cleanup(func() { w.two.Remove(t, w.to); w.two.Remove(t, ".farshore-segments") })
	w.f = newFarshore(t, l.CloudsFile())
	return w
}

// sync runs the ad hoc command between the two scratch containers.
func (w *labWorld) sync(more ...string) output {
	w.t.Helper()
	return w.f.must(append([]string{"sync", w.source(), w.copy()}, more...)...)
}

// source and copy are the two containers as a command names them.
func (w *labWorld) source() string { return "lab-" + w.way.from + ":" + w.from }
func (w *labWorld) copy() string   { return "lab-" + w.way.to + ":" + w.to }

// requests counts what the destination's own proxy logged for the account since the mark, but
// not what Swift asked itself, which has no client's address.
func (w *labWorld) requests(since int64) (n int, lines []string) {
	w.t.Helper()
	w.settled()
	f, err := os.Open(swiftLog(w.lab, w.way.to))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(since, 0); err != nil {
		w.t.Fatal(err)
	}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if _, line, ok := strings.Cut(s.Text(), "swift-proxy-"); ok && strings.Contains(line, ": - - ") {
			continue
		}
		if strings.Contains(s.Text(), w.to) || strings.Contains(s.Text(), ".farshore-segments") {
			n++
			lines = append(lines, s.Text())
		}
	}
	return n, lines
}

// settled waits for the proxy's log: a request is written there after its answer was sent.
// It has two workers, so more than one request of its own is asked for.
func (w *labWorld) settled() {
	w.t.Helper()
	since := w.mark()
	var asked []string
	for i := range 6 {
		name := fmt.Sprintf("settled-%d-%d", time.Now().UnixNano(), i)
		asked = append(asked, name)
		w.two.Call(w.t, "HEAD", lab.Path(name), nil, nil).Want(w.t, 404)
	}
	path := swiftLog(w.lab, w.way.to)
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		raw, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		if raw = raw[min(since, int64(len(raw))):]; !slices.ContainsFunc(asked, func(n string) bool { return !bytes.Contains(raw, []byte(n)) }) {
			return
		}
		if time.Now().After(until) {
			w.t.Fatalf("%s has no line of a request that was answered", path)
		}
	}
}

func (w *labWorld) mark() int64 { return mark(w.t, swiftLog(w.lab, w.way.to)) }

// proxyLog is the log of region two's proxy: a line a request.
func proxyLog(l *lab.Lab) string { return swiftLog(l, "two") }

// swiftLog is that of any region's.
func swiftLog(l *lab.Lab, alias string) string {
	return filepath.Join(filepath.Dir(l.CloudsFile()), "log", "swift-proxy-"+alias+".log")
}

// logMark is where that log ends now.
func logMark(t testing.TB, l *lab.Lab) int64 {
	t.Helper()
	i, err := os.Stat(proxyLog(l))
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}

// same compares both containers with python-swiftclient: names, SHA-256 of every
// object's bytes, and every header that a copy must keep.
func (w *labWorld) same() {
	w.t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/compare.py", w.from, w.to)
	cmd.Env = append(w.lab.OpenRC("lab-"+w.way.from), "OTHER_REGION="+map[string]string{"one": "RegionOne", "two": "RegionTwo"}[w.way.to])
	out, err := cmd.CombinedOutput()
	w.t.Logf("python-swiftclient: %s", bytes.TrimSpace(out))
	if err != nil {
		w.t.Fatalf("the containers differ: %v", err)
	}
}

// rcloneCheck compares both containers with rclone: names, sizes and MD5. It maps
// names to paths and cannot hold the hostile ones, so it sees the others.
func (w *labWorld) rcloneCheck() {
	w.t.Helper()
	cmd := exec.Command("rclone", "--config", w.lab.RcloneConfig(), "check", "--checksum", "--include", "dir*/**", "--include", "large/**", "lab-one:"+w.from, "lab-two:"+w.to)
	cmd.Env = w.lab.Env("lab-one")
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	w.t.Logf("rclone check: %s", lines[len(lines)-1])
	if err != nil {
		w.t.Fatalf("rclone check: %v\n%s", err, out)
	}
}

// TestLabScenario is the main job on real Swift: two thousand objects from 0
// bytes to 300 MiB with hostile names arrive identical; what changes afterwards
// is carried by the next pass with no more requests than it needs.
func TestLabScenario(t *testing.T) {
	w := newLabWorld(t)
	rng := rand.New(rand.NewPCG(7, 7))
	type object struct {
		name string
		size int
	}
	var objects []object
	for i, n := range hostile {
		objects = append(objects, object{n, i * 37})
	}
	for i := len(objects); i < 2000; i++ {
		size := []int{0, 1, 17, 4096, 4096, 4096, 4096, 40000, 200000}[rng.IntN(9)]
		objects = append(objects, object{fmt.Sprintf("dir %02d/%05d.bin", i%23, i), size})
	}
	large := []int{64<<20 - 1, 64 << 20, 64<<20 + 1, scaled(100<<20, 300<<20)}
	for i, s := range large {
		objects = append(objects, object{fmt.Sprintf("large/%d", i), s})
	}
	var wg sync.WaitGroup
	queue := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range queue {
				w.one.Put(t, w.from, objects[i].name, content(uint64(i), objects[i].size), map[string]string{
					"Content-Type": fmt.Sprintf("application/x-%d; charset=utf-8", i%5), "X-Object-Meta-Index": fmt.Sprint(i), "X-Object-Meta-Text": "Zürich 🚢"})
			}
		})
	}
	for i := range objects {
		queue <- i
	}
	close(queue)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}

	began := time.Now()
	o := w.sync()
	t.Logf("first pass: %d objects in %v", o.JSON.Result.Policies[0].Totals.Copied, time.Since(began).Round(time.Millisecond))
	if got := o.JSON.Result.Policies[0].Totals.Copied; got != int64(len(objects)) {
		t.Fatalf("%d of %d objects copied\n%s", got, len(objects), o.Stdout)
	}
	w.same()
	w.rcloneCheck()
	if left := w.two.List(t, ".farshore-segments", nil); len(left) > 0 {
		t.Errorf("%d segments left behind", len(left))
	}

	mark := w.mark()
	began = time.Now()
	o = w.sync()
	t.Logf("unchanged pass: %v", time.Since(began).Round(time.Millisecond))
	if n, lines := w.requests(mark); n > 0 {
		t.Errorf("an unchanged pass made %d requests to the destination:\n%s", n, strings.Join(lines, "\n"))
	}
	if p := o.JSON.Result.Policies[0].Totals; p.Read_bytes != 0 || p.Unchanged != int64(len(objects)) {
		t.Errorf("an unchanged pass read %d bytes and found %d unchanged", p.Read_bytes, p.Unchanged)
	}

	// an overwrite of the same size, a metadata-only POST, a delete, an addition
	time.Sleep(1100 * time.Millisecond) // Swift's Last-Modified has whole seconds
	changes := []struct {
		what string
		do   func()
		most int // requests at the destination
	}{
		{"overwrite of the same size", func() {
			w.one.Put(t, w.from, objects[100].name, content(9999, objects[100].size), map[string]string{"Content-Type": "text/x"})
		}, 2},
		{"metadata-only POST", func() {
			w.one.Call(t, "POST", lab.Path(w.from, objects[101].name), map[string]string{"X-Object-Meta-New": "v", "Content-Type": "text/y"}, nil).Want(t, 202)
		}, 2},
		{"addition", func() { w.one.Put(t, w.from, "added", content(1, 10), nil) }, 1},
		{"delete", func() { w.one.Call(t, "DELETE", lab.Path(w.from, objects[102].name), nil, nil).Want(t, 204) }, 2},
	}
	for _, c := range changes {
		c.do()
		mark := w.mark()
		w.sync("--delete")
		n, lines := w.requests(mark)
		t.Logf("%s: %d requests at the destination", c.what, n)
		if n == 0 || n > c.most {
			t.Errorf("%s took %d requests at the destination, %d are enough:\n%s", c.what, n, c.most, strings.Join(lines, "\n"))
		}
	}
	w.same()
	w.f.checkLedger()
}

// TestLabKilled kills the program twenty times in one copy on real Swift.
func TestLabKilled(t *testing.T) {
	kills := scaled(6, 20)
	w := newLabWorld(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	total := int64(0)
	put := func(name string, i uint64, n int) {
		w.one.Put(t, w.from, name, content(i, n), nil)
		total += int64(n)
	}
	for i := range 3 {
		put(fmt.Sprintf("large %d", i), uint64(i), 12*killChunk)
	}
	for i := range scaled(200, 800) {
		put(fmt.Sprintf("small/%05d", i), uint64(100+i), killSmall)
	}
	text := fmt.Sprintf(`
regions:
  one: {cloud: lab-one}
  two: {cloud: lab-two}
limits: {streams: 4}
policies:
  - name: kill
    from: one
    to: [two]
    containers: [%s]
    container: "{container}-copy"
    large: {as: exact, over: 2MiB, chunk: 1MiB}
`, w.from)
	policy := w.f.policyFile(text + "    limit: 2MiB/s\n") // so that the copy outlives the kills
	killed := 0
	sent := int64(0)
	mark := w.mark()
	for killed < kills && w.f.runAndKill(time.Duration(600+rng.IntN(1500))*time.Millisecond, "sync", "-f", policy) {
		killed++
		w.f.checkLedger()
	}
	w.f.must("sync", "-f", w.f.policyFile(text))
	w.same()
	if left := w.two.List(t, ".farshore-segments", nil); len(left) > 0 {
		t.Errorf("%d segments left behind", len(left))
	}
	w.f.checkLedger()
	_, lines := w.requests(mark)
	for _, l := range lines { // "… PUT /v1/… HTTP/1.0 201 referer agent token bytes_recvd bytes_sent …"
		x := strings.Fields(l)
		if len(x) > 11 && x[4] == "PUT" {
			var n int64
			if _, err := fmt.Sscan(x[11], &n); err == nil {
				sent += n
			}
		}
	}
	allowed := int64(killed) * (killStreams*killChunk + 256*killSmall + killStreams*killSmall)
	t.Logf("%d kills, %d bytes, %d received twice by the destination (%d a kill; promise 3 allows %d)", killed, total, sent-total, (sent-total)/int64(max(killed, 1)), allowed)
	if sent < total {
		t.Errorf("the proxy's log says %d bytes arrived, of %d", sent, total)
	}
	if sent-total > allowed {
		t.Errorf("%d bytes sent twice", sent-total)
	}
	if killed != kills {
		t.Errorf("only %d of %d kills: the copy is too quick for this test", killed, kills)
	}
}

func md5hex(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// TestLabWayBack fails over: edits made at the destination travel back by a
// reverse sync, only the edits, and an object edited on both sides is one conflict.
func TestLabWayBack(t *testing.T) {
	w := newLabWorld(t)
	for i := range 30 {
		w.one.Put(t, w.from, fmt.Sprintf("o%02d", i), content(uint64(i), 1000+i), nil)
	}
	w.one.Put(t, w.from, "collapsed", content(50, 66<<20), nil)
	w.sync()
	w.same()
	time.Sleep(1100 * time.Millisecond)
	w.two.Put(t, w.to, "o03", content(103, 50), nil)
	w.two.Put(t, w.to, "new", content(104, 60), nil)
	w.two.Put(t, w.to, "o07", content(107, 70), nil)
	w.one.Put(t, w.from, "o07", content(207, 80), nil)
	back := func() output {
		return w.f.run("sync", "lab-two:"+w.to, "lab-one:"+w.from)
	}
	o := back()
	p := o.JSON.Result.Policies[0]
	if o.Exit != 3 || p.Totals.Copied != 2 || p.Finding_counts["conflict"] != 1 {
		t.Fatalf("way back: exit %d, %+v %+v", o.Exit, p.Totals, p.Findings)
	}
	if got := w.one.Get(t, w.from, "o03"); !bytes.Equal(got.Body, content(103, 50)) {
		t.Error("an edit did not travel back")
	}
	if got := w.one.Get(t, w.from, "o07"); !bytes.Equal(got.Body, content(207, 80)) {
		t.Error("an object edited on both sides was overwritten")
	}
	for range 2 { // nothing loops
		there := w.f.run("sync", "lab-one:"+w.from, "lab-two:"+w.to)
		again := back()
		if a, b := there.JSON.Result.Policies[0], again.JSON.Result.Policies[0]; a.Totals.Copied+b.Totals.Copied != 0 || a.Finding_counts["conflict"] != 1 || b.Finding_counts["conflict"] != 1 {
			t.Fatalf("looping: %+v %+v / %+v %+v", a.Totals, a.Findings, b.Totals, b.Findings)
		}
	}
	// the source loses the collapsed object: it comes back from the destination, where a COPY made it
	w.one.Call(t, "DELETE", lab.Path(w.from, "collapsed"), nil, nil).Want(t, 204)
	w.f.ledger += ".fresh"
	if o := back(); o.JSON.Result.Policies[0].Totals.Copied != 1 {
		t.Fatalf("restore: %s", o.Stdout)
	}
	if size, sum := w.one.Digest(t, w.from, "collapsed"); size != 66<<20 || sum != md5hex(content(50, 66<<20)) {
		t.Errorf("restored %d bytes, MD5 %s", size, sum)
	}
	w.f.checkLedger()
}

// TestLabFanOut copies one source to two real destinations; one goes down.
func TestLabFanOut(t *testing.T) {
	w := newLabWorld(t)
	three := w.lab.Client(t, "lab-three")
	t.Cleanup(func() { three.Remove(t, w.to); three.Remove(t, ".farshore-segments") })
	total := int64(0)
	for i := range 40 {
		w.one.Put(t, w.from, fmt.Sprintf("o%02d", i), content(uint64(i), 5000), nil)
		total += 5000
	}
	w.one.Put(t, w.from, "large", content(77, 6<<20), nil)
	total += 6 << 20
	policy := w.f.policyFile(fmt.Sprintf(`
regions:
  one: {cloud: lab-one}
  two: {cloud: lab-two}
  three: {cloud: lab-three}
policies:
  - name: fan
    from: one
    to: [two, three]
    replicas: 1
    containers: [%s]
    container: "{container}-copy"
    large: {as: exact, over: 2MiB, chunk: 1MiB}
`, w.from))
	o := w.f.must("sync", "-f", policy)
	if p := o.JSON.Result.Policies[0]; p.Totals.Read_bytes != total || p.Replicas.By_count["2"] != 41 {
		t.Errorf("read %d bytes of %d once for two destinations; %+v", p.Totals.Read_bytes, total, p.Replicas)
	}
	w.same()
	w.lab.StopRegion(t, "three")
	w.one.Put(t, w.from, "later", content(78, 100), nil)
	o = w.f.must("sync", "-f", policy)
	if p := o.JSON.Result.Policies[0]; !p.Replicas.Satisfied || p.Finding_counts["region-down"] != 1 {
		t.Errorf("one region down: %+v %+v", p.Replicas, p.Findings)
	}
	w.lab.StartRegion(t, "three")
	o = w.f.must("sync", "-f", policy)
	if p := o.JSON.Result.Policies[0]; p.Replicas.By_count["2"] != 42 {
		t.Errorf("it did not catch up: %+v", p.Replicas)
	}
	w.same()
}
