package policies

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var example = regexp.MustCompile("(?s)<!-- (policies/testdata/[^ ]+) -->\n```[a-z]+\n(.*?)```\n")

// Every example of the reference is a file that the other tests parse, byte for
// byte, and every valid file is shown.
func TestDocExamples(t *testing.T) {
	doc, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, m := range example.FindAllStringSubmatch(string(doc), -1) {
		path := strings.TrimPrefix(m[1], "policies/")
		shown[path] = true
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		} else if string(data) != m[2] {
			t.Errorf("docs/policy.md shows another %s than the file", path)
		}
	}
	for _, path := range glober(t, "testdata/valid/*.yaml") {
		if !shown[filepath.ToSlash(path)] {
			t.Errorf("%s is not in docs/policy.md", path)
		}
	}
	if yaml := strings.Count(string(doc), "```yaml\n"); yaml+strings.Count(string(doc), "```text\n") != len(shown) {
		t.Errorf("docs/policy.md has examples that are no file: %d of %d", yaml, len(shown))
	}
}

// Every key that the reader knows is in the reference. The reader itself lists
// its keys when it meets one it has never heard of.
func TestDocNamesEveryKey(t *testing.T) {
	doc, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("keys", []byte(`
qqqqqqqq: 1
regions: {paris: {qqqqqqqq: 1}}
limits: {qqqqqqqq: 1}
webhooks: [{qqqqqqqq: 1}]
policies:
  - {qqqqqqqq: 1, deletes: {qqqqqqqq: 1}, brake: {qqqqqqqq: 1}, audit: {qqqqqqqq: 1}, large: {qqqqqqqq: 1}}
  - {volumes: {qqqqqqqq: 1}, snapshot: {qqqqqqqq: 1}, keep: {qqqqqqqq: 1}, drill: {qqqqqqqq: 1}}
`))
	var problems Errors
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	lists := 0
	for _, p := range problems {
		names, ok := strings.CutPrefix(p.Hint, "keys here are ")
		if !ok {
			continue
		}
		lists++
		for key := range strings.SplitSeq(names, ", ") {
			if !strings.Contains(string(doc), "`"+key+"`") && !strings.Contains(string(doc), "{"+key+": ") {
				t.Errorf("docs/policy.md does not name %s (%s)", key, p.Path)
			}
		}
	}
	if lists != 13 {
		t.Errorf("%d lists of keys, want 13: 4 at the top, 9 in policies", lists)
	}
}
