package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vbauerster/mpb/v8/cwriter"
)

// console is how a command speaks: results on stdout as text or as one JSON document,
// errors, progress and logs on stderr.
type console struct {
	stdout, stderr io.Writer
	json           bool
	quiet          bool
	verbose        bool
	logFormat      string

	started bool           // the command line was understood
	cmd     *cobra.Command // the command that was understood, and its arguments
	words   []string
	guest   *guest // nil: the command is carried out by the process that it was typed for
	result  any    // of the JSON document
	lines   bool   // JSON lines go before the document, which is a line too
	lost    error  // the first write of text to stdout that failed
	bars    io.Writer
	mu      sync.Mutex // around bars: log lines go above the bars while they are shown
}

func newConsole(stdout, stderr io.Writer, args []string) *console {
	return &console{stdout: stdout, stderr: stderr, json: asksJSON(args), logFormat: "text"}
}

// AddFlags adds the flags that every command has.
func (c *console) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&c.json, "json", c.json, "answer with one JSON document, errors included (docs/json.md)")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "say only what is wrong")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "log what is done, with retries, to stderr")
	f.StringVar(&c.logFormat, "log-format", c.logFormat, "of the log (--verbose, and farshore run): text or json")
}

// check refuses flags that cannot be meant.
func (c *console) check() error {
	if c.logFormat != "text" && c.logFormat != "json" {
		return usagef("", "--log-format is text or json, not %q", c.logFormat)
	}
	return nil
}

// say prints a line of the result unless it goes out as JSON or only errors are wanted.
func (c *console) say(format string, args ...any) {
	if !c.quiet {
		c.warn(format, args...)
	}
}

// warn prints a line that is worth reading even with --quiet.
func (c *console) warn(format string, args ...any) {
	if !c.json {
		c.line(printable(fmt.Sprintf(format, args...)))
	}
}

// line prints a line of text as it is, with escape sequences if it has any.
func (c *console) line(text string) {
	fmt.Fprintln(c.checked(), text)
}

// checked is stdout, with the first failure noted: a full disk behind a redirection
// must not look like success.
func (c *console) checked() io.Writer {
	return writeFunc(func(b []byte) (int, error) {
		n, err := c.stdout.Write(b)
		if err != nil && c.lost == nil {
			c.lost = err
		}
		return n, err
	})
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(b []byte) (int, error) { return f(b) }

// printable makes a text safe to print: names come from others, and what is in them
// must not reach a terminal as a command.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError {
			return '\uFFFD'
		}
		return r
	}, text)
}

// Write prints to stderr, above the progress bars while there are any.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bars != nil {
		return c.bars.Write(b)
	}
	return c.stderr.Write(b)
}

func (c *console) setBars(w io.Writer) {
	c.mu.Lock()
	c.bars = w
	c.mu.Unlock()
}

// terminal reports whether stderr is one.
func (c *console) terminal() bool {
	f, ok := c.stderr.(*os.File)
	return ok && cwriter.IsTerminal(int(f.Fd()))
}

// logger logs to stderr, or nowhere unless --verbose.
func (c *console) logger() *slog.Logger {
	if !c.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return c.logFrom(slog.LevelDebug)
}

// serviceLogger logs a daemon's work to stderr: also without --verbose.
func (c *console) serviceLogger() *slog.Logger {
	switch {
	case c.verbose:
		return c.logFrom(slog.LevelDebug)
	case c.quiet:
		return c.logFrom(slog.LevelWarn)
	}
	return c.logFrom(slog.LevelInfo)
}

func (c *console) logFrom(level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(c, o))
	}
	return slog.New(slog.NewTextHandler(c, o))
}

// document is the shape of every --json answer (docs/json.md).
type document struct {
	Schema  int        `json:"schema"`
	Command string     `json:"command"`
	OK      bool       `json:"ok"`
	Exit    int        `json:"exit"`
	Error   *jsonError `json:"error"`
	Result  any        `json:"result"`
}

// finish shows the error, if there is one, and gives the exit code.
func (c *console) finish(cmd *cobra.Command, err error) int {
	code := exitOf(err)
	var found *findingsError
	var stop *stopped
	var said *saidError
	var on *passedOn
	shown := err == nil || errors.As(err, &found) || errors.As(err, &stop) || errors.As(err, &on)
	if c.lost != nil {
		if code == exitDone || code == exitFindings { // 1 is of what could not be said
			code = exitCannot
		}
		fmt.Fprintf(c.stderr, "farshore: write the result: %v\n", c.lost)
	}
	if on != nil {
		return code
	}
	if !c.json {
		if !shown && !errors.As(err, &said) {
			fmt.Fprint(c.stderr, printable(textOf(err)))
		}
		return code
	}
	if err == nil && c.result == nil {
		return code // --help, completion and the like have no JSON
	}
	d := document{Schema: 1, Command: strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), OK: code == exitDone, Exit: code, Result: c.result}
	if !shown {
		d.Error = describe(err)
	}
	write := writeJSON
	if c.lines {
		write = func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(v)
		}
	}
	if werr := write(c.stdout, d); werr != nil {
		fmt.Fprintf(c.stderr, "farshore: write the result: %v\n", werr)
		return max(code, exitCannot)
	}
	return code
}

// saidError is an error that text has shown where it happened.
type saidError struct{ err error }

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// fail shows an error now rather than at the end.
func (c *console) fail(err error) error {
	if !c.json {
		fmt.Fprint(c, printable(textOf(err)))
	}
	return &saidError{err: err}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
