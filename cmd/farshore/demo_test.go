package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"farshore/integration/fakecloud"
)

// demoCmd is the demo as its own process, whose folders a test can look into.
func demoCmd(t *testing.T, args ...string) (cmd *exec.Cmd, tmp, home string) {
	t.Helper()
	path, err := exec.LookPath("farshore")
	if err != nil {
		t.Fatal(err)
	}
	tmp, home = t.TempDir(), t.TempDir()
	cmd = exec.Command(path, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+home, "XDG_STATE_HOME="+home)
	return cmd, tmp, home
}

func wantEmpty(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
	}
}

// The demo ends well, on one screen, in plain text, and leaves nothing.
func TestDemo(t *testing.T) {
	if raceDetector {
		t.Skip("a chapter of it is about volumes, which takes minutes under the race detector")
	}
	t.Parallel()
	cmd, tmp, home := demoCmd(t, "--objects", "300")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
	text := string(out)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 48 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > demoWidth {
			t.Errorf("too wide: %q", l)
		}
	}
	if strings.ContainsAny(text, "\x1b\r") {
		t.Error("not plain text")
	}
	for _, fact := range []string{
		`killed with SIGKILL after \S+, when \d+ of 600 copies and`,
		`went on with an interrupted pass first`,
		`replicas: 300 of 300 objects with 2 confirmed copies`,
		`\d+ [KM]?i?B \(\d+\.\d %\) twice`,
		`lyon and berlin got 0 requests`,
		`farshore audit --read 100%   \(exit 3\)`,
		`damaged-replica: lyon:photos/100% été ☃\.jpg`,
		`missing-replica: berlin:photos/20\d\d/`,
		`1 missing, 1 damaged, 2 repaired`,
		`replicas: 300 of 301 objects with 2 confirmed copies; 1 with fewer`,
		`full \(the volume has no backup yet\), .*; lyon landed`,
		`increment, 2nd of its chain, 1\.0 MiB; lyon landed`,
		`proven: 2,048 blocks of 32 KiB are equal to the source's block list`,
		`drill \w+ passed: databases: 1 restore, RTO `,
		`3 regions, 301 objects, .* identical`,
		`Everything was as told`,
	} {
		if !regexp.MustCompile(fact).MatchString(text) {
			t.Errorf("it does not say %s", fact)
		}
	}
	wantEmpty(t, tmp, home)
}

func TestDemoJSON(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("the whole story once more")
	}
	t.Parallel()
	cmd, tmp, home := demoCmd(t, "--objects", "200", "--json", "--keep")
	out, err := cmd.Output()
	var doc struct {
		Command string
		OK      bool
		Error   *jsonError
		Result  demoResult
	}
	if jerr := json.Unmarshal(out, &doc); err != nil || jerr != nil || !doc.OK || doc.Command != "demo" || doc.Error != nil {
		t.Fatalf("%v %v\n%s", err, jerr, out)
	}
	r := doc.Result
	facts := map[string]int64{}
	var exits []int
	for _, s := range r.Steps {
		for k, v := range s.Facts {
			facts[k] = v
		}
		for _, c := range s.Commands {
			exits = append(exits, c.Exit)
		}
	}
	if want := []int{-1, 0, 0, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0}; !slices.Equal(exits, want) {
		t.Errorf("exit codes %v, want %v", exits, want)
	}
	if r.Objects != 200 || r.Bytes < 2*demoLargeSize || facts["objects_identical"] != 201 || facts["bytes_identical"] <= r.Bytes {
		t.Errorf("%d objects, %d bytes; %v", r.Objects, r.Bytes, facts)
	}
	if n := facts["copies_arrived"]; n < 1 || n > 399 {
		t.Errorf("killed when %d of 400 copies were there", n)
	}
	if n := facts["bytes_arrived"]; n < r.Bytes || n >= 2*r.Bytes {
		t.Errorf("killed when %d of %d bytes were there", n, 2*r.Bytes)
	}
	if n := facts["volume_bytes_identical"]; n != 64<<20 {
		t.Errorf("%d bytes of the restored volume are those of paris", n)
	}
	if n := facts["bytes_sent_twice"]; n < 0 || n > r.Bytes/4 {
		t.Errorf("%d bytes were sent twice", n)
	}
	if n, ok := facts["requests_to_replicas"]; !ok || n != 0 {
		t.Errorf("%d requests for nothing", n)
	}
	if !strings.HasPrefix(r.Folder, tmp) {
		t.Errorf("the folder is %q", r.Folder)
	}
	for _, name := range []string{"clouds.yaml", "farshore.yaml", "ledger.db"} {
		if !exists(filepath.Join(r.Folder, name)) {
			t.Errorf("--keep left no %s", name)
		}
	}
	wantEmpty(t, home)
}

// What demo --serve says is tried as it stands.
func TestDemoServe(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("it says curl")
	}
	t.Parallel()
	cmd, tmp, home := demoCmd(t, "--serve", "--objects", "150")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	var script strings.Builder
	said := bufio.NewScanner(out)
	for said.Scan() && !strings.HasPrefix(said.Text(), "Ctrl-C") {
		if line, ok := strings.CutPrefix(said.Text(), "  "); ok {
			if line == "farshore audit --read 100%" {
				line += " && exit 1 || test $? = 3"
			}
			script.WriteString(line + "\n")
		}
	}
	if n := strings.Count(script.String(), "farshore "); n < 6 || !strings.Contains(script.String(), "curl ") {
		t.Fatalf("it said\n%s", script.String())
	}
	user := exec.Command("sh", "-eux", "-c", script.String())
	user.Env = append(os.Environ(), "HOME="+home)
	typed, err := user.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, typed)
	}
	for _, want := range []string{"damaged-replica: lyon:photos/", "1 repaired", "proven: ", "150 of 150 objects with 2 confirmed copies"} {
		if !bytes.Contains(typed, []byte(want)) {
			t.Errorf("the commands do not say %q:\n%s", want, typed)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(drain(out), cmd.Wait()); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	wantEmpty(t, tmp, home)
}

func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// Ctrl-C in the middle ends it with 130 and leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	cmd, tmp, home := demoCmd(t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	said := bufio.NewScanner(out)
	for said.Scan() && !strings.HasPrefix(said.Text(), "1. ") {
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(drain(out), cmd.Wait())
	if cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v", err)
	}
	wantEmpty(t, tmp, home)
}

// A story that is not as told is an error: a program that copies nothing, one that says
// something else, and regions that differ in any way.
func TestDemoCanFail(t *testing.T) {
	c := newConsole(io.Discard, io.Discard, nil)
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}, {Name: "berlin"}}})
	if err != nil {
		t.Fatal(err)
	}
	w := &demoWorld{cloud: cloud, paris: cloud.Region("paris"), lyon: cloud.Region("lyon"), berlin: cloud.Region("berlin"), dir: t.TempDir(), small: []string{"a"}, bytes: 1}
	w.lyon.Put(demoContainer, demoNames()[0], []byte("x"), nil)
	w.berlin.Put(demoContainer, w.small[0], []byte("x"), nil)
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	if w.exe, err = exec.LookPath("true"); err != nil {
		t.Skip(err)
	}
	d := &demo{demoWorld: w, c: c, out: &demoResult{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, ch := range d.chapters() {
		d.begin(ch.step, ch.title)
		if err := ch.tell(ctx); err == nil {
			t.Errorf("step %s is content with a program that does nothing", ch.step)
		}
	}
	fill := func() {
		for _, r := range cloud.Regions() {
			r.DeleteContainer(demoContainer)
			for _, n := range []string{"a", "b"} {
				r.Put(demoContainer, n, []byte("bytes of "+n), map[string]string{"X-Object-Meta-N": n})
			}
		}
	}
	fill()
	if n, size, err := w.compare(); n != 2 || size != 20 || err != nil {
		t.Fatalf("equal regions: %d objects, %d bytes, %v", n, size, err)
	}
	for what, harm := range map[string]func(){
		"a byte":   func() { w.lyon.Corrupt(demoContainer, "b") },
		"missing":  func() { w.berlin.Delete(demoContainer, "a") },
		"one more": func() { w.lyon.Put(demoContainer, "c", nil, nil) },
		"metadata": func() { w.berlin.Put(demoContainer, "a", []byte("bytes of a"), nil) },
		"other bytes": func() {
			w.berlin.Put(demoContainer, "a", []byte("bytes of A"), map[string]string{"X-Object-Meta-N": "a"})
		},
		"type": func() {
			w.lyon.Put(demoContainer, "a", []byte("bytes of a"), map[string]string{"X-Object-Meta-N": "a", "Content-Type": "x/y"})
		},
		"a segment": func() { w.lyon.Put(".farshore-segments", "s", nil, nil) },
	} {
		fill()
		w.lyon.DeleteContainer(".farshore-segments")
		harm()
		if _, _, err := w.compare(); err == nil {
			t.Errorf("nobody noticed: %s", what)
		}
	}
}
