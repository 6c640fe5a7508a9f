package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// hear NAME PATH FILE: what the browser gives a screen reader of the daemon's page at PATH
// goes to FILE, a node a line: its role, its name, and a heading's level. It fails where
// that reader, or somebody with a keyboard alone or with weak eyes, would be left out:
//
//   - a link, button, table, region or picture without a name (WCAG 2.2, 1.1.1 and 4.1.2);
//   - headings that skip a level, or not one main part (1.3.1);
//   - something to be used that the Tab key does not reach, or reaches without showing it (2.1.1, 2.4.7);
//   - text of less contrast than 4.5 to 1, by day or by night (1.4.3).
func hearCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 3, "hear NAME PATH FILE")
	text, _ := worldOf(ts).jobs[args[0]].err.read()
	at := regexp.MustCompile(`page=(http://[0-9.:]+)/`).FindStringSubmatch(text)
	want(ts, at != nil, "hear NAME: it does not say where its page is")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b := openBrowser(ctx, ts)
	defer b.close()
	b.visit(at[1] + args[1])
	var tree struct{ Nodes []axNode }
	b.call("Accessibility.getFullAXTree", nil, &tree)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(heard(ts, tree.Nodes)), 0o600))
	b.tabbed()
	for _, scheme := range []string{"light", "dark"} {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		var faint []string
		b.eval(faintJS, &faint)
		need(ts, len(faint) == 0, "hard to read in the %s: %s", scheme, strings.Join(faint, "; "))
	}
}

func need(ts *testscript.TestScript, ok bool, format string, args ...any) {
	if !ok {
		ts.Fatalf(format, args...)
	}
}

// axNode is a node of the browser's accessibility tree (Chrome DevTools Protocol, Accessibility.AXNode).
type axNode struct {
	Ignored    bool
	Role, Name struct{ Value any }
	Properties []struct {
		Name  string
		Value struct{ Value any }
	}
}

// heard gives the nodes that are read out, and finds what would not be understood.
func heard(ts *testscript.TestScript, tree []axNode) string {
	var out strings.Builder
	level, mains := 0.0, 0
	for _, n := range tree {
		role, _ := n.Role.Value.(string)
		name, _ := n.Name.Value.(string)
		if n.Ignored || slices.Contains([]string{"none", "generic", "InlineTextBox", "StaticText"}, role) {
			continue
		}
		switch role {
		case "link", "button", "table", "region", "navigation", "image", "img", "meter", "DisclosureTriangle", "RootWebArea", "columnheader", "rowheader":
			need(ts, strings.TrimSpace(name) != "", "a %s has no name", role)
		case "main":
			mains++
		case "heading":
			was := level
			for _, p := range n.Properties {
				if p.Name == "level" {
					level, _ = p.Value.Value.(float64)
				}
			}
			need(ts, strings.TrimSpace(name) != "" && level <= was+1, "heading %q of level %v comes after one of level %v", name, level, was)
			role = fmt.Sprint("heading ", level)
		}
		fmt.Fprintf(&out, "%s: %s\n", role, name)
	}
	need(ts, mains == 1, "the page has %d main parts", mains)
	return out.String()
}

// browser is one that is driven through a pair of pipes, by the Chrome DevTools Protocol:
// JSON messages, each with a NUL behind it.
type browser struct {
	ts      *testscript.TestScript
	cmd     *exec.Cmd
	orders  *os.File
	answers *bufio.Reader
	says    bytes.Buffer
	session string
	calls   int
}

func openBrowser(ctx context.Context, ts *testscript.TestScript) *browser {
	b := &browser{ts: ts, cmd: exec.CommandContext(ctx, chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run", "--window-size=1000,800",
		"--user-data-dir="+ts.MkAbs("hearing"), "--remote-debugging-pipe", "about:blank")}
	in, orders, err := os.Pipe()
	ts.Check(err)
	answers, out, err := os.Pipe()
	ts.Check(err)
	b.orders, b.answers = orders, bufio.NewReader(answers)
	b.cmd.ExtraFiles, b.cmd.Stderr = []*os.File{in, out}, &b.says // 3 and 4
	ts.Check(b.cmd.Start())
	ts.Check(in.Close())
	ts.Check(out.Close())
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	for b.call("Target.getTargets", nil, &targets); len(targets.TargetInfos) == 0; {
		b.call("Target.getTargets", nil, &targets)
	}
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": targets.TargetInfos[0].TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	return b
}

func (b *browser) close() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = b.orders.Close()
}

// call has the browser do something, and waits for its answer.
func (b *browser) call(method string, params, to any) {
	b.calls++
	order, err := json.Marshal(map[string]any{"id": b.calls, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		order, err = json.Marshal(map[string]any{"id": b.calls, "method": method, "params": params})
	}
	b.ts.Check(err)
	_, err = b.orders.Write(append(order, 0))
	b.ts.Check(err)
	b.hear(func(m message) bool { return m.ID == b.calls }, method, to)
}

// message is an answer, or an event.
type message struct {
	ID     int
	Method string
	Error  *struct{ Message string }
	Result json.RawMessage
}

// hear reads what the browser says until it is what is waited for.
func (b *browser) hear(ready func(message) bool, what string, to any) {
	for {
		line, err := b.answers.ReadBytes(0)
		need(b.ts, err == nil, "%s: %v: %s", what, err, b.says.String())
		var m message
		b.ts.Check(json.Unmarshal(line[:len(line)-1], &m))
		if !ready(m) {
			continue
		}
		need(b.ts, m.Error == nil, "%s: %+v", what, m.Error)
		if to != nil {
			b.ts.Check(json.Unmarshal(m.Result, to))
		}
		return
	}
}

// visit opens a page and waits until it is whole.
func (b *browser) visit(url string) {
	b.call("Page.enable", nil, nil)
	b.call("Accessibility.enable", nil, nil)
	b.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.hear(func(m message) bool { return m.Method == "Page.loadEventFired" }, "load "+url, nil)
}

func (b *browser) eval(js string, to any) {
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": js, "returnByValue": true}, &out)
	need(b.ts, out.ExceptionDetails == nil, "%s", out.ExceptionDetails)
	if to != nil {
		b.ts.Check(json.Unmarshal(out.Result.Value, to))
	}
}

// tabbed goes through the page with the Tab key alone.
func (b *browser) tabbed() {
	var all, reached []string
	b.eval(`document.getElementById("refresh-toggle").click()`, nil) // a part that is made anew is another
	b.eval(usableJS, &all)
	for range all {
		var at, ring string
		for _, kind := range []string{"rawKeyDown", "keyUp"} {
			b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
		}
		b.eval(focusedJS, &at)
		b.eval(ringJS, &ring)
		need(b.ts, ring != "", "%s has the focus after %q, and nothing shows it", at, reached)
		reached = append(reached, at)
	}
	need(b.ts, len(all) > 0 && slices.Equal(all, reached), "the Tab key reaches %q, of %q", reached, all)
}

const (
	// nameJS tells the parts of the page from one another.
	nameJS = `(e => e.dataset.tab ??= e.tagName + " " + (e.id || e.getAttribute("aria-label") || e.textContent).trim().slice(0, 40) + " #" + (window.tabs = (window.tabs ?? 0) + 1))`
	// usableJS lists what can be used and is shown, in the order of the page.
	usableJS = `[...document.querySelectorAll("a[href], button, summary, input, select, [tabindex='0']")].filter(e => e.checkVisibility()).map(` + nameJS + `)`
	// focusedJS is what has the focus.
	focusedJS = nameJS + `(document.activeElement)`
	// ringJS says how the focus shows; "": not at all.
	ringJS = `(s => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 ? s.outline : "")(getComputedStyle(document.activeElement))`
	// faintJS lists texts of too little contrast with what is behind them: relative luminance
	// and contrast as WCAG 2.2 defines them.
	faintJS = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const lum = c => c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const b = parse(getComputedStyle(e).backgroundColor); if (b[3] === 1) return b; if (b[3] !== 0) return [NaN]; } return [255, 255, 255]; };
  const out = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = texts.nextNode());) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility({visibilityProperty: true, opacityProperty: true}) || ["SCRIPT", "STYLE", "title", "desc"].includes(e.tagName)) continue;
    const s = getComputedStyle(e), ink = parse(e instanceof SVGElement ? s.fill : s.color), [a, b] = [lum(ink), lum(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(ratio >= 4.5)) out.add(ratio.toFixed(2) + " " + e.tagName + "." + e.getAttribute("class") + " " + n.data.trim().slice(0, 30));
  }
  return [...out];
})()`
)
