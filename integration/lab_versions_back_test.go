//go:build integration

package integration

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/integration/lab"
)

// TestLabVersionsTravelBack edits a copied history at the destination, as after a
// failover, and carries the edits home: only they travel, and nothing loops.
func TestLabVersionsTravelBack(t *testing.T) { eachWay(t, labVersionsTravelBack) }

func labVersionsTravelBack(t *testing.T, x way) {
	w := x.world(t)
	labVersioned(t, w.one, w.from)
	t.Cleanup(func() { labUnversion(t, w.one, w.from); labUnversion(t, w.two, w.to) })
	put := func(c *lab.Client, container, name string, seed uint64) {
		t.Helper()
		c.Call(t, "PUT", lab.Path(container, name), map[string]string{"Content-Type": "text/plain", "X-Object-Meta-No": name}, content(seed, 300)).Want(t, 201)
	}
	back := func() output {
		t.Helper()
		return w.f.must("sync", w.copy(), w.source(), "--delete")
	}
	for i, name := range []string{"a", "a", "b", "stays", "goes"} {
		put(w.one, w.from, name, uint64(i))
	}
	w.sync("--delete")
	if n := back().JSON.Result.Policies[0].Totals; n.Copied != 0 || n.Deleted != 0 || n.Conflicts != 0 {
		t.Errorf("nothing was edited, and %+v travelled back", n)
	}

	put(w.two, w.to, "a", 11)
	put(w.two, w.to, "a", 12)
	put(w.two, w.to, "new", 13)
	w.two.Call(t, "DELETE", lab.Path(w.to, "goes"), nil, nil).Want(t, 204)
	w.two.Call(t, "POST", lab.Path(w.to, "b"), map[string]string{"Content-Type": "text/html", "X-Object-Meta-No": "posted"}, nil).Want(t, 202)
	n := back().JSON.Result.Policies[0].Totals
	if n.Copied != 4 || n.Conflicts != 0 || n.Failed != 0 { // three versions and a marker
		t.Errorf("the edits that travelled back: %+v", n)
	}
	same := func() {
		t.Helper()
		if diff := cmp.Diff(labVersions(t, w.two, w.to), labVersions(t, w.one, w.from)); diff != "" {
			t.Fatalf("the histories differ (-where the edits were made +home):\n%s", diff)
		}
	}
	same()
	w.f.certified(w.copy(), w.source(), "--read", "100%")
	for round := range 2 { // neither way takes the other's copies for edits
		there := w.sync("--delete").JSON.Result.Policies[0].Totals
		home := back().JSON.Result.Policies[0].Totals
		if there.Copied+there.Metadata_updates+there.Deleted+home.Copied+home.Metadata_updates+home.Deleted != 0 {
			t.Errorf("round %d: there %+v, home %+v", round, there, home)
		}
	}
	same()
}

// TestLabVersionsAudit breaks a copied history on real Swift: a version goes, an older
// one is made the current one. The audit says both and repairs them.
func TestLabVersionsAudit(t *testing.T) { thereAndBack(t, labVersionsAudit) }

func labVersionsAudit(t *testing.T, x way) {
	w := x.world(t)
	labVersioned(t, w.one, w.from)
	t.Cleanup(func() { labUnversion(t, w.one, w.from); labUnversion(t, w.two, w.to) })
	for i, name := range []string{"lacks", "lacks", "lacks", "shown", "shown", "whole"} {
		w.one.Put(t, w.from, name, content(uint64(i), 500), nil)
	}
	w.sync()
	whole := labVersions(t, w.two, w.to)
	var rows []struct {
		Name string `json:"name"`
		ID   string `json:"version_id"`
	}
	if err := json.Unmarshal(w.two.Call(t, "GET", lab.Path(w.to)+"?format=json&versions", nil, nil).Want(t, 200).Body, &rows); err != nil {
		t.Fatal(err)
	}
	ids := map[string][]string{} // newest first
	for _, r := range rows {
		ids[r.Name] = append(ids[r.Name], url.QueryEscape(r.ID))
	}
	w.two.Call(t, "DELETE", lab.Path(w.to, "lacks")+"?version-id="+ids["lacks"][1], nil, nil).Want(t, 204)
	w.two.Call(t, "PUT", lab.Path(w.to, "shown")+"?version-id="+ids["shown"][1], nil, nil).Want(t, 201)

	audit := func(more ...string) output {
		t.Helper()
		return w.f.run(append([]string{"audit", w.source(), w.copy()}, more...)...)
	}
	o := audit()
	p := o.JSON.Result.Policies[0]
	if o.Exit != 3 || p.Finding_counts["missing-replica"] != 1 || p.Finding_counts["damaged-replica"] != 1 || p.Finding_counts["foreign-object"] != 0 {
		t.Fatalf("exit %d\n%s", o.Exit, strings.TrimSpace(o.Stdout))
	}
	o = audit("--repair", "--read", "100%")
	if p = o.JSON.Result.Policies[0]; p.Finding_counts["repaired"] != 2 {
		t.Fatalf("exit %d\n%s", o.Exit, strings.TrimSpace(o.Stdout))
	}
	if diff := cmp.Diff(whole, labVersions(t, w.two, w.to)); diff != "" {
		t.Errorf("after the repair (-before +after):\n%s", diff)
	}
	if o = audit("--read", "100%"); o.Exit != 0 {
		t.Errorf("exit %d after the repair\n%s", o.Exit, strings.TrimSpace(o.Stdout))
	}
}
