package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages of all commands",
		Long: `Write the manual pages of all commands, made of their help texts, into a folder, which is made if there
is none. With SOURCE_DATE_EPOCH set, that is the date in them, so that a build can be repeated.`,
		Example: `  farshore man /usr/local/share/man/man1
  farshore man . && man ./farshore-sync.1`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = c.do(func(_ context.Context, args []string) error { return runMan(c, cmd.Root(), args[0]) })
	return cmd
}

// manResult is the result of man in JSON.
type manResult struct {
	Folder string   `json:"folder"`
	Pages  []string `json:"pages"`
}

func runMan(c *console, root *cobra.Command, folder string) error {
	day := time.Now().UTC()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		s, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return usagef("it is seconds since 1970: date +%s", "SOURCE_DATE_EPOCH is %q", epoch)
		}
		day = time.Unix(s, 0).UTC()
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return &hintError{op: "make folder", item: folder, err: err, hint: "name another"}
	}
	out := manResult{Folder: folder, Pages: []string{}}
	for _, cmd := range family(root) {
		page := pageName(cmd) + ".1"
		if err := os.WriteFile(filepath.Join(folder, page), []byte(manPage(cmd, day)), 0o644); err != nil { //nolint:gosec // for everybody to read
			return fmt.Errorf("write a manual page: %w", err)
		}
		out.Pages = append(out.Pages, page)
	}
	c.result = out
	c.say("%s in %s", count(int64(len(out.Pages)), "manual page"), folder)
	return nil
}

// family is a command and all those below it that have help.
func family(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			all = append(all, family(sub)...)
		}
	}
	return all
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a command's help in the language of man(7).
func manPage(cmd *cobra.Command, day time.Time) string {
	r := &roff{}
	r.line(".TH %s 1 %s %s Farshore", quote(strings.ToUpper(pageName(cmd))), day.Format(time.DateOnly), quote("farshore "+version))
	r.section("NAME")
	r.text(pageName(cmd) + ` \- ` + roffText(lower(cmd.Short)))
	r.section("SYNOPSIS")
	r.line(".nf")
	r.text(`\fB` + roffText(cmd.CommandPath()) + `\fR` + roffText(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	r.line(".fi")
	r.section("DESCRIPTION")
	r.prose(strings.TrimSuffix(cmd.Long, helpTail()))
	r.commands(cmd)
	r.flags("OPTIONS", cmd.NonInheritedFlags())
	r.flags("OPTIONS OF EVERY COMMAND", cmd.InheritedFlags())
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.verbatim(cmd.Example)
	}
	r.section("EXIT STATUS")
	for _, row := range exitCodes() {
		r.item(roffText(row[0]), row[1])
	}
	r.section("ENVIRONMENT")
	r.verbatim(strings.SplitN(envHelp, "\n", 2)[1])
	var near []string
	if cmd.HasParent() {
		near = append(near, pageName(cmd.Parent()))
	}
	for _, sub := range family(cmd)[1:] {
		if sub.Parent() == cmd {
			near = append(near, pageName(sub))
		}
	}
	r.section("SEE ALSO")
	for i, name := range near {
		near[i] = `\fB` + roffText(name) + `\fR(1)`
	}
	r.text(strings.Join(near, ",\n"))
	return r.String()
}

// lower begins a sentence in small letters, as apropos(1) shows them.
func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// roff writes a manual page.
type roff struct{ strings.Builder }

func (r *roff) line(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }
func (r *roff) section(name string)             { r.line(".SH %s", quote(name)) }

// text writes lines that are escaped already.
func (r *roff) text(s string) { r.WriteString(s + "\n") }

// prose fills paragraphs; what is indented in them stays as it is.
func (r *roff) prose(s string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			r.line(".PP")
		}
		var lines []string
		kept := false
		flush := func() {
			if text := strings.Join(lines, "\n"); kept {
				r.verbatim(text)
			} else if text != "" {
				r.text(roffText(text))
			}
			lines = nil
		}
		for _, l := range strings.Split(paragraph, "\n") {
			if indented := strings.HasPrefix(l, " "); indented != kept {
				flush()
				kept = indented
			}
			lines = append(lines, l)
		}
		flush()
	}
}

// verbatim keeps lines as they are, two blanks less far from the margin.
func (r *roff) verbatim(s string) {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = roffText(strings.TrimPrefix(l, "  "))
	}
	r.line(".RS 4\n.nf\n%s\n.fi\n.RE", strings.Join(lines, "\n"))
}

// item is a term and what it means; the term is escaped already.
func (r *roff) item(term, text string) {
	r.line(".TP\n%s", term)
	r.text(roffText(text))
}

func (r *roff) commands(cmd *cobra.Command) {
	subs := slices.DeleteFunc(slices.Clone(cmd.Commands()), func(x *cobra.Command) bool { return x.Hidden })
	if len(subs) == 0 {
		return
	}
	r.section("COMMANDS")
	for _, sub := range subs {
		r.item(`\fB`+roffText(pageName(sub))+`\fR(1)`, sub.Short+".")
	}
}

func (r *roff) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	r.section(title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" { // cobra adds it to the commands that were called
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		term := `\fB` + roffText("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			term = `\fB` + roffText("-"+f.Shorthand) + `\fR, ` + term
		}
		if kind != "" {
			term += ` \fI` + roffText(kind) + `\fR`
		}
		if d := f.DefValue; f.Value.Type() != "bool" && d != "" && d != "0" && d != "[]" && d != "0s" {
			usage += " (default " + d + ")"
		}
		r.item(term, usage)
	})
}

// roffText escapes what man(7) would take for a request or a sign of its own. A hyphen is
// written so that what is copied from a page can be typed.
func roffText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// quote makes one argument of a request of a text.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\(dq`) + `"` }
