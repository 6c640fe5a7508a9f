package replicator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// Static links that were re-pointed until they point back to where they began, and those that
// a manifest at their end needs, are followed no further: the pass ends, and says so.
func TestWhatPointsBackToItself(t *testing.T) {
	for what, build := range map[string]func(w *world, link func(container, name, to string)){
		"links": func(w *world, link func(container, name, to string)) {
			w.putAt("a", "c", "one", "", nil)
			link("c", "two", "c/one")
			link("c", "one", "c/two")
		},
		"links in two containers": func(w *world, link func(container, name, to string)) {
			w.putAt("a", "other", "one", "", nil)
			link("c", "two", "other/one")
			link("other", "one", "c/two")
		},
		"links to a manifest of them": func(w *world, link func(container, name, to string)) {
			var parts []transport.Part
			for i := range 4 {
				name := fmt.Sprint("part", i)
				w.putAt("a", "c", name, name, nil)
				parts = append(parts, w.segment("c", name))
			}
			w.slo("c", "one", nil, parts...)
			for _, part := range parts {
				link("c", part.Name, "c/one")
			}
		},
	} {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, versions %v", what, versions), func(t *testing.T) {
				w := newWorld(t, "b")
				w.container("a", "other")
				if versions {
					w.enable("true")
				}
				w.putAt("a", "c", "plain", "plain", nil)
				build(w, func(container, name, to string) {
					toContainer, toName, _ := strings.Cut(to, "/")
					target, err := w.mem["a"].HeadVersion(t.Context(), toContainer, toName, "")
					if err != nil {
						t.Fatal(err)
					}
					w.putAt("a", container, name, "", transport.Header{transport.TargetHeader: to, transport.TargetETagHeader: cmp.Or(target.ManifestETag, target.ETag)})
				})
				r, err := w.try(w.policy, SyncOptions{})
				said := slices.ContainsFunc(r.Findings, func(f report.Finding) bool { return strings.Contains(f.Cause, "points back to itself") })
				if err != nil || len(r.Findings) > 60 || !versions && !said {
					t.Errorf("%v, %d findings: %+v", err, len(r.Findings), r.Findings)
				}
				if _, data, _ := w.mem["b"].Get("c", "plain"); string(data) != "plain" {
					t.Errorf("an object that points nowhere waits: %q", data)
				}
				w.clock.advance(time.Minute)
				w.certify(FidelityOptions{})
				w.restart()
			})
		}
	}
}
