package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/replicator/report"
	"farshore/replicator/webhook"
)

// The README's tour is run as it stands, on emulated regions.
func TestReadmeTour(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	blocks := regexp.MustCompile("(?s)<!-- tour -->\n```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	for _, b := range blocks {
		script.WriteString(b[1])
	}
	if n := strings.Count(script.String(), "farshore "); n < 9 {
		t.Fatalf("the tour has only %d commands", n)
	}
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	for i := range 20 {
		cloud.Region("paris").Put("photos", "p"+strconv.Itoa(i), []byte("picture "+strconv.Itoa(i)), nil)
	}
	dir := t.TempDir()
	clouds, err := cloud.CloudsYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-eux", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OS_CLIENT_CONFIG_FILE="+clouds, "HOME="+dir, "XDG_STATE_HOME="+filepath.Join(dir, "state"), "XDG_CONFIG_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the tour fails: %v\n%s", err, out)
	}
	for _, container := range []string{"photos", "paris-photos"} {
		if got := cloud.Region("lyon").Names(container); len(got) != 20 {
			t.Errorf("after the tour lyon:%s has %q\n%s", container, got, out)
		}
	}
}

// docs/json.md names every field that can be answered, and every kind of finding.
func TestJSONDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z0-9_-]+)`").FindAllStringSubmatch(string(doc), -1) {
		known[m[1]] = true
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice || x.Kind() == reflect.Map {
			x = x.Elem()
		}
		if x.Kind() != reflect.Struct || seen[x] || x.PkgPath() == "time" {
			return
		}
		seen[x] = true
		for i := range x.NumField() {
			f := x.Field(i)
			if !f.IsExported() && !f.Anonymous {
				continue // not in JSON
			}
			if f.Tag.Get("json") == "-" {
				continue
			}
			name := strings.Split(f.Tag.Get("json"), ",")[0]
			if name == "" && !f.Anonymous {
				t.Errorf("field %s of %s has no JSON name", f.Name, x)
			}
			if name != "" && !known[name] {
				t.Errorf("docs/json.md does not name %s of %s", name, x)
			}
			walk(f.Type)
		}
	}
	for _, v := range []any{document{}, jsonError{}, passResult{}, rebuildResult{}, statusResult{}, regionResult{}, versionResult{}, policyCheckResult{}, ledgerCheckResult{}, ledgerCompactResult{}, ledgerBackupResult{}, manResult{}, ledgerPathResult{}, demoResult{}, restoreResult{}, drillResult{}, drillsResult{}, migrateResult{}, pointsResult{}, forgetResult{}, webhook.Payload{}, report.Event{}} {
		walk(reflect.TypeOf(v))
	}
	if len(seen) < 20 {
		t.Errorf("only %d types were looked at", len(seen))
	}
	for _, kind := range append(findingKinds(t), kindNothing) {
		if !known[kind] {
			t.Errorf("docs/json.md does not name the finding %s", kind)
		}
	}
}

// findingKinds reads the kinds out of the source, as there is no list of them in the program.
func findingKinds(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "../../replicator/report/report.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(s.Names[0].Name, "Kind") {
			if l, ok := s.Values[0].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, text)
			}
		}
		return true
	})
	if len(out) < 10 {
		t.Fatalf("found only the kinds %q", out)
	}
	return out
}
