//go:build integration

package lab_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farshore/integration/lab"
)

func md5hex(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

func TestEveryRegionIsASwiftOfItsOwn(t *testing.T) {
	l := lab.Require(t)
	if len(l.Regions()) < 2 {
		t.Fatalf("regions: %v", l.Regions())
	}
	seen := map[string]bool{}
	for _, r := range l.Regions() {
		c := l.Client(t, l.Cloud(r.Alias, lab.Tenant))
		if !strings.HasPrefix(c.URL, r.Swift+"/v1/AUTH_"+l.ProjectID("tenant")) || seen[c.URL] {
			t.Fatalf("%s has account %s", r.Name, c.URL)
		}
		seen[c.URL] = true
	}
	one, two := l.Client(t, "lab-one"), l.Client(t, "lab-two")
	name := lab.Scratch(t, one)
	one.Put(t, name, "a", []byte("x"), nil)
	two.Call(t, http.MethodHead, lab.Path(name), nil, nil).Want(t, 404)
}

func TestObjectsListingsManifestsAndCopies(t *testing.T) {
	l := lab.Require(t)
	for _, r := range l.Regions() {
		t.Run(r.Alias, func(t *testing.T) {
			c := l.Client(t, l.Cloud(r.Alias, lab.Tenant))
			name := lab.Scratch(t, c)
			body := bytes.Repeat([]byte("farshore"), 20_000)
			c.Put(t, name, "dir/ä ?#%", body, map[string]string{"X-Object-Meta-Colour": "blue"})
			got := c.Get(t, name, "dir/ä ?#%")
			if !bytes.Equal(got.Body, body) || got.Header.Get("X-Object-Meta-Colour") != "blue" {
				t.Fatalf("%d bytes, headers %v", len(got.Body), got.Header)
			}
			segs := name + "_segments"
			c.Call(t, http.MethodPut, lab.Path(segs), nil, nil).Want(t, 201)
			parts := [][]byte{body[:100_000], body[100_000:]}
			for i, p := range parts {
				c.Put(t, segs, "big/"+string(rune('0'+i)), p, nil)
			}
			entries := c.List(t, segs, url.Values{"limit": {"1"}})
			if diff := cmp.Diff([]string{"big/0", "big/1"}, lab.Names(entries)); diff != "" {
				t.Fatal(diff)
			}
			c.Call(t, http.MethodPut, lab.Path(name, "slo")+"?multipart-manifest=put", nil, lab.Manifest(t, segs, entries)).Want(t, 201)
			if size, sum := c.Digest(t, name, "slo"); size != int64(len(body)) || sum != md5hex(body) {
				t.Fatalf("SLO of %d bytes with MD5 %s", size, sum)
			}
			// L1: a COPY collapses the segments, and refuses another MD5
			from := map[string]string{"X-Copy-From": lab.Path(name, "slo"), "Etag": md5hex(nil)}
			c.Call(t, http.MethodPut, lab.Path(name, "plain"), from, nil).Want(t, 422)
			c.Call(t, http.MethodHead, lab.Path(name, "plain"), nil, nil).Want(t, 404)
			from["Etag"] = md5hex(body)
			c.Call(t, http.MethodPut, lab.Path(name, "plain"), from, nil).Want(t, 201)
			h := c.Head(t, name, "plain")
			if h.Get("Etag") != md5hex(body) || h.Get("X-Static-Large-Object") != "" {
				t.Fatalf("collapsed object: %v", h)
			}
		})
	}
}

func TestWhoMayWhat(t *testing.T) {
	l := lab.Require(t)
	tenant, app := l.Client(t, "lab-one"), l.Client(t, l.Cloud("one", lab.AppCred))
	reader, other, admin := l.Client(t, l.Cloud("one", lab.Reader)), l.Client(t, l.Cloud("one", lab.Other)), l.Client(t, l.Cloud("one", lab.Admin))
	name := lab.Scratch(t, tenant)
	tenant.Put(t, name, "a", []byte("bytes"), nil)
	app.Put(t, name, "b", []byte("bytes"), nil)
	if reader.URL != tenant.URL || admin.URL != tenant.URL || other.URL == tenant.URL {
		t.Fatalf("accounts: tenant %s reader %s admin %s other %s", tenant.URL, reader.URL, admin.URL, other.URL)
	}
	read := func(want int) {
		t.Helper()
		reader.Call(t, http.MethodGet, lab.Path(name, "a"), nil, nil).Want(t, want)
	}
	read(403)
	acl := map[string]string{"X-Container-Read": l.ProjectID("tenant") + ":" + l.UserID("reader")}
	tenant.Call(t, http.MethodPost, lab.Path(name), acl, nil).Want(t, 204)
	read(200)
	reader.Call(t, http.MethodPut, lab.Path(name, "c"), nil, nil).Want(t, 403)
	other.Call(t, http.MethodHead, lab.Path(name), nil, nil).Want(t, 404)
	admin.Call(t, http.MethodHead, lab.Path(name), nil, nil).Want(t, 204)
}

func TestARegionCanBeTakenAway(t *testing.T) {
	l := lab.Require(t)
	two := l.Regions()[1]
	addr := strings.TrimPrefix(two.Swift, "http://")
	healthy := func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET /healthcheck HTTP/1.0\r\n\r\n")); err != nil {
			return false
		}
		n, err := conn.Read(make([]byte, 1))
		return err == nil && n == 1
	}
	l.FreezeRegion(t, two.Alias)
	if healthy() {
		t.Fatal("a frozen region answers")
	}
	l.ThawRegion(t, two.Alias)
	if !healthy() {
		t.Fatal("a thawed region does not answer")
	}
	l.StopRegion(t, two.Alias)
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Fatal("a stopped region takes connections")
	}
	l.Client(t, "lab-one").Call(t, http.MethodHead, "", nil, nil).Want(t, 204)
	l.StartRegion(t, two.Alias)
	l.Client(t, "lab-two").Call(t, http.MethodHead, "", nil, nil).Want(t, 204)
}

func TestTokensCanBeMadeToExpire(t *testing.T) {
	l := lab.Require(t)
	const life = 4 * time.Second
	l.TokenLife(t, life)
	c := l.Client(t, "lab-one")
	token := c.Token()
	c.Call(t, http.MethodHead, "", nil, nil).Want(t, 204)
	// Keystone's tokens end by its own clock: nothing to wait for but the time itself.
	for deadline := time.Now().Add(life + 10*time.Second); time.Now().Before(deadline); {
		c.Call(t, http.MethodHead, "", nil, nil).Want(t, 204)
		if c.Token() != token {
			return
		}
	}
	t.Fatal("the token did not expire")
}

func TestOtherPeoplesClientsFindTheLab(t *testing.T) {
	l := lab.Require(t)
	c := l.Client(t, "lab-two")
	name := lab.Scratch(t, c)
	file := filepath.Join(t.TempDir(), "file")
	body := bytes.Repeat([]byte{7}, 3_000_000)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(env []string, cmd string, args ...string) string {
		t.Helper()
		p := exec.Command(cmd, args...)
		p.Env = env
		out, err := p.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", cmd, args, err, out)
		}
		return string(out)
	}
	run(l.Env("lab-two"), "rclone", "--config", l.RcloneConfig(), "copy", file, "lab-two:"+name)
	if _, sum := c.Digest(t, name, "file"); sum != md5hex(body) {
		t.Fatalf("rclone wrote MD5 %s", sum)
	}
	for _, who := range []string{"lab-two", l.Cloud("two", lab.AppCred)} {
		if out := run(l.Env(who), "openstack", "object", "list", name, "-f", "value"); out != "file\n" {
			t.Fatalf("openstack as %s lists %q", who, out)
		}
	}
	if out := run(l.OpenRC("lab-two"), "swift", "stat", name, "file"); !strings.Contains(out, md5hex(body)) {
		t.Fatalf("swift stat: %s", out)
	}
}
