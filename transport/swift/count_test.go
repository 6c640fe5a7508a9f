package swift_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/swift"
)

// TestRequestsOfAnObject counts what each kind of object costs to look at and to
// read. A plain object is what a pass over a container consists of.
func TestRequestsOfAnObject(t *testing.T) {
	f := newFake(t, fakecloud.RegionOptions{}, swift.Options{})
	for _, c := range []string{"c", "v"} {
		h := transport.Header{}
		if c == "v" {
			h["X-Versions-Enabled"] = "true"
		}
		if err := f.ep.CreateContainer(t.Context(), c, h); err != nil {
			t.Fatal(err)
		}
		for name, header := range map[string]map[string]string{"plain": {}, "seg/1": {}, "dlo": {"X-Object-Manifest": c + "/seg/"},
			"broken": {"X-Object-Manifest": "none/seg/"}, "link": {"X-Symlink-Target": c + "/plain"}} {
			data := []byte("x")
			if name == "link" {
				data = nil
			}
			if r := f.raw.Do(t, "PUT", c, name, "", header, data); r.Status != 201 {
				t.Fatalf("%s: %d %s", name, r.Status, r.Body)
			}
		}
		if r := f.raw.Do(t, "PUT", c, "slo", "multipart-manifest=put", nil, []byte(`[{"path": "`+c+`/seg/1"}]`)); r.Status != 201 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		// What is known of the container only after a first look at one of its objects.
		if _, err := f.ep.Head(t.Context(), c, "seg/1"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct{ head, open, pinned, manifest int64 }{
		"c/plain": {1, 1, 1, 1}, "c/slo": {2, 1, 1, 1}, "c/dlo": {1, 2, 2, 1}, "c/broken": {1, 3, 3, 1}, "c/link": {1, 1, 1, 1}, "c/none": {1, 2, 2, 1},
		// The versions' link first, each time.
		"v/plain": {2, 2, 2, 2}, "v/slo": {4, 2, 2, 2}, "v/dlo": {2, 4, 4, 2}, "v/link": {2, 2, 2, 2}, "v/none": {1, 2, 2, 1},
	} {
		c, n := name[:1], name[2:]
		head, _ := f.ep.Head(t.Context(), c, n)
		open := func(o transport.OpenOptions) func() error {
			return func() error {
				_, r, err := f.ep.Open(t.Context(), c, n, o)
				if r != nil {
					_, err = io.Copy(io.Discard, r)
					r.Close()
				}
				return err
			}
		}
		for what, w := range map[string]struct {
			call func() error
			want int64
		}{
			"head":     {func() error { _, err := f.ep.Head(t.Context(), c, n); return err }, want.head},
			"open":     {open(transport.OpenOptions{Length: -1}), want.open},
			"pinned":   {open(transport.OpenOptions{Length: -1, ETag: head.ETag}), want.pinned},
			"manifest": {func() error { _, _, err := f.ep.Manifest(t.Context(), c, n, ""); return err }, want.manifest},
		} {
			f.ResetCounters()
			if err := w.call(); err != nil && (n != "none" || !transport.Is(err, transport.NotFound)) {
				t.Errorf("%s %s: %v", what, name, err)
			}
			if got := f.Counters().Total().Requests; got != w.want {
				t.Errorf("%s %s: %d requests, want %d", what, name, got, w.want)
			}
		}
	}
}

// TestForeignMetadataName reads an object that has a metadata name which Swift takes
// and Go's HTTP does not: the error says what to do, and is not tried again.
func TestForeignMetadataName(t *testing.T) {
	ep, _ := scripted(t, swift.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		raw(w, 200, map[string]string{"Content-Length": "0", "X-Object-Meta-N\u00e4me": "v"}, "")
	})
	_, err := ep.Head(t.Context(), "c", "n")
	if want(t, err, transport.Permanent, 0, "malformed MIME header"); !strings.Contains(transport.HintOf(err), "metadata another name") {
		t.Errorf("hint %q", transport.HintOf(err))
	}
}
