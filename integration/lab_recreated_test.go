//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// TestLabRecreated makes the source's container anew: other properties, some of the
// objects again (their bytes are there already), one with other bytes, one new, one not.
// One pass carries it, with no more requests than that needs.
func TestLabRecreated(t *testing.T) {
	eachWay(t, labRecreated)
}

func labRecreated(t *testing.T, x way) {
	w := x.world(t)
	w.one.Call(t, "POST", lab.Path(w.from), map[string]string{"X-Container-Meta-Colour": "red", "X-Container-Meta-Gone": "soon", "X-Container-Read": ".r:*"}, nil).Want(t, 204)
	names := func(n int) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf("again/%02d", i))
		}
		return out
	}
	for i, n := range append(names(10), "changes", "goes") {
		w.one.Put(t, w.from, n, content(uint64(i), 300), nil)
	}
	w.sync("--delete")

	w.one.Remove(t, w.from)
	w.one.Call(t, "PUT", lab.Path(w.from), map[string]string{"X-Container-Meta-Colour": "blue"}, nil).Want(t, 201)
	for i, n := range names(10) {
		w.one.Put(t, w.from, n, content(uint64(i), 300), nil)
	}
	w.one.Put(t, w.from, "changes", content(77, 301), nil)
	w.one.Put(t, w.from, "new", content(78, 302), nil)
	since := w.mark()
	o := w.sync("--delete")
	n, lines := w.requests(since)
	t.Logf("%d requests for a container made anew with twelve objects:\n%s", n, strings.Join(lines, "\n"))
	if p := o.JSON.Result.Policies[0]; p.Totals.Copied != 2 || p.Totals.Deleted != 1 || p.Totals.Conflicts+p.Totals.Failed != 0 {
		t.Errorf("the pass: %+v", p.Totals)
	}
	w.same()
	w.f.certified(w.source(), w.copy(), "--read", "100%")
	h := w.two.Call(t, "HEAD", lab.Path(w.to), nil, nil).Want(t, 204).Header
	if h.Get("X-Container-Meta-Colour") != "blue" || h.Get("X-Container-Meta-Gone") != "" || h.Get("X-Container-Read") != "" {
		t.Errorf("the container has %v", h)
	}
	count := func(method string) int {
		return len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, " "+method+" ") }))
	}
	// two writes, one delete, the container's properties; no bytes for what is there already
	if count("PUT") > 2 || count("DELETE") != 1 || n > 40 {
		t.Errorf("%d requests, of which %d PUT, %d POST, %d DELETE", n, count("PUT"), count("POST"), count("DELETE"))
	}
	since = w.mark()
	w.sync("--delete")
	if n, lines := w.requests(since); n != 0 {
		t.Errorf("an unchanged pass asked the destination:\n%s", strings.Join(lines, "\n"))
	}
}
