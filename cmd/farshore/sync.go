package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/transport"
)

const placesHelp = `A place is CLOUD:CONTAINER or CLOUD:CONTAINER/PREFIX. CLOUD is an entry of
clouds.yaml (or, with --policy-file, a region of that file). It is cut at the
first colon and the first slash behind it: a container's name may have colons and
any other character but a slash, a prefix may have everything. Quote it for your
shell; there is no further escaping. PREFIX "photos/" takes photos/a and leaves
photos-old; a destination's PREFIX takes the place of the source's.`

type syncOptions struct {
	selectOptions
	limitOptions
	adHocOptions
	DryRun       bool
	ReleaseBrake string
	SnapshotNow  bool

	restore bool // of objects: where there is nothing, that is an error
}

// AddFlags adds them.
func (o *syncOptions) AddFlags(f *pflag.FlagSet) {
	o.selectOptions.AddFlags(f)
	o.limitOptions.AddFlags(f)
	o.adHocOptions.AddFlags(f)
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "decide and count, change nothing anywhere (as farshore plan)")
	f.BoolVar(&o.SnapshotNow, "snapshot-now", false, "policies of volumes: take a snapshot of every volume, due or not")
	f.StringVar(&o.ReleaseBrake, "release-brake", "", "go on with the pass that a brake stopped; the TOKEN is in its output")
}

func newSync(c *console) *cobra.Command {
	o := syncOptions{selectOptions: selectOptions{volumes: true}}
	cmd := &cobra.Command{
		Use:   "sync [POLICY… | CLOUD:CONTAINER[/PREFIX] CLOUD:CONTAINER[/PREFIX]…]",
		Short: "Make one pass now: copy what changed, and what is missing",
		Long: `Make one pass now, over the policies named (all of the file's, if none is) or, ad hoc,
from one container to others.

What is already there and identical is adopted; what stands there and is not ours is a
conflict and is left alone. A pass that was interrupted is gone on with. For a policy of
volumes a pass takes the snapshots that are due, backs each up, carries the backup's objects
while Cinder writes them, and lands it: every destination's own Cinder can restore it then.
After that it deletes the points that keep and keep_source no longer choose, each side by
itself, and makes a synthetic full where a chain has grown past max_chain. Ad hoc passes make
the destination container if it is missing, and delete nothing unless --delete is given.

` + placesHelp,
		Example: `  farshore sync                                          # all policies of ./farshore.yaml
  farshore sync assets -f /etc/farshore/farshore.yaml    # one policy
  farshore sync paris:photos lyon:photos berlin:photos   # ad hoc, to two regions
  farshore sync paris:logs/2027/ lyon:archive/logs/2027/ # a prefix, under another
  farshore sync paris:photos lyon:photos --limit 200Mbit/s --streams 8
  farshore sync paris:photos lyon:photos --delete --dry-run`,
		ValidArgsFunction: completeTasks(&o.selectOptions),
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runSync(ctx, &o, args, c) })
	return cmd
}

// policyResult is one policy's part of a sync, plan or audit in JSON.
type policyResult struct {
	report.Result
	// EstimateSeconds is the least time a plan's bytes take under --limit; 0 without one.
	EstimateSeconds float64    `json:"estimate_seconds,omitempty"`
	Error           *jsonError `json:"error"` // the policy could not run, or a brake stopped it
}

// passResult is the result of sync, plan and audit in JSON.
type passResult struct {
	Ledger      string         `json:"ledger"`
	Policies    []policyResult `json:"policies"`
	Interrupted string         `json:"interrupted,omitempty"` // interrupted, terminated or stopped
}

// brakeError is a brake with the finding that says which.
type brakeError struct {
	finding report.Finding
	err     error
}

func (e *brakeError) Error() string { return e.err.Error() }
func (e *brakeError) Unwrap() error { return e.err }

func runSync(ctx context.Context, o *syncOptions, args []string, c *console) error {
	w, err := choose(args, o.selectOptions, o.adHocOptions)
	if err != nil {
		return err
	}
	if err := o.apply(&w.reach); err != nil {
		return err
	}
	if o.DryRun {
		return planWork(ctx, w, o.ReleaseBrake, c, nil)
	}
	released := false
	return eachPolicy(ctx, w, c, openFor(w.ledger), duty{command: "sync", objects: func(ctx context.Context, e *replicator.Engine, p policies.Policy, jobs []replicator.Job) (report.Result, error) {
		r, err := e.Sync(ctx, p, jobs, replicator.SyncOptions{ReleaseBrake: o.ReleaseBrake})
		released = released || r.BrakeReleased
		if o.restore && err == nil && r.Totals.Listed == 0 {
			r = withMaps(r)
			addFindings(&r, []report.Finding{{Kind: report.KindNoPoint, Level: report.Error, Policy: p.Name, Region: p.From, Op: "restore",
				Cause: "there are no objects in " + transport.PrintName(args[0]), Hint: "check the spelling: farshore sync --dry-run says what a place has"}})
		}
		if last := p.Name == w.tasks[len(w.tasks)-1].policy.Name; last && o.ReleaseBrake != "" && !released && err == nil {
			r = withMaps(r)
			addFindings(&r, []report.Finding{{Kind: report.KindBrake, Level: report.Warn, Policy: p.Name, Op: "release brake",
				Cause: "no brake with the token " + o.ReleaseBrake + " was met: it released nothing", Hint: "give a token to the command that printed it, and only once"}})
		}
		return r, err
	}, volumes: func(ctx context.Context, s *volumes.Shipper, p policies.Policy) (report.Result, error) {
		return s.Pass(ctx, p, volumes.ShipOptions{SnapshotNow: o.SnapshotNow})
	}}, showResult)
}

// heapBeside is what the program takes beside the bytes on their way: listing pages,
// ledger records, buffers of connections.
const heapBeside = 48 << 20

// boundMemory tells the collector what limits.memory means for the whole program, so
// that the heap does not grow to twice of it before the next collection. GOMEMLIMIT,
// where it is set, has the last word.
func boundMemory(l policies.Limits) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cmp.Or(l.Memory, policies.DefaultMemory) + heapBeside)
	}
}

// duty is what is done about each policy.
type duty struct {
	command string // of a policy's entry in JSON: sync, plan, audit, rebuild
	away    bool   // it goes on where the source cannot be asked what it has
	objects passFunc
	volumes volumeFunc // nil: it has nothing to say about volumes
}

type passFunc func(context.Context, *replicator.Engine, policies.Policy, []replicator.Job) (report.Result, error)

// eachPolicy does a duty for the tasks, one after the other, with the ledger open and the
// regions logged in, and shows what came of each. A policy that cannot run does not keep
// the others from it.
func eachPolicy(ctx context.Context, w *work, c *console, open opener, d duty, show func(*console, report.Result)) error {
	out := &passResult{Ledger: w.ledger, Policies: []policyResult{}}
	c.result = out
	err := w.run(ctx, c, open, w.spare, func(ctx context.Context, x *running) error {
		return w.passes(ctx, x, c, out, d, show)
	})
	var stop *stopped
	if errors.As(err, &stop) {
		out.Interrupted = stop.how
	}
	return err
}

// passes does what eachPolicy says, with everything open.
func (w *work) passes(ctx context.Context, x *running, c *console, out *passResult, d duty, show func(*console, report.Result)) error {
	if err := x.checkPlaces(ctx, w.file); err != nil {
		return err
	}
	var ship *volumes.Shipper
	if names := w.aboutVolumes(); len(names) > 0 && d.volumes != nil {
		ship = x.shipper(ctx, names)
	}
	var worst error
	for _, t := range w.tasks {
		r, err := x.one(ctx, t, ship, d)
		told := policyResult{Result: r}
		if stopOf(ctx) == nil && err == nil && r.Errors > 0 {
			err = &findingsError{n: r.Errors}
		}
		var found *findingsError
		if err != nil && !errors.As(err, &found) && stopOf(ctx) == nil {
			told.Error = describe(err)
		}
		out.Policies = append(out.Policies, told)
		x.hide()
		if told.Error == nil || errors.Is(err, replicator.ErrBrake) || r.Totals.Listed > 0 || len(r.Points) > 0 {
			show(c, r)
			showFindings(c, r.Findings, total(r.Counts))
		}
		if stopOf(ctx) != nil {
			c.warn("%s: what was confirmed is in the ledger, and the same command goes on from here", stopOf(ctx).how)
			return stopOr(ctx, err)
		}
		if told.Error != nil {
			err = c.fail(err)
		}
		worst = worse(worst, err)
		x.hide = startProgress(c, x.progress)
	}
	x.hide()
	return worst
}

// one runs one task, about containers or, with a shipper, about volumes, and adds what
// the logins have to say.
func (x *running) one(ctx context.Context, t task, ship *volumes.Shipper, d duty) (report.Result, error) {
	var r report.Result
	release, err := x.turn(ctx, t)
	if err != nil {
		return withMaps(report.Result{Policy: t.policy.Name, Command: d.command, Began: time.Now().UTC()}), stopOr(ctx, err)
	}
	defer release()
	began := time.Now().UTC()
	if t.policy.Volumes != nil && ship != nil {
		ship = ship.Apart()
		defer ship.LetGo()
		r, err = d.volumes(ctx, ship, t.policy)
		r = withMaps(r)
	} else {
		r, err = runTask(ctx, x.engine, t, d)
	}
	if r.Command == "" { // nothing could run
		r.Policy, r.Command, r.Began = t.policy.Name, d.command, began
	}
	addFindings(&r, x.links.importFindings(t.policy.Name, t.policy.To...))
	addFindings(&r, x.links.skew(t.policy.Name))
	if err != nil {
		r.Replicas.Satisfied = false // nobody looked at everything
	}
	return r, err
}

// addFindings adds findings to a result; its Counts must be there.
func addFindings(r *report.Result, list []report.Finding) {
	for _, f := range list {
		r.Findings = append(r.Findings, f)
		r.Counts[f.Kind]++
		if f.Level == report.Error {
			r.Errors++
		}
	}
}

func total(counts map[string]int64) (n int64) {
	for _, k := range counts {
		n += k
	}
	return n
}

// runTask runs one policy. What it selects is asked first, unless the jobs are given.
func runTask(ctx context.Context, e *replicator.Engine, t task, d duty) (report.Result, error) {
	jobs, err := t.jobs, error(nil)
	switch {
	case jobs != nil:
	case d.away:
		jobs, err = e.AuditJobs(ctx, t.policy)
	default:
		jobs, err = e.Jobs(ctx, t.policy)
	}
	if err == nil {
		var r report.Result
		r, err = d.objects(ctx, e, t.policy, jobs)
		if err == nil && len(jobs) == 0 {
			r.Findings = append(r.Findings, report.Finding{Kind: kindNothing, Level: report.Warn, Policy: t.policy.Name, Region: t.policy.From, Op: "select containers",
				Cause: "no container of the region matches the policy", Hint: "look at containers: in the policy file; wildcards never match reserved names"})
			r.Counts = map[string]int64{kindNothing: 1}
		}
		if errors.Is(err, replicator.ErrBrake) {
			for _, f := range r.Findings {
				if f.Kind == report.KindBrake {
					err = &brakeError{finding: f, err: err}
					break
				}
			}
		}
		return withMaps(r), err
	}
	return withMaps(report.Result{}), err
}

// kindNothing is the finding of a policy that selects no container.
const kindNothing = "nothing-selected"

// withMaps sees that lists and maps are never null in JSON.
func withMaps(r report.Result) report.Result {
	if r.Findings == nil {
		r.Findings = []report.Finding{}
	}
	if r.Counts == nil {
		r.Counts = map[string]int64{}
	}
	if r.Replicas.ByCount == nil {
		r.Replicas.ByCount = map[int]int64{}
	}
	return r
}
