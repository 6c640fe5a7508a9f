package main

import (
	"io"
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

// The command lines of the unit and of the container are such as the program understands,
// and a crash is not taken for a wrong policy file.
func TestDeployedCommandLines(t *testing.T) {
	unit, err := os.ReadFile("deploy/farshore.service")
	if err != nil {
		t.Fatal(err)
	}
	container, err := os.ReadFile("deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for _, m := range regexp.MustCompile(`(?m)^ExecStart=farshore (.*)$`).FindAllStringSubmatch(string(unit), -1) {
		lines = append(lines, strings.Fields(m[1]))
	}
	for _, m := range regexp.MustCompile(`(?m)CMD \[(.*)\]$`).FindAllStringSubmatch(string(container), -1) {
		lines = append(lines, strings.Fields(strings.TrimPrefix(strings.NewReplacer(`"`, "", ",", " ").Replace(m[1]), "farshore ")))
	}
	if len(lines) != 3 {
		t.Fatalf("found %q", lines)
	}
	for _, args := range lines {
		cmd, rest, err := newRoot(newConsole(io.Discard, io.Discard, args)).Find(args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || !cmd.HasParent() {
			t.Errorf("farshore %q: %v", args, err)
		}
	}
	// A Go program that crashes ends with 2 unless it is told to end by a signal.
	if strings.Contains(string(unit), "RestartPreventExitStatus=2\n") && !strings.Contains(string(unit), "Environment=GOTRACEBACK=crash\n") {
		t.Error("after a crash the service would not be started again")
	}
}
