package policies

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata/invalid anew")

func glober(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func TestValidFiles(t *testing.T) {
	for _, path := range glober(t, "testdata/valid/*.yaml") {
		f, err := Load(path)
		if err != nil {
			t.Errorf("%s:\n%v", path, err)
			continue
		}
		if err := f.Check(); err != nil {
			t.Errorf("%s: Check differs from Load:\n%v", path, err)
		}
	}
}

func TestInvalidFiles(t *testing.T) {
	for _, path := range glober(t, "testdata/invalid/*.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(filepath.Base(path), data)
		var problems Errors
		if f != nil || !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: got %v, %v; want Errors and no file", path, f, err)
			continue
		}
		lines := strings.Count(string(data), "\n")
		for _, p := range problems {
			if p.File != filepath.Base(path) || p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Message == "" {
				t.Errorf("%s: a problem without its place: %+v", path, p)
			}
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err2 := os.ReadFile(golden)
		if err2 != nil {
			t.Fatal(err2)
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	var problems Errors
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &problems) {
		t.Errorf("a missing file gives %v", err)
	}
}
