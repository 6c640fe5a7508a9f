package integration

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"farshore/integration/fakecloud"
)

// toxic puts a toxiproxy in front of region two and points the policy at it.
func toxic(t *testing.T, w *faultWorld) *toxiproxy.Proxy {
	t.Helper()
	u, err := url.Parse(w.two.StorageURL())
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "two", "127.0.0.1:0", u.Host)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	w.policy = w.f.policyFile(strings.Replace(faultPolicy, "{cloud: two}", fmt.Sprintf("{cloud: two, endpoint: %q}", "http://"+p.Listen+u.Path), 1))
	return p
}

func add(t *testing.T, p *toxiproxy.Proxy, json string) {
	t.Helper()
	if _, err := p.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		t.Fatal(err)
	}
}

// TestBadNetworks runs the same copy over connections that are slow, late, cut,
// sliced, reset and silent.
func TestBadNetworks(t *testing.T) {
	for name, toxics := range map[string][]string{
		"50 ms and 20 MB/s": {
			`{"name":"a","type":"latency","stream":"downstream","attributes":{"latency":25,"jitter":10}}`,
			`{"name":"b","type":"bandwidth","stream":"upstream","attributes":{"rate":20000}}`},
		"connections die after 700 kB": {`{"name":"a","type":"limit_data","stream":"upstream","attributes":{"bytes":700000}}`},
		"tiny packets":                 {`{"name":"a","type":"slicer","stream":"upstream","attributes":{"average_size":500,"size_variation":300,"delay":1}}`},
		"half of the connections reset": {
			`{"name":"a","type":"reset_peer","stream":"downstream","toxicity":0.5,"attributes":{"timeout":30}}`},
		"a tenth of the connections silent": {
			`{"name":"a","type":"timeout","stream":"upstream","toxicity":0.1,"attributes":{"timeout":0}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFaultWorld(t, fakecloud.Options{})
			w.flags = []string{"--stall", "3s"}
			p := toxic(t, w)
			for _, x := range toxics {
				add(t, p, x)
			}
			o := w.sync() // the line may be too bad for one pass: nothing false, every error complete
			w.nothingFalse()
			w.complete(o)
			t.Logf("exit %d, %d copied, %d bytes sent twice", o.Exit, o.JSON.Result.Policies[0].Totals.Copied, o.JSON.Result.Policies[0].Totals.Bytes_sent_twice)
			p.Toxics.ResetToxics(context.Background())
			w.converge(2)
		})
	}
}

// TestFullDiskUnderTheLedger fills the disk that the ledger lies on: the run ends
// with a clear error and goes on when there is room.
func TestFullDiskUnderTheLedger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk takes root; store.TestFullDisk does the same with a file size limit")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	w := newFaultWorld(t, fakecloud.Options{})
	for i := range 1500 {
		w.put(fmt.Sprintf("many/%05d with a rather long name that takes room in the ledger", i), uint64(i), 10)
	}
	w.f.ledger = filepath.Join(dir, "ledger.db")
	w.policy = w.f.policyFile(faultPolicy)
	o := w.sync()
	if o.Exit != 1 || o.JSON.Error == nil || !strings.Contains(o.JSON.Error.Cause, "ledger.db") || o.JSON.Error.Hint == "" {
		t.Fatalf("a full disk: exit %d, %+v\n%s", o.Exit, o.JSON.Error, o.Stdout)
	}
	t.Logf("%s\nhint: %s", o.JSON.Error.Cause, o.JSON.Error.Hint)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	w.nothingFalse()
	w.converge(1)
}
