//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farshore/integration/lab"
)

// TestLabS3Multipart copies an object that an S3 client uploaded in parts: a static large
// object to Swift, whose segments come along, and whose S3 ETag no client can set (S8).
func TestLabS3Multipart(t *testing.T) { thereAndBack(t, labS3Multipart) }

func labS3Multipart(t *testing.T, x way) {
	w := x.world(t)
	s3 := w.lab.S3(t, "lab-"+x.from, "tenant", "tenant")
	segments := w.from + "+segments"
	w.one.Call(t, "PUT", lab.Path(segments), nil, nil).Want(t, 201)
	t.Cleanup(func() { w.one.Remove(t, segments); w.two.Remove(t, segments) })

	r := s3.Call(t, "POST", "/"+w.from+"/film?uploads", nil).Want(t, 200)
	id := regexp.MustCompile(`<UploadId>(.*)</UploadId>`).FindSubmatch(r.Body)
	if id == nil {
		t.Fatalf("no upload id: %s", r.Body)
	}
	var done strings.Builder
	for i, size := range []int{5 << 20, 1000} { // S3's parts have 5 MiB, the last one apart
		part := s3.Call(t, "PUT", fmt.Sprintf("/%s/film?partNumber=%d&uploadId=%s", w.from, i+1, id[1]), content(uint64(i), size)).Want(t, 200)
		fmt.Fprintf(&done, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, part.Header.Get("Etag"))
	}
	r = s3.Call(t, "POST", fmt.Sprintf("/%s/film?uploadId=%s", w.from, id[1]), []byte("<CompleteMultipartUpload>"+done.String()+"</CompleteMultipartUpload>")).Want(t, 200)
	tag := regexp.MustCompile(`[0-9a-f]{32}-2`).Find(r.Body)
	if tag == nil {
		t.Fatalf("no ETag of two parts: %s", r.Body)
	}

	o := w.sync()
	p := o.JSON.Result.Policies[0]
	said := 0
	for _, f := range p.Findings {
		if f.Kind == "degraded" && f.Name == "film" && strings.Contains(f.Cause, string(tag)) {
			said++
		}
	}
	if said != 1 || p.Replicas.Short != 0 {
		t.Errorf("the S3 ETag %s was reported %d times: %+v", tag, said, p)
	}
	want := append(content(0, 5<<20), content(1, 1000)...)
	if got := w.two.Get(t, w.to, "film"); !bytes.Equal(got.Body, want) || got.Header.Get("X-Static-Large-Object") != "True" {
		t.Errorf("the copy has %d bytes, want %d; %v", len(got.Body), len(want), got.Header)
	}
	if a, b := w.one.Head(t, w.from, "film").Get("Etag"), w.two.Head(t, w.to, "film").Get("Etag"); a != b {
		t.Errorf("Swift's own ETags: %s and %s", a, b)
	}

	rows := filepath.Join(t.TempDir(), "rows")
	w.f.run("audit", w.source(), w.copy(), "--fidelity", "--output", rows)
	text, err := os.ReadFile(rows)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		var row struct{ Name, Property, Verdict, Source string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Property == "S3 ETag" {
			lines++
			if row.Name != "film" || row.Verdict != "cannot" || !strings.Contains(line, string(tag)) {
				t.Errorf("%s", line)
			}
		}
	}
	if lines != 1 {
		t.Errorf("%d rows about S3 ETags:\n%s", lines, text)
	}

	// the copy does not come back over the original, which keeps its S3 ETag
	if n := w.f.must("sync", w.copy(), w.source()).JSON.Result.Policies[0].Totals; n.Copied != 0 || n.Conflicts != 0 {
		t.Errorf("the way back: %+v", n)
	}
	if got := s3.Call(t, "HEAD", "/"+w.from+"/film", nil).Want(t, 200).Header.Get("Etag"); strings.Trim(got, `"`) != string(tag) {
		t.Errorf("after the way back the original has the S3 ETag %s, not %s", got, tag)
	}
}
