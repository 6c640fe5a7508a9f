package replicator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// A certificate compares what a dynamic large object consists of, at both ends.
func TestCertificateOfADLOsSegments(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(w *world)
		why   string
	}{
		"whole":                   {func(*world) {}, ""},
		"one is missing there":    {func(w *world) { w.mem["b"].Remove("parts", "d/2") }, "segment d/2 is missing there"},
		"the last is missing":     {func(w *world) { w.mem["b"].Remove("parts", "d/3") }, "segment d/3 is missing there"},
		"one is another":          {func(w *world) { w.putAt("b", "parts", "d/1", "PART 1", nil) }, "segment d/1 is another there"},
		"one is longer":           {func(w *world) { w.putAt("b", "parts", "d/1", "part 1 and more", nil) }, "segment d/1 is another there"},
		"one too many":            {func(w *world) { w.putAt("b", "parts", "d/25", "x", nil) }, "segment d/25 is not at the source"},
		"one too many at the end": {func(w *world) { w.putAt("b", "parts", "d/9", "x", nil) }, "segment d/9 is not at the source"},
		"no container there":      {func(w *world) { w.mem["b"].RemoveContainer("parts") }, "segment d/1 is missing there"},
		"no container anywhere":   {func(w *world) { w.mem["b"].RemoveContainer("parts"); w.mem["a"].RemoveContainer("parts") }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "b")
			w.container("a", "parts")
			for _, n := range []string{"1", "2", "3"} {
				w.putAt("a", "parts", "d/"+n, "part "+n, nil)
			}
			w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "parts/d/"})
			w.putAt("a", "c", "own/x", "", transport.Header{transport.ManifestHeader: "c/own/"}) // among its own segments
			w.putAt("a", "c", "own/1", "part", nil)
			w.sync()
			c.spoil(w)
			rows, _ := w.certify(FidelityOptions{})
			row := rows["object c/dlo segments"]
			if (row.Verdict == report.Kept) != (c.why == "") || !strings.Contains(row.Why, c.why) {
				t.Errorf("%+v", row)
			}
			if row := rows["object c/own/x segments"]; row.Verdict != report.Kept {
				t.Errorf("%+v", row)
			}
		})
	}
}

// The container of a DLO's parts has rows, whoever made it.
func TestCertificateOfWhereADLOsPartsLie(t *testing.T) {
	for _, theirs := range []bool{false, true} {
		w := newWorld(t, "b")
		if err := w.mem["a"].CreateContainer(t.Context(), "parts", transport.Header{readACL: ".r:*"}); err != nil {
			t.Fatal(err)
		}
		w.putAt("a", "parts", "d/1", "part", nil)
		w.putAt("a", "parts", "e/1", "part", nil)
		w.putAt("a", "c", "dlo", "", transport.Header{transport.ManifestHeader: "parts/d/"})
		w.putAt("a", "c", "dlo2", "", transport.Header{transport.ManifestHeader: "parts/e/"})
		w.sync()
		if theirs {
			if err := w.mem["b"].PostContainer(t.Context(), "parts", transport.Header{readACL: ".rlistings"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		rows, r := w.certify(FidelityOptions{})
		if rows["container parts/ container"].Verdict != report.Kept || r.Fidelity.Containers != 2 {
			t.Errorf("%+v %+v", rows["container parts/ container"], r.Fidelity)
		}
		if v := rows["container parts/ "+readACL].Verdict; (v == report.Kept) == theirs {
			t.Errorf("%v: %+v", theirs, rows["container parts/ "+readACL])
		}
	}
}

// What stands only at a destination has a row, and no verdict about any copy.
func TestCertificateOfWhatOnlyTheDestinationHas(t *testing.T) {
	w := newVersioned(t, "b")
	w.policy.Deletes = policies.Deletes{Propagate: true, After: time.Hour}
	w.write("a", "kept", "x", nil)
	w.write("a", "deleted", "y", nil)
	w.container("a", "plain")
	w.putAt("a", "plain", "kept", "x", nil)
	w.putAt("a", "plain", "deleted", "y", nil)
	w.policy.Containers = []string{"c", "plain"}
	w.sync()
	w.mem["a"].Remove("plain", "deleted")
	w.putAt("b", "plain", "theirs", "z", nil)
	w.write("b", "theirs", "z", nil)
	if err := w.mem["b"].Delete(t.Context(), "c", "theirs"); err != nil {
		t.Fatal(err)
	}
	extra := func() (map[string]report.FidelityRow, report.Result) {
		t.Helper()
		rows, r := w.certify(FidelityOptions{})
		want := []string{"object plain/deleted content", "object plain/theirs content", "version c/theirs versions"}
		if diff := cmp.Diff(want, judged(rows, report.Extra)); diff != "" {
			t.Error(diff)
		}
		if r.Fidelity.Extra != 3 || r.Fidelity.Cannot != 0 || r.Errors != 0 || r.Fidelity.Rows != r.Fidelity.Kept+r.Fidelity.Mapped+r.Fidelity.Extra {
			t.Errorf("%+v %+v", r.Fidelity, r.Findings)
		}
		if f := finding(t, r, report.KindForeign); f.Level != report.Info || f.Name != "theirs" || f.Region != "b" || f.Container != "plain" {
			t.Errorf("%+v", f)
		}
		return rows, r
	}
	rows, _ := extra()
	if why := rows["object plain/deleted content"].Why; !strings.Contains(why, "deleted at the source") {
		t.Error(why)
	}
	w.sync()
	rows, _ = extra()
	if why := rows["object plain/deleted content"].Why; !strings.Contains(why, "waits until") {
		t.Error(why)
	}
	w.policy.Deletes.Propagate = false
	rows, _ = extra()
	if why := rows["object plain/deleted content"].Why; !strings.Contains(why, "lets no deletes travel") {
		t.Error(why)
	}
	boom := errors.New("disk full")
	e := w.engine()
	jobs, _ := e.Jobs(t.Context(), w.policy)
	if _, err := e.Fidelity(t.Context(), w.policy, jobs, FidelityOptions{Row: func(r report.FidelityRow) error {
		if r.Verdict == report.Extra {
			return boom
		}
		return nil
	}}); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

// A static manifest that its region cannot read (500: a manifest within it was replaced) is
// a row of the certificate and a finding of the audit; the region has not gone for that.
func TestAManifestThatCannotBeReadIsARow(t *testing.T) {
	for _, at := range []string{"b", "a"} {
		w := newWorld(t, "b")
		w.furnish()
		w.sync()
		w.faults[at].Add(tt.Open, tt.Fail(transport.Transient).Status(500).On("c", "nested").Times(-1))
		rows, r := w.certify(FidelityOptions{Read: 1})
		if diff := cmp.Diff([]string{"object c/nested content"}, judged(rows, report.Cannot)); diff != "" {
			t.Errorf("%s: %s", at, diff)
		}
		if x := rows["object c/nested content"]; !strings.Contains(x.Why, "cannot be read") {
			t.Errorf("%s: %+v", at, x)
		}
		if r.Fidelity.Unseen != 0 {
			t.Errorf("%s: %+v", at, r)
		}
	}
	w := newWorld(t, "b")
	w.furnish()
	w.sync()
	w.faults["b"].Add(tt.Open, tt.Fail(transport.Transient).Status(500).On("c", "nested").Times(-1))
	r := w.audit(AuditOptions{Read: 1})
	if len(r.Findings) != 2 || r.Audit.Damaged != 1 {
		t.Errorf("%+v %+v", r.Audit, r.Findings)
	}
	one(t, r, report.KindDamaged, report.Error, "b", "nested", "cannot be read")
}
