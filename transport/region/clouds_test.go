package region_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/transporttest"
)

// asked is a login request, as Keystone sees it.
type asked struct {
	Auth struct {
		Identity struct {
			Methods  []string
			Password struct {
				User map[string]any
			}
			AppCred map[string]any `json:"application_credential"`
			Token   map[string]any
		}
		Scope map[string]any
	}
}

// tokenReply is Keystone's answer with a catalog of the regions.
func tokenReply(endpoints string) string {
	return `{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "project": {"id": "p1", "name": "demo", "domain": {"id": "default"}},
		"catalog": [{"type": "identity", "endpoints": []}, {"type": "object-store", "endpoints": [` + endpoints + `]}]}}`
}

const twoRegions = `
	{"region": "north", "region_id": "north", "interface": "public", "url": "http://north.example/v1/AUTH_p1"},
	{"region": "north", "region_id": "north", "interface": "internal", "url": "http://north.internal/v1/AUTH_p1"},
	{"region": "south", "region_id": "south", "interface": "public", "url": "http://south.example/v1/AUTH_p1"}`

// recorder answers logins and keeps the last one.
func recorder(t *testing.T, endpoints string) (*gate, *asked) {
	g, last := newGate(t), new(asked)
	g.set(func(q *http.Request) (*http.Response, error) {
		if !isLogin(q) {
			t.Errorf("asks for %s", q.URL)
			return answer(q, 404, ""), nil
		}
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		*last = asked{}
		if err := json.Unmarshal(b, last); err != nil {
			t.Error(err)
		}
		return answer(q, 201, tokenReply(endpoints), "X-Subject-Token", "tok"), nil
	})
	return g, last
}

const rich = `
clouds:
  plain:
    auth: {auth_url: "http://ks.example/v3", username: u, password: 0123, project_name: demo}
    region_name: north
  domains:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_name: demo, user_domain_name: people, project_domain_name: work}
    region_name: north
  noregion:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
  wrongregion:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    region_name: west
  inside:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    region_name: north
    interface: internal
  listed:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    regions:
      - north
      - name: south
        values:
          auth: {project_id: p2, password: 007}
          interface: public
  alone:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    regions: [south]
  cred:
    auth_type: v3applicationcredential
    auth: {auth_url: "http://ks.example/v3", application_credential_id: ac1, application_credential_secret: sec, project_name: demo, username: left-over}
    region_name: north
  tunnel:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    region_name: north
    object_store_endpoint_override: http://127.0.0.1:18080
    volume_endpoint_override: http://127.0.0.1:18776/v3/p1
  dashes:
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3, project_id: p1}
    region_name: north
    object-store_endpoint_override: https://s3.example/swift/v1/AUTH_%(project_id)s
  split:
    auth: {auth_url: "http://ks.example/v3", username: u, project_id: p1}
    region_name: north
  federated:
    auth_type: v3oidcpassword
    auth: {auth_url: "http://ks.example/v3", username: u, password: s3}
  nouser:
    auth: {auth_url: "http://ks.example/v3", password: s3}
  nopassword:
    auth: {auth_url: "http://ks.example/v3", username: u}
  nourl:
    auth: {username: u, password: s3}
  empty: {}
`

func TestCloudsEntries(t *testing.T) {
	clearEnv(t)
	// A sourced openrc of one region must not bend the entries of two.
	t.Setenv("OS_REGION_NAME", "west")
	t.Setenv("OS_INTERFACE", "admin")
	t.Setenv("OS_USERNAME", "someone")
	dir := t.TempDir()
	file := write(t, dir, "clouds.yaml", rich)
	write(t, dir, "secure.yaml", "clouds:\n  split:\n    auth: {password: from-secure}\n")
	north, south := "http://north.example/v1/AUTH_p1", "http://south.example/v1/AUTH_p1"
	for _, c := range []struct {
		cloud, region, iface, override string
		url                            string
		password                       string
		user, scope                    string // as JSON
	}{
		{"plain", "", "", "", north, "0123", `{"domain":{"id":"default"},"name":"u"}`, `{"project":{"domain":{"id":"default"},"name":"demo"}}`},
		{"domains", "", "", "", north, "s3", `{"domain":{"name":"people"},"name":"u"}`, `{"project":{"domain":{"name":"work"},"name":"demo"}}`},
		{"noregion", "south", "", "", south, "s3", "", `{"project":{"id":"p1"}}`},
		{"wrongregion", "south", "", "", south, "s3", "", ""},
		{"inside", "", "", "", "http://north.internal/v1/AUTH_p1", "s3", "", ""},
		{"inside", "", "public", "", north, "s3", "", ""},
		{"plain", "", "internal", "", "http://north.internal/v1/AUTH_p1", "", "", ""},
		{"listed", "north", "", "", north, "s3", "", `{"project":{"id":"p1"}}`},
		{"listed", "south", "", "", south, "007", "", `{"project":{"id":"p2"}}`},
		{"alone", "", "", "", south, "s3", "", ""},
		{"tunnel", "", "", "", "http://127.0.0.1:18080/v1/AUTH_p1", "", "", ""},
		{"tunnel", "", "", "http://other:1/v1/", "http://other:1/v1/AUTH_p1", "", "", ""},
		{"dashes", "", "", "", "https://s3.example/swift/v1/AUTH_p1", "", "", ""},
		{"dashes", "", "", "http://x/rgw/swift/v1/", "http://x/rgw/swift/v1", "", "", ""},
		{"split", "", "", "", north, "from-secure", "", ""},
	} {
		g, got := recorder(t, twoRegions)
		r, err := region.Open(t.Context(), region.Config{Cloud: c.cloud, RegionName: c.region, Interface: c.iface,
			EndpointOverride: c.override, CloudsFile: file, Base: g})
		if err != nil {
			t.Errorf("%s: %v", c.cloud, err)
			continue
		}
		if id := r.Identity(); id.URL != c.url || id.Project != "p1" || id.Region != c.cloud {
			t.Errorf("%s: %+v, want %s", c.cloud, id, c.url)
		}
		user := got.Auth.Identity.Password.User
		if c.password != "" && user["password"] != c.password {
			t.Errorf("%s: password %v, want %v", c.cloud, user["password"], c.password)
		}
		delete(user, "password")
		for _, k := range []struct {
			got  any
			want string
		}{{user, c.user}, {got.Auth.Scope, c.scope}} {
			if b, _ := json.Marshal(k.got); k.want != "" && string(b) != k.want {
				t.Errorf("%s: asks with %s, want %s", c.cloud, b, k.want)
			}
		}
		if c.cloud == "tunnel" && (r.Override("volume") != "http://127.0.0.1:18776/v3/p1" || r.Override("image") != "") {
			t.Errorf("overrides: %q", r.Override("volume"))
		}
		r.Close()
	}

	g, got := recorder(t, twoRegions)
	r, err := region.Open(t.Context(), region.Config{Cloud: "cred", CloudsFile: file, Base: g})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	id := got.Auth.Identity
	if len(id.Methods) != 1 || id.Methods[0] != "application_credential" || id.AppCred["id"] != "ac1" || id.AppCred["secret"] != "sec" ||
		id.AppCred["user"] != nil || got.Auth.Scope != nil {
		t.Errorf("%+v", got)
	}
}

func TestCloudsMistakes(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	file := write(t, dir, "clouds.yaml", rich)
	broken := write(t, dir, "broken.yaml", "clouds:\n  x:\n    auth: {auth_url: 'http://ks/v3', username: u, password: canary-7f}\n    verify: canary-7f\n")
	unclosed := write(t, dir, "unclosed.yaml", "clouds:\n  x:\n    auth: {password: canary-7f\n")
	for _, c := range []struct {
		config region.Config
		texts  []string
	}{
		{region.Config{Cloud: "nowhere", CloudsFile: file}, []string{`no cloud "nowhere"`, file, "alone, cred, dashes, domains"}},
		{region.Config{Cloud: "noregion", CloudsFile: file}, []string{"several regions (north, south)"}},
		{region.Config{Cloud: "wrongregion", CloudsFile: file}, []string{`no region "west"`, "north, south"}},
		{region.Config{Cloud: "plain", Interface: "admin", CloudsFile: file}, []string{"no admin object-store endpoint", "internal, public"}},
		{region.Config{Cloud: "listed", CloudsFile: file}, []string{"several regions (north, south)"}},
		{region.Config{Cloud: "listed", RegionName: "west", CloudsFile: file}, []string{`no region "west"`, "north, south"}},
		{region.Config{Cloud: "federated", CloudsFile: file}, []string{"auth_type", "v3oidcpassword"}},
		{region.Config{Cloud: "nouser", CloudsFile: file}, []string{"no username"}},
		{region.Config{Cloud: "nopassword", CloudsFile: file}, []string{"no password"}},
		{region.Config{Cloud: "nourl", CloudsFile: file}, []string{"no auth_url"}},
		{region.Config{Cloud: "empty", CloudsFile: file}, []string{"no auth_url"}},
		{region.Config{Cloud: "plain", EndpointOverride: "somewhere", CloudsFile: file}, []string{`"somewhere" is not a URL`}},
		{region.Config{Cloud: "plain", EndpointOverride: "ftp://x/v1/AUTH_p1", CloudsFile: file}, []string{"not an http or https URL"}},
		{region.Config{Cloud: "x", CloudsFile: filepath.Join(dir, "missing.yaml")}, []string{"missing.yaml", "no such file"}},
		{region.Config{Cloud: "x", CloudsFile: broken}, []string{broken, "line 4"}},
		{region.Config{Cloud: "x", CloudsFile: unclosed}, []string{unclosed, "line"}},
		{region.Config{Cloud: "envvars", CloudsFile: file}, []string{"OS_AUTH_URL is not set"}},
	} {
		g, _ := recorder(t, twoRegions)
		c.config.Base, c.config.Name = g, "lyon"
		_, err := region.Open(t.Context(), c.config)
		if err == nil {
			t.Errorf("%+v: opened", c.config)
			continue
		}
		wantClass(t, err, transport.Permanent, append(c.texts, "lyon")...)
		noCanary(t, err)
	}
	g, _ := recorder(t, "")
	_, err := region.Open(t.Context(), region.Config{Cloud: "plain", CloudsFile: file, Base: g})
	wantClass(t, err, transport.Permanent, "no object-store service")
}

func TestCloudsSearchPath(t *testing.T) {
	clearEnv(t)
	here, home, named := t.TempDir(), t.TempDir(), t.TempDir()
	one := func(name string) string {
		return "clouds:\n  " + name + ":\n    auth: {auth_url: 'http://ks.example/v3', username: u, password: s3, project_id: p1}\n    region_name: north\n"
	}
	t.Chdir(here)
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	opens := func(name string) error {
		g, _ := recorder(t, twoRegions)
		r, err := region.Open(t.Context(), region.Config{Cloud: name, Base: g})
		if err == nil {
			r.Close()
		}
		return err
	}
	if err := os.MkdirAll(filepath.Join(home, ".config", "openstack"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := opens("at-home"); err == nil || !strings.Contains(err.Error(), "no clouds.yaml found") {
		t.Skipf("this machine has a clouds.yaml of its own: %v", err)
	}
	write(t, filepath.Join(home, ".config", "openstack"), "clouds.yaml", one("at-home"))
	if err := opens("at-home"); err != nil {
		t.Error(err)
	}
	write(t, here, "clouds.yaml", one("here"))
	if err := opens("here"); err != nil {
		t.Error(err)
	}
	if err := opens("at-home"); err == nil {
		t.Error("the first file found is the only one")
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", write(t, named, "my.yaml", one("named")))
	if err := opens("named"); err != nil {
		t.Error(err)
	}
	t.Setenv("OS_CLOUD", "named")
	if err := opens(""); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentLogin(t *testing.T) {
	clearEnv(t)
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for k, v := range map[string]string{"OS_AUTH_URL": "http://ks.example/v3", "OS_USERNAME": "u", "OS_PASSWORD": "a'b\"c: #{0}",
		"OS_PROJECT_NAME": "demo", "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": "south"} {
		t.Setenv(k, v)
	}
	for _, cloud := range []string{"", "env", "envvars"} {
		g, got := recorder(t, twoRegions)
		r, err := region.Open(t.Context(), region.Config{Name: "lyon", Cloud: cloud, Base: g})
		if err != nil {
			t.Errorf("%q: %v", cloud, err)
			continue
		}
		if r.Identity().URL != "http://south.example/v1/AUTH_p1" || got.Auth.Identity.Password.User["password"] != "a'b\"c: #{0}" {
			t.Errorf("%+v %+v", r.Identity(), got)
		}
		r.Close()
	}
}

func TestTLS(t *testing.T) {
	c, file := cloud(t, fakecloud.Options{})
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The same cloud behind TLS.
	plain := c.Region("RegionOne")
	ks := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		out, err := http.NewRequest(q.Method, strings.TrimSuffix(plain.AuthURL(), "/v3")+q.URL.RequestURI(), q.Body)
		if err != nil {
			t.Error(err)
			return
		}
		out.Header = q.Header
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		w.Header().Set("X-Subject-Token", resp.Header.Get("X-Subject-Token"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	ks.Config.ErrorLog = log.New(io.Discard, "", 0) // of the refused certificate
	ks.StartTLS()
	defer ks.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	dir := t.TempDir()
	ca := write(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ks.Certificate().Raw})))
	text := strings.ReplaceAll(string(raw), plain.AuthURL(), ks.URL+"/v3")
	for extra, ok := range map[string]bool{"": false, "    verify: false\n": true, "    cacert: " + ca + "\n": true} {
		f := write(t, dir, "clouds.yaml", strings.Replace(text, "  RegionOne:\n", "  RegionOne:\n"+extra, 1))
		r, err := region.Open(t.Context(), region.Config{Name: "lyon", Cloud: "RegionOne", CloudsFile: f, Clock: new(transporttest.Quick)})
		if err == nil {
			r.Close()
		}
		if ok != (err == nil) {
			t.Errorf("%q: %v", extra, err)
		}
		if !ok && (!strings.Contains(err.Error(), "certificate") || !transport.Is(err, transport.Permanent)) {
			t.Errorf("%q: %v is %v", extra, err, transport.ClassOf(err))
		}
	}
}
