//go:build integration

package fakecloud

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stock runs another project's client against the cloud; a client that is not
// installed is a failure, not a skip.
type stock struct {
	t   *testing.T
	env []string
	dir string
}

func newStock(t *testing.T, c *Cloud, cloud string) *stock {
	t.Helper()
	dir := t.TempDir()
	path, err := c.CloudsYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &stock{t: t, dir: dir, env: []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "OS_CLIENT_CONFIG_FILE=" + path, "OS_CLOUD=" + cloud,
		"RCLONE_CONFIG=" + filepath.Join(dir, "rclone.conf"), "LC_ALL=C.UTF-8"}}
}

func (s *stock) try(name string, args ...string) (string, error) {
	s.t.Helper()
	path := "/usr/bin/" + name
	if _, err := os.Stat(path); err != nil {
		s.t.Fatalf("stock client missing: %v", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		return out.String(), &clientError{err, errs.String()}
	}
	return out.String(), nil
}

type clientError struct {
	err    error
	stderr string
}

func (e *clientError) Error() string { return e.err.Error() + ": " + e.stderr }

func (s *stock) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

func (s *stock) file(name string, size int) []byte {
	s.t.Helper()
	data := make([]byte, size)
	rnd := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return data
}

func startTwo(t *testing.T) *Cloud {
	t.Helper()
	c, err := Start(Options{SharedKeystone: true, Regions: []RegionOptions{{Name: "north"}, {Name: "south"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestOpenstackClient(t *testing.T) {
	c := startTwo(t)
	s := newStock(t, c, "north")
	data := s.file("some file.txt", 3000)
	s.run("openstack", "container", "create", "box")
	s.run("openstack", "object", "create", "box", "some file.txt")
	var rows []struct {
		Name, Hash string
		Bytes      int64
	}
	if err := json.Unmarshal([]byte(s.run("openstack", "object", "list", "box", "--long", "-f", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Name != "some file.txt" || rows[0].Hash != md5Hex(data) || rows[0].Bytes != 3000 {
		t.Errorf("object list: %+v", rows)
	}
	s.run("openstack", "object", "save", "box", "some file.txt", "--file", "back")
	if got, err := os.ReadFile(filepath.Join(s.dir, "back")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("saved file differs (%v)", err)
	}
	s.run("openstack", "object", "set", "box", "some file.txt", "--property", "colour=blue")
	if o, _ := c.Region("north").Get("box", "some file.txt"); o.Header.Get("X-Object-Meta-Colour") != "blue" {
		t.Errorf("property: %v", o.Header)
	}
	if out := s.run("openstack", "object", "store", "account", "show", "-f", "json"); !strings.Contains(out, `"Containers": "1"`) {
		t.Errorf("account: %s", out)
	}
	south := newStock(t, c, "south-appcred")
	south.run("openstack", "container", "create", "elsewhere")
	if got := c.Region("south").ContainerNames(); len(got) != 1 || len(c.Region("north").ContainerNames()) != 1 {
		t.Errorf("the application credential reached the wrong region: %v", got)
	}
	reader := newStock(t, c, "north-reader")
	reader.run("openstack", "object", "list", "box")
	if _, err := reader.try("openstack", "container", "create", "mine"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("reader created a container: %v", err)
	}
	s.run("openstack", "object", "delete", "box", "some file.txt")
	s.run("openstack", "container", "delete", "box")
}

func TestPythonSwiftclient(t *testing.T) {
	c := startTwo(t)
	s := newStock(t, c, "north")
	r := c.Region("north")
	s.env = append(s.env, "OS_AUTH_URL="+r.AuthURL(), "OS_USERNAME="+User, "OS_PASSWORD="+Password, "OS_PROJECT_NAME="+Project,
		"OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_REGION_NAME=north", "OS_IDENTITY_API_VERSION=3", "OS_AUTH_VERSION=3")
	data := s.file("big.bin", 5_000_000)
	small := s.file("dir/é ü?.bin", 1000)
	s.run("swift", "upload", "box", "big.bin", "--segment-size", "1000000", "--use-slo", "--segment-container", "box_segs")
	s.run("swift", "upload", "box", "dir")
	if o, ok := r.Get("box", "big.bin"); !ok || !o.SLO || o.Size != int64(len(data)) {
		t.Errorf("large object: %+v", o)
	}
	if got := len(r.Names("box_segs")); got != 5 {
		t.Errorf("%d segments", got)
	}
	if o, _ := r.Get("box", "dir/é ü?.bin"); o.ETag != md5Hex(small) {
		t.Errorf("small object: %+v", o)
	}
	s.run("swift", "download", "box", "--output-dir", "out")
	if got, err := os.ReadFile(filepath.Join(s.dir, "out/big.bin")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("downloaded file differs (%v)", err)
	}
	if out := s.run("swift", "stat", "box", "big.bin"); !strings.Contains(out, "X-Static-Large-Object: True") && !strings.Contains(out, "5000000") {
		t.Errorf("stat: %s", out)
	}
	s.run("swift", "upload", "dlobox", "big.bin", "--segment-size", "2000000")
	s.run("swift", "download", "dlobox", "big.bin", "--output", "dlo.out")
	if got, err := os.ReadFile(filepath.Join(s.dir, "dlo.out")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("downloaded DLO differs (%v)", err)
	}
	s.run("swift", "post", "box", "-r", ".r:*,.rlistings", "-m", "note:hello")
	s.run("swift", "copy", "box", "dir/é ü?.bin", "--destination", "/box/copied")
	if o, _ := r.Get("box", "copied"); o.ETag != md5Hex(small) {
		t.Errorf("copy: %+v", o)
	}
	if out := s.run("swift", "capabilities"); !strings.Contains(out, "max_manifest_segments: 1000") {
		t.Errorf("capabilities: %s", out)
	}
	// Versions, as the stock client knows them.
	s.run("swift", "post", "vbox", "-H", "X-Versions-Enabled: true")
	s.run("swift", "upload", "vbox", "big.bin", "--segment-size", "2000000", "--use-slo", "--segment-container", "vbox_segs")
	s.run("swift", "upload", "vbox", "dir/é ü?.bin", "--object-name", "big.bin")
	versions := r.Versions("vbox")
	if len(versions) != 2 || !versions[0].Latest || versions[0].ETag != md5Hex(small) || !versions[1].SLO || versions[1].Size != int64(len(data)) {
		t.Errorf("versions: %+v", versions)
	}
	if out := s.run("swift", "list", "vbox", "--versions"); strings.Count(out, "big.bin") != 2 {
		t.Errorf("list --versions: %s", out)
	}
	s.run("swift", "download", "vbox", "big.bin", "--version-id", versions[1].ID, "--output", "version.out")
	if got, err := os.ReadFile(filepath.Join(s.dir, "version.out")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("downloaded version differs (%v)", err)
	}
	s.run("swift", "post", "vbox", "big.bin", "-m", "colour:blue")
	if o, _ := r.Get("vbox", "big.bin"); o.Header.Get("X-Object-Meta-Colour") != "blue" {
		t.Errorf("post: %v", o.Header)
	}
	s.run("swift", "delete", "vbox", "--versions")
	s.run("swift", "delete", "box", "big.bin") // takes the segments along
	if got := len(r.Names("box_segs")); got != 0 {
		t.Errorf("%d segments left", got)
	}
	s.run("swift", "delete", "--all")
	if got := r.ContainerNames(); len(got) != 0 {
		t.Errorf("left after delete --all: %v", got)
	}
}

func TestRclone(t *testing.T) {
	c := startTwo(t)
	s := newStock(t, c, "north")
	conf := ""
	for _, r := range c.Regions() {
		conf += "[" + r.Name() + "]\ntype = swift\nauth = " + r.AuthURL() + "\nuser = " + User + "\nkey = " + Password + "\ndomain = Default\ntenant = " +
			Project + "\ntenant_domain = Default\nregion = " + r.Name() + "\n\n"
	}
	if err := os.WriteFile(filepath.Join(s.dir, "rclone.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 100, 65_536, 3_000_000} {
		s.file(filepath.Join("tree", "sub dir", strings.Repeat("x", i+1)), size)
	}
	s.run("rclone", "copy", "tree", "north:box", "--swift-chunk-size", "1M")
	s.run("rclone", "sync", "north:box", "south:box")
	s.run("rclone", "check", "tree", "south:box", "--download")
	north, south := c.Region("north").Names("box"), c.Region("south").Names("box")
	if len(north) != 5 || strings.Join(north, "|") != strings.Join(south, "|") {
		t.Errorf("north %q, south %q", north, south)
	}
	before := c.Region("south").Counters().Of(ClassObject, "PUT").Requests
	s.run("rclone", "sync", "north:box", "south:box")
	if after := c.Region("south").Counters().Of(ClassObject, "PUT").Requests; after != before {
		t.Errorf("an unchanged sync sent %d objects", after-before)
	}
	s.run("rclone", "purge", "south:box")
	if got := c.Region("south").Names("box"); len(got) != 0 {
		t.Errorf("left after purge: %q", got)
	}
}
