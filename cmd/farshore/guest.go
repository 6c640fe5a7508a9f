package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
	"farshore/transport/region"
)

// passable are the commands that the holder of a ledger carries out for others. Which of
// them write is found out when they open it.
func passable() []string {
	return []string{"sync", "plan", "audit", "points", "points land", "points forget", "restore", "drill", "migrate volume", "migrate container",
		"status", "ledger check", "ledger dump", "ledger backup", "ledger compact"}
}

// guests are the commands that a session carries out for others.
type guests struct {
	mu     sync.Mutex
	all    []*guest
	last   int
	closed bool
	busy   sync.WaitGroup
	host   *hostAtWork     // nil: it does not write for others
	limits []control.Limit // of policies and pairs, that were changed
}

// hostAtWork is what a daemon shares with the commands that write on its ledger.
type hostAtWork struct {
	turns  *daemon.Turns
	engine *replicator.Engine
	file   *policies.File
	text   string // of the file
}

// guest is a command that is carried out for somebody: its console speaks to them, its
// ledger is that of the session. Its logins, its engine and its progress are its own, so
// that a policy file which is read again does not cut it off.
type guest struct {
	s        *session
	asked    control.Request
	out      *control.Stream
	file     *policies.File // nil: who asked has none
	id       string
	began    time.Time
	progress *report.Progress
	cancel   context.CancelCauseFunc

	mu     sync.Mutex
	waits  []string
	writes bool
	ending bool
}

// Run implements control.Handler.
func (s *session) Run(gone context.Context, r control.Request, out *control.Stream) (int, error) {
	if !slices.Contains(passable(), r.Command) {
		return 0, &control.Refusal{Msg: fmt.Sprintf("%q is nothing that is done for others", r.Command), Hint: "it is done for: " + strings.Join(passable(), ", ")}
	}
	now := time.Now()
	g := &guest{s: s, asked: r, out: out, began: now, progress: report.NewProgress(now)}
	if r.Policies != nil {
		f, err := policies.Parse(r.Policies.Name, r.Policies.Text)
		if err != nil {
			return 0, &control.Refusal{Msg: "process " + strconv.Itoa(os.Getpid()) + " (version " + version + ") does not understand the policy file: " + err.Error(), Hint: "the command is of version " + r.Version + ": let both be of one version"}
		}
		g.file = f
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(gone))
	g.cancel = cancel
	defer cancel(nil)
	if !s.guests.admit(g) {
		return 0, &control.Refusal{Msg: "it is ending", Hint: "wait until it has ended, and run the command again"}
	}
	defer s.guests.dismiss(g)
	defer context.AfterFunc(gone, func() { cancel(&stopped{how: "interrupted", code: exitInterrupted}) })()
	if err := out.Begun(g.id); err != nil {
		return exitInterrupted, nil // gone already
	}
	s.told("a command is carried out", "id", g.id, "command", r.Typed, "pid", r.PID)
	code := g.do(ctx)
	s.told("a command has ended", "id", g.id, "exit", code, "took", time.Since(g.began).Round(time.Millisecond))
	return code, nil
}

// do carries the command out.
func (g *guest) do(ctx context.Context) int {
	args := append(strings.Fields(g.asked.Command), g.asked.Args...)
	c := newConsole(g.out.Stdout(), g.out.Stderr(), args)
	c.guest = g
	root := newRoot(c)
	g.lend(root)
	return execute(ctx, c, root, args)
}

// lend has every command take the policy file that who asked has read, not one of this
// process.
func (g *guest) lend(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if x, ok := f.Value.(*policyFlag); ok {
			x.use.passed, x.use.given = true, g.file
		}
	})
	for _, sub := range cmd.Commands() {
		g.lend(sub)
	}
}

// admit takes a command in, unless the session is ending.
func (x *guests) admit(g *guest) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.last++
	g.id = strconv.Itoa(x.last)
	x.all = append(x.all, g)
	x.busy.Add(1)
	return true
}

func (x *guests) dismiss(g *guest) {
	x.mu.Lock()
	x.all = slices.DeleteFunc(x.all, func(o *guest) bool { return o == g })
	x.mu.Unlock()
	x.busy.Done()
}

// close ends every command, and takes no more.
func (x *guests) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	for _, g := range x.all {
		g.end(&stopped{how: "stopped", code: exitDone})
	}
}

func (g *guest) end(how *stopped) {
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	g.cancel(how)
}

// Cancel implements control.Handler.
func (s *session) Cancel(x control.Cancelled) error {
	how := map[string]*stopped{"": {how: "stopped", code: exitDone}, "stopped": {how: "stopped", code: exitDone},
		"terminated": {how: "terminated", code: exitDone}, "interrupted": {how: "interrupted", code: exitInterrupted}}[x.How]
	if how == nil {
		return fmt.Errorf("%q is no way to end: say interrupted, terminated or stopped", x.How)
	}
	s.guests.mu.Lock()
	defer s.guests.mu.Unlock()
	for _, g := range s.guests.all {
		if g.id == x.ID {
			g.end(how)
			return nil
		}
	}
	return fmt.Errorf("no command %q is carried out for anybody: farshore status shows them", x.ID)
}

// commands says what is carried out for others.
func (x *guests) commands() []control.Command {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []control.Command
	for _, g := range x.all {
		g.mu.Lock()
		out = append(out, control.Command{ID: g.id, Command: g.asked.Typed, PID: g.asked.PID, Began: g.began.UTC().Truncate(time.Second), Waits: append([]string{}, g.waits...),
			Writes: g.writes, Ending: g.ending, Now: g.progress.Snapshot()})
		g.mu.Unlock()
	}
	return out
}

// serve has the commands of others write on the ledger within a daemon's limits; nil ends that.
func (x *guests) serve(h *hostAtWork) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.host = h
	for _, l := range x.limits { // of the engine before
		h.limit(l)
	}
}

func (x *guests) hosted() *hostAtWork {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.host
}

// open gives the session's ledger to the command, for writing or for reading only.
func (g *guest) open(ctx context.Context, path string, write bool) (context.Context, *session, error) {
	if write {
		if g.s.guests.hosted() == nil {
			return ctx, nil, g.held(path)
		}
		if g.has("streams") {
			return ctx, nil, usagef("leave it out", "--streams is not for a command that process %d carries out: it shares its own streams out", os.Getpid())
		}
		g.mu.Lock()
		g.writes = true
		g.mu.Unlock()
	}
	if err := g.s.flushFor(ctx, write); err != nil {
		return ctx, nil, err
	}
	x := newSession(g.s.ledger)
	x.progress, x.hands, x.guest = g.progress, g.s.hands, g
	if write { // who only looks may do so by another policy file, which is not how things are kept
		x.lag = g.s.lag
	}
	return g.s.ledger.Since(ctx), x, nil
}

// flushFor has a command see what was written before it. One that only reads can do so on
// a full disk, too.
func (s *session) flushFor(ctx context.Context, write bool) error {
	err := s.ledger.Flush(ctx)
	if !write && errors.Is(err, store.ErrFull) {
		return nil
	}
	return err
}

// held refuses what this process does not do for others.
func (g *guest) held(path string) error {
	st := g.s.Status()
	return &heldError{path: path, status: &st, err: store.ErrLocked}
}

// mayLogIn sees that the regions mean here what they mean to who asked: logins are those
// of this process. They do where both have the same policy file, or the same clouds.yaml.
// Who writes for a policy must have the file that the daemon works by.
func (g *guest) mayLogIn(r *reach) error {
	h := g.s.guests.hosted()
	same := r.file != nil && h != nil && g.asked.Policies != nil && string(g.asked.Policies.Text) == h.text
	if g.writing() && r.file != nil && !same {
		return &hintError{op: "read policy file", item: r.file.Name, err: fmt.Errorf("process %d works by another one, %s, or has not read its last change", os.Getpid(), h.file.Name),
			hint: "have it read the file again (systemctl reload farshore, or kill -HUP " + strconv.Itoa(os.Getpid()) + "), or name its file with -f"}
	}
	own, err := region.Fingerprint()
	for _, name := range sortedNames(r.regions) {
		if same && r.file.Regions[name].Name != "" {
			continue
		}
		if err != nil || own != g.asked.Clouds || fromEnvironment(r.regions[name].Cloud) {
			return &hintError{op: "log in to", item: name, err: fmt.Errorf("process %d, which holds the ledger, has another clouds.yaml than this command, so cloud %s may be another one there", os.Getpid(), r.regions[name].Cloud),
				hint: "name regions of its policy file, or run the command with its OS_CLIENT_CONFIG_FILE, or with a ledger of your own: --ledger"}
		}
	}
	return nil
}

func (g *guest) writing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes
}

// take waits until nobody works on the policies named, and keeps others from them until
// it is released. Who asked is told whom it waits for.
func (g *guest) take(ctx context.Context, c *console, names []string) (release func(), err error) {
	h := g.s.guests.hosted()
	if h == nil || !g.writing() {
		return func() {}, nil
	}
	told := map[string]bool{}
	release, err = h.turns.Take(ctx, "farshore "+g.asked.Command+" of process "+strconv.Itoa(g.asked.PID), names, func(by map[string]string) {
		var who []string
		for _, p := range sortedNames(by) {
			who = append(who, by[p])
			if !told[by[p]] && !c.json && !c.quiet {
				fmt.Fprint(c, printable("waiting for "+by[p]+"\n"))
			}
			told[by[p]] = true
		}
		g.progress.Phase("waiting for " + strings.Join(who, ", "))
		g.waitFor(who)
	})
	g.waitFor(nil)
	return release, err
}

func (g *guest) waitFor(who []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits = who
}

// show sends the progress to who asked until the returned function is called.
func (g *guest) show(p snapshots) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(showEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				g.out.Progress(nil)
				return
			case <-t.C:
				s := p.Snapshot()
				g.out.Progress(&s)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// showEvery is how often who asked is told how far it is.
const showEvery = 300 * time.Millisecond

// turn waits until a policy may be worked on, where that is not this process's own affair.
func (x *running) turn(ctx context.Context, t task) (release func(), err error) {
	g := x.guest
	if g == nil {
		return func() {}, nil
	}
	names := []string{t.policy.Name}
	if t.jobs != nil {
		names = append(names, x.meets(ctx, t)...)
	}
	return g.take(ctx, x.console, names)
}

// meets gives the policies of the daemon that write a container which an ad hoc task
// writes. Regions are one place by their name, their cloud or their account.
func (x *running) meets(ctx context.Context, t task) (names []string) {
	h := x.guest.s.guests.hosted()
	if h == nil {
		return nil
	}
	mine := x.engine.Accounts(ctx, t.policy.To)
	for _, p := range h.file.Policies {
		if p.Volumes != nil {
			continue
		}
		theirs := h.engine.Accounts(ctx, p.To)
		for _, side := range t.jobs[0].To {
			if slices.ContainsFunc(p.To, func(to string) bool {
				return to == side.Region || h.file.Regions[to].Cloud == x.reach.regions[side.Region].Cloud || theirs[to] != "" && theirs[to] == mine[side.Region]
			}) && mayWrite(p, side.Container) {
				names = append(names, p.Name)
				break
			}
		}
	}
	return names
}

// mayWrite reports whether a policy may write a container of that name: where it gives
// containers other names, any.
func mayWrite(p policies.Policy, container string) bool {
	dest, err := p.Destination(container)
	return err != nil || dest != container || p.Selects(container)
}

// turnAbout is turn for a command about volumes of regions: it waits for the policies
// named, and for those about volumes that have to do with the regions.
func (x *running) turnAbout(ctx context.Context, about ...string) (release func(), err error) {
	g := x.guest
	if g == nil {
		return func() {}, nil
	}
	names := about
	for region := range x.reach.regions {
		names = append(names, "the volumes of region "+region)
	}
	if h := g.s.guests.hosted(); h != nil {
		for _, p := range h.file.Policies {
			if p.Volumes != nil && slices.ContainsFunc(append([]string{p.From}, p.To...), func(r string) bool { _, ok := x.reach.regions[r]; return ok }) {
				names = append(names, p.Name)
			}
		}
	}
	return g.take(ctx, x.console, names)
}

// within has an engine work within the daemon's limits.
func (g *guest) within(e *replicator.Engine) {
	if h := g.s.guests.hosted(); h != nil {
		e.Within(h.engine)
	}
}

// limited puts --limit of a passed-on command below the daemon's limits.
func (g *guest) limited(ctx context.Context, l policies.Limits) context.Context {
	if g.has("limit") {
		return transport.WithLimits(ctx, transport.NewLimiter(int64(l.Total), transport.SystemClock{}))
	}
	return ctx
}

// has reports whether a flag was given.
func (g *guest) has(flag string) bool {
	return slices.ContainsFunc(g.asked.Args, func(arg string) bool { return strings.HasPrefix(arg, "--"+flag+"=") })
}

// create makes a file for the command's result where the command was typed.
func (c *console) create(name string, mode os.FileMode) (io.WriteCloser, error) {
	if c.guest != nil {
		return c.guest.out.Create(name)
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
}

// look opens a ledger for reading.
func (c *console) look(ctx context.Context, path string) (l *store.Ledger, closing func() error, err error) {
	if c.guest != nil {
		return c.guest.s.ledger, func() error { return nil }, c.guest.s.flushFor(ctx, false)
	}
	if l, err = store.Open(path, store.Options{ReadOnly: true}); err != nil {
		return nil, nil, c.passOn(ctx, path, err)
	}
	return l, l.Close, nil
}

// write makes a whole file of the command's result, for others to read.
func (c *console) write(name string, text []byte) error {
	f, err := c.create(name, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
