//go:build integration

package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/integration/lab"
)

// labVersion is one version as anybody reads it, by plain HTTP.
type labVersion struct {
	Marker, Latest bool
	SHA256         string
	Meta           string
	Type           string
}

// labVersions reads all versions of a container, oldest first, by name.
func labVersions(t *testing.T, c *lab.Client, container string) map[string][]labVersion {
	t.Helper()
	var rows []struct {
		Name    string `json:"name"`
		ID      string `json:"version_id"`
		Latest  bool   `json:"is_latest"`
		Type    string `json:"content_type"`
		Subject string `json:"subdir"`
	}
	if err := json.Unmarshal(c.Call(t, "GET", lab.Path(container)+"?format=json&versions", nil, nil).Want(t, 200).Body, &rows); err != nil {
		t.Fatal(err)
	}
	out := map[string][]labVersion{}
	for _, r := range rows {
		v := labVersion{Latest: r.Latest, Marker: strings.Contains(r.Type, "swift_versions_deleted")}
		if !v.Marker {
			o := c.Call(t, "GET", lab.Path(container, r.Name)+"?version-id="+url.QueryEscape(r.ID), nil, nil).Want(t, 200)
			sum := sha256.Sum256(o.Body)
			v.SHA256, v.Meta, v.Type = hex.EncodeToString(sum[:]), o.Header.Get("X-Object-Meta-No"), o.Header.Get("Content-Type")
		}
		out[r.Name] = append(out[r.Name], v)
	}
	for _, all := range out {
		slices.Reverse(all)
	}
	return out
}

// labVersioned makes a container that keeps versions; it is emptied at the end.
func labVersioned(t *testing.T, c *lab.Client, container string) {
	t.Helper()
	c.Call(t, "POST", lab.Path(container), map[string]string{"X-Versions-Enabled": "true"}, nil).Want(t, 204)
}

// labUnversion removes all versions of a container, and the container.
func labUnversion(t *testing.T, c *lab.Client, container string) {
	var rows []struct {
		Name string `json:"name"`
		ID   string `json:"version_id"`
	}
	c.Call(t, "POST", lab.Path(container), map[string]string{"X-Versions-Enabled": "false"}, nil)
	r := c.Call(t, "GET", lab.Path(container)+"?format=json&versions", nil, nil)
	if r.Status != http.StatusOK || json.Unmarshal(r.Body, &rows) != nil {
		return
	}
	for _, v := range rows {
		q := "?version-id=" + v.ID
		if v.ID == "null" {
			q = ""
		}
		c.Call(t, "DELETE", lab.Path(container, v.Name)+q, nil, nil)
	}
}

// TestLabVersions carries histories between two real Swifts: the same versions in the
// same order, markers included, with the same one current; then what clients do to them.
func TestLabVersions(t *testing.T) {
	eachWay(t, tLabVersions)
}

func tLabVersions(t *testing.T, x way) {
	w := x.world(t)
	labVersioned(t, w.one, w.from)
	t.Cleanup(func() { labUnversion(t, w.one, w.from); labUnversion(t, w.two, w.to) })
	put := func(name string, seed uint64, n int) string {
		t.Helper()
		r := w.one.Call(t, "PUT", lab.Path(w.from, name), map[string]string{"Content-Type": "text/plain", "X-Object-Meta-No": fmt.Sprint(seed)}, content(seed, n)).Want(t, 201)
		return r.Header.Get("X-Object-Version-Id")
	}
	same := func() {
		t.Helper()
		if diff := cmp.Diff(labVersions(t, w.one, w.from), labVersions(t, w.two, w.to)); diff != "" {
			t.Fatalf("the histories differ (-source +copy):\n%s", diff)
		}
	}
	quiet := func() {
		t.Helper()
		mark := w.mark()
		w.sync("--delete")
		if n, lines := w.requests(mark); n != 0 {
			t.Fatalf("an unchanged pass asked the destination:\n%s", strings.Join(lines, "\n"))
		}
	}
	// carry makes one pass of what clients did, with no more requests than that needs.
	carry := func(what string, most int) {
		t.Helper()
		mark := w.mark()
		w.sync("--delete")
		n, lines := w.requests(mark)
		t.Logf("%s: %d requests at the destination", what, n)
		if n > most {
			t.Errorf("%s took %d requests at the destination, %d are enough:\n%s", what, n, most, strings.Join(lines, "\n"))
		}
		same()
		quiet()
	}
	first := put("doc", 1, 1000)
	put("doc", 2, 2000)
	w.one.Call(t, "DELETE", lab.Path(w.from, "doc"), nil, nil).Want(t, 204)
	put("doc", 3, 3000)
	put("doc", 3, 3000) // the same bytes again are another version
	put("large", 4, 5<<20)
	put("large", 5, 70<<20)
	put("gone ✓/name", 6, 10)
	w.one.Call(t, "DELETE", lab.Path(w.from, "gone ✓/name"), nil, nil).Want(t, 204)
	put("part/1", 7, 2000)
	manifest, err := json.Marshal([]map[string]any{{"path": "/" + w.from + "/part/1", "etag": md5hex(content(7, 2000)), "size_bytes": 2000}})
	if err != nil {
		t.Fatal(err)
	}
	put("doc-slo", 8, 100)
	w.one.Call(t, "PUT", lab.Path(w.from, "doc-slo")+"?multipart-manifest=put", map[string]string{"Content-Type": "text/plain", "X-Object-Meta-No": "slo"}, manifest).Want(t, 201)
	for i := range 40 {
		put(fmt.Sprintf("many/%02d", i%7), uint64(100+i), 50+i)
	}
	r := w.sync("--delete")
	same()
	quiet()
	if p := r.JSON.Result.Policies[0]; p.Replicas.Short != 0 {
		t.Errorf("replicas %+v", p.Replicas)
	}
	w.f.certified(w.source(), w.copy(), "--read", "100%")

	w.one.Call(t, "PUT", lab.Path(w.from, "doc")+"?version-id="+first, nil, nil).Want(t, 201)
	w.one.Call(t, "POST", lab.Path(w.from, "doc"), map[string]string{"Content-Type": "text/html", "X-Object-Meta-No": "posted"}, nil).Want(t, 202)
	put("gone ✓/name", 9, 20)
	carry("one made current again and posted to, one added", 6)

	put("doc-slo", 14, 60)
	carry("a version added", 2)

	w.one.Call(t, "DELETE", lab.Path(w.from, "doc")+"?version-id="+first, nil, nil).Want(t, 204)
	carry("a version deleted", 2)

	w.one.Call(t, "POST", lab.Path(w.from), map[string]string{"X-Versions-Enabled": "false"}, nil).Want(t, 204)
	put("doc", 10, 30)
	put("plain", 11, 30)
	w.one.Call(t, "DELETE", lab.Path(w.from, "large"), nil, nil).Want(t, 204)
	w.sync("--delete")
	same()
	quiet()
	if got := w.two.Call(t, "HEAD", lab.Path(w.to), nil, nil).Header.Get("X-Versions-Enabled"); got != "False" {
		t.Errorf("the destination has X-Versions-Enabled: %s", got)
	}
	labVersioned(t, w.one, w.from)
	put("doc", 12, 40)
	put("plain", 13, 40)
	w.sync("--delete")
	same()
	quiet()
}

// TestLabObjectsBecomeVersions turns a container that was copied into one with
// versions: nothing is sent again.
func TestLabObjectsBecomeVersions(t *testing.T) {
	eachWay(t, tLabObjectsBecomeVersions)
}

func tLabObjectsBecomeVersions(t *testing.T, x way) {
	w := x.world(t)
	t.Cleanup(func() { labUnversion(t, w.one, w.from); labUnversion(t, w.two, w.to) })
	for i := range 5 {
		w.one.Put(t, w.from, fmt.Sprint("o", i), content(uint64(i), 100), nil)
	}
	w.sync("--delete")
	labVersioned(t, w.one, w.from)
	w.one.Put(t, w.from, "o3", content(33, 100), nil)
	w.one.Call(t, "DELETE", lab.Path(w.from, "o4"), nil, nil).Want(t, 204)
	o := w.sync("--delete")
	if diff := cmp.Diff(labVersions(t, w.one, w.from), labVersions(t, w.two, w.to)); diff != "" {
		t.Fatalf("the histories differ (-source +copy):\n%s", diff)
	}
	if got := o.JSON.Result.Policies[0].Totals.Copied; got != 2 {
		t.Errorf("%d versions sent, want the new one and the marker", got)
	}
}

// TestLabVersionsAndContainerSync says what to do about a destination that is a source
// of container sync: Swift lets it keep no versions (S11).
func TestLabVersionsAndContainerSync(t *testing.T) {
	w := newLabWorld(t)
	labVersioned(t, w.one, w.from)
	t.Cleanup(func() { labUnversion(t, w.one, w.from) })
	w.one.Put(t, w.from, "o", content(1, 100), nil)
	r := w.two.Call(t, "PUT", lab.Path(w.to), map[string]string{"X-Container-Sync-To": "//realm/cluster/AUTH_x/c", "X-Container-Sync-Key": "key"}, nil)
	if r.Status >= 300 {
		r = w.two.Call(t, "PUT", lab.Path(w.to), map[string]string{"X-Container-Sync-To": "http://127.0.0.1/v1/AUTH_x/c", "X-Container-Sync-Key": "key"}, nil)
	}
	if r.Status >= 300 {
		t.Skipf("this lab has no container sync: %d %s", r.Status, r.Body)
	}
	o := w.f.run("sync", "lab-one:"+w.from, "lab-two:"+w.to)
	p := o.JSON.Result.Policies[0]
	said := false
	for _, f := range p.Findings {
		said = said || strings.Contains(f.Hint, "X-Container-Sync-To")
	}
	if o.Exit != 3 || p.Totals.Copied != 0 || !said {
		t.Fatalf("exit %d\n%s", o.Exit, o.Stdout)
	}
}

// TestLabArchives carries the older modes: the archive is the source's, and the
// destination archives nothing a second time while it is written.
func TestLabArchives(t *testing.T) {
	eachWay(t, labArchives)
}

func labArchives(t *testing.T, x way) {
	for _, header := range []string{"X-Versions-Location", "X-History-Location"} {
		t.Run(header, func(t *testing.T) {
			w := x.world(t)
			old := lab.Scratch(t, w.one)
			t.Cleanup(func() {
				off := map[string]string{"X-Remove-" + strings.TrimPrefix(header, "X-"): "x"}
				w.one.Call(t, "POST", lab.Path(w.from), off, nil)
				w.two.Call(t, "POST", lab.Path(w.to), off, nil)
				w.two.Remove(t, old)
			})
			w.one.Call(t, "POST", lab.Path(w.from), map[string]string{header: old}, nil).Want(t, 204)
			same := func() {
				t.Helper()
				for _, c := range [][2]string{{w.from, w.to}, {old, old}} {
					a, b := w.one.List(t, c[0], nil), w.two.List(t, c[1], nil)
					if diff := cmp.Diff(lab.Names(a), lab.Names(b)); diff != "" {
						t.Fatalf("%s and its copy (-source +copy):\n%s", c[0], diff)
					}
					for _, e := range a {
						_, x := w.one.Digest(t, c[0], e.Name)
						_, y := w.two.Digest(t, c[1], e.Name)
						if x != y {
							t.Fatalf("%s/%s differs", c[0], e.Name)
						}
						x, y = w.one.Head(t, c[0], e.Name).Get("Content-Type"), w.two.Head(t, c[1], e.Name).Get("Content-Type")
						if x != y {
							t.Fatalf("%s/%s is %s, its copy %s", c[0], e.Name, x, y)
						}
					}
				}
				if got := w.two.Call(t, "HEAD", lab.Path(w.to), nil, nil).Header.Get(header); got != old {
					t.Fatalf("the destination has %s: %q", header, got)
				}
			}
			w.one.Put(t, w.from, "n", content(1, 100), nil)
			w.one.Put(t, w.from, "n", content(2, 100), nil)
			w.one.Put(t, w.from, "m", content(3, 100), nil)
			w.sync("--delete")
			same()
			w.one.Put(t, w.from, "n", content(4, 100), nil)
			w.one.Call(t, "DELETE", lab.Path(w.from, "m"), nil, nil).Want(t, 204)
			w.sync("--delete")
			same()
			mark := w.mark()
			w.sync("--delete")
			if n, lines := w.requests(mark); n != 0 {
				t.Fatalf("an unchanged pass asked the destination:\n%s", strings.Join(lines, "\n"))
			}
			w.f.certified(w.source(), w.copy(), "--read", "100%")
		})
	}
}
