package replicator

import (
	"context"
	"slices"
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// named copies some of container c's objects by name, as the source lists them.
func (w *world) named(job CopyJob, names ...string) (CopyResult, *report.Findings) {
	w.t.Helper()
	ch := make(chan transport.Entry, 100)
	err := w.mem["a"].List(context.Background(), "c", transport.Range{}, func(page []transport.Entry) error {
		for _, e := range page {
			if slices.Contains(names, e.Name) {
				ch <- e
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	close(ch)
	job.Policy, job.From = w.policy, Side{Region: "a", Container: "c"}
	for _, to := range w.policy.To {
		job.To = append(job.To, Side{Region: to, Container: "c"})
	}
	f := report.NewFindings(nil, nil)
	res, err := w.engine().CopyNames(context.Background(), job, ch, f)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, f
}

// Only what is named is copied, small or in chunks, once; nothing else is touched.
func TestCopyNames(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.policy.Large.Over, w.policy.Large.Chunk = 1<<20, 1<<20
	w.put("small", 1, 1000, nil)
	w.put("large", 2, 3<<20+5, nil)
	w.put("other", 3, 10, nil)
	if err := w.mem["a"].PostContainer(t.Context(), "c", transport.Header{"X-Container-Meta-Color": "red"}, nil); err != nil {
		t.Fatal(err)
	}
	res, f := w.named(CopyJob{}, "small", "large")
	if res.Totals.Copied != 4 || f.Errors() > 0 || len(res.Down) > 0 {
		t.Errorf("%+v, %+v", res, f.List())
	}
	for _, r := range []string{"b", "d"} {
		if got := w.mem[r].Names("c"); !slices.Equal(got, []string{"large", "small"}) {
			t.Errorf("%s has %q", r, got)
		}
		if i, err := w.mem[r].Container(t.Context(), "c"); err != nil || i.Header["X-Container-Meta-Color"] != "" {
			t.Errorf("properties travelled: %v, %v", i.Header, err)
		}
	}
	w.noSegments("b", "d")
	w.restart()
	w.forget()
	w.mem["b"].Set("c", "stranger", []byte("x"), nil)
	if res, _ = w.named(CopyJob{}, "small", "large"); res.Totals.Copied != 0 || w.faults["b"].Count(tt.Put) != 0 {
		t.Errorf("the second time: %+v, %d PUTs", res.Totals, w.faults["b"].Count(tt.Put))
	}
	w.mem["b"].Set("c", "small", []byte("spoilt"), nil)
	if res, f = w.named(CopyJob{Again: true}, "small"); res.Totals.Copied != 2 || f.Errors() > 0 {
		t.Errorf("again: %+v, %+v", res.Totals, f.List())
	}
	if _, data, _ := w.mem["b"].Get("c", "small"); string(data) != string(fill(1, 1000)) {
		t.Error("what an audit found damaged was not sent again")
	}
	// what stands there and is not ours is left alone, and what an older ledger sent is seen
	w.mem["b"].Set("c", "other", []byte("theirs"), nil)
	w.mem["d"].Set("c", "other", fill(3, 10), nil)
	w.forget()
	res, f = w.named(CopyJob{Look: true}, "other")
	if res.Totals.Conflicts != 1 || res.Totals.Adopted != 1 || w.faults["b"].Count(tt.Put)+w.faults["d"].Count(tt.Put) != 0 || f.Counts()[report.KindConflict] != 1 {
		t.Errorf("%+v, %+v", res.Totals, f.List())
	}
	if _, data, _ := w.mem["b"].Get("c", "other"); string(data) != "theirs" {
		t.Error("it was overwritten")
	}
}

// A destination that does not answer is said, and keeps nobody from the other one.
func TestCopyNamesToADeadRegion(t *testing.T) {
	w := newWorld(t, "b", "d")
	w.put("x", 1, 1000, nil)
	for _, m := range []tt.Method{tt.Put, tt.Container, tt.Head, tt.CreateContainer} {
		w.faults["d"].Add(m, tt.Fail(transport.Transient).Times(1<<30))
	}
	res, _ := w.named(CopyJob{}, "x")
	if res.Down["d"] == nil || res.Down["b"] != nil || !slices.Equal(w.mem["b"].Names("c"), []string{"x"}) {
		t.Errorf("%+v; b has %q", res, w.mem["b"].Names("c"))
	}
}
