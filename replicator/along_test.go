package replicator

import (
	"testing"

	"farshore/replicator/report"
	"farshore/transport"
)

// A manifest may point to a container that does not exist; what else there is travels.
func TestAManifestOfNowhereHoldsNothingUp(t *testing.T) {
	w := newWorld(t, "b")
	w.putAt("a", "c", "dlo", "own", transport.Header{transport.ManifestHeader: "nowhere/x"})
	w.putAt("a", "c", "plain", "p", nil)
	for range 2 {
		w.sync()
		w.alike("c", "c")
	}
}

// Neither does a certificate or an audit of it: what is not there at both ends is the same.
func TestACertificateOfAManifestOfNowhere(t *testing.T) {
	w := newWorld(t, "b")
	w.putAt("a", "c", "dlo", "own", transport.Header{transport.ManifestHeader: "nowhere/x"})
	w.putAt("a", "c", "plain", "p", nil)
	w.sync()
	w.clean(w.audit(AuditOptions{Read: 1}))
	certify := func() report.Result {
		t.Helper()
		e := w.engine()
		jobs, err := e.Jobs(t.Context(), w.policy)
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Fidelity(t.Context(), w.policy, jobs, FidelityOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := certify(); r.Errors != 0 || r.Fidelity.Cannot != 0 || r.Fidelity.Unseen != 0 || r.Fidelity.Objects != 2 || r.Fidelity.Containers != 2 {
		t.Errorf("%+v %+v", r.Fidelity, r.Findings)
	}
	w.container("b", "nowhere")
	if r := certify(); r.Errors != 1 || r.Fidelity.Cannot != 1 || r.Findings[0].Container != "nowhere" || r.Findings[0].Kind != report.KindCannot {
		t.Errorf("%+v %+v", r.Fidelity, r.Findings)
	}
}
