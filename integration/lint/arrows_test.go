//go:build lint

// Package lint proves that the linter's rules can fail: it draws every forbidden arrow in a small
// module of its own, under the project's configuration, and expects exactly those to be red.
package lint

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	gophercloud = "github.com/gophercloud/gophercloud/v2"
	ncw         = "github.com/ncw/swift/v2"
	bbolt       = "go.etcd.io/bbolt"
	cobra       = "github.com/spf13/cobra"
	rate        = "golang.org/x/time/rate"
	compress    = "github.com/klauspost/compress"
	zstd        = compress + "/zstd"
)

// arrows are files, what each imports, and the rule that must refuse it; an empty rule is an arrow
// that must be allowed.
var arrows = []struct{ file, imports, rule string }{
	{"transport/a.go", "farshore/store", "transport"},
	{"transport/swift/b.go", "farshore/policies", "transport"},
	{"transport/wire/c_test.go", "farshore/replicator", "transport"},
	{"transport/region/d.go", "farshore/replicator/plan", "transport"},
	{"transport/swift/ok.go", ncw, ""},
	{"transport/region/ok.go", gophercloud, ""},
	{"transport/cinder/ok.go", gophercloud, ""},
	{"transport/swift/ok_test.go", "farshore/integration/fakecloud", ""},
	{"store/a.go", "farshore/policies", "ledger"},
	{"store/b.go", "farshore/transport", "ledger"},
	{"store/a_test.go", "farshore/replicator", "ledger"},
	{"store/ok.go", "farshore/transport/chunk", ""},
	{"store/ok_test.go", "farshore/store", ""},
	{"store/okbolt.go", bbolt, ""},
	{"policies/a.go", "farshore/replicator/plan", "policies"},
	{"policies/b.go", "farshore/store", "policies"},
	{"policies/ok.go", "farshore/transport/chunk", ""},
	{"replicator/a.go", gophercloud, "vendor-clients"},
	{"replicator/audit/b.go", ncw, "vendor-clients"},
	{"replicator/b_test.go", ncw, "vendor-clients"},
	{"cmd/farshore/c.go", gophercloud, "vendor-clients"},
	{"integration/ok_test.go", ncw, ""},
	{"replicator/c.go", bbolt, "bbolt"},
	{"transport/e.go", bbolt, "bbolt"},
	{"integration/fakecloud/a.go", cobra, "standard-library-only"},
	{"transport/chunk/a.go", cobra, "standard-library-only"},
	{"transport/wire/a.go", "farshore/transport/chunk", "wire"},
	{"transport/wire/b.go", cobra, "wire"},
	{"transport/wire/oktransport.go", "farshore/transport", ""},
	{"transport/backup/a.go", "farshore/transport", "backup-format"},
	{"transport/backup/b.go", cobra, "backup-format"},
	{"transport/backup/c.go", rate, "backup-format"},
	{"transport/backup/ok.go", zstd, ""},
	{"transport/backup/oktransport_test.go", "farshore/transport", ""},
	{"replicator/report/a.go", "farshore/transport", "standard-library-only"},
	{"transport/wire/ok.go", rate, ""},
	{"replicator/report/ok_test.go", cobra, ""},
	{"replicator/d.go", "farshore/integration/fakecloud", "product-imports-no-test-bed"},
	{"replicator/e.go", "farshore/transport/transporttest", "product-imports-no-test-bed"},
	{"store/c.go", "testing", "product-imports-no-test-bed"},
	{"cmd/farshore/ok.go", "farshore/integration/fakecloud", ""},
	{"transport/transporttest/ok.go", "testing", ""},
	{"replicator/f.go", "farshore/cmd/farshore/opts", "commands-are-leaves"},
	{"replicator/ok.go", "farshore/store", ""},
}

// wordings are files with code that a rule other than depguard refuses.
var wordings = []struct{ file, code, linter string }{
	{"replicator/now.go", "import \"time\"\n\nvar V = time.Now", "forbidigo"},
	{"store/sleep.go", "import \"time\"\n\nfunc F() { time.Sleep(1) }", "forbidigo"},
	{"policies/panic.go", "func F() { panic(\"no\") }", "forbidigo"},
	{"replicator/default.go", "import \"time\"\n\ntype O struct{ Clock func() time.Time }\n\nfunc F(o O) {\n\to.Clock = time.Now\n}", ""},
	{"transport/clock.go", "import \"time\"\n\nvar V = time.Now", ""},
	{"integration/now.go", "import \"time\"\n\nvar V = time.Now", ""},
	{"replicator/plan/init.go", "func init() {}", "gochecknoinits"},
}

var modules = map[string]string{gophercloud: "gophercloud", ncw: "swift", bbolt: "bbolt", cobra: "cobra", "golang.org/x/time": "rate", compress: "zstd"}

func TestEveryForbiddenArrowIsRed(t *testing.T) {
	linter := os.Getenv("GOLANGCI_LINT")
	if linter == "" {
		t.Fatal("GOLANGCI_LINT does not name the linter: run this by `make lint`")
	}
	root := t.TempDir()
	config, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, ".golangci.yml", string(config))

	mod := "module farshore\n\ngo 1.26\n"
	for path, pkg := range modules {
		mod += "\nrequire " + path + version(path) + "\nreplace " + path + " => ./stubs/" + pkg + "\n"
		write(t, root, "stubs/"+pkg+"/go.mod", "module "+path+"\n\ngo 1.26\n")
		sub := ""
		if path == "golang.org/x/time" || path == compress { // only a package below it is imported
			sub = pkg + "/"
		}
		write(t, root, "stubs/"+pkg+"/"+sub+"x.go", "package "+pkg+"\n")
	}
	write(t, root, "go.mod", mod)

	var want []string
	for _, a := range arrows {
		// A folder for every file keeps the forbidden arrows from making import cycles, which would
		// be red for another reason.
		file := own(a.file)
		write(t, root, file, "package p\n\nimport _ \""+a.imports+"\"\n")
		if rel, ok := strings.CutPrefix(a.imports, "farshore/"); ok {
			write(t, root, rel+"/target.go", "package p\n")
		}
		if a.rule != "" {
			want = append(want, file+" "+a.rule)
		}
	}
	for _, w := range wordings {
		file := own(w.file)
		write(t, root, file, "package p\n\n"+w.code+"\n")
		if w.linter != "" {
			want = append(want, file+" "+w.linter)
		}
	}

	if diff := cmp.Diff(set(want), set(run(t, linter, root))); diff != "" {
		t.Fatalf("red lines (-want +got):\n%s", diff)
	}
}

// own puts a file into a folder of its own below its package's.
func own(file string) string {
	dir, base := filepath.Split(file)
	return dir + "in_" + strings.NewReplacer(".go", "", "_test", "t").Replace(base) + "/" + base
}

func version(path string) string {
	if strings.HasSuffix(path, "/v2") {
		return " v2.0.0"
	}
	return " v0.0.0"
}

func set(lines []string) map[string]bool {
	s := map[string]bool{}
	for _, l := range lines {
		s[l] = true
	}
	return s
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run gives a line "file rule" for each issue; the rule is depguard's list or the linter's name.
func run(t *testing.T, linter, root string) []string {
	t.Helper()
	cmd := exec.Command(linter, "run", "--enable-only", "depguard,forbidigo,gochecknoinits",
		"--output.json.path", "stdout", "--output.text.path", "stderr", "--show-stats=false", "./...")
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Fatalf("the linter ended with %d (%v), want 1, issues found:\n%s", code, err, stderr.String())
	}
	var doc struct {
		Issues []struct {
			FromLinter, Text string
			Pos              struct{ Filename string }
		}
	}
	if err := json.NewDecoder(strings.NewReader(string(out))).Decode(&doc); err != nil {
		t.Fatalf("parse the linter's output: %v\n%s", err, out)
	}
	list := regexp.MustCompile(`from list '([^']+)'`)
	var lines []string
	for _, i := range doc.Issues {
		rule := i.FromLinter
		if m := list.FindStringSubmatch(i.Text); m != nil {
			rule = m[1]
		}
		lines = append(lines, i.Pos.Filename+" "+rule)
	}
	return lines
}
