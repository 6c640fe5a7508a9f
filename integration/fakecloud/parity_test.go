//go:build lab

package fakecloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// side is one of the two object stores that must answer alike.
type side struct {
	name   string
	url    string // of the tenant's account
	tokens map[string]string
	// names are what steps call {account}, {other}, {project} … and what was
	// kept of replies; replies are compared with the names put back.
	names map[string]string
	// hashes are MD5s that cover a time, told from the replies that have their source.
	hashes []string
}

// The users of a step.
const (
	tenant = ""
	other  = "other"
	admin  = "admin"
	nobody = "nobody"
)

// step is one request of a script. {name} in it stands for what the side or an
// earlier reply called name.
type step struct {
	method, path, body string
	header             []string
	user               string
	kept               string // name for the reply's X-Object-Version-Id
	lax                bool   // MD5s and lengths of the reply cover times
	blind              bool   // only the status counts
}

func (st *step) as(user string) *step { st.user = user; return st }

func (st *step) keep(name string) *step { st.kept = name; return st }

func (st *step) loosely() *step { st.lax = true; return st }

func (st *step) statusOnly() *step { st.blind = true; return st }

// script collects the steps on containers whose names start with c.
type script struct {
	c, name string // with and without the slash
	steps   []*step
}

func (s *script) do(method, path, body string, header ...string) *step {
	st := &step{method: method, path: path, body: body, header: header}
	s.steps = append(s.steps, st)
	return st
}

// answered is a reply as it came.
type answered struct {
	code   int
	header http.Header
	body   string
	cut    bool
}

// request sends one step; paths go out exactly as written.
func (s *side) request(t *testing.T, st *step) answered {
	t.Helper()
	base, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for k, v := range s.names {
		pairs = append(pairs, "{"+k+"}", v)
	}
	fill := strings.NewReplacer(pairs...)
	body := fill.Replace(st.body)
	req, err := http.NewRequest(st.method, s.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	raw, query, _ := strings.Cut(fill.Replace(st.path), "?")
	if !strings.HasPrefix(raw, "/v1/") {
		raw = base.Path + raw
	}
	req.URL.Opaque, req.URL.RawQuery = raw, query
	if body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	if st.user != nobody {
		req.Header.Set("X-Auth-Token", s.tokens[st.user])
	}
	for i := 0; i < len(st.header); i += 2 {
		req.Header[http.CanonicalHeaderKey(st.header[i])] = []string{fill.Replace(st.header[i+1])}
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, st.method, st.path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if id := resp.Header.Get("X-Object-Version-Id"); st.kept != "" {
		s.names[st.kept] = id
	}
	if strings.Contains(st.path, "multipart-manifest=get") && resp.StatusCode == http.StatusOK && st.method == http.MethodGet {
		s.hashes = append(s.hashes, md5Hex(b))
	}
	return answered{code: resp.StatusCode, header: resp.Header, body: string(b), cut: err != nil}
}

var (
	// times are what two clusters cannot agree on.
	times  = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][\d:.]+|\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT|\d{10}\.\d{5}|\b\d{10}\b|tx[0-9a-f]{21}-[0-9a-f]{10}`)
	sums   = regexp.MustCompile(`[0-9a-f]{32}`)
	bounds = regexp.MustCompile(`boundary=([0-9a-f]{32})`)
)

// plain puts names in the place of what differs for good reason.
func (s *side) plain(st *step, a answered, v string) string {
	base, _ := url.Parse(s.url)
	keys := slices.SortedFunc(maps.Keys(s.names), func(a, b string) int {
		return cmp.Or(len(s.names[b])-len(s.names[a]), strings.Compare(a, b))
	})
	pairs := []string{base.Host, "{host}"}
	for _, k := range keys {
		if s.names[k] != "" {
			pairs = append(pairs, s.names[k], "{"+k+"}", url.PathEscape(s.names[k]), "{"+k+"}")
		}
	}
	for i, h := range s.hashes {
		pairs = append(pairs, h, fmt.Sprintf("{hash%d}", i))
	}
	if m := bounds.FindStringSubmatch(a.header.Get("Content-Type")); m != nil {
		pairs = append(pairs, m[1], "{boundary}")
	}
	v = times.ReplaceAllString(strings.NewReplacer(pairs...).Replace(v), "~")
	if st.lax {
		v = sums.ReplaceAllString(v, "~")
	}
	return v
}

// ignored are headers of the connection, not of the reply.
var ignored = []string{"Date", "X-Trans-Id", "X-Openstack-Request-Id", "Connection", "Keep-Alive", "Transfer-Encoding"}

// lists are headers whose items Swift writes in no order.
var lists = []string{"Allow", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Expose-Headers"}

// eventual are headers that a real Swift brings up to date only after a while.
var eventual = []string{"X-Account-Container-Count", "X-Account-Object-Count", "X-Account-Bytes-Used"}

func (s *side) headerOf(st *step, a answered, name string) string {
	vs := slices.Clone(a.header[name])
	if slices.Contains(eventual, name) {
		return fmt.Sprint(len(vs))
	}
	if slices.Contains(lists, name) {
		vs = strings.Split(strings.Join(vs, ","), ",")
		for i := range vs {
			vs[i] = strings.TrimSpace(vs[i])
		}
	}
	slices.Sort(vs)
	if name == "Content-Length" && st.lax {
		return fmt.Sprint(len(vs))
	}
	return s.plain(st, a, strings.Join(vs, " | "))
}

// play sends a script to both sides and compares the replies. Replies are
// compared after the last, when all that may differ is known.
func play(t *testing.T, fake, real *side, steps []*step) {
	t.Helper()
	var theirs, ours []answered
	for _, st := range steps {
		theirs = append(theirs, real.request(t, st))
		ours = append(ours, fake.request(t, st))
	}
	for i, st := range steps {
		want, got := theirs[i], ours[i]
		what := fmt.Sprintf("step %d: %s %s %v %s", i, st.method, st.path, st.header, st.user)
		if got.code != want.code {
			t.Errorf("%s: status %d, Swift says %d (%q; Swift: %q)", what, got.code, want.code, got.body, want.body)
			continue
		}
		if st.blind {
			continue
		}
		names := maps.Clone(want.header)
		maps.Copy(names, got.header)
		for _, h := range slices.Sorted(maps.Keys(names)) {
			if slices.Contains(ignored, h) || absent(got.code, h) ||
				// Either server may send a body in chunks, or say 0 where there is none.
				h == "Content-Length" && (got.header[h] == nil || want.header[h] == nil) {
				continue
			}
			if g, w := fake.headerOf(st, got, h), real.headerOf(st, want, h); g != w {
				t.Errorf("%s: %s %q, Swift says %q", what, h, g, w)
			}
		}
		g, w := fake.plain(st, got, got.body), real.plain(st, want, want.body)
		if got.cut && want.cut {
			n := min(len(g), len(w)) // how much got out before the end is a matter of buffers
			g, w = g[:n], w[:n]
		}
		if g != w || got.cut != want.cut {
			t.Errorf("%s: body %q (cut short: %v), Swift says %q (%v)", what, g, got.cut, w, want.cut)
		}
	}
}

// absent says which headers net/http leaves out of a 304.
func absent(code int, h string) bool {
	return code == http.StatusNotModified && h == "Content-Type"
}

// TestParityWithSwift replays scripts on fakecloud and on a real Swift: that of
// FARSHORE_LAB_CLOUDS (entries lab-one, lab-one-other, lab-one-admin), by way of
// the proxy at FARSHORE_PARITY_PROXY (host:port) if that is set.
func TestParityWithSwift(t *testing.T) {
	for _, p := range []struct {
		name   string
		script func(*script)
	}{{"plain", plainScript}, {"slo", sloScript}, {"dlo", dloScript}, {"links", linkScript}, {"versions", versionScript}, {"archive", archiveScript}, {"containers", containerScript}, {"limits", limitScript}, {"web", webScript}} {
		t.Run(p.name, func(t *testing.T) {
			more := p.name == "web"
			if more && os.Getenv("FARSHORE_PARITY_PROXY") == "" {
				t.Skip("FARSHORE_PARITY_PROXY names no proxy with staticweb")
			}
			cloud, err := Start(Options{Regions: []RegionOptions{{Name: "one", StaticWeb: more, AsyncDelete: more}}})
			if err != nil {
				t.Fatal(err)
			}
			defer cloud.Close()
			fake, real := fakeSide(cloud.Regions()[0]), login(t)
			s := &script{name: fmt.Sprintf("parity%d%s", os.Getpid(), p.name)}
			s.c = "/" + s.name
			p.script(s)
			t.Cleanup(func() { sweep(t, real, s.name) })
			play(t, fake, real, s.steps)
		})
	}
}

func fakeSide(r *Region) *side {
	id := func(user, project string) (string, string) {
		tok := r.ks.check(r.Token(user, project))
		return tok.user.ID, tok.project.ID
	}
	s := &side{name: "fakecloud", url: r.StorageURL(), names: map[string]string{}, tokens: map[string]string{
		tenant: r.Token(User, Project), other: r.Token(OtherUser, OtherProject), admin: r.Token(AdminUser, Project)}}
	s.names["keystone"] = r.ks.url()
	s.names["user"], s.names["project"] = id(User, Project)
	s.names["otheruser"], s.names["otherproject"] = id(OtherUser, OtherProject)
	return s
}

// sweep removes the containers of a script, versions included.
func sweep(t *testing.T, s *side, prefix string) {
	t.Helper()
	list := strings.Split(strings.TrimSpace(s.request(t, &step{method: "GET", path: "?prefix=" + prefix}).body), "\n")
	for _, c := range list {
		if c == "" {
			continue
		}
		s.request(t, &step{method: "POST", path: "/" + c, header: []string{"X-Versions-Enabled", "false"}})
		s.request(t, &step{method: "POST", path: "/" + c, header: []string{"X-Remove-Versions-Location", "x"}})
		var rows []struct {
			Name string
			ID   string `json:"version_id"`
		}
		// A container without versions lists its objects as null.
		_ = json.Unmarshal([]byte(s.request(t, &step{method: "GET", path: "/" + c + "?versions"}).body), &rows)
		for _, r := range rows {
			s.request(t, &step{method: "DELETE", path: "/" + c + "/" + escape(r.Name) + "?version-id=" + r.ID})
		}
		s.request(t, &step{method: "DELETE", path: "/" + c})
	}
}

func login(t *testing.T) *side {
	t.Helper()
	path := os.Getenv("FARSHORE_LAB_CLOUDS")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the lab's clouds file (FARSHORE_LAB_CLOUDS): %v", err)
	}
	var file struct {
		Clouds map[string]struct {
			Region string `json:"region_name"`
			Auth   struct {
				URL      string `json:"auth_url"`
				User     string `json:"username"`
				Password string `json:"password"`
				Project  string `json:"project_name"`
			} `json:"auth"`
		} `json:"clouds"`
	}
	// The lab writes its clouds file as JSON.
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	s := &side{name: "swift", tokens: map[string]string{}, names: map[string]string{}}
	for _, who := range []struct{ user, entry, id, project string }{{tenant, "lab-one", "user", "project"},
		{other, "lab-one-other", "otheruser", "otherproject"}, {admin, "lab-one-admin", "", ""}} {
		e := file.Clouds[who.entry]
		domain := map[string]any{"name": "Default"}
		body, err := json.Marshal(map[string]any{"auth": map[string]any{
			"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
				"name": e.Auth.User, "domain": domain, "password": e.Auth.Password}}},
			"scope": map[string]any{"project": map[string]any{"name": e.Auth.Project, "domain": domain}}}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(e.Auth.URL+"/auth/tokens", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatalf("the lab is not there: %v", err)
		}
		var tok tokenBody
		err = json.NewDecoder(resp.Body).Decode(&tok)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("lab login as %s: %d %v", who.entry, resp.StatusCode, err)
		}
		s.tokens[who.user] = resp.Header.Get("X-Subject-Token")
		s.names["keystone"] = strings.TrimSuffix(e.Auth.URL, "/v3")
		if who.id != "" {
			s.names[who.id], s.names[who.project] = tok.Token.User.ID, tok.Token.Project.ID
		}
		for _, svc := range tok.Token.Catalog {
			for _, ep := range svc.Endpoints {
				if who.user == tenant && svc.Type == "object-store" && ep.Interface == "public" && ep.Region == e.Region {
					s.url = ep.URL
				}
			}
		}
	}
	if s.url == "" {
		t.Fatal("no object-store in the lab's catalog")
	}
	if proxy := os.Getenv("FARSHORE_PARITY_PROXY"); proxy != "" {
		u, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = proxy
		s.url = u.String()
	}
	return s
}
