package replicator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	tt "farshore/transport/transporttest"
)

// certify makes a certificate and gives its rows as "item name property": verdict.
func (w *world) certify(o FidelityOptions) (map[string]report.FidelityRow, report.Result) {
	w.t.Helper()
	out := map[string]report.FidelityRow{}
	o.Row = func(r report.FidelityRow) error {
		key := strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", r.Item, r.Container, r.Name, r.Property))
		if r.Version != "" {
			key += " of an older version"
		}
		out[key] = r
		return nil
	}
	e := w.engine()
	jobs, err := e.Jobs(w.t.Context(), w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := e.Fidelity(w.t.Context(), w.policy, jobs, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return out, r
}

// judged gives the rows of a verdict, by key.
func judged(rows map[string]report.FidelityRow, v report.Verdict) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if rows[k].Verdict == v {
			out = append(out, k)
		}
	}
	return out
}

// everything is a world with every kind of object and property, carried.
func everything(t *testing.T) *world {
	w := newWorld(t, "b")
	w.mem["b"] = tt.NewMem(tt.MemOptions{Region: "b", Project: "theirs", Now: w.clock.Now, Policies: []string{"Policy-0", "gold"}})
	w.policy.Map.Projects = map[string]string{"p1": "q1"}
	w.policy.Properties.TempURLKeys = true
	w.policy.Properties.Account = []string{policies.AccountMetadata}
	w.furnish()
	w.putAt("a", "c", "full", "bytes", transport.Header{"Content-Type": "text/x", "Content-Encoding": "gzip", "Content-Disposition": "attachment", "Content-Language": "fr",
		"Cache-Control": "no-store", "Expires": "Thu, 01 Jan 2099 00:00:00 GMT", "X-Robots-Tag": "noindex", "X-Delete-At": "4070908800", "X-Object-Meta-Own": "1"})
	w.postProps("a", transport.Header{colour: "red", readACL: ".r:*,p1:*", "X-Container-Meta-Web-Index": "i", quota: "1000000", tempKey: secret,
		"X-Container-Meta-Access-Control-Allow-Origin": "*"})
	w.postAccount("a", transport.Header{team: "web"})
	w.container("a", "hist")
	if err := w.mem["a"].PostContainer(t.Context(), "hist", transport.Header{"X-Versions-Enabled": "true"}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.putAt("a", "hist", "v", strings.Repeat("x", i+1), transport.Header{"X-Object-Meta-N": fmt.Sprint(i)})
	}
	w.policy.Containers = []string{"c", "hist"}
	w.sync()
	w.sync() // what waited for something else is there now
	return w
}

func TestCertificateOfAFaithfulCopy(t *testing.T) {
	w := everything(t)
	rows, r := w.certify(FidelityOptions{Read: 1})
	if got := judged(rows, report.Cannot); len(got) != 0 || r.Errors != 0 || r.Fidelity.Cannot != 0 {
		for _, k := range got {
			t.Errorf("%s: %+v", k, rows[k])
		}
		t.Fatalf("%+v %+v", r.Fidelity, r.Findings)
	}
	for _, k := range judged(rows, report.Mapped) {
		if k != "container c/ "+readACL && !strings.HasSuffix(k, transport.OriginHeader) && !strings.HasSuffix(k, transport.OriginHeader+" of an older version") {
			t.Errorf("mapped: %s: %+v", k, rows[k])
		}
	}
	if x := rows["container c/ "+readACL]; x.Verdict != report.Mapped || !strings.Contains(x.Why, "p1 → q1") || x.There != ".r:*,q1:*" {
		t.Errorf("%+v", x)
	}
	for _, want := range []string{"object c/full content", "object c/full kind", "object c/full X-Delete-At", "object c/slo manifest", "object c/dlo X-Object-Manifest",
		"object c/0static X-Symlink-Target-Etag", "container c/ X-Storage-Policy", "container hist/ X-Versions-Enabled", "version hist/v versions",
		"version hist/v X-Object-Meta-N of an older version", "account / " + team, "object segs/inner manifest", "object more/target content"} {
		if rows[want].Verdict != report.Kept {
			t.Errorf("%s: %+v", want, rows[want])
		}
	}
	f := r.Fidelity
	if f.Rows != f.Kept+f.Mapped || f.Objects == 0 || f.Accounts != 1 || f.Containers < 4 || f.Versions != 3 || f.Never == "" || f.Unseen != 0 || f.Read == 0 {
		t.Errorf("%+v", f)
	}
}

// TestCertificateFindsEachThingBroken breaks one thing at the destination and expects
// exactly its rows to turn.
func TestCertificateFindsEachThingBroken(t *testing.T) {
	head := func(w *world, name string) transport.Header {
		o, err := w.mem["b"].Head(t.Context(), "c", name)
		if err != nil {
			t.Fatal(err)
		}
		return o.Header
	}
	without := func(name, header string) func(*world) {
		return func(w *world) {
			h := head(w, name)
			delete(h, header)
			if err := w.mem["b"].Post(t.Context(), "c", name, h); err != nil {
				t.Fatal(err)
			}
		}
	}
	with := func(name, header, value string) func(*world) {
		return func(w *world) {
			h := head(w, name)
			h[header] = value
			if err := w.mem["b"].Post(t.Context(), "c", name, h); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := func(name, data string) func(*world) {
		return func(w *world) { w.putAt("b", "c", name, data, head(w, name)) }
	}
	post := func(container string, set transport.Header, remove ...string) func(*world) {
		return func(w *world) {
			if err := w.mem["b"].PostContainer(t.Context(), container, set, remove); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := []struct {
		name string
		do   func(*world)
		want []string
	}{
		{"other bytes", again("full", "bytez"), []string{"object c/full content"}},
		{"another size", again("full", "more bytes"), []string{"object c/full content"}},
		{"rotten bytes", func(w *world) { w.mem["b"].Rot("c", "full", func(b []byte) []byte { b[0] ^= 1; return b }) }, []string{"object c/full content"}},
		{"gone", func(w *world) { w.mem["b"].Remove("c", "full") }, []string{"object c/full content"}},
		{"others' metadata", with("full", "X-Object-Meta-Theirs", "x"), []string{"object c/full X-Object-Meta-Theirs"}},
		{"own bytes of a manifest", again("dlo", "not own bytes"), []string{"object c/dlo content"}},
		{"a DLO's prefix", with("dlo", transport.ManifestHeader, "more/other/"), []string{"object c/dlo X-Object-Manifest"}},
		{"a DLO made plain", without("dlo", transport.ManifestHeader), []string{"object c/dlo X-Object-Manifest", "object c/dlo kind"}},
		{"a link to something else", func(w *world) {
			h := head(w, "soft")
			h[transport.TargetHeader] = "c/full"
			w.putAt("b", "c", "soft", "", h)
		}, []string{"object c/soft X-Symlink-Target"}},
		{"a link made an object", func(w *world) { w.putAt("b", "c", "soft", "", transport.Header{"X-Object-Meta-L": "1"}) },
			[]string{"object c/soft X-Symlink-Target", "object c/soft kind"}},
		{"a manifest with fewer parts", func(w *world) {
			_, raw, _ := w.mem["b"].Manifest(t.Context(), "c", "ranges", "")
			m, _ := transport.ParseManifest(raw)
			etag, _ := m[1:].ETag()
			if _, err := w.mem["b"].PutRaw(t.Context(), "c", "ranges", m[1:].Encode(), etag, transport.PutOptions{Header: head(w, "ranges")}); err != nil {
				t.Fatal(err)
			}
		}, []string{"object c/ranges content", "object c/ranges manifest"}},
		{"a manifest's range", func(w *world) {
			_, raw, _ := w.mem["b"].Manifest(t.Context(), "c", "ranges", "")
			m, _ := transport.ParseManifest(raw)
			m[0].Range = "11-100"
			etag, _ := m.ETag()
			if _, err := w.mem["b"].PutRaw(t.Context(), "c", "ranges", m.Encode(), etag, transport.PutOptions{Header: head(w, "ranges")}); err != nil {
				t.Fatal(err)
			}
		}, []string{"object c/ranges content", "object c/ranges manifest"}},
		{"a segment", func(w *world) { w.putAt("b", "more", "target", "other!", nil) }, []string{"object more/target content"}},
		{"a container's metadata", post("c", transport.Header{colour: "blue"}), []string{"container c/ " + colour}},
		{"a container's metadata removed", post("c", nil, colour), []string{"container c/ " + colour}},
		{"an ACL", post("c", transport.Header{readACL: ".r:*,q1:*,q2:*"}), []string{"container c/ " + readACL}},
		{"a write ACL that others gave", post("c", transport.Header{"X-Container-Write": "q9:*"}), []string{"container c/ X-Container-Write"}},
		{"a quota", post("c", nil, quota), []string{"container c/ " + quota}},
		{"CORS", post("c", nil, "X-Container-Meta-Access-Control-Allow-Origin"), []string{"container c/ X-Container-Meta-Access-Control-Allow-Origin"}},
		{"static web", post("c", transport.Header{"X-Container-Meta-Web-Index": "j"}), []string{"container c/ X-Container-Meta-Web-Index"}},
		{"a key", post("c", transport.Header{tempKey: "another-" + secret}), []string{"container c/ " + tempKey}},
		{"versioning", post("hist", transport.Header{"X-Versions-Enabled": "false"}), []string{"container hist/ X-Versions-Enabled"}},
		{"an older version", func(w *world) {
			var v []transport.VersionEntry
			_ = w.mem["b"].Versions(t.Context(), "hist", transport.Range{}, func(page []transport.VersionEntry) error { v = append(v, page...); return nil })
			if err := w.mem["b"].DeleteVersion(t.Context(), "hist", "v", v[2].ID); err != nil {
				t.Fatal(err)
			}
		}, []string{"version hist/v versions"}},
		{"an older version's bytes", func(w *world) {
			var v []transport.VersionEntry
			_ = w.mem["b"].Versions(t.Context(), "hist", transport.Range{}, func(page []transport.VersionEntry) error { v = append(v, page...); return nil })
			for _, x := range v {
				if err := w.mem["b"].DeleteVersion(t.Context(), "hist", "v", x.ID); err != nil {
					t.Fatal(err)
				}
			}
			for i, data := range []string{"x", "yy", "xxx"} {
				w.putAt("b", "hist", "v", data, transport.Header{"X-Object-Meta-N": fmt.Sprint(i)})
			}
		}, []string{"version hist/v versions"}},
		{"the account's metadata", func(w *world) { w.postAccount("b", transport.Header{team: "x"}) }, []string{"account / " + team}},
	}
	for _, h := range []string{"Content-Encoding", "Content-Disposition", "Content-Language", "Cache-Control", "Expires", "X-Robots-Tag", "X-Delete-At", "X-Object-Meta-Own"} {
		cases = append(cases, struct {
			name string
			do   func(*world)
			want []string
		}{h, without("full", h), []string{"object c/full " + h}})
	}
	cases = append(cases, struct {
		name string
		do   func(*world)
		want []string
	}{"Content-Type", with("full", "Content-Type", "text/y"), []string{"object c/full Content-Type"}})
	w := everything(t)
	faithful := w.mem["b"]
	for _, c := range cases {
		w.mem["b"] = faithful.Copy()
		c.do(w)
		rows, r := w.certify(FidelityOptions{Read: 1})
		if diff := cmp.Diff(c.want, judged(rows, report.Cannot)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if r.Errors != int64(len(c.want)) || r.Fidelity.Cannot != int64(len(c.want)) {
			t.Errorf("%s: %d error findings, totals %+v", c.name, r.Errors, r.Fidelity)
		}
		for _, k := range c.want {
			if rows[k].Why == "" || strings.Contains(fmt.Sprint(rows[k]), secret) {
				t.Errorf("%s: %+v", c.name, rows[k])
			}
		}
		for _, f := range r.Findings {
			if strings.Contains(fmt.Sprint(f), secret) {
				t.Errorf("%s: a secret in %+v", c.name, f)
			}
		}
	}
}

func TestCertificateOfWhatCannotBeKept(t *testing.T) {
	w := foreignWorld(t)
	w.mem["a"] = tt.NewMem(tt.MemOptions{Region: "a", Now: w.clock.Now, Policies: []string{"Policy-0", "gold"}})
	_ = w.mem["a"].CreateContainer(t.Context(), "c", transport.Header{transport.PolicyHeader: "gold", readACL: "p9:*,.r:*", tempKey: secret})
	w.put("big", 1, 3<<20, nil)
	w.policy.Large.As, w.policy.Large.Over, w.policy.Large.Chunk = policies.Segmented, 1<<20, 1<<20
	w.sync()
	rows, r := w.certify(FidelityOptions{})
	if diff := cmp.Diff([]string{"container c/ " + readACL, "container c/ X-Storage-Policy"}, judged(rows, report.Cannot)); diff != "" {
		t.Error(diff)
	}
	for k, want := range map[string]string{"object c/big kind": "segmented", "object c/big content": "in segments", "container c/ " + tempKey: "tempurl_keys"} {
		if rows[k].Verdict != report.Mapped || !strings.Contains(rows[k].Why, want) {
			t.Errorf("%s: %+v", k, rows[k])
		}
	}
	if !strings.Contains(rows["container c/ "+readACL].Why, "project p9") {
		t.Errorf("%+v", rows["container c/ "+readACL])
	}
	w.policy.Accept = []string{report.KindCannot}
	if _, r = w.certify(FidelityOptions{}); r.Errors != 0 || r.Fidelity.Cannot != 2 {
		t.Errorf("accepted: %+v %+v", r.Fidelity, r.Findings)
	}

	// a source that has gone on, and a destination that does not answer
	w.policy.Accept = nil
	w.put("big", 2, 3<<20, nil)
	rows, _ = w.certify(FidelityOptions{})
	if x := rows["object c/big content"]; x.Verdict != report.Cannot || !strings.Contains(x.Why, "no pass has carried") {
		t.Errorf("%+v", x)
	}
	w.faults["b"].Add(tt.Head, tt.Fail(transport.Transient).Times(-1))
	if _, r = w.certify(FidelityOptions{}); r.Fidelity.Unseen == 0 || r.Errors == 0 || r.Counts[report.KindFailed] == 0 {
		t.Errorf("%+v %+v", r.Fidelity, r.Findings)
	}
	boom := errors.New("disk full")
	e := w.engine()
	jobs, _ := e.Jobs(t.Context(), w.policy)
	if _, err := e.Fidelity(t.Context(), w.policy, jobs, FidelityOptions{Row: func(report.FidelityRow) error { return boom }}); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

// TestCertificateNeedsNoLedger compares copies that others made.
func TestCertificateNeedsNoLedger(t *testing.T) {
	w := newWorld(t, "b")
	w.put("x", 1, 10, nil)
	_ = w.mem["b"].CreateContainer(t.Context(), "c", nil)
	w.mem["b"].Set("c", "x", fill(1, 10), transport.Header{"Content-Type": "text/plain", "X-Object-Meta-Mtime": "1"})
	rows, _ := w.certify(FidelityOptions{Read: 1})
	if diff := cmp.Diff([]string{"object c/x X-Object-Meta-Mtime", "object c/x X-Object-Meta-Seed"}, judged(rows, report.Cannot)); diff != "" {
		t.Error(diff)
	}
	w.forget()
	w.certify(FidelityOptions{})
	for _, f := range w.faults {
		for _, c := range f.Calls() {
			if c.Writes() {
				t.Errorf("a certificate writes: %+v", c)
			}
		}
	}
}
