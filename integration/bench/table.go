package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The page, and the marks between which the tables stand.
const (
	page      = "docs/performance.md"
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// markdown writes all rows.
func markdown(m machine, command string, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`\n\n%s.\n", command, m)
	busiest := 0.0
	for _, r := range rows {
		busiest = max(busiest, r.Load)
	}
	if busiest > float64(m.Cores)/2 {
		fmt.Fprintf(&b, "\n**Taken on a busy machine** (load %.1f on %d cores before a row began): ratios of paired runs are of some use, times are not.\n", busiest, m.Cores)
	}
	b.WriteString("\n### Against the design\n\n| row | figure | measured | wanted | |\n| --- | --- | --: | --: | --- |\n")
	for _, r := range rows {
		for _, c := range r.Checks {
			verdict := ""
			if c.Judged {
				if verdict = "met"; !c.OK {
					verdict = "**missed**"
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, c.What, c.Got, c.Want, verdict)
		}
		if r.Err != "" {
			fmt.Fprintf(&b, "| %s | | did not run: %s | | **missed** |\n", r.ID, cell(r.Err))
		}
	}
	b.WriteString("\n### What was measured\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "\n**%s: %s.** %s", r.ID, r.Title, r.Note)
		fmt.Fprintf(&b, " (%s, %s, load %.1f)\n\n", r.At.UTC().Format("2006-01-02 15:04 UTC"), r.Commit, r.Load)
		if r.Table != nil {
			b.WriteString(strings.Join(r.Table, "\n") + "\n")
			continue
		}
		writeResults(&b, r)
	}
	return b.String()
}

func writeResults(b *strings.Builder, r row) {
	perGiB := r.Bytes >= 256*mb
	b.WriteString("| who | wall, median (min–max) | time × farshore's | requests, source + destination | CPU |")
	if perGiB {
		b.WriteString(" CPU a GiB |")
	}
	b.WriteString(" peak RssAnon | VmHWM |\n| --- | --: | --: | --: | --: | --: | --: |")
	if perGiB {
		b.WriteString(" --: |")
	}
	b.WriteString("\n")
	var us *result
	for i := range r.Results {
		if strings.HasPrefix(r.Results[i].Who, ours) {
			us = &r.Results[i]
			break
		}
	}
	for _, x := range r.Results {
		if len(x.Samples) == 0 {
			continue
		}
		w, last := x.wall(), x.Samples[len(x.Samples)-1]
		times := ""
		if us != nil && us.Who != x.Who {
			times = fmt.Sprintf("%.2f", ratio(x, *us).mid)
		}
		fmt.Fprintf(b, "| %s | %.3f s (%.3f–%.3f) | %s | %s + %s | %.2f s |", x.Who, w.mid, w.low, w.high, times,
			grouped(int(last.Source)), grouped(int(last.Copy)), x.cpu().mid)
		if perGiB {
			fmt.Fprintf(b, " %.2f s |", x.cpu().mid/(float64(r.Bytes)/float64(gib)))
		}
		var anon, hwm int64
		for _, s := range x.Samples {
			anon, hwm = max(anon, s.Anon), max(hwm, s.HWM)
		}
		fmt.Fprintf(b, " %.0f MiB | %.0f MiB |\n", mib(anon), mib(hwm))
	}
}

// cell makes text fit into a table.
func cell(s string) string {
	return strings.NewReplacer("\n", " ", "|", "\\|").Replace(s)
}

// replaceBlock puts text between the marks.
func replaceBlock(doc []byte, text string) ([]byte, error) {
	before, rest, ok := bytes.Cut(doc, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return nil, errors.New("no " + beginMark + " … " + endMark + " in it")
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n" + text + endMark), after}, nil), nil
}

// writePage replaces the tables of docs/performance.md.
func writePage(text string) error {
	doc, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("write %s (run from the repository's root): %w", page, err)
	}
	if doc, err = replaceBlock(doc, text); err != nil {
		return fmt.Errorf("write %s: %w", page, err)
	}
	if err := os.WriteFile(page, doc, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", page, err)
	}
	return nil
}
