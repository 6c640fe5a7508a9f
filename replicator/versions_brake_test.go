package replicator

import (
	"errors"
	"fmt"
	"testing"

	"farshore/policies"
	tt "farshore/transport/transporttest"
)

// The brake on overwrites counts the objects that a pass would cover with a new version or
// a delete marker, once however many destinations there are, before it writes the first.
func TestTheBrakeCountsVersions(t *testing.T) {
	w := newVersioned(t, "b", "d")
	w.policy.Brake = policies.Brake{Deletes: policies.Off, Overwrites: 0.3, AtLeast: 2}
	for i := range 10 {
		w.write("a", fmt.Sprintf("n%d", i), "plain", nil)
	}
	w.sync() // new names cover nothing
	for i := range 3 {
		w.write("a", fmt.Sprintf("n%d", i), "edited", nil)
		w.write("a", fmt.Sprintf("n%d", i), "edited again", nil)
		w.write("a", fmt.Sprintf("new%d", i), "new", nil)
	}
	w.sync() // 3 of 10 are no more than 30 %, at two destinations or at one
	w.alikeHistories("b", "d")

	for i := range 3 {
		w.write("a", fmt.Sprintf("n%d", i), "encrypted", nil)
	}
	for i := 3; i < 6; i++ {
		if err := w.mem["a"].Delete(t.Context(), "c", fmt.Sprintf("n%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.forget()
	before := w.history("b")
	r, err := w.try(w.policy, SyncOptions{})
	if !errors.Is(err, ErrBrake) || r.Brake == "" || r.Totals.Copied != 0 {
		t.Fatalf("6 of 13 objects covered: %v %+v", err, r.Findings)
	}
	for _, region := range []string{"b", "d"} {
		for _, call := range w.faults[region].Calls() {
			if call.Writes() && call.Method != tt.PostContainer {
				t.Errorf("%s was written to: %+v", region, call)
			}
		}
	}
	if got := w.history("b"); len(got["n0"]) != len(before["n0"]) {
		t.Errorf("n0 has %+v", got["n0"])
	}
	w.write("a", "n6", "encrypted", nil) // more than what was released
	if _, err := w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake}); !errors.Is(err, ErrBrake) {
		t.Errorf("a token of 6 released 7: %v", err)
	}
	if r, err = w.try(w.policy, SyncOptions{}); !errors.Is(err, ErrBrake) {
		t.Fatal(err)
	}
	if _, err := w.try(w.policy, SyncOptions{ReleaseBrake: r.Brake}); err != nil {
		t.Fatal(err)
	}
	w.alikeHistories("b", "d")
	w.restart()
}
