package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"farshore/replicator/control"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport/region"
)

// passedOn is how a command ended that the holder of the ledger carried out; all of it is
// said.
type passedOn struct{ code int }

func (p *passedOn) Error() string { return fmt.Sprintf("carried out elsewhere: exit code %d", p.code) }

// passOn has the process that holds a ledger carry this command out on it, when err says
// that the ledger is held, or is somebody else's who may let us speak to him. The error
// it gives then is *passedOn. Where that is not possible it is of who holds the ledger,
// and every other err is passed through.
func (c *console) passOn(ctx context.Context, path string, err error) error {
	if !errors.Is(err, store.ErrLocked) && !errors.Is(err, os.ErrPermission) || c.guest != nil {
		return err
	}
	if c.cmd == nil || !slices.Contains(passable(), c.command()) {
		return heldBy(ctx, path, err)
	}
	perr := c.passTo(ctx, path)
	switch {
	case errors.Is(perr, control.ErrNobody), errors.Is(perr, control.ErrOld), errors.Is(perr, os.ErrPermission):
		return heldBy(ctx, path, err)
	}
	return perr
}

// passTo has whoever serves a ledger's socket carry this command out.
func (c *console) passTo(ctx context.Context, path string) error {
	shown := &elsewhere{c: c}
	defer shown.progress(nil)
	how := func() string {
		if stop := stopOf(ctx); stop != nil {
			return stop.how
		}
		return ""
	}
	code, err := control.NewClient(path).Run(ctx, c.request(path), how, control.Output{Stdout: c.checked(), Stderr: c, Progress: shown.progress, File: c.receive})
	var no *control.Refusal
	switch {
	case err == nil:
		return &passedOn{code: code}
	case errors.As(err, &no):
		return &hintError{op: "have the holder of", item: path, err: no, hint: no.Hint}
	}
	return fmt.Errorf("have the holder of %s do it: %w", path, err)
}

// command is the words of the command.
func (c *console) command() string {
	return strings.TrimPrefix(c.cmd.CommandPath(), c.cmd.Root().Name()+" ")
}

// request is this command, as the holder of a ledger is asked to carry it out.
func (c *console) request(path string) control.Request {
	r := control.Request{Command: c.command(), Typed: commandLine(os.Args), PID: os.Getpid(), Version: version}
	c.cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "ledger" {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			r.Args = append(r.Args, "--"+f.Name+"="+v)
		}
	})
	r.Args = append(append(r.Args, "--ledger="+path, "--"), c.words...)
	if f := c.cmd.Flags().Lookup("policy-file"); f != nil {
		if x, ok := f.Value.(*policyFlag); ok {
			if x.use.read == nil {
				_, _ = x.o.load() // the holder says what is missing, if it is needed
			}
			r.Policies = x.use.read
		}
	}
	r.Clouds, _ = region.Fingerprint() // without one, the login says so
	return r
}

// receive makes a file that the holder sends: only those that the command line names.
func (c *console) receive(name string) (io.WriteCloser, error) {
	value := func(flag string) string {
		if f := c.cmd.Flags().Lookup(flag); f != nil {
			return f.Value.String()
		}
		return ""
	}
	mode := os.FileMode(0o600)
	switch file, folder := value("output"), value("out"); {
	case file != "" && name == file:
	case c.command() == "ledger backup" && name == received(c.words[0]):
	case folder != "" && filepath.Dir(name) == filepath.Clean(folder):
		mode = 0o644 // reports are for others to read
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("make the folder of the report: %w", err)
		}
	default:
		return nil, fmt.Errorf("the holder of the ledger wants to write %q, which nobody asked for", name)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return nil, &hintError{op: "open output", item: name, err: err, hint: "name a file that can be written"}
	}
	return f, nil
}

// elsewhere shows the progress that the holder tells of, as this command's own would be.
type elsewhere struct {
	c *console

	mu   sync.Mutex
	last report.Snapshot
	hide func()
}

// Snapshot is what was told last.
func (e *elsewhere) Snapshot() report.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

func (e *elsewhere) progress(s *report.Snapshot) {
	if s == nil {
		if e.hide != nil {
			e.hide()
			e.hide = nil
		}
		return
	}
	e.mu.Lock()
	e.last = *s
	e.mu.Unlock()
	if e.hide == nil {
		e.hide = startProgress(e.c, e)
	}
}
