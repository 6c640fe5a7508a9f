//go:build integration

package swift_test

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"

	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// lab opens an endpoint on a real Swift: the entry FARSHORE_LAB_ONE of the clouds
// file FARSHORE_LAB_CLOUDS. It never skips: a lab that is asked for must be there.
func lab(t *testing.T, o swift.Options) (*swift.Endpoint, transporttest.HTTPRaw) {
	t.Helper()
	file := os.Getenv("FARSHORE_LAB_CLOUDS")
	if file == "" {
		t.Fatal("FARSHORE_LAB_CLOUDS does not name the lab's clouds.yaml (see integration/lab)")
	}
	r, err := region.Open(t.Context(), region.Config{Name: "lab", Cloud: cmp.Or(os.Getenv("FARSHORE_LAB_ONE"), "lab-one"), CloudsFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	o.Region, o.Project = "lab", r.Identity().Project
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return swift.New(r.SwiftConnection(), o), transporttest.HTTPRaw{URL: r.Identity().URL, Token: r.Token(), Client: &http.Client{Transport: tr}}
}

func TestLabConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) (transport.Sink, transporttest.Raw) {
		return lab(t, suiteOptions)
	})
}

func TestLabProbe(t *testing.T) {
	ep, _ := lab(t, swift.Options{})
	wantProbe(t, ep, ".farshore-probe-test", yes())
}

// TestLabVersioned reads from a container with X-Versions-Enabled, where Swift
// keeps a link of its own before every object (S7).
func TestLabVersioned(t *testing.T) {
	ep, raw := lab(t, swift.Options{})
	const c = "conformance versioned"
	do := func(method, name, query string, header map[string]string, body string, want int) {
		t.Helper()
		if r := raw.Do(t, method, c, name, query, header, []byte(body)); r.Status != want && want != 0 {
			t.Fatalf("%s %s: %d %s", method, name, r.Status, r.Body)
		}
	}
	do("PUT", "", "", map[string]string{"X-Versions-Enabled": "true"}, "", 0)
	t.Cleanup(func() {
		do("POST", "", "", map[string]string{"X-Versions-Enabled": "false"}, "", 204)
		var versions []struct {
			Name string `json:"name"`
			ID   string `json:"version_id"`
		}
		if err := json.Unmarshal(raw.Do(t, "GET", c, "", "versions=&format=json", nil, nil).Body, &versions); err != nil {
			t.Error(err)
		}
		for _, v := range versions {
			do("DELETE", v.Name, "version-id="+v.ID, nil, "", 204)
		}
		do("DELETE", "", "", nil, "", 204)
	})
	info, err := ep.Container(t.Context(), c)
	if err != nil || info.Versioning != "X-Versions-Enabled" {
		t.Fatalf("%+v %v", info, err)
	}
	do("PUT", "plain", "", nil, "one", 201)
	do("PUT", "plain", "", map[string]string{"Content-Type": "a/b", "X-Object-Meta-A": "1"}, "two", 201)
	do("PUT", "link", "", map[string]string{"X-Symlink-Target": "conformance%20versioned/plain", "Content-Type": "l/l"}, "", 201)
	do("PUT", "slo", "multipart-manifest=put", nil, `[{"path": "/`+c+`/plain"}]`, 201)
	do("POST", "plain", "", map[string]string{"Content-Type": "a/b", "X-Object-Meta-A": "2"}, "", 202)
	listed := map[string]transport.Entry{}
	if err := ep.List(t.Context(), c, transport.Range{}, func(page []transport.Entry) error {
		for _, e := range page {
			listed[e.Name] = e
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]transport.Kind{"plain": transport.Plain, "link": transport.Symlink, "slo": transport.SLO} {
		for range 2 { // before and after the endpoint knows that the container is versioned
			head, err := ep.Head(t.Context(), c, name)
			if err != nil || head.Kind != kind {
				t.Errorf("head %s: %+v %v", name, head, err)
			}
			o, r, err := ep.Open(t.Context(), c, name, transport.OpenOptions{Length: -1, ETag: head.ETag})
			if err != nil || o.Kind != kind || (r != nil) != (kind != transport.Symlink) {
				t.Fatalf("open %s: %+v %v", name, o, err)
			}
			if r != nil {
				if data, err := io.ReadAll(r); err != nil || string(data) != "two" {
					t.Errorf("read %s: %q %v", name, data, err)
				}
				r.Close()
				if e := listed[name]; e.ETag != o.ETag || e.Size != o.Size || !e.Modified.Equal(o.Modified) || e.Kind != kind {
					t.Errorf("%s: listed as %+v, read as %+v", name, e, o)
				}
			}
		}
	}
}
