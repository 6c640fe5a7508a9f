package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Scripts edit two containers more: one that keeps versions, and one that goes as a whole
// and comes back. They have a randomness of their own, so that what a seed does to the
// others stays the same.

var pastNames = []string{"v", "w %41?", "x/é"}

// enlarge adds both containers to a policy's text and to the names at the destination.
func (w *kindsWorld) enlarge(policy, template string) string {
	w.past, w.spare = w.p.main+"-past", w.p.main+"-spare"
	for _, c := range []string{w.past, w.spare} {
		if to := strings.ReplaceAll(template, "{container}", c); to != c {
			w.names[c] = to
		}
	}
	return strings.Replace(policy, "containers: [", fmt.Sprintf("containers: [%q, %q, ", w.past, w.spare), 1)
}

// version is one row of a listing of versions.
type version struct {
	Name   string `json:"name"`
	ID     string `json:"version_id"`
	Latest bool   `json:"is_latest"`
	Type   string `json:"content_type"`
}

func (v version) marker() bool { return strings.Contains(v.Type, "swift_versions_deleted") }

// query is what names the version in a request.
func (v version) query() string { return "version-id=" + url.QueryEscape(v.ID) }

// versions lists all versions of a container, each name's newest first: a page holds 10,000.
func (a account) versions(container string) []version {
	a.t.Helper()
	r := a.must("GET", objectPath("format=json&versions", container), nil, "", 200, 404)
	if r.status == 404 {
		return nil
	}
	var all []version
	if err := json.Unmarshal(r.body, &all); err != nil {
		a.t.Fatalf("%s: %v", r.what, err)
	}
	return all
}

// history sees all versions of a container's names, oldest first, each fact by fact.
func (a account) history(container string) map[string][]object {
	a.t.Helper()
	out := map[string][]object{}
	for _, v := range a.versions(container) {
		o := object{"marker": fmt.Sprint(v.marker()), "latest": fmt.Sprint(v.Latest)}
		if !v.marker() {
			head := a.must("HEAD", objectPath("symlink=get&"+v.query(), container, v.Name), nil, "", 200)
			for k, h := range head.header {
				if !slices.Contains(passing, k) && k != "X-Object-Version-Id" && k != stampHeader {
					o["HEAD "+k] = strings.Join(h, " | ")
				}
			}
			if head.header.Get("X-Static-Large-Object") != "" {
				o["manifest"] = string(a.must("GET", objectPath("multipart-manifest=get&format=raw&"+v.query(), container, v.Name), nil, "", 200).body)
			}
			got := a.send("GET", objectPath(v.query(), container, v.Name), nil, "")
			sum := sha256.Sum256(got.body)
			o["GET"] = fmt.Sprintf("status %d, %d bytes, SHA-256 %s, cut %v", got.status, len(got.body), hex.EncodeToString(sum[:]), got.cut != nil)
			if got.status >= 300 {
				o["GET"] = fmt.Sprintf("status %d", got.status)
			}
		}
		out[v.Name] = append(out[v.Name], o)
	}
	for _, all := range out {
		slices.Reverse(all)
	}
	return out
}

// sameHistory compares the histories of a container and of its copy.
func (w *kindsWorld) sameHistory(container string) {
	w.t.Helper()
	want, got := w.one.history(container), w.two.history(w.names.of(container))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if len(want[name]) != len(got[name]) {
			w.t.Errorf("%s/%q has %d versions at the source, %d at the destination: %v and %v", container, name, len(want[name]), len(got[name]), want[name], got[name])
			continue
		}
		for i, o := range want[name] {
			x, y := w.names.as(o), got[name][i]
			for _, k := range slices.Sorted(maps.Keys(merged(x, y))) {
				if x[k] != y[k] {
					w.t.Errorf("%s/%q, version %d of %d: %s: %q at the source, %q at the destination", container, name, i+1, len(want[name]), k, x[k], y[k])
				}
			}
		}
	}
	for name := range got {
		if want[name] == nil {
			w.t.Errorf("%s/%q has a history only at the destination", container, name)
		}
	}
	const keeps = "X-Versions-Enabled"
	x := w.one.must("HEAD", objectPath("", container), nil, "", 204).header.Get(keeps)
	if y := w.two.must("HEAD", objectPath("", w.names.of(container)), nil, "", 204).header.Get(keeps); x != y {
		w.t.Errorf("%s has %s: %q at the source, %q at the destination", container, keeps, x, y)
	}
}

// pastAlike compares both containers, and says whether spare is there: the copy of a container
// that is gone is empty, and stays.
func (w *kindsWorld) pastAlike() bool {
	w.t.Helper()
	w.sameHistory(w.past)
	alike(w.t, w.one, w.two, w.names, w.spare)
	return w.one.send("HEAD", objectPath("", w.spare), nil, "").status == 204
}

// beginPast makes the two containers; like others they are never suddenly empty, but for spare
// when it goes.
func (s *script) beginPast() {
	s.a.must("PUT", objectPath("", s.past), map[string]string{"X-Versions-Enabled": "true"}, "", 201, 202)
	s.a.put(s.past, "keep", "kept", nil)
	s.beginSpare()
}

func (s *script) beginSpare() {
	s.a.must("PUT", objectPath("", s.spare), map[string]string{"X-Container-Meta-Made": fmt.Sprint(s.rest.IntN(100))}, "", 201, 202)
	for i := range 1 + s.rest.IntN(3) {
		s.a.put(s.spare, fmt.Sprint("o", i), fmt.Sprint("spare ", s.rest.IntN(3)), nil)
	}
}

// pastHeaders are without X-Delete-At, which in a container with versions is the name's.
func (s *script) pastHeaders() map[string]string {
	h := map[string]string{"X-Object-Meta-R": fmt.Sprint(s.rest.IntN(1000))}
	all := everyHeader()
	for _, k := range []string{"Content-Type", "Content-Language", "X-Object-Meta-City"} {
		if s.rest.IntN(3) == 0 {
			h[k] = all[k]
		}
	}
	return h
}

// editPast makes an edit of a history, or of a container as a whole.
func (s *script) editPast() {
	p, r := s.p, s.rest
	name := pick(r, pastNames)
	rows := slices.DeleteFunc(s.a.versions(s.past), func(v version) bool { return v.Name == "keep" })
	switch r.IntN(14) {
	case 0, 1, 2:
		s.send("version", "PUT", "", s.past, name, s.pastHeaders(), string(content(r.Uint64(), pick(r, []int{0, 1, 50, 300}))))
	case 3:
		s.send("delete marker", "DELETE", "", s.past, name, nil, "")
	case 4:
		h := s.pastHeaders()
		if m := s.a.send("HEAD", objectPath("symlink=get&multipart-manifest=get", s.past, name), nil, "").header.Get("X-Object-Manifest"); m != "" && r.IntN(2) == 0 {
			h["X-Object-Manifest"] = m // else a DLO becomes plain
		}
		s.send("post to a version", "POST", "", s.past, name, h, "")
	case 5, 6:
		if len(rows) > 0 {
			v := pick(r, rows)
			s.send("version goes", "DELETE", v.query(), s.past, v.Name, nil, "")
		}
	case 7:
		// Swift answers 500 to one that is "null", from before its container kept versions
		if rows = slices.DeleteFunc(rows, func(v version) bool { return v.marker() || v.ID == "null" }); len(rows) > 0 {
			v := pick(r, rows)
			s.send("old version again", "PUT", v.query(), s.past, v.Name, nil, "")
		}
	case 8:
		from := pick(r, s.a.list(p.segs))
		s.send("slo version", "PUT", "multipart-manifest=put", s.past, name, s.pastHeaders(), fmt.Sprintf(`[{"path": %q}]`, "/"+p.segs+"/"+from.str("name")))
	case 9:
		h := s.pastHeaders()
		h["X-Object-Manifest"] = url.PathEscape(p.more) + "/d/"
		s.send("dlo version", "PUT", "", s.past, name, h, pick(r, []string{"", "own"}))
	case 10:
		h := s.pastHeaders()
		h["X-Symlink-Target"] = strings.TrimPrefix(objectPath("", p.main, "keep"), "/")
		s.send("link version", "PUT", "", s.past, name, h, "")
	case 11:
		s.send("versions", "POST", "", s.past, "", map[string]string{"X-Versions-Enabled": pick(r, []string{"true", "false"})}, "")
	case 12:
		c := pick(r, []string{p.main, p.segs, p.more})
		s.empty(c)
		s.send("container goes", "DELETE", "", c, "", nil, "")
		s.send("container anew", "PUT", "", c, "", map[string]string{"X-Container-Meta-Anew": fmt.Sprint(r.IntN(100))}, "")
		s.beginIn(c)
	case 13:
		if s.a.send("HEAD", objectPath("", s.spare), nil, "").status != 204 {
			s.say("spare is back")
			s.beginSpare()
			return
		}
		s.empty(s.spare)
		s.send("spare goes", "DELETE", "", s.spare, "", nil, "")
	}
}

// empty removes all objects of a container that keeps no versions.
func (s *script) empty(container string) {
	for _, r := range s.a.list(container) {
		s.a.remove(container, r.str("name"))
	}
}

// mendPast removes versions that nobody can read, or write again, at the source.
func (s *script) mendPast() {
	for _, v := range s.a.versions(s.past) {
		if v.marker() {
			continue
		}
		got := s.a.send("GET", objectPath(v.query(), s.past, v.Name), nil, "")
		broken := got.status == 409 || got.status == 500 || got.cut != nil
		if raw := s.a.send("GET", objectPath("multipart-manifest=get&format=raw&symlink=get&"+v.query(), s.past, v.Name), nil, ""); raw.header.Get("X-Static-Large-Object") != "" {
			broken = broken || s.a.send("PUT", objectPath("multipart-manifest=put", s.p.segs, "again"), nil, string(raw.body)).status != 201
			s.a.send("DELETE", objectPath("", s.p.segs, "again"), nil, "")
		}
		if broken {
			s.send("broken version", "DELETE", v.query(), s.past, v.Name, nil, "")
		}
	}
}

// released makes the last passes: where spare is gone a person has to say that this is right.
func (w *kindsWorld) released() output {
	w.t.Helper()
	o := w.f.run("sync", "-f", w.policy)
	if len(o.JSON.Result.Policies) == 1 && o.JSON.Result.Policies[0].Release_brake != "" {
		o = w.f.run("sync", "-f", w.policy, "--release-brake", o.JSON.Result.Policies[0].Release_brake)
	}
	if o.Exit != 0 {
		w.t.Fatalf("the last pass: exit %d\n%s%s", o.Exit, o.Stdout, o.Stderr)
	}
	return o
}
