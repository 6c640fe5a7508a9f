package replicator

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

const team = "X-Account-Meta-Team"

func (w *world) postAccount(region string, set transport.Header, remove ...string) {
	w.t.Helper()
	if err := w.mem[region].PostAccount(w.t.Context(), set, remove); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantAccount(region string, want transport.Header) {
	w.t.Helper()
	info, err := w.mem[region].Account(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	got := info.Header.Clone()
	maps.Copy(got, info.Keys)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("account of region %s: %s", region, diff)
	}
}

func TestAccountByChoice(t *testing.T) {
	w := newWorld(t, "b")
	w.postAccount("a", transport.Header{team: "web", "X-Account-Meta-Temp-Url-Key": secret})
	w.mem["a"].SetQuota(1 << 40)
	w.sync()
	// once, to learn whether the login is told of ACLs, and whether there is room for the first copies
	if w.wantAccount("b", transport.Header{}); w.faults["a"].Count(tt.Account) > 1 || w.faults["b"].Count(tt.Account) > 1 {
		t.Error("an account that is not chosen was asked for")
	}

	w.policy.Properties.Account = []string{policies.AccountMetadata}
	if r := w.sync(); r.Totals.Properties != 1 || len(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	w.wantAccount("b", transport.Header{team: "web"})
	w.forget()
	w.restart()
	if r := w.sync(); r.Totals.Properties != 0 || len(w.faults["b"].Calls()) != 0 {
		t.Errorf("unchanged: %d %+v", r.Totals.Properties, w.faults["b"].Calls())
	}
	w.policy.Properties.TempURLKeys = true
	w.postAccount("a", transport.Header{"X-Account-Meta-Cost": "7"})
	w.sync()
	w.wantAccount("b", transport.Header{team: "web", "X-Account-Meta-Temp-Url-Key": secret, "X-Account-Meta-Cost": "7"})
	w.postAccount("a", nil, "X-Account-Meta-Cost")
	w.sync()
	w.wantAccount("b", transport.Header{team: "web", "X-Account-Meta-Temp-Url-Key": secret})

	// changed there, and then here too
	w.postAccount("b", transport.Header{team: "theirs", "X-Account-Meta-Own": "o"})
	w.postAccount("a", transport.Header{team: "ours"})
	finding(t, w.pass(), report.KindConflict)
	w.wantAccount("b", transport.Header{team: "theirs", "X-Account-Meta-Temp-Url-Key": secret, "X-Account-Meta-Own": "o"})
	w.policy.Takeover = true
	w.sync()
	w.wantAccount("b", transport.Header{team: "ours", "X-Account-Meta-Temp-Url-Key": secret, "X-Account-Meta-Own": "o"})
}

func TestAccountByTheWayBack(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Properties.Account = []string{policies.AccountMetadata}
	w.postAccount("a", transport.Header{team: "web"})
	w.sync()
	there, back := w.policy, w.policy
	back.Name, back.From, back.To = "back", "b", []string{"a"}
	w.policy = back
	if r := w.sync(); r.Totals.Properties != 0 {
		t.Errorf("%+v", r.Totals)
	}
	w.postAccount("b", transport.Header{team: "edited"})
	w.sync()
	w.wantAccount("a", transport.Header{team: "edited"})
	for _, p := range []policies.Policy{there, back, there} {
		w.policy = p
		if r := w.sync(); r.Totals.Properties != 0 {
			t.Errorf("%s: %+v", p.Name, r.Totals)
		}
	}
	w.wantAccount("b", transport.Header{team: "edited"})
}

func TestAccountQuotaIsTheOperators(t *testing.T) {
	w := newWorld(t, "b")
	w.policy.Properties.Account = []string{policies.AccountQuotas, policies.AccountMetadata}
	w.mem["a"].SetQuota(5000)
	w.postAccount("a", transport.Header{team: "web"})
	r := w.sync()
	if f := finding(t, r, report.KindCannot); f.Level != report.Warn || f.Hint == "" || f.Region != "b" {
		t.Errorf("%+v", f)
	}
	w.wantAccount("b", transport.Header{team: "web"})
	finding(t, w.sync(), report.KindCannot)
	w.mem["b"].SetQuota(5000) // the operator does it
	if r = w.sync(); len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
	w.forget()
	if w.sync(); len(w.faults["b"].Calls()) != 0 {
		t.Errorf("%+v", w.faults["b"].Calls())
	}
}
