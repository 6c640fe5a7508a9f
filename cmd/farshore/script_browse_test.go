package main

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// chromium is the browser's program; "" where there is none. Where FARSHORE_CHROMIUM is
// set, as in CI, it is that one, and its absence is no excuse.
func chromium() string {
	if path := os.Getenv("FARSHORE_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// browse NAME PATH FILE [OPTION…]: what a browser makes of the daemon's page at PATH goes to
// FILE: its document, or, with --screenshot, a picture; with noscript, of one whose user lets
// no script run. The browser must have nothing to say against the page.
func browseCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 3, "browse NAME PATH FILE [OPTION...]")
	text, _ := worldOf(ts).jobs[args[0]].err.read()
	at := regexp.MustCompile(`page=(http://[0-9.:]+)/`).FindStringSubmatch(text)
	want(ts, at != nil, "browse NAME: it does not say where its page is")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	file, home, picture := ts.MkAbs(args[2]), ts.MkAbs("browser"), false
	options := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run", "--enable-logging=stderr"}
	for _, a := range args[3:] {
		switch a {
		case "--screenshot":
			a, picture = "--screenshot="+file, true
		case "noscript":
			home = ts.MkAbs("browser-noscript")
			ts.Check(os.MkdirAll(filepath.Join(home, "Default"), 0o700))
			ts.Check(os.WriteFile(filepath.Join(home, "Default", "Preferences"), []byte(`{"profile":{"default_content_setting_values":{"javascript":2}}}`), 0o600))
			continue
		}
		options = append(options, a)
	}
	options = append(options, "--user-data-dir="+home)
	if !picture {
		options = append(options, "--dump-dom")
	}
	cmd := exec.CommandContext(ctx, chromium(), append(options, at[1]+args[1])...)
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	if err := cmd.Run(); err != nil {
		ts.Fatalf("%v: %s", err, says.String())
	}
	for line := range strings.SplitSeq(says.String(), "\n") {
		if strings.Contains(line, "CONSOLE") {
			ts.Fatalf("the browser says: %s", line)
		}
	}
	if !picture {
		ts.Check(os.WriteFile(file, out.Bytes(), 0o600))
		return
	}
	b, err := os.ReadFile(file)
	ts.Check(err)
	img, err := png.Decode(bytes.NewReader(b))
	ts.Check(err)
	colours := map[[3]uint32]bool{}
	for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 3 {
		for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
		}
	}
	if len(colours) < 20 {
		ts.Fatalf("the picture has only %d colours", len(colours))
	}
}
