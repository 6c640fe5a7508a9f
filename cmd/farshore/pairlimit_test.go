package main

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
)

// gauge is a region's front that notes when how many bytes of requests arrive.
type gauge struct {
	net.Listener
	mu   sync.Mutex
	seen []arrival
}

type arrival struct {
	at    time.Time
	bytes int
}

func (g *gauge) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gaugedConn{c, g}, nil
}

type gaugedConn struct {
	net.Conn
	g *gauge
}

func (c *gaugedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.g.mu.Lock()
	c.g.seen = append(c.g.seen, arrival{time.Now(), n})
	c.g.mu.Unlock()
	return n, err
}

// most is the most that arrived in any window of that length, and what arrived in all.
func (g *gauge) most(window time.Duration) (most, all int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first, sum := 0, 0
	for _, x := range g.seen {
		for sum += x.bytes; x.at.Sub(g.seen[first].at) >= window; first++ {
			sum -= g.seen[first].bytes
		}
		most, all = max(most, sum), all+x.bytes
	}
	return most, all
}

// The limit of a pair of regions holds on the wire: with eight streams and many objects
// of one and of several requests, as the destination's own listener counts the bytes, no
// five seconds have more than a twentieth too much; what goes the other way has its own.
func TestPairLimitOnTheWire(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("takes ten seconds")
	}
	const rate, window = 20 << 20, 5 * time.Second
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	for i := range 24 {
		cloud.Region("paris").Put("photos", fmt.Sprintf("o%02d", i), bytes.Repeat([]byte{byte(i)}, 4<<20), nil)
	}
	for i := range 4 {
		cloud.Region("paris").Put("photos", fmt.Sprintf("p%02d", i), bytes.Repeat([]byte{byte(i)}, 20<<20), nil)
	}
	inner, err := url.Parse(cloud.Region("lyon").URL())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gauge{Listener: l}
	front := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(inner) }}, ReadHeaderTimeout: time.Minute}
	go func() { _ = front.Serve(g) }()
	defer front.Close()

	dir := t.TempDir()
	clouds, err := cloud.CloudsYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf(`regions: {paris: {}, lyon: {endpoint: "http://%s/v1/AUTH_%x"}}
limits: {streams: 8, pairs: {"paris->lyon": 20MiB/s, "lyon->paris": 1MiB/s}}
policies: [{name: photos, from: paris, to: [lyon], containers: [photos], large: {as: segmented, over: 8MiB, chunk: 4MiB}}]
`, l.Addr(), md5.Sum([]byte("project/lyon/"+fakecloud.Project))) // the emulator's number of the project
	if err := os.WriteFile(filepath.Join(dir, "farshore.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("farshore", "sync", "--quiet")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OS_CLIENT_CONFIG_FILE="+clouds, "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(began)
	most, all := g.most(window)
	t.Logf("%d MiB in %s, at most %.2f MiB in %s", all>>20, took.Round(100*time.Millisecond), float64(most)/(1<<20), window)
	if wanted := 176 << 20; all < wanted {
		t.Errorf("only %d bytes went through the front: it measures nothing", all)
	}
	if limit := int(1.05 * float64(rate) * window.Seconds()); most > limit {
		t.Errorf("%d bytes in %s, more than %d", most, window, limit)
	}
}
