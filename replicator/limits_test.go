package replicator

import (
	"testing"

	"farshore/policies"
	"farshore/transport"
)

// A limit of a policy or a pair that a person sets is in force at once, also for what was
// begun before, and gives way to the file's again.
func TestLimitsChanged(t *testing.T) {
	e := New(Options{Limits: policies.Limits{Pairs: map[string]policies.Rate{"a->b": 100}}})
	p := policies.Policy{Name: "p", Limit: 50}
	rates := func(from, to string) (int64, int64) {
		all := transport.LimitsOf(e.budget.limit(t.Context(), p, from, to))
		return all[1].Rate(), all[2].Rate()
	}
	check := func(when string, pair, policy int64) {
		t.Helper()
		if x, y := rates("a", "b"); x != pair || y != policy {
			t.Errorf("%s: the pair has %d, the policy %d; want %d and %d", when, x, y, pair, policy)
		}
	}
	e.SetPairLimit("a->c", 7) // of a pair that nothing went by yet
	if x, _ := rates("a", "c"); x != 7 {
		t.Errorf("a limit set beforehand is %d, want 7", x)
	}
	check("at first", 100, 50)
	before := transport.LimitsOf(e.budget.limit(t.Context(), p, "a", "b"))
	e.SetPairLimit("a->b", 9)
	e.SetPolicyLimit("p", 0, 50)
	check("changed", 9, 0)
	if before[1].Rate() != 9 || before[2].Rate() != 0 {
		t.Errorf("what was begun before goes on at %d and %d", before[1].Rate(), before[2].Rate())
	}
	e.SetPairLimit("a->b", -1)
	e.SetPolicyLimit("p", -1, 50)
	check("taken back", 100, 50)
}
