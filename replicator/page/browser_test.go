package page

import (
	"bytes"
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The script in a real browser: charts answer keys and the pointer, a refresh puts in place
// what changed and leaves what the reader opened and focused, and a daemon that is away is
// said.
func TestScriptInBrowser(t *testing.T) {
	program := os.Getenv("FARSHORE_CHROMIUM")
	if program == "" {
		path, err := exec.LookPath("chromium")
		if err != nil {
			t.Skip("there is no chromium: apt-get install chromium")
		}
		program = path
	}
	body := draw(t, sample())
	harness, err := os.ReadFile("testdata/harness.html")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	serve := func(path, kind, text string) {
		mux.HandleFunc("GET "+path, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			if path != "/harness" { // which frames it, and has a script of its own
				rw.Header().Set("Content-Security-Policy", strings.Replace(ContentPolicy, "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
			}
			_, _ = rw.Write([]byte(text))
		})
	}
	serve("/{$}", "text/html; charset=utf-8", body)
	serve("/page.css", "text/css", string(Style))
	serve("/page.js", "text/javascript", string(Script))
	serve("/icon.svg", "image/svg+xml", string(Icon))
	serve("/favicon.ico", "image/svg+xml", string(Icon))
	serve("/harness", "text/html; charset=utf-8", string(harness))
	s := httptest.NewServer(mux)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom", s.URL+"/harness")
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, says.String())
	}
	_, got, _ := strings.Cut(out.String(), `<pre id="out">`)
	got, _, _ = strings.Cut(got, "</pre>")
	got = html.UnescapeString(got)
	want := `first: 8 Mar 14:36 UTC: lyon 11 s, berlin 1 min 19 s
second: 8 Mar 14:48 UTC: lyon 16 s, berlin 1 min 57 s
pointer: 9 Mar 01:12 UTC: lyon 21 s, berlin 2 min 37 s
news: Now: ✗ photos and docs need attention. Not reached: berlin.
changed: true open: true focus: refresh-now
away: The daemon does not answer (connection refused). What is shown is old; it is asked again.
toggle: false
done
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for line := range strings.SplitSeq(says.String(), "\n") {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser says: %s", line)
		}
	}
}
