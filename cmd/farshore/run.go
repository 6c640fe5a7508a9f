package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/replicator/daemon"
	"farshore/replicator/report"
	"farshore/replicator/webhook"
)

type runOptions struct {
	selectOptions
	limitOptions
	Parallel int
	Listen   string
}

// metricsAddress is where metrics are served unless somebody says otherwise.
const metricsAddress = "127.0.0.1:9913"

// AddFlags adds them.
func (o *runOptions) AddFlags(f *pflag.FlagSet) {
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	f.StringVar(&o.Listen, "listen", metricsAddress, "where the page, /metrics, /healthz and /readyz are served, to everybody who can reach it; off: nowhere")
	f.IntVar(&o.Parallel, "parallel", 8, "policies that are worked on at once, at most")
}

func newRun(c *console) *cobra.Command {
	o := runOptions{selectOptions: selectOptions{volumes: true}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep every policy of the file true: passes, audits and drills, each when it is due",
		Long: `Work on every policy of the file until a signal ends it: a pass as often as every or
schedule says, an audit (with repair) as audit.every says, a drill at drill.schedule.
A pass never overlaps another of its policy; policies work side by side within the limits.
What was missed while nobody ran is made up for once, and a pass that was cut short is gone
on with at once. What fails is tried again after a minute, then ever more rarely.

It logs to stderr what it does. SIGHUP reads the policy file again: a file with a mistake,
or with a region that refuses the login, changes nothing. SIGTERM and SIGINT cut transfers
off, write down what is confirmed, and end it. A region that does not answer is logged in to
again by itself.

A page at the address of --listen (http://127.0.0.1:9913/) says how everything stands; webhooks
of the policy file are told what is found, late and drilled.

While it runs, farshore status, limit, pause, resume, run-now, cancel and stop speak to it,
and it carries out what else is typed for its ledger: sync, plan, audit, points, restore, drill,
migrate, ledger check, dump and compact.`,
		Example: `  farshore run -f /etc/farshore/farshore.yaml --log-format json
  farshore run --limit 200Mbit/s
  farshore status -f /etc/farshore/farshore.yaml
  farshore run-now assets -f /etc/farshore/farshore.yaml`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, _ []string) error { return runDaemon(ctx, &o, c) })
	return cmd
}

// service is a daemon at work.
type service struct {
	o     *runOptions
	s     *session
	log   *slog.Logger
	quiet *slog.Logger // without what the keeper of the ledger says for all
	told  *told
	turns daemon.Turns
	eyes  *watched
	page  *wall
	life  *pulse
	hear  []func(report.Event) // of what happens; they must not wait
	hooks *webhook.Sender
	hup   <-chan os.Signal
	deaf  func() // ends listening
	ready bool   // it was said that it works
}

func runDaemon(ctx context.Context, o *runOptions, c *console) error {
	if c.json {
		return usagef("leave it out: --log-format json makes lines of JSON", "farshore run works until it is ended and has no result")
	}
	if o.Listen == "" { // it would be every address of the machine
		return usagef("give an address such as "+metricsAddress+", or off", "--listen names no address")
	}
	if o.Parallel < 1 {
		return usagef("", "--parallel is at least 1, not %d", o.Parallel)
	}
	w, err := o.load()
	if err != nil {
		return err
	}
	ctx, s, err := openFor(w.ledger)(ctx, c)
	if err != nil {
		return err
	}
	s.lasts()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	log := c.serviceLogger()
	s.log = log
	life := newPulse(newManager(), s.ledger, log)
	d := &service{o: o, s: s, log: log, quiet: slog.New(hushed{log.Handler()}), told: newTold(), eyes: newWatched(s, life), life: life, hup: hup}
	d.hooks = newHooks(s, d.quiet)
	d.hear = append(d.hear, d.hooks.Tell)
	if d.page, err = newWall(d.eyes, d.hooks); err == nil {
		stop := d.measure()
		if err = d.listen(ctx); err == nil {
			err = d.work(ctx, w)
			d.deaf()
		}
		stop()
	}
	d.hooks.Close()
	if cerr := s.Close(); cerr != nil && err == nil {
		err = cerr
	}
	return err
}

// listen opens the address of metrics. One that nobody chose and that is taken is no
// reason not to work.
func (d *service) listen(ctx context.Context) error {
	d.deaf = func() {}
	if d.o.Listen == "off" {
		return nil
	}
	at, stop, err := d.eyes.listen(ctx, d.o.Listen, d.page)
	switch {
	case err == nil:
		d.deaf = stop
		d.log.Info("listening", "page", "http://"+at.String()+"/", "metrics", "http://"+at.String()+"/metrics")
	case d.o.Listen == metricsAddress:
		d.log.Warn("no metrics", "err", err, "hint", "choose another address with --listen, or --listen off")
	default:
		return &hintError{op: "listen on", item: d.o.Listen, err: err, hint: "choose another address with --listen, or --listen off"}
	}
	return nil
}

// load reads the policy file.
func (o *runOptions) load() (*work, error) {
	w, err := choose(nil, o.selectOptions, adHocOptions{})
	if err != nil {
		return nil, err
	}
	w.daemon = true
	w.text = string(o.use.read.Text)
	return w, o.apply(&w.reach)
}

// crew is one reading of the policy file at work: its logins, engine and schedule.
type crew struct {
	*running
	work  *work
	hooks []webhook.Target
}

// hire logs in and makes an engine; nothing begins yet.
func (d *service) hire(ctx context.Context, w *work) (*crew, error) {
	hooks, err := hooksOf(w.file)
	if err != nil {
		return nil, err
	}
	x, err := w.login(ctx, d.s, w.spare, d.quiet)
	if err != nil {
		return nil, err
	}
	if err := x.checkPlaces(ctx, w.file); err != nil {
		x.links.Close()
		return nil, err
	}
	return &crew{running: x, work: w, hooks: hooks}, nil
}

// work runs one crew after the other until ctx ends.
func (d *service) work(ctx context.Context, w *work) error {
	defer d.life.start(ctx)()
	room := keeper{ledger: d.s.ledger, log: d.log, over: d.s.nudge}
	defer room.start(ctx)()
	now, err := d.hire(ctx, w)
	if err != nil {
		return stopOr(ctx, err)
	}
	d.s.taken(time.Now())
	looking, look := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		d.page.watch(looking)
	}()
	defer func() { look(); <-looked }()
	for now != nil {
		next, err := d.shift(ctx, now)
		now.links.Close()
		if err != nil {
			return stopOr(ctx, err)
		}
		now = next
	}
	d.log.Info("ended", "why", context.Cause(ctx))
	return stopOr(ctx, context.Cause(ctx))
}

// shift lets a crew work until another takes its place, which it gives, or ctx ends.
func (d *service) shift(ctx context.Context, now *crew) (next *crew, err error) {
	if err := d.hooks.Follow(ctx, now.hooks); err != nil {
		return nil, err
	}
	if err := d.s.lag.Follow(now.terms(), func() error { return now.recall(ctx) }); err != nil {
		return nil, err
	}
	sched, err := daemon.New(daemon.Options{Memory: d.s.ledger, Log: d.quiet, Parallel: d.o.Parallel, Turns: &d.turns, Down: d.s.ledger.Unwritable}, d.tasks(ctx, now))
	if err != nil {
		return nil, err
	}
	d.eyes.at(now)
	defer d.eyes.at(nil)
	now.drive()
	d.s.follow(&orders{Scheduler: sched, told: d.told, runs: d.page.runs})
	if err := d.s.allow(now.work.file); err != nil {
		d.log.Warn("the control socket is not for its group", "err", err, "hint", "name a group in control_group: that this user is in")
	}
	d.s.guests.serve(&hostAtWork{turns: &d.turns, engine: now.engine, file: now.work.file, text: now.work.text})
	if !d.ready { // not before it can be asked and given orders
		d.ready = true
		d.log.Info("working", "policies", len(now.work.tasks), "file", now.work.file.Name, "ledger", now.work.ledger, "down", sortedNames(now.links.down))
		d.life.manager.tell("READY=1")
	}
	working, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sched.Run(working)
	}()
	d.life.follow(sched, sortedNames(now.links.down))
	if next = d.watch(ctx, now); next == nil {
		d.life.manager.tell("STOPPING=1", "STATUS=ending: transfers are cut off, what is confirmed is written down")
	}
	stop()
	<-ended
	return next, nil
}

// A region that did not answer is logged in to again after firstTry, then after twice
// that, up to lastTry.
const (
	firstTry = 10 * time.Second
	lastTry  = 5 * time.Minute
)

// watch waits for what makes another crew necessary, and hires it: a new policy file, or
// a region that answers again. It gives nil when ctx ends.
func (d *service) watch(ctx context.Context, now *crew) *crew {
	wait := firstTry
	for {
		var retry <-chan time.Time
		if len(now.links.down) > 0 {
			retry = time.After(wait)
			wait = min(2*wait, lastTry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.hup:
			d.life.manager.reloading()
			next, err := d.reload(ctx, now)
			d.life.manager.tell("READY=1")
			if err == nil {
				return next
			}
			d.s.refused(time.Now(), err)
			d.log.Error("the policy file was not taken: the one read before stays in force", "err", err)
		case <-retry:
			if d.s.ledger.Unwritable() != nil {
				continue // a new crew begins by writing
			}
			next, err := d.hire(ctx, now.work)
			if err != nil {
				d.log.Warn("cannot log in again", "err", err)
				continue
			}
			if len(next.links.down) < len(now.links.down) {
				d.log.Info("a region answers again", "down", sortedNames(next.links.down))
				return next
			}
			next.links.Close()
		}
	}
}

// reload reads the policy file again and hires a crew for it.
func (d *service) reload(ctx context.Context, now *crew) (*crew, error) {
	if err := d.s.ledger.Unwritable(); err != nil {
		return nil, err // a new crew begins by writing
	}
	w, err := d.o.load()
	if err != nil {
		return nil, err
	}
	if w.ledger != now.work.ledger {
		return nil, fmt.Errorf("it names another ledger, %s: end farshore run and start it again for that", w.ledger)
	}
	next, err := d.hire(ctx, w)
	if err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, t := range now.work.tasks {
		gone[t.policy.Name] = true
	}
	for _, t := range w.tasks {
		delete(gone, t.policy.Name)
	}
	d.s.taken(time.Now())
	d.log.Info("the policy file was read again", "file", w.file.Name, "policies", len(w.tasks), "gone", sortedNames(gone))
	return next, nil
}
