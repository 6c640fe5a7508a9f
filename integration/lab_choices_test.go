//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// choices is a container of a real region and its copy in an account of another, which may
// be another project's, with a policy there and, if it is asked for, one back.
type choices struct {
	*labWorld
	there, back string // the policies' files
}

// newChoices makes the source's container. to is the destination's cloud, both policies
// get the lines of keys.
func newChoices(t *testing.T, x way, from, to, keys, backKeys string) *choices {
	t.Helper()
	l := lab.Require(t)
	w := &labWorld{t: t, lab: l, way: x, one: l.Client(t, from), two: l.Client(t, to)}
	w.from = lab.Scratch(t, w.one)
	w.to = w.from
	t.Cleanup(func() { w.two.Remove(t, w.to); w.two.Remove(t, ".farshore-segments") })
	w.f = newFarshore(t, l.CloudsFile())
	c := &choices{labWorld: w}
	c.there, c.back = c.policy(from, to, keys), c.policy(to, from, backKeys)
	return c
}

// policy writes a file of its own.
func (c *choices) policy(from, to, keys string) string {
	c.t.Helper()
	text := fmt.Sprintf("regions: {%[1]s: {}, %[2]s: {}}\npolicies:\n  - name: from-%[1]s\n    from: %[1]s\n    to: [%[2]s]\n    containers: [%[3]s]\n    deletes: {propagate: true, after: 0s}\n%[4]s",
		from, to, c.from, keys)
	path := filepath.Join(c.t.TempDir(), "farshore.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// pass runs a policy, which exits with 0, and counts its findings of losses.
func (c *choices) pass(policy string) (cannot int64) {
	c.t.Helper()
	return c.f.must("sync", "-f", policy).JSON.Result.Policies[0].Finding_counts["cannot"]
}

// alike compares both containers, object by object.
func (c *choices) alike() {
	c.t.Helper()
	alike(c.t, labAccount(c.t, c.one), labAccount(c.t, c.two), names{}, c.from)
}

// still asserts that nothing is left to do, in either direction; a single one asks the other
// end nothing (of a pair, listings are merged).
func (c *choices) still(policies ...string) {
	c.t.Helper()
	for _, p := range policies {
		mark := c.mark()
		if n := c.f.must("sync", "-f", p).JSON.Result.Policies[0].Totals; n.Copied+n.Metadata_updates+n.Deleted+n.Properties != 0 {
			c.t.Errorf("nothing changed, and %s did %+v", p, n)
		}
		if n, lines := c.requests(mark); len(policies) == 1 && n != 0 {
			c.t.Errorf("an unchanged pass asked the destination:\n%s", strings.Join(lines, "\n"))
		}
	}
}

func shapeOf(t *testing.T, c *lab.Client, container string) http.Header {
	t.Helper()
	return c.Call(t, "HEAD", lab.Path(container), nil, nil).Want(t, 204).Header
}

// wants compares some headers; "" is one that must not be there.
func wants(t *testing.T, where string, h http.Header, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got := h.Get(k); got != v {
			t.Errorf("%s: %s is %q, not %q", where, k, got, v)
		}
	}
}

// TestLabAccessLists carries ACLs with ids of projects and users to another project of
// another region by the policy's table, sees whom they let in there, and carries edits
// made there back by the table's inverse, with a quota of objects and a web site's names.
func TestLabAccessLists(t *testing.T) {
	eachWay(t, labAccessLists)
}

func labAccessLists(t *testing.T, x way) {
	l := lab.Require(t)
	theirs, ours := l.ProjectID("other"), l.ProjectID("tenant")
	friend, guest := l.UserID("other"), l.UserID("reader")
	c := newChoices(t, x, "lab-"+x.from, "lab-"+x.to+"-other",
		fmt.Sprintf("    map: {projects: {%s: %s}, users: {%s: %s}}\n", theirs, ours, friend, guest),
		fmt.Sprintf("    map: {projects: {%s: %s}, users: {%s: %s}}\n", ours, theirs, guest, friend))
	set := func(client *lab.Client, h map[string]string) {
		t.Helper()
		client.Call(t, "POST", lab.Path(c.from), h, nil).Want(t, 204)
	}
	labAccount(t, c.one).put(c.from, "every", "every header", everyHeader())
	labAccount(t, c.one).put(c.from, "plain", "hello", nil)
	set(c.one, map[string]string{"X-Container-Read": theirs + ":" + friend + "," + ours + ":" + l.UserID("tenant") + ",.rlistings", "X-Container-Write": theirs + ":" + friend + ",*:" + friend,
		"X-Container-Meta-Quota-Count": "100", "X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Error": "error.html"})
	if n := c.pass(c.there); n != 1 {
		t.Errorf("%d findings about ids without an entry, not 1", n)
	}
	c.alike()
	wants(t, "the copy", shapeOf(t, c.two, c.from), map[string]string{"X-Container-Read": ours + ":" + guest + ",.rlistings", "X-Container-Write": ours + ":" + guest + ",*:" + guest,
		"X-Container-Meta-Quota-Count": "100", "X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Error": "error.html"})

	// whom it lets in: the one who stands for the source's, and nobody else of that project
	for _, who := range []struct {
		cloud    string
		get, put int
	}{{"lab-" + x.to + "-reader", 200, 201}, {"lab-" + x.to, 403, 403}} {
		someone := l.Client(t, who.cloud)
		someone.URL = c.two.URL
		if r := someone.Call(t, "GET", lab.Path(c.from, "plain"), nil, nil); r.Status != who.get {
			t.Errorf("a GET by %s: %d, not %d", who.cloud, r.Status, who.get)
		}
		if r := someone.Call(t, "PUT", lab.Path(c.from, "by them"), nil, []byte("x")); r.Status != who.put {
			t.Errorf("a PUT by %s: %d, not %d", who.cloud, r.Status, who.put)
		}
	}
	c.two.Call(t, "DELETE", lab.Path(c.from, "by them"), nil, nil).Want(t, 204)

	// what nobody edited does not travel back: the source's longer ACL stays as it is
	c.pass(c.back)
	wants(t, "the source", shapeOf(t, c.one, c.from), map[string]string{"X-Container-Read": theirs + ":" + friend + "," + ours + ":" + l.UserID("tenant") + ",.rlistings", "X-Container-Write": theirs + ":" + friend + ",*:" + friend})
	set(c.two, map[string]string{"X-Container-Write": ours + ":*", "X-Container-Meta-Quota-Count": "50", "X-Container-Meta-Web-Index": "start.html", "X-Remove-Container-Meta-Web-Error": "x",
		"X-Container-Meta-Access-Control-Allow-Origin": "https://example.org"})
	c.pass(c.back)
	wants(t, "the source, after edits at the copy", shapeOf(t, c.one, c.from), map[string]string{"X-Container-Read": theirs + ":" + friend + "," + ours + ":" + l.UserID("tenant") + ",.rlistings",
		"X-Container-Write": theirs + ":*", "X-Container-Meta-Quota-Count": "50", "X-Container-Meta-Web-Index": "start.html", "X-Container-Meta-Web-Error": "",
		"X-Container-Meta-Access-Control-Allow-Origin": "https://example.org"})
	c.still(c.there, c.back)

	// removed at the source; and the id without an entry, so that a certificate has nothing to complain of
	set(c.one, map[string]string{"X-Container-Read": theirs + ":" + friend, "X-Remove-Container-Write": "x", "X-Remove-Container-Meta-Quota-Count": "x"})
	if n := c.pass(c.there); n != 0 {
		t.Errorf("%d findings, where all ids have an entry", n)
	}
	wants(t, "the copy, after edits at the source", shapeOf(t, c.two, c.from), map[string]string{"X-Container-Read": ours + ":" + guest, "X-Container-Write": "", "X-Container-Meta-Quota-Count": "",
		"X-Container-Meta-Web-Index": "start.html"})
	c.still(c.there, c.back)
	c.alike()
	c.f.certified("-f", c.there, "--read", "100%")
	c.f.certified("-f", c.back, "--read", "100%")
}

// TestLabStoragePolicies has containers in a storage policy that the other region does not
// have: by the policy's table they get the one that stands for it, with the containers of
// their segments, and again when the source has to be made anew from its copy.
func TestLabStoragePolicies(t *testing.T) {
	eachWay(t, labStoragePolicies)
}

func labStoragePolicies(t *testing.T, x way) {
	here, other := "cold-"+x.from, "cold-"+x.to
	c := newChoices(t, x, "lab-"+x.from, "lab-"+x.to,
		fmt.Sprintf("    map: {storage_policies: {%s: %s}}\n", here, other), fmt.Sprintf("    map: {storage_policies: {%s: %s}}\n", other, here))
	parts := c.from + "+parts"
	for _, cl := range []*lab.Client{c.one, c.two} {
		t.Cleanup(func() { cl.Remove(t, parts) })
	}
	a, b := labAccount(t, c.one), labAccount(t, c.two)
	furnish := func() {
		t.Helper()
		c.one.Call(t, "DELETE", lab.Path(c.from), nil, nil).Want(t, 204)
		for _, name := range []string{c.from, parts} {
			c.one.Call(t, "PUT", lab.Path(name), map[string]string{"X-Storage-Policy": here, "X-Container-Meta-Colour": "blue"}, nil).Want(t, 201)
		}
		a.put(c.from, "every", "every header", everyHeader())
		for i := range 2 {
			a.put(parts, fmt.Sprintf("s/%d", i), strings.Repeat(fmt.Sprint(i), 2000), nil)
		}
		a.manifest(c.from, "slo", map[string]string{"Content-Type": "video/x"}, part(parts, "s/0"), part(parts, "s/1"))
		a.put(c.from, "dlo", "", map[string]string{"X-Object-Manifest": strings.ReplaceAll(parts, "+", "%2B") + "/s/"})
	}
	policies := func(what string, cl *lab.Client, want string) {
		t.Helper()
		for _, name := range []string{c.from, parts} {
			wants(t, what+" "+name, shapeOf(t, cl, name), map[string]string{"X-Storage-Policy": want, "X-Container-Meta-Colour": "blue"})
		}
	}
	furnish()

	// without an entry: the region's default, which is reported; strict: not at all
	bare := c.policy("lab-"+x.from, "lab-"+x.to, "    strict: true\n")
	if o := c.f.run("sync", "-f", bare); o.Exit != 3 || c.two.Call(t, "HEAD", lab.Path(c.from), nil, nil).Status != 404 || !strings.Contains(o.Stdout, here) {
		t.Errorf("strict and without an entry: exit %d\n%s", o.Exit, o.Stdout)
	}
	bare = c.policy("lab-"+x.from, "lab-"+x.to, "")
	if n := c.pass(bare); n == 0 {
		t.Error("the default storage policy instead of the source's was not reported")
	}
	policies("without an entry,", c.two, "Policy-0")
	for _, name := range []string{c.from, parts} {
		c.two.Remove(t, name)
	}

	c.f.ledger += ".mapped"
	if n := c.pass(c.there); n != 0 {
		t.Errorf("%d findings, where the storage policy has an entry", n)
	}
	policies("the copy of", c.two, other)
	alike(t, a, b, names{}, c.from, parts)
	c.still(c.there)
	c.f.certified("-f", c.there, "--read", "100%")

	// the source is lost
	for _, name := range []string{c.from, parts} {
		c.one.Remove(t, name)
		c.one.Call(t, "HEAD", lab.Path(name), nil, nil).Want(t, 404)
	}
	c.f.ledger += ".home"
	if n := c.pass(c.back); n != 0 {
		t.Errorf("%d findings on the way back", n)
	}
	policies("made again,", c.one, here)
	alike(t, b, a, names{}, c.from, parts)
	c.f.certified("-f", c.back, "--read", "100%")
}

// TestLabAccounts carries an account's metadata, its quota and TempURL keys, each only when
// the policy asks for it, and edits made at the copy back.
func TestLabAccounts(t *testing.T) {
	eachWay(t, labAccounts)
}

func labAccounts(t *testing.T, x way) {
	from, to := "lab-"+x.from+"-admin", "lab-"+x.to+"-admin" // an account's quota is the operator's to set
	c := newChoices(t, x, from, to, "", "")
	const accountKey, containerKey, quota = "X-Account-Meta-Temp-Url-Key-2", "X-Container-Meta-Temp-Url-Key", "X-Account-Meta-Quota-Bytes"
	mark := "X-Account-Meta-" + http.CanonicalHeaderKey(c.from)
	secrets := []string{"account-key-of-" + c.from, "container-key-of-" + c.from}
	account := func(cl *lab.Client, h map[string]string) {
		t.Helper()
		cl.Call(t, "POST", "", h, nil).Want(t, 204)
	}
	bare := func() {
		for _, cl := range []*lab.Client{c.one, c.two} {
			account(cl, map[string]string{"X-Remove-" + strings.TrimPrefix(mark, "X-"): "x", quota: "", accountKey: ""})
		}
	}
	bare()
	t.Cleanup(bare)
	account(c.one, map[string]string{mark: "Zürich 🚢", quota: "1000000000000", accountKey: secrets[0]})
	c.one.Call(t, "POST", lab.Path(c.from), map[string]string{containerKey: secrets[1], "X-Container-Meta-Colour": "blue"}, nil).Want(t, 204)
	labAccount(t, c.one).put(c.from, "every", "every header", everyHeader())

	there := func(what string, cl *lab.Client, want map[string]string) {
		t.Helper()
		h := cl.Call(t, "HEAD", "", nil, nil).Want(t, 204).Header
		for _, k := range []string{containerKey, "X-Container-Meta-Colour"} {
			h.Set(k, shapeOf(t, cl, c.from).Get(k))
		}
		wants(t, what, h, want)
	}
	run := func(policy string) int64 {
		t.Helper()
		o := c.f.must("sync", "-f", policy)
		for _, s := range secrets {
			if strings.Contains(o.Stdout+o.Stderr, s) {
				t.Errorf("a key is in the output of %s", policy)
			}
		}
		return o.JSON.Result.Policies[0].Finding_counts["cannot"]
	}
	properties := func(from, to, keys string) string { return c.policy(from, to, "    properties: {"+keys+"}\n") }
	all := map[string]string{mark: "", quota: "", accountKey: "", containerKey: "", "X-Container-Meta-Colour": "blue"}
	run(c.there)
	c.alike()
	there("unless asked for", c.two, all)
	run(properties(from, to, "account: [metadata]"))
	all[mark] = "Zürich 🚢"
	there("account: [metadata]", c.two, all)
	// a project's own user may set metadata, and no quota
	if n := run(properties(from, "lab-"+x.to, "account: [metadata, quotas]")); n != 1 {
		t.Errorf("%d findings about a quota that was refused", n)
	}
	there("account: [metadata, quotas], refused", c.two, all)
	all[quota] = "1000000000000"
	both := properties(from, to, "account: [metadata, quotas]")
	if n := run(both); n != 0 {
		t.Errorf("%d findings where an operator sets the quota", n)
	}
	there("account: [metadata, quotas]", c.two, all)
	everything := properties(from, to, "account: [metadata, quotas], tempurl_keys: true")
	run(everything)
	all[accountKey], all[containerKey] = secrets[0], secrets[1]
	there("tempurl_keys: true", c.two, all)
	run(everything)
	c.f.certified("-f", everything, "--read", "100%")

	// back: what was edited there
	home := properties(to, from, "account: [metadata, quotas], tempurl_keys: true")
	run(home)
	there("back, nothing edited", c.one, all)
	secrets = append(secrets, "edited-key-of-"+c.from)
	account(c.two, map[string]string{mark: "edited", quota: "2000000000000", accountKey: secrets[2]})
	c.two.Call(t, "POST", lab.Path(c.from), map[string]string{"X-Remove-Container-Meta-Temp-URL-Key": "x"}, nil).Want(t, 204)
	run(home)
	all[mark], all[quota], all[accountKey], all[containerKey] = "edited", "2000000000000", secrets[2], ""
	there("back, edited there", c.one, all)
	run(everything)
	there("and it stays there", c.two, all)
	c.f.certified("-f", home, "--read", "100%")
	// taken away at the source
	account(c.one, map[string]string{"X-Remove-" + strings.TrimPrefix(mark, "X-"): "x", quota: "", accountKey: ""})
	run(everything)
	all[mark], all[quota], all[accountKey] = "", "", ""
	there("removed", c.two, all)
}
