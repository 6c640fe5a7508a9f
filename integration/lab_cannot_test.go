//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"farshore/integration/lab"
)

// TestLabCannot finds what this version does not carry on a real Swift: large
// objects and links are reported, never flattened and never
// counted as done.
func TestLabCannot(t *testing.T) {
	w := newLabWorld(t)
	w.one.Put(t, w.from, "plain", content(1, 1000), nil)
	w.one.Put(t, w.from, "part/1", content(2, 2000), nil)
	w.one.Put(t, w.from, "part/2", content(3, 3000), nil)
	manifest, err := json.Marshal([]map[string]any{
		{"path": "/" + w.from + "/part/1", "etag": md5hex(content(2, 2000)), "size_bytes": 2000},
		{"path": "/" + w.from + "/part/2", "etag": md5hex(content(3, 3000)), "size_bytes": 3000}})
	if err != nil {
		t.Fatal(err)
	}
	w.one.Call(t, "PUT", lab.Path(w.from, "slo")+"?multipart-manifest=put", nil, manifest).Want(t, 201)
	w.one.Call(t, "PUT", lab.Path(w.from, "dlo"), map[string]string{"X-Object-Manifest": w.from + "/part/"}, nil).Want(t, 201)
	w.one.Call(t, "PUT", lab.Path(w.from, "link"), map[string]string{"X-Symlink-Target": w.from + "/plain", "Content-Type": "application/symlink"}, nil).Want(t, 201)
	for i := range 2 {
		o := w.f.run("sync", "lab-one:"+w.from, "lab-two:"+w.to)
		p := o.JSON.Result.Policies[0]
		if o.Exit != 3 || p.Finding_counts["cannot"] != 3 || p.Replicas.Short != 3 || p.Totals.Cannot != 3 {
			t.Fatalf("pass %d: exit %d\n%s", i, o.Exit, o.Stdout)
		}
		for _, x := range p.Findings {
			if x.Kind == "cannot" && (x.Cause == "" || x.Hint == "" || !slices.Contains([]string{"slo", "dlo", "link"}, x.Name)) {
				t.Errorf("finding %+v", x)
			}
		}
	}
	if got, want := fmt.Sprint(lab.Names(w.two.List(t, w.to, nil))), "[part/1 part/2 plain]"; got != want {
		t.Errorf("the destination has %s, not %s", got, want)
	}
}
