//go:build integration

package integration

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// fidelityRow is a property, where it is looked at, and what container-sync's
// documentation and code say of it; that was not run.
type fidelityRow struct {
	property string
	name     string // of the object; "": of the container
	facts    []string
	sync     string
}

const (
	inSync   = "kept"
	noSync   = "not carried"
	manifest = "kept; the segments only if their containers are synced too, and perhaps later than the manifest"
)

var fidelityRows = []fidelityRow{
	{"Content", "plain", []string{"GET"}, inSync},
	{"Object of no bytes", "empty", []string{"GET"}, inSync},
	{"Name with `%41`, `?`, `#`, UTF-8", "odd %41?#é中", []string{"GET"}, inSync},
	{"Name with two slashes in a row", "a//b", []string{"GET"}, inSync},
	{"Name that ends in a slash, with content", "folder/", []string{"GET"}, inSync},
	{"Content-Type, with parameters", "every", []string{"HEAD Content-Type"}, inSync},
	{"Content-Encoding, bytes as they are", "gzip", []string{"HEAD Content-Encoding", "GET"}, inSync},
	{"Content-Disposition", "every", []string{"HEAD Content-Disposition"}, inSync},
	{"Content-Language", "every", []string{"HEAD Content-Language"}, inSync},
	{"Cache-Control", "every", []string{"HEAD Cache-Control"}, inSync},
	{"Expires", "every", []string{"HEAD Expires"}, inSync},
	{"X-Robots-Tag", "every", []string{"HEAD X-Robots-Tag"}, inSync},
	{"X-Delete-At", "every", []string{"HEAD X-Delete-At"}, inSync},
	{"User metadata", "every", []string{"HEAD X-Object-Meta-Mixed-Case", "HEAD X-Object-Meta-Quoted", "HEAD X-Object-Meta-Under-Bar"}, inSync},
	{"User metadata in UTF-8, of 256 bytes", "every", []string{"HEAD X-Object-Meta-City", "HEAD X-Object-Meta-Long"}, inSync},
	{"Headers changed later, by POST", "posted", []string{"HEAD Content-Type", "HEAD X-Object-Meta-New"}, "kept; the whole object is sent again"},
	{"Static large object stays one, same segments", "slo", []string{"HEAD X-Static-Large-Object", "manifest", "GET"}, manifest},
	{"... with ranges of segments", "slo ranges", []string{"HEAD X-Static-Large-Object", "manifest", "GET"}, manifest},
	{"... with inline data", "slo inline", []string{"HEAD X-Static-Large-Object", "manifest", "GET"}, manifest},
	{"... nested", "slo nested", []string{"HEAD X-Static-Large-Object", "manifest", "GET"}, manifest},
	{"... its headers", "slo", []string{"HEAD Content-Type", "HEAD X-Object-Meta-Owner"}, inSync},
	{"Dynamic large object stays one, same segments", "dlo", []string{"HEAD X-Object-Manifest", "GET"}, "kept; the segments only if their container is synced too, in no order"},
	{"... with bytes of its own", "dlo own", []string{"HEAD X-Object-Manifest", "own bytes", "GET"}, inSync},
	{"Link stays one", "link", []string{"HEAD X-Symlink-Target", "GET"}, inSync},
	{"Static link stays one", "static", []string{"HEAD X-Symlink-Target", "HEAD X-Symlink-Target-Etag", "GET"}, "kept; refused until its target is there"},
	{"Link to what does not exist", "dangling", []string{"HEAD X-Symlink-Target", "GET"}, inSync},
	{"Metadata of the container", "", []string{"X-Container-Meta-Colour"}, noSync},
	{"Read and write ACL", "", []string{"X-Container-Read", "X-Container-Write"}, noSync},
	{"Quotas", "", []string{"X-Container-Meta-Quota-Bytes", "X-Container-Meta-Quota-Count"}, noSync},
	{"CORS", "", []string{"X-Container-Meta-Access-Control-Allow-Origin"}, noSync},
	{"Static web site", "", []string{"X-Container-Meta-Web-Index", "X-Container-Meta-Web-Error"}, noSync},
	{"Versions (X-Versions-Enabled)", "versions", nil, "the container is left out"},
	{"Delete at the source", "deleted", nil, "kept"},
}

// TestLabFidelity copies a container with everything by farshore and by rclone as it is
// installed, looks at what became of each property, and compares that with the
// table of docs/fidelity.md. FARSHORE_UPDATE=1 writes the table.
func TestLabFidelity(t *testing.T) {
	l := lab.Require(t)
	one, two := l.Client(t, "lab-one"), l.Client(t, "lab-two")
	a, b := labAccount(t, one), labAccount(t, two)
	from := lab.Scratch(t, one)
	segs := from + "-parts"
	past, few := from+"-past", from+"-few"
	t.Cleanup(func() {
		for _, c := range []string{from, past, few} {
			for _, suffix := range []string{"-fs", "-rc", "-rc_segments"} {
				labUnversion(t, two, c+suffix)
				two.Remove(t, c+suffix)
			}
		}
		labUnversion(t, one, past)
		for _, c := range []string{segs, past, few} {
			one.Remove(t, c)
		}
		two.Remove(t, segs+"-fs")
	})
	a.fidelity(from, segs, past, few)

	f := newFarshore(t, l.CloudsFile())
	policy := f.policyFile(fmt.Sprintf(`
regions: {one: {cloud: lab-one}, two: {cloud: lab-two}}
policies:
  - {name: f, from: one, to: [two], containers: [%q, %q, %q], container: "{container}-fs", deletes: {propagate: true, after: 0s}}
`, from, past, few))
	pass := func() {
		t.Helper()
		f.must("sync", "-f", policy)
		for _, c := range []string{from, past, few} {
			rclone(t, l, "lab-one:"+c, "lab-two:"+c+"-rc")
		}
	}
	pass()
	a.post(from, "posted", map[string]string{"Content-Type": "text/later", "X-Object-Meta-New": "later"})
	a.remove(few, "deleted")
	a.put(past, "versions", "third", nil)
	pass()

	table := "| property | Farshore | rclone | container-sync (not run) |\n|---|---|---|---|\n"
	src := a.all(from)
	fs, rc := b.all(from+"-fs"), b.all(from+"-rc")
	n := names{from: from + "-fs", segs: segs + "-fs"}
	for _, r := range fidelityRows {
		var cells []string
		for _, to := range []struct {
			suffix string
			seen   map[string]object
		}{{"-fs", fs}, {"-rc", rc}} {
			switch {
			case r.property == "Delete at the source":
				_, there := b.all(few + to.suffix)[r.name]
				cells = append(cells, map[bool]string{true: "stays", false: "kept"}[there])
			case r.name == "versions":
				x, y := len(labVersions(t, one, past)[r.name]), 0
				if two.Call(t, "HEAD", lab.Path(past+to.suffix), nil, nil).Header.Get("X-Versions-Enabled") == "True" {
					y = len(labVersions(t, two, past+to.suffix)[r.name])
				} else {
					y = 1
				}
				cells = append(cells, map[bool]string{true: "kept", false: fmt.Sprintf("lost: %d of %d", y, x)}[x == y])
			case r.name == "":
				x := a.must("HEAD", objectPath("", from), nil, "", 204).header
				y := b.must("HEAD", objectPath("", from+to.suffix), nil, "", 204).header
				same := !slices.ContainsFunc(r.facts, func(k string) bool { return x.Get(k) == "" || x.Get(k) != y.Get(k) })
				cells = append(cells, map[bool]string{true: "kept", false: "lost"}[same])
			default:
				x := src[r.name]
				if to.suffix == "-fs" {
					x = n.as(x)
				}
				cells = append(cells, verdict(t, r, x, to.seen[r.name]))
			}
		}
		table += fmt.Sprintf("| %s | %s | %s | %s |\n", r.property, cells[0], cells[1], r.sync)
	}
	table += fidelityChoices(t, l)
	t.Logf("\n%s", table)
	const file, begin, end = "../docs/fidelity.md", "<!-- table -->\n", "<!-- /table -->"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table", file)
	}
	if os.Getenv("FARSHORE_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if old != table {
		t.Errorf("%s says\n%s", file, old)
	}
}

// rclone copies a container as Debian's rclone does it.
func rclone(t *testing.T, l *lab.Lab, from, to string) {
	t.Helper()
	cmd := exec.Command("rclone", "--config", l.RcloneConfig(), "sync", "--checksum", from, to)
	cmd.Env = l.Env("lab-one")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("rclone sync: %v\n%s", err, out) // what it cannot read, it says, and goes on
	}
}

// verdict says in a few words what became of a property.
func verdict(t *testing.T, r fidelityRow, x, y object) string {
	t.Helper()
	if y == nil {
		return "the object is lost"
	}
	lost := false
	for _, k := range r.facts {
		if x[k] == "" && k != "own bytes" {
			t.Errorf("%s: the source has no %s: %v", r.property, k, x)
		}
		if k == "HEAD X-Symlink-Target-Etag" && x[k] != "" && y[k] != "" {
			continue
		}
		lost = lost || x[k] != y[k]
	}
	if !lost {
		return "kept"
	}
	kind := ""
	switch {
	case !strings.HasPrefix(r.facts[0], "HEAD X-"):
	case y["HEAD X-Static-Large-Object"] != "":
		kind = "another static large object"
	case y["HEAD X-Object-Manifest"] != "":
		kind = "another dynamic large object"
	case y["HEAD X-Symlink-Target"] != "":
		kind = "another link"
	case slices.ContainsFunc(r.facts, func(k string) bool { return k == "GET" }):
		kind = "a plain object"
	}
	switch {
	case kind != "" && x["GET"] == y["GET"]:
		return "becomes " + kind + " of the same bytes"
	case kind != "":
		return "becomes " + kind + " of other bytes"
	case len(r.facts) == 1 && y[r.facts[0]] != "" && r.facts[0] != "GET":
		return fmt.Sprintf("changed into `%s`", y[r.facts[0]])
	case slices.Contains(r.facts, "GET") && x["GET"] != y["GET"]:
		return "other bytes"
	}
	return "lost"
}

// fidelity furnishes a container with one object for every row.
func (a account) fidelity(from, segs, past, few string) {
	a.t.Helper()
	for _, c := range []string{segs, past, few} {
		a.must("PUT", objectPath("", c), nil, "", 201)
	}
	a.must("POST", objectPath("", from), map[string]string{"X-Container-Meta-Colour": "Zürich", "X-Container-Read": ".r:*", "X-Container-Write": "*:*",
		"X-Container-Meta-Quota-Bytes": "1000000", "X-Container-Meta-Quota-Count": "1000", "X-Container-Meta-Access-Control-Allow-Origin": "https://example.org",
		"X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Error": "error.html"}, "", 204)
	for _, n := range []string{"plain", "odd %41?#é中", "a//b", "folder/", "posted"} {
		a.put(from, n, "content of "+n, map[string]string{"Content-Type": "text/x"})
	}
	a.put(few, "deleted", "x", nil)
	a.put(few, "stays", "y", nil)
	a.put(from, "empty", "", nil)
	a.put(from, "every", "every header", everyHeader())
	a.put(from, "gzip", zipped("unpacked"), map[string]string{"Content-Type": "text/plain", "Content-Encoding": "gzip"})
	for i := range 3 {
		a.put(segs, fmt.Sprintf("s/%d", i), strings.Repeat(fmt.Sprint(i), 2000), nil)
	}
	a.manifest(from, "slo", map[string]string{"Content-Type": "video/x", "X-Object-Meta-Owner": "me"}, part(segs, "s/0"), part(segs, "s/1"))
	a.manifest(from, "slo ranges", nil, part(segs, "s/0", "range", "3-9"), part(segs, "s/1", "range", "-5"))
	a.manifest(from, "slo inline", nil, part(segs, "s/0"), map[string]any{"data": "aW5saW5l"})
	a.manifest(from, "slo nested", nil, part(from, "slo"), part(segs, "s/2"))
	dlo := url.PathEscape(segs) + "/s/"
	a.put(from, "dlo", "", map[string]string{"X-Object-Manifest": dlo})
	a.put(from, "dlo own", "own bytes", map[string]string{"X-Object-Manifest": dlo})
	a.link(from, "link", from, "plain", "", nil)
	a.link(from, "static", from, "plain", a.etag(from, "plain"), nil)
	a.link(from, "dangling", from, "nobody", "", nil)
	a.must("POST", objectPath("", past), map[string]string{"X-Versions-Enabled": "true"}, "", 204)
	for _, body := range []string{"first", "second"} {
		a.put(past, "versions", body, nil)
	}
}
