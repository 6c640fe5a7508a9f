//go:build integration

package integration

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// fidelityChoices makes the rows of the table about what a policy chooses or maps, and about
// the older modes of versions: in the operators' accounts, whose quotas they may set.
func fidelityChoices(t *testing.T, l *lab.Lab) (rows string) {
	t.Helper()
	one, two := l.Client(t, "lab-one-admin"), l.Client(t, "lab-two-admin")
	other := l.Client(t, "lab-two-other") // of another project, where ids are others
	plain := lab.Scratch(t, one)
	cold, past, history := plain+"-cold", plain+"-past", plain+"-history"
	named := []string{plain, cold, past, history}
	modes := map[string]string{past: "X-Versions-Location", history: "X-History-Location"}
	mark := "X-Account-Meta-" + http.CanonicalHeaderKey(plain)
	const accountKey, containerKey, quota = "X-Account-Meta-Temp-Url-Key-2", "X-Container-Meta-Temp-Url-Key", "X-Account-Meta-Quota-Bytes"
	bare := func() {
		for _, cl := range []*lab.Client{one, two} {
			cl.Call(t, "POST", "", map[string]string{"X-Remove-" + strings.TrimPrefix(mark, "X-"): "x", quota: "", accountKey: ""}, nil)
		}
	}
	bare()
	t.Cleanup(func() {
		bare()
		for _, c := range named {
			for _, suffix := range []string{"", "-fs", "-rc"} {
				cl := two
				if suffix == "" {
					cl = one
				}
				for _, k := range modes {
					cl.Call(t, "POST", lab.Path(c+suffix), map[string]string{"X-Remove-" + strings.TrimPrefix(k, "X-"): "x"}, nil)
				}
				cl.Remove(t, c+suffix)
				cl.Remove(t, c+"-old"+suffix)
				other.Remove(t, c+suffix)
			}
		}
	})

	theirs, ours, friend, guest := l.ProjectID("other"), l.ProjectID("tenant"), l.UserID("other"), l.UserID("reader")
	one.Call(t, "POST", "", map[string]string{mark: "Zürich", quota: "1000000000000", accountKey: "secret of the account"}, nil).Want(t, 204)
	one.Call(t, "POST", lab.Path(plain), map[string]string{"X-Container-Read": theirs + ":" + friend, containerKey: "secret of the container"}, nil).Want(t, 204)
	one.Call(t, "PUT", lab.Path(cold), map[string]string{"X-Storage-Policy": "cold-one"}, nil).Want(t, 201)
	one.Put(t, plain, "o", content(1, 100), nil)
	one.Put(t, cold, "o", content(2, 100), nil)
	for c, header := range modes {
		one.Call(t, "PUT", lab.Path(c+"-old"), nil, nil).Want(t, 201)
		one.Call(t, "PUT", lab.Path(c), map[string]string{header: c + "-old"}, nil).Want(t, 201)
		for i := range 3 {
			one.Put(t, c, "o", content(uint64(10+i), 100), nil)
		}
		one.Put(t, c, "deleted", content(20, 100), nil)
		one.Call(t, "DELETE", lab.Path(c, "deleted"), nil, nil).Want(t, 204)
	}

	for _, c := range named {
		rclone(t, l, "lab-one-admin:"+c, "lab-two-admin:"+c+"-rc")
	}
	rclone(t, l, "lab-one-admin:"+plain, "lab-two-other:"+plain+"-rc")
	// what became of each property, by the suffix of the tool's containers
	seen := map[string][]string{}
	look := func(suffix string) {
		t.Helper()
		say := func(property string, kept bool) {
			seen[property] = append(seen[property], map[bool]string{true: "kept", false: "lost"}[kept])
		}
		account, shape := two.Call(t, "HEAD", "", nil, nil).Want(t, 204).Header, func(c string) http.Header { return shapeOf(t, two, c+suffix) }
		say("Metadata of the account, by choice", account.Get(mark) == "Zürich")
		say("Quota of the account, by choice", account.Get(quota) == "1000000000000")
		say("TempURL keys of account and container, by choice", account.Get(accountKey) == "secret of the account" && shape(plain).Get(containerKey) == "secret of the container")
		say("Ids in ACLs, by a map", shapeOf(t, other, plain+suffix).Get("X-Container-Read") == ours+":"+guest)
		say("Storage policy, by a map", shape(cold).Get("X-Storage-Policy") == "cold-two")
		for c, header := range modes {
			archive := shape(c).Get(header)
			say("Versions ("+header+"), with the archive", archive != "" && maps.Equal(digests(t, one, c), digests(t, two, c+suffix)) && maps.Equal(digests(t, one, c+"-old"), digests(t, two, archive)))
		}
	}
	look("-rc")
	f := newFarshore(t, l.CloudsFile())
	f.must("sync", "-f", f.policyFile(fmt.Sprintf(`
regions: {one: {cloud: lab-one-admin}, two: {cloud: lab-two-admin}, other: {cloud: lab-two-other}}
policies:
  - {name: g, from: one, to: [other], containers: [%q], container: "{container}-fs", map: {projects: {%s: %s}, users: {%s: %s}}}
  - name: f
    from: one
    to: [two]
    containers: [%q, %q, %q, %q]
    container: "{container}-fs"
    properties: {account: [metadata, quotas], tempurl_keys: true}
    map: {storage_policies: {cold-one: cold-two}}
`, plain, theirs, ours, friend, guest, plain, cold, past, history)))
	look("-fs")
	for _, r := range [][2]string{
		{"Versions (X-Versions-Location), with the archive", "the archive only if it is synced too"},
		{"Versions (X-History-Location), with the archive", "the archive only if it is synced too"},
		{"Storage policy, by a map", noSync}, {"Ids in ACLs, by a map", noSync}, {"Metadata of the account, by choice", noSync},
		{"Quota of the account, by choice", noSync}, {"TempURL keys of account and container, by choice", noSync}} {
		x := seen[r[0]]
		rows += fmt.Sprintf("| %s | %s | %s | %s |\n", r[0], x[1], x[0], r[1])
	}
	return rows
}

// digests are the SHA-256 of all of a container's objects, by name.
func digests(t *testing.T, c *lab.Client, container string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range c.List(t, container, nil) {
		_, sum := c.Digest(t, container, e.Name)
		out[e.Name] = sum
	}
	return out
}
