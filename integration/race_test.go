package integration

import (
	"fmt"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
)

// TestSegmentsBesideTheirManifests has segments in the manifests' own container, small
// ones and such as are cut on their way: the walk over the container and the manifests
// want them at the same time, and each travels once. When all of it goes at the
// source, one pass is enough, though no origin stamp says whose it is.
func TestSegmentsBesideTheirManifests(t *testing.T) {
	for range scaled(2, 20) {
		w, _, two := newFakeKinds(t, fakecloud.Options{}, "{container}")
		w.p.segs, w.p.more = "a-segs", "b-more" // the walk comes to these before the manifests
		w.policy = w.f.policyFile(strings.Replace(kindsPolicyText("one", "two", w.p, "{container}"), "streams: 4", "streams: 8", 1) +
			"    stamp: false\n    large: {as: exact, over: 1MiB, chunk: 256KiB}\n")
		for _, c := range w.p.all() {
			w.one.must("PUT", objectPath("", c), nil, "", 201)
			w.one.put(c, "zz stays", "so that the container is not empty", nil)
		}
		total, objects := int64(0), int64(3)
		for i := range 5 {
			for _, o := range []struct {
				container, name string
				size            int
			}{{w.p.main, "b/%d", 3 << 20}, {w.p.main, "s/%d", 300 << 10}, {w.p.segs, "s/%d", 5000}} {
				w.one.put(o.container, fmt.Sprintf(o.name, i), string(content(uint64(i), o.size)), nil)
				total += int64(o.size)
				objects++
			}
		}
		all := func(c, name string) (m []map[string]any) {
			for i := range 5 {
				m = append(m, part(c, fmt.Sprintf(name, i)))
			}
			return m
		}
		w.one.manifest(w.p.main, "a slo", nil, all(w.p.main, "b/%d")...)
		w.one.manifest(w.p.main, "c slo", nil, append(all(w.p.main, "s/%d"), all(w.p.main, "b/%d")...)...)
		w.one.manifest(w.p.main, "y slo", nil, append(all(w.p.segs, "s/%d"), all(w.p.main, "b/%d")...)...)
		w.one.manifest(w.p.main, "z slo", nil, part(w.p.main, "y slo"), part(w.p.main, "c slo"))
		objects += 4
		o := w.sync()
		if x := o.JSON.Result.Policies[0].Totals; x.Copied != objects || x.Bytes > total+4000 || x.Bytes_sent_twice != 0 {
			t.Errorf("%d objects of %d and %d bytes of %d: %+v", x.Copied, objects, x.Bytes, total, x)
		}
		w.alike()
		w.quiet("the first pass")
		for _, c := range w.p.all() {
			for _, r := range w.one.list(c) {
				if n := r.str("name"); n != "zz stays" {
					w.one.remove(c, n)
				}
			}
		}
		o = w.sync()
		if x := o.JSON.Result.Policies[0]; x.Totals.Deleted != objects-3 || len(x.Findings) > 0 {
			t.Errorf("%d of %d deleted: %+v", x.Totals.Deleted, objects-3, x.Findings)
		}
		w.alike()
		w.quiet("the deletes")
		if left := two.Names(".farshore-segments"); len(left) > 0 {
			t.Errorf("%d segments left behind", len(left))
		}
		w.f.checkLedger()
	}
}
