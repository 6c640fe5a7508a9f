//go:build lab

package fakecloud

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// blockPlayer is one of the two Cinders that must answer alike.
type blockPlayer struct {
	name, root, swift string // roots without the project
	project           string
	tokens            map[string]string
	names             map[string]string // what the script calls the ids it was given
}

// blockPart is one request of a script. {name} in it stands for an id that an
// earlier reply gave.
type blockPart struct {
	method, path, body string
	user, micro        string
	kept, from         string // name for the member at from, e.g. volume.id
	wait               string // member whose value has to stop ending in -ing before the reply counts
	blind              bool   // only the status counts
	bare               bool   // the path does not follow the project
	dropped            []string
}

func (p *blockPart) as(user string) *blockPart         { p.user = user; return p }
func (p *blockPart) at(micro string) *blockPart        { p.micro = micro; return p }
func (p *blockPart) keep(name, from string) *blockPart { p.kept, p.from = name, from; return p }
func (p *blockPart) drop(keys ...string) *blockPart    { p.dropped = keys; return p }
func (p *blockPart) statusOnly() *blockPart            { p.blind = true; return p }

type blockScript struct{ parts []*blockPart }

func (s *blockScript) do(method, path, body string) *blockPart {
	p := &blockPart{method: method, path: path, body: body, micro: "3.70"}
	s.parts = append(s.parts, p)
	return p
}

// settled asks for a thing until it is at rest.
func (s *blockScript) settled(kind, name string) *blockPart {
	p := s.do("GET", "/"+kind+"/{"+name+"}", "")
	p.wait = strings.TrimSuffix(kind, "s") + ".status"
	return p
}

type blockAnswer struct {
	code   int
	header http.Header
	body   any
	raw    string
}

func (b *blockPlayer) send(t *testing.T, p *blockPart) blockAnswer {
	t.Helper()
	var pairs []string
	for k, v := range b.names {
		pairs = append(pairs, "{"+k+"}", v)
	}
	fill := strings.NewReplacer(pairs...)
	url := b.root + "/v3/" + b.project + fill.Replace(p.path)
	if p.bare {
		url = b.root + fill.Replace(p.path)
	}
	if strings.HasPrefix(p.path, "swift:") {
		url = b.swift + strings.TrimPrefix(fill.Replace(p.path), "swift:")
	}
	deadline := time.Now().Add(5 * time.Minute)
	for {
		req, err := http.NewRequest(p.method, url, strings.NewReader(fill.Replace(p.body)))
		if err != nil {
			t.Fatal(err)
		}
		if p.user != nobody {
			req.Header.Set("X-Auth-Token", b.tokens[p.user])
		}
		if p.micro != "" {
			req.Header.Set("OpenStack-API-Version", "volume "+p.micro)
		}
		if p.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %s %s: %v", b.name, p.method, p.path, err)
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		a := blockAnswer{code: resp.StatusCode, header: resp.Header, raw: string(raw)}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if dec.Decode(&a.body) != nil {
			a.body = nil
		}
		m, _ := a.body.(map[string]any)
		if st := jmap(m).str(strings.Split(p.wait, ".")...); p.wait != "" && (strings.HasSuffix(st, "ing") || st == stBackingUp || st == stRestoringB) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s is still %s", b.name, p.path, st)
			}
			time.Sleep(500 * time.Millisecond)
			continue
		}
		if p.kept != "" {
			if id := jmap(m).str(strings.Split(p.from, ".")...); id != "" {
				b.names[p.kept] = id
			}
		}
		return a
	}
}

var (
	blockTimes = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|/20\d{12}/`)
	blockUUIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	blockHexes = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
)

// plain puts names in the place of what differs for good reason.
func (b *blockPlayer) plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[b.words(k)] = b.plain(x)
		}
		return out
	case []any:
		out := []any{}
		for _, x := range v {
			out = append(out, b.plain(x))
		}
		slices.SortFunc(out, func(x, y any) int { return strings.Compare(rowName(x), rowName(y)) })
		return out
	case string:
		return b.words(v)
	}
	return v
}

// rowName is what rows of a list are put in order by.
func rowName(x any) string {
	if m, ok := x.(map[string]any); ok && m["name"] != nil {
		return fmt.Sprint(m["name"])
	}
	return fmt.Sprint(x)
}

func (b *blockPlayer) words(s string) string {
	s = strings.ReplaceAll(s, b.root, "{root}")
	for k, v := range b.names {
		s = strings.ReplaceAll(s, v, "{"+k+"}")
	}
	s = blockTimes.ReplaceAllString(s, "~")
	s = blockUUIDs.ReplaceAllString(s, "{uuid}")
	return blockHexes.ReplaceAllString(s, "{hex}")
}

// blockDiff names the members in which two bodies differ.
func blockDiff(at string, got, want any) []string {
	g, gok := got.(map[string]any)
	w, wok := want.(map[string]any)
	if gok && wok {
		var out []string
		for k := range g {
			if _, ok := w[k]; !ok {
				out = append(out, fmt.Sprintf("%s.%s = %v, Cinder has none", at, k, g[k]))
				continue
			}
			out = append(out, blockDiff(at+"."+k, g[k], w[k])...)
		}
		for k := range w {
			if _, ok := g[k]; !ok {
				out = append(out, fmt.Sprintf("%s.%s is missing, Cinder has %v", at, k, w[k]))
			}
		}
		slices.Sort(out)
		return out
	}
	if gl, ok := got.([]any); ok {
		if wl, ok := want.([]any); ok && len(gl) == len(wl) {
			var out []string
			for i := range gl {
				out = append(out, blockDiff(fmt.Sprintf("%s[%d]", at, i), gl[i], wl[i])...)
			}
			return out
		}
	}
	if !reflect.DeepEqual(got, want) {
		return []string{fmt.Sprintf("%s = %v, Cinder has %v", at, got, want)}
	}
	return nil
}

func playBlock(t *testing.T, fake, real *blockPlayer, parts []*blockPart) {
	t.Helper()
	for i, p := range parts {
		want := real.send(t, p)
		got := fake.send(t, p)
		what := fmt.Sprintf("step %d: %s %s %s %q %s", i, p.method, p.path, p.body, p.micro, p.user)
		if got.code != want.code {
			t.Errorf("%s: status %d, Cinder says %d (%s; Cinder: %s)", what, got.code, want.code, got.raw, want.raw)
			continue
		}
		if p.blind {
			continue
		}
		for _, h := range []string{"Openstack-Api-Version", "Vary", "Content-Type", "Retry-After"} {
			if strings.HasPrefix(p.path, "swift:") {
				break
			}
			if g, w := got.header.Get(h), want.header.Get(h); g != w {
				t.Errorf("%s: %s %q, Cinder says %q", what, h, g, w)
			}
		}
		for _, d := range blockDiff("", fake.plain(fake.unpack(got.body)), real.plain(real.unpack(want.body))) {
			if !slices.ContainsFunc(p.dropped, func(k string) bool { return strings.Contains(d, "."+k) }) {
				t.Errorf("%s: %s", what, d)
			}
		}
	}
}

// unpack shows what is written inside strings: a record, and volume_meta.
func (b *blockPlayer) unpack(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	inner := func(m map[string]any, key string, raw []byte, err error) {
		var x any
		if err == nil && json.Unmarshal(raw, &x) == nil {
			m[key] = x
		}
	}
	if s, ok := m["volume_meta"].(string); ok {
		inner(m, "volume_meta", []byte(s), nil)
	}
	if rec, ok := m["backup-record"].(map[string]any); ok {
		s, _ := rec["backup_url"].(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		inner(rec, "backup_url", raw, err)
	}
	return m
}

// TestParityWithCinder replays a script on fakecloud and on the Cinder of
// FARSHORE_LAB_CLOUDS (entries lab-one, lab-one-other, lab-one-admin).
func TestParityWithCinder(t *testing.T) {
	cloud, err := Start(Options{Regions: []RegionOptions{{Name: "one", Block: BlockOptions{Zones: []string{"zone-one"}, DenseRestore: true,
		Pace:  BlockPace{Step: 300 * time.Millisecond, Window: time.Second},
		Types: []BlockType{{Name: "standard"}, {Name: "encrypted", Encrypted: true}, {Name: "gold-one"}, {Name: "__DEFAULT__"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	r := cloud.Regions()[0]
	fake := &blockPlayer{name: "fakecloud", root: r.URL() + blockRoot, swift: r.StorageURL(), project: r.ks.project(Project).ID,
		tokens: map[string]string{tenant: r.Token(User, Project), other: r.Token(OtherUser, OtherProject), admin: r.Token(AdminUser, Project)},
		names:  map[string]string{}}
	lab := login(t)
	real := &blockPlayer{name: "cinder", root: labCinder(t, lab), swift: lab.url, project: lab.names["project"], tokens: lab.tokens, names: map[string]string{}}
	t.Cleanup(func() { sweepBlock(t, real) })
	s := &blockScript{}
	volumeParity(s)
	snapshotParity(s)
	backupParity(s)
	restoreParity(s)
	endParity(s)
	playBlock(t, fake, real, s.parts)
}

// labCinder finds the Cinder beside the lab's Swift in the catalog.
func labCinder(t *testing.T, lab *side) string {
	t.Helper()
	req, err := http.NewRequest("GET", lab.names["keystone"]+"/v3/auth/catalog", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", lab.tokens[tenant])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var found struct {
		Catalog []struct {
			Type      string
			Endpoints []struct{ Interface, Region, URL string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{} // type and region -> public URL
	for _, s := range found.Catalog {
		for _, e := range s.Endpoints {
			if e.Interface == "public" {
				urls[s.Type+" "+e.Region] = e.URL
			}
		}
	}
	for k, u := range urls {
		if region, ok := strings.CutPrefix(k, "object-store "); ok && u == lab.url {
			if root, _, ok := strings.Cut(urls["volumev3 "+region], "/v3"); ok {
				return root
			}
		}
	}
	t.Fatal("the lab has no Cinder beside this Swift")
	return ""
}

const parityName = "farshore-parity"

// sweepBlock removes what a script that broke off has left.
func sweepBlock(t *testing.T, b *blockPlayer) {
	t.Helper()
	for _, kind := range []string{"backups", "snapshots", "volumes"} {
		// Increments first, which are the newest.
		a := b.send(t, &blockPart{method: "GET", path: "/" + kind + "/detail", micro: "3.70"})
		m, _ := a.body.(map[string]any)
		list, _ := m[kind].([]any)
		for _, x := range list {
			row, _ := x.(map[string]any)
			if n, _ := row["name"].(string); strings.HasPrefix(n, parityName) {
				id, _ := row["id"].(string)
				b.send(t, &blockPart{method: "DELETE", path: "/" + kind + "/" + id, micro: "3.70"})
				for range 100 {
					if b.send(t, &blockPart{method: "GET", path: "/" + kind + "/" + id, micro: "3.70"}).code == 404 {
						break
					}
					time.Sleep(300 * time.Millisecond)
				}
			}
		}
	}
}
