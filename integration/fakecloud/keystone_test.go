package fakecloud

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

type tokenBody struct {
	Token struct {
		User    struct{ ID, Name string }
		Project *struct{ ID, Name string }
		Roles   []struct{ Name string }
		Expires time.Time `json:"expires_at"`
		Catalog []struct {
			Type      string
			Endpoints []struct{ Interface, Region, URL string }
		}
	}
}

func identity(t *testing.T, method, url, token, subject, body string) (*http.Response, tokenBody, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("X-Subject-Token", subject)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out tokenBody
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s %s: %v in %q", method, url, err, b)
		}
	}
	return resp, out, string(b)
}

const scopeByName = `,"scope":{"project":{"name":"demo","domain":{"name":"Default"}}}`

func passwordAuth(user, password, scope string) string {
	return fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"domain":{"name":"Default"},"password":%q}}}%s}}`,
		user, password, scope)
}

func TestKeystone(t *testing.T) {
	clock := newClock()
	c, err := Start(Options{Clock: clock.Now, SharedKeystone: true, TokenLife: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := c.Region("RegionTwo")
	auth := r.AuthURL() + "/auth/tokens"
	if resp, _, body := identity(t, "GET", strings.TrimSuffix(r.AuthURL(), "/v3"), "", "", ""); resp.StatusCode != 300 || !strings.Contains(body, `"v3.14"`) {
		t.Errorf("discovery: %d %s", resp.StatusCode, body)
	}
	resp, tok, _ := identity(t, "POST", auth, "", "", passwordAuth(User, Password, scopeByName))
	id := resp.Header.Get("X-Subject-Token")
	if resp.StatusCode != 201 || id == "" || tok.Token.Project.Name != Project || !tok.Token.Expires.Equal(clock.Now().Add(10*time.Minute).Truncate(time.Microsecond)) {
		t.Fatalf("login: %d %+v", resp.StatusCode, tok)
	}
	urls := 0
	for _, s := range tok.Token.Catalog {
		for _, e := range s.Endpoints {
			if s.Type == "object-store" && e.URL == c.Region(e.Region).StorageURL() {
				urls++
			}
		}
	}
	if urls != 6 {
		t.Errorf("object-store endpoints that fit: %d, want 2 regions × 3 interfaces", urls)
	}
	for what, body := range map[string]string{
		"wrong password": passwordAuth(User, "x", scopeByName), "wrong user": passwordAuth("x", Password, scopeByName),
		"no role":      passwordAuth(User, Password, `,"scope":{"project":{"name":"other","domain":{"id":"default"}}}`),
		"wrong secret": fmt.Sprintf(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":"x"}}}}`, r.ks.appCredID()),
	} {
		if resp, _, body := identity(t, "POST", auth, "", "", body); resp.StatusCode != 401 || !strings.Contains(body, `"code":401`) {
			t.Errorf("%s: %d %s", what, resp.StatusCode, body)
		}
	}
	for what, body := range map[string]string{
		"by id": fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":%q,"password":%q}}},"scope":{"project":{"id":%q}}}}`,
			tok.Token.User.ID, Password, tok.Token.Project.ID),
		"credential by id": fmt.Sprintf(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":%q}}}}`,
			r.ks.appCredID(), AppCredSecret),
		"credential by name": fmt.Sprintf(`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"name":%q,"user":{"name":%q,"domain":{"id":"default"}},"secret":%q}}}}`,
			AppCredName, User, AppCredSecret),
		"rescoped": fmt.Sprintf(`{"auth":{"identity":{"methods":["token"],"token":{"id":%q}}%s}}`, id, scopeByName),
	} {
		resp, got, body := identity(t, "POST", auth, "", "", body)
		if resp.StatusCode != 201 || got.Token.Project == nil || got.Token.Project.ID != tok.Token.Project.ID {
			t.Errorf("%s: %d %s", what, resp.StatusCode, body)
		}
	}
	if _, got, _ := identity(t, "POST", auth, "", "", passwordAuth(User, Password, "")); got.Token.Project != nil || got.Token.Catalog != nil {
		t.Errorf("unscoped: %+v", got)
	}
	if resp, got, _ := identity(t, "GET", auth, id, id, ""); resp.StatusCode != 200 || got.Token.User.Name != User {
		t.Errorf("validate: %d %+v", resp.StatusCode, got)
	}
	if resp, _, _ := identity(t, "GET", auth, id, "bad", ""); resp.StatusCode != 404 {
		t.Errorf("validate a bad token: %d", resp.StatusCode)
	}
	if resp, _, _ := identity(t, "DELETE", auth, id, id, ""); resp.StatusCode != 204 {
		t.Errorf("revoke: %d", resp.StatusCode)
	}
	if resp, _, _ := identity(t, "GET", auth, id, id, ""); resp.StatusCode != 401 {
		t.Errorf("use of a revoked token: %d", resp.StatusCode)
	}
	clock.add(10 * time.Minute)
	if r.ks.check(id) != nil {
		t.Error("token outlived its life")
	}
	path, err := c.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("clouds file: %v %v", st.Mode(), err)
	}
}

func TestRegionsApart(t *testing.T) {
	c, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one, two := c.Region("RegionOne"), c.Region("RegionTwo")
	one.Put("c", "o", []byte("x"), nil)
	if _, ok := two.Get("c", "o"); ok || one.AuthURL() == two.AuthURL() || strings.TrimPrefix(one.StorageURL(), one.URL()) == strings.TrimPrefix(two.StorageURL(), two.URL()) {
		t.Error("regions with a Keystone each share something")
	}
	if _, err := Start(Options{Regions: []RegionOptions{{Name: "a"}, {Name: "a"}}}); err == nil {
		t.Error("two regions of one name were accepted")
	}
}
