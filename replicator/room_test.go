package replicator

import (
	"strings"
	"testing"

	"farshore/replicator/report"
	tt "farshore/transport/transporttest"
)

// TestAccountHasRoom says before the first bytes travel that the account at the destination
// may not hold them, once, of all containers together, and asks for it once; a pass over
// what is known asks nothing.
func TestAccountHasRoom(t *testing.T) {
	said := func(r report.Result) (out []report.Finding) {
		for _, f := range r.Findings {
			if f.Op == "check quota" {
				out = append(out, f)
			}
		}
		return out
	}
	for _, c := range []struct {
		name  string
		quota int64
		there int // bytes of the first container that stand there already
		want  string
	}{
		{"no quota", -1, 0, ""},
		{"enough", 9000, 0, ""},
		{"too little for both containers", 7999, 0, "the account's quota is 7999 bytes, 0 are used, and 8000 or more are to come"},
		{"what stands there does not come again", 8000, 1000, ""},
		{"and is used all the same", 7999, 1000, "the account's quota is 7999 bytes, 1000 are used, and 7000 or more are to come"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "b")
			w.policy.Containers = []string{"c", "c2"}
			ctx := t.Context()
			if err := w.mem["a"].CreateContainer(ctx, "c2", nil); err != nil {
				t.Fatal(err)
			}
			for i, in := range []string{"c", "c2"} {
				for j, name := range []string{"x", "y", "z", "zz"} {
					w.mem["a"].Set(in, name, fill(uint64(i*10+j), 1000), nil)
				}
			}
			if c.there > 0 {
				if err := w.mem["b"].CreateContainer(ctx, "c", nil); err != nil {
					t.Fatal(err)
				}
				w.mem["b"].Set("c", "x", fill(0, c.there), nil)
			}
			w.mem["b"].SetQuota(c.quota)
			plan, err := w.try(w.policy, SyncOptions{DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			w.forget()
			r, err := w.try(w.policy, SyncOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if n := w.faults["b"].Count(tt.Account); n != 1 && c.want == "" {
				t.Errorf("the account was asked %d times", n)
			}
			for what, r := range map[string]report.Result{"the plan": plan, "the pass": r} {
				got := said(r)
				switch {
				case c.want == "" && len(got) == 0:
				case len(got) != 1 || got[0].Cause != c.want || got[0].Level != report.Warn || got[0].Region != "b" || !strings.Contains(got[0].Hint, "X-Account-Meta-Quota-Bytes"):
					t.Errorf("%s says %+v, want %q", what, got, c.want)
				}
			}
			if c.want == "" {
				w.quiet("b")
			}
		})
	}
}
