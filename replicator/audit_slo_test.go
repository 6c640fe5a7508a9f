package replicator

import (
	"strings"
	"testing"

	"farshore/transport"
)

// The ETag of a static large object is none of its bytes: reading one that is whole finds
// nothing, with the source or without it, and one with other bytes is found by the source's.
func TestAuditReadsManifestsByTheirBytes(t *testing.T) {
	w := newManifest(t)
	r := w.audit(AuditOptions{Read: 1})
	if r.Errors != 0 || len(r.Findings) != 0 || r.Audit.Damaged != 0 || r.Audit.ReadCount != 2 {
		t.Fatalf("a whole copy: %+v %+v", r.Audit, r.Findings)
	}
	w.mem["b"].Rot("c", "part", rot)
	r = w.audit(AuditOptions{Read: 1})
	if r.Audit.Damaged != 2 || len(r.Findings) != 3 || r.Findings[1].Name != "film" || !strings.Contains(r.Findings[1].Cause, "not those that the source has") || r.Findings[2].Name != "part" {
		t.Errorf("a rotten segment: %+v %+v", r.Audit, r.Findings)
	}
}

// newManifest has a manifest and its one segment at both ends.
func newManifest(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "b")
	w.put("part", 7, 300, nil)
	e, err := w.mem["a"].Head(t.Context(), "c", "part")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.mem["a"].PutManifest(t.Context(), "c", "film", []transport.Segment{{Container: "c", Name: "part", ETag: e.ETag, Size: e.Size}}, transport.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sync()
	return w
}
