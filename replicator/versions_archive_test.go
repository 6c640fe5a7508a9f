package replicator

import (
	"slices"
	"testing"

	"farshore/policies"
	"farshore/transport"
)

// archived is a world whose container c archives into "old".
func archived(t *testing.T, header string, f *fuse) *world {
	t.Helper()
	w := newWorld(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true}
	w.policy.Brake.Deletes = -1
	ctx := t.Context()
	if err := w.mem["a"].CreateContainer(ctx, "old", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.mem["a"].PostContainer(ctx, "c", transport.Header{header: "old"}, nil); err != nil {
		t.Fatal(err)
	}
	w.write("a", "n", "one", nil)
	w.write("a", "n", "two", nil)
	w.write("a", "m", "stays", nil)
	w.sync()
	w.write("a", "n", "three", nil)
	w.write("a", "gone", "one", nil)
	w.write("a", "gone", "two", nil)
	if err := w.mem["a"].Delete(ctx, "c", "gone"); err != nil {
		t.Fatal(err)
	}
	if err := w.mem["a"].Delete(ctx, "c", "m"); err != nil {
		t.Fatal(err)
	}
	w.arm(f)
	return w
}

// sameArchives asserts that the main container and its archive are equal at both ends,
// and that the destination archives as the source does.
func (w *world) sameArchives(header string) {
	w.t.Helper()
	w.same("b")
	want, got := w.mem["a"].Names("old"), w.mem["b"].Names("old")
	if !slices.Equal(want, got) {
		w.t.Fatalf("the archive has %q, the source's %q", got, want)
	}
	for _, n := range want {
		_, a, _ := w.mem["a"].Get("old", n)
		_, b, _ := w.mem["b"].Get("old", n)
		if string(a) != string(b) {
			w.t.Fatalf("%q in the archive is %q, the source's %q", n, b, a)
		}
	}
	info, err := w.mem["b"].Container(w.t.Context(), "c")
	if err != nil || info.Versioning != header || info.Header[header] != "old" {
		w.t.Fatalf("the destination archives by %q to %q: %v", info.Versioning, info.Header[header], err)
	}
}

// TestArchivesTravel carries both older modes: the archive is the source's and nothing
// is archived a second time, wherever a pass is stopped.
func TestArchivesTravel(t *testing.T) {
	for _, header := range archiveHeaders {
		t.Run(header, func(t *testing.T) {
			dry := &fuse{}
			w := archived(t, header, dry)
			w.sync()
			w.sameArchives(header)
			w.quiet("b")
			total := dry.steps.Load()
			for at := int64(1); at <= total; at++ {
				w := archived(t, header, &fuse{at: at})
				_, _ = w.try(w.policy, SyncOptions{})
				w.arm(nil)
				if r, err := w.try(w.policy, SyncOptions{}); err != nil || r.Errors > 0 {
					t.Fatalf("restart after step %d: %v %+v", at, err, r.Findings)
				}
				w.sync()
				w.sameArchives(header)
				w.quiet("b")
				_ = w.ledger.Close()
			}
			t.Logf("%d steps", total)

			w = archived(t, header, nil)
			w.sync()
			if err := w.mem["a"].PostContainer(t.Context(), "c", nil, archiveHeaders); err != nil {
				t.Fatal(err)
			}
			w.sync()
			if info, _ := w.mem["b"].Container(t.Context(), "c"); info.Versioning != "" {
				t.Errorf("the source archives no more, the destination by %s", info.Versioning)
			}
			w.quiet("b")
		})
	}
}
