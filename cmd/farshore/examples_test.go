package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
)

// The example policy files are right, and every command that they name works with them as
// they stand; only their ledgers lie elsewhere.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("deploy/examples/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { tryExample(t, file) })
	}
}

func tryExample(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := strings.NewReplacer("/var/lib/farshore", dir, "/etc/farshore", dir).Replace(string(text))
	if here == string(text) {
		t.Error("its ledger is not in /var/lib/farshore")
	}
	policy := filepath.Join(dir, "farshore.yaml")
	if err := os.WriteFile(policy, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	paris, lyon := cloud.Region("paris"), cloud.Region("lyon")
	for _, r := range cloud.Regions() {
		r.SetBlockRule("backup:backup-import", "member")
	}
	for _, name := range strings.Fields("a b c d") {
		paris.Put("photos", name, []byte("picture "+name), nil)
	}
	// A volume's blocks take seconds, and minutes under the race detector: one file's are enough.
	volumes := !raceDetector && (filepath.Base(file) == "migration.yaml" || os.Getenv("FARSHORE_SCALE") == "full")
	if volumes {
		paris.AddVolume("db", 1, "", nil)
	}
	clouds, err := cloud.CloudsYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("farshore", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "OS_CLIENT_CONFIG_FILE="+clouds, "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("farshore %q: %v\n%s", args, err, out)
		}
	}
	run("policy", "check", policy)
	lines := regexp.MustCompile(`(?m)^#   farshore (.*?)(?:   +.*)?$`).FindAllStringSubmatch(here, -1)
	if len(lines) < 4 {
		t.Fatalf("only %d commands are named", len(lines))
	}
	if strings.Contains(here, "\npolicies:") {
		only := []string{"sync", "-f", policy}
		if !volumes {
			only = append(only, "objects")
		}
		run(only...)
	}
	for _, l := range lines {
		args := strings.Fields(l[1])
		if args[0] == "run" || !volumes && strings.Contains(l[1], "volume") {
			continue // run works until it is ended
		}
		if args[0] != "policy" {
			args = append(args, "-f", policy)
		}
		run(args...)
	}
	if got := lyon.Names("photos"); len(got) != 4 {
		t.Errorf("lyon:photos has %q", got)
	}
}
