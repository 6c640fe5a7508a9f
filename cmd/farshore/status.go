package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/replicator/report"
	"farshore/replicator/volumes"
	"farshore/store"
	"farshore/transport"
)

func newStatus(c *console) *cobra.Command {
	var o selectOptions
	var once bool
	cmd := &cobra.Command{
		Use:   "status [POLICY…]",
		Short: "Say what is running, or how things stood after the last passes",
		Long: `Ask whoever holds the ledger what it is doing: on a terminal again and again, redrawn in
place, until Ctrl-C; elsewhere, with --once and with --json once. And read the ledger: the
last passes, how many objects of each container have a confirmed copy where, and how the restore
points of each policy of volumes stand: how old the newest is, how many each region can restore,
and when one was last proven or drilled.

Of a POLICY about containers that is named, each object that the ledger knows is judged, too: how
many have too few confirmed copies, which regions lack them and since when, and which wait longest.`,
		Example: `  farshore status
  farshore status assets                       # which objects have too few copies, where, since when
  farshore status --ledger /var/lib/farshore/ledger.db --json
  farshore status --once`,
		ValidArgsFunction: completeMore(&o, anyPolicy),
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&once, "once", false, "say it once, on a terminal too")
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runStatus(ctx, &o, args, once, c) })
	return cmd
}

type statusResult struct {
	Ledger string          `json:"ledger"`
	Holder *control.Status `json:"holder"` // null: nobody holds the ledger
	Passes []passStatus    `json:"passes"`
	Routes []routeStatus   `json:"routes"`
	// Points are those of volumes, by policy.
	Points []report.PointSummary `json:"points"`
	// Migrations are those of volumes, ended ones, too.
	Migrations []report.Migration `json:"migrations"`
	Policies   []policyStanding   `json:"policies"` // those that were named

	named []policies.Policy
}

// policyStanding is how a policy about containers stands, judged object by object.
type policyStanding struct {
	Policy   string          `json:"policy"`
	Replicas report.Replicas `json:"replicas"`
}

type passStatus struct {
	Policy    string     `json:"policy"`
	Region    string     `json:"region"`
	Container string     `json:"container"` // empty: of a policy of volumes
	Prefix    string     `json:"prefix"`
	Began     time.Time  `json:"began"`
	Ended     *time.Time `json:"ended"` // null: it was interrupted, and will be gone on with
	Resumed   int        `json:"resumed"`
}

type routeStatus struct {
	From      string `json:"from"` // region:container/prefix
	To        string `json:"to"`
	Objects   *int64 `json:"objects"`   // that the source had at its last listing; null where the route has a prefix
	Confirmed int64  `json:"confirmed"` // of the current versions, held by the destination
	FirstPass bool   `json:"first_pass_done"`
	backups   bool   // of volumes: the points say how they stand
}

func runStatus(ctx context.Context, o *selectOptions, names []string, once bool, c *console) error {
	path, err := o.findLedger()
	if err != nil {
		return withoutFile(err, len(names) > 0)
	}
	out := &statusResult{Ledger: path, Passes: []passStatus{}, Routes: []routeStatus{}, Points: []report.PointSummary{}, Migrations: []report.Migration{}, Policies: []policyStanding{}}
	if len(names) > 0 {
		f, err := o.load()
		if err != nil {
			return err
		}
		if out.named, err = policiesNamed(f, names); err != nil {
			return err
		}
	}
	if c.guest != nil {
		st := c.guest.s.Status()
		st.Commands = slices.DeleteFunc(st.Commands, func(x control.Command) bool { return x.ID == c.guest.id })
		out.Holder = &st
		return out.say(ctx, path, c)
	}
	cl := control.NewClient(path)
	st, err := cl.Status(ctx)
	if f, ok := c.liveTerminal(); ok && err == nil && !once && len(names) == 0 {
		if err = watchLive(ctx, cl, st, f); err == nil {
			return nil
		}
	}
	switch {
	case err == nil:
		// What it holds, it reads, unless it is ending or of an older version.
		var on *passedOn
		if err := c.passTo(ctx, path); errors.As(err, &on) {
			return err
		}
		out.Holder, c.result = &st, out
		showHolder(c, st)
		return nil
	case !errors.Is(err, control.ErrNobody):
		return unasked(path, err)
	}
	return out.say(ctx, path, c)
}

// withoutFile adds to a mistake in the policy file how to see the status all the same: what
// works by the file as it was is looked at most when somebody has just broken it.
func withoutFile(err error, named bool) error {
	var file policies.Errors
	if errors.As(err, &file) && !named {
		return &hintError{op: "read policy file", err: err, hint: "without the file: farshore status --ledger PATH, with the ledger that it names (of the service: /var/lib/farshore/ledger.db)"}
	}
	return err
}

// unasked is why the holder of a ledger could not be asked.
func unasked(path string, err error) error {
	hint := ""
	if errors.Is(err, os.ErrPermission) {
		hint = "only the user who started it, root and who is in its control_group may ask"
	}
	return &hintError{op: "ask the holder of", item: path, err: err, hint: hint}
}

// say reads the ledger and shows how things stand.
func (out *statusResult) say(ctx context.Context, path string, c *console) error {
	l, closing, err := c.look(ctx, path)
	if errors.Is(err, os.ErrNotExist) {
		return &hintError{op: "open ledger", item: path, err: errors.New("there is none yet"), hint: "the first farshore sync makes it; or name another with --ledger"}
	}
	if err != nil {
		return err
	}
	defer func() { _ = closing() }() // it was only read
	if err := out.read(l); err != nil {
		return err
	}
	for _, p := range out.named {
		if p.Volumes != nil {
			continue // the points say how it stands
		}
		r, err := replicator.Replicas(ctx, l, p)
		if err != nil {
			return stopOr(ctx, err)
		}
		out.Policies = append(out.Policies, policyStanding{p.Name, r})
	}
	c.result = out
	if out.Holder != nil {
		showHolder(c, *out.Holder)
	} else {
		c.warn("ledger %s: nobody is working on it", out.Ledger)
	}
	showStanding(c, *out)
	return nil
}

func (out *statusResult) read(l *store.Ledger) error {
	places, err := l.Places()
	if err != nil {
		return err
	}
	byID := map[store.PlaceID]store.PlaceInfo{}
	for _, p := range places {
		byID[p.ID] = p
	}
	passes, err := l.Passes()
	if err != nil {
		return err
	}
	type place struct{ region, container string }
	passed, backups := map[place]bool{}, map[place]bool{}
	for _, p := range passes {
		policy, id, prefix, ok := replicator.PassOf(p.Key)
		if !ok {
			continue
		}
		x := passStatus{Policy: policy, Region: byID[id].Region, Container: byID[id].Container, Prefix: prefix, Began: time.UnixMicro(p.Began).UTC(), Resumed: p.Resumed}
		if p.Ended != 0 {
			at := time.UnixMicro(p.Ended).UTC()
			x.Ended = &at
		}
		out.Passes = append(out.Passes, x)
		passed[place{x.Region, x.Container}] = true
	}
	overVolumes, err := volumes.Passes(l)
	if err != nil {
		return err
	}
	for _, p := range overVolumes {
		out.Passes = append(out.Passes, passStatus{Policy: p.Policy, Region: p.Region, Began: p.Began, Ended: &p.Ended})
	}
	points, err := l.Points("")
	if err != nil {
		return err
	}
	for _, p := range points {
		backups[place{p.Region, p.Container}] = true
	}
	routes, err := l.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		x := routeStatus{
			From:      end(r.Route.From, r.FromPrefix),
			To:        end(r.Route.To, r.ToPrefix),
			Confirmed: r.Confirmed, FirstPass: !r.Listed.IsZero()}
		at := place{byID[r.From].Region, byID[r.From].Container}
		// The points of a migration that has ended are gone.
		x.backups = backups[at] || r.Confirmed == 0 && !passed[at]
		if r.FromPrefix == "" { // the ledger counts whole containers
			n := byID[r.From].Present
			x.Objects = &n
		}
		out.Routes = append(out.Routes, x)
	}
	drills, err := l.Drills("")
	if err != nil {
		return err
	}
	out.Points = volumes.Summary(points, drills, time.Now())
	out.Migrations, err = volumes.Migrations(l)
	return err
}

// end is region:container/prefix in the exact bytes of the names.
func end(p store.Place, prefix string) string {
	at := p.Region + ":" + p.Container
	if prefix != "" {
		at += "/" + prefix
	}
	return at
}

func showHolder(c *console, st control.Status) {
	c.warn("ledger %s", st.Ledger)
	c.warn("  in use by process %d since %s (%s): %s", st.PID, timeOf(st.Began), seconds(time.Since(st.Began).Round(time.Second)), st.Command)
	if st.Stopping {
		c.warn("  it was asked to stop and is finishing")
	}
	if st.Unwritable != "" {
		c.warn("  NOTHING CAN BE WRITTEN: %s", st.Unwritable)
	}
	if line := refusedLine(st); line != "" {
		c.warn("  %s", line)
	}
	c.warn("  limit of all bytes sent: %s", policies.Rate(st.TotalLimit))
	for _, l := range st.Limits {
		c.warn("  %s", limitLine(l))
	}
	for _, x := range st.Commands {
		c.warn("  %s", commandLineOf(x))
	}
	showTasks(c, st.Tasks)
	showLag(c, st.Lag)
	c.warn("  %s", phaseLine(st.Snapshot))
	for _, r := range st.Snapshot.Regions {
		c.warn("  %s: %s", r.Region, regionLine(r, 0, st.Snapshot.Final))
	}
}

// refusedLine says that the policy file as it is now is not what is worked by; empty: it is.
func refusedLine(st control.Status) string {
	if st.Reading == nil || st.Reading.Refused.IsZero() {
		return ""
	}
	return fmt.Sprintf("THE POLICY FILE WAS REFUSED at %s, that of %s stays in force: %s", timeOf(st.Reading.Refused), timeOf(st.Reading.Taken), transport.PrintName(st.Reading.Cause))
}

func showStanding(c *console, s statusResult) {
	for _, p := range s.Passes {
		at := "the volumes of " + p.Region
		if p.Container != "" {
			at = replicator.Side{Region: p.Region, Container: p.Container, Prefix: p.Prefix}.String()
		}
		if p.Ended == nil && s.Holder != nil {
			continue // it is under way, or is gone on with
		}
		if p.Ended == nil {
			c.warn("  %s: the pass over %s of %s was interrupted; the next one goes on with it", transport.PrintName(p.Policy), at, timeOf(p.Began))
			continue
		}
		c.warn("  %s: last pass over %s at %s, it took %s", transport.PrintName(p.Policy), at, timeOf(p.Began), seconds(p.Ended.Sub(p.Began)))
	}
	for _, r := range s.Routes {
		if r.backups {
			continue
		}
		more := ""
		if !r.FirstPass {
			more = " (the first pass is not complete)"
		}
		of := count(r.Confirmed, "object")
		if r.Objects != nil && *r.Objects >= r.Confirmed { // less: the source has some of them no more
			of = humanize.Comma(r.Confirmed) + " of " + count(*r.Objects, "object")
		}
		c.warn("  %s → %s: %s confirmed%s", transport.PrintName(r.From), transport.PrintName(r.To), of, more)
	}
	for _, p := range s.Policies {
		showReplicas(c, p)
	}
	for _, p := range s.Points {
		showPointSummary(c, p)
	}
	for _, m := range s.Migrations {
		showMigrationStanding(c, m)
	}
	if len(s.Passes)+len(s.Points)+len(s.Migrations) == 0 && s.Holder == nil {
		c.warn("  no pass was made yet")
	}
}

// showReplicas prints which of a policy's objects have too few copies.
func showReplicas(c *console, p policyStanding) {
	r := p.Replicas
	c.warn("  %s: %s", transport.PrintName(p.Policy), replicas(r))
	for _, region := range sortedNames(r.Lacking) {
		x := r.Lacking[region]
		c.warn("    %s lacks %s, the first since %s", region, count(x.Objects, "object"), timeOf(x.Since))
	}
	for _, x := range r.Oldest {
		c.warn("    %s since %s: not in %s", transport.PrintName(x.Container+"/"+x.Name), timeOf(x.Since), strings.Join(x.Lacks, ", "))
	}
}

// showMigrationStanding prints how far a migration is.
func showMigrationStanding(c *console, m report.Migration) {
	how := "not at its end; the same command goes on with it"
	switch {
	case m.State == "waiting":
		how = "only the final pass is left: " + m.WaitingOn
	case m.Restore != nil && !m.Ended.IsZero():
		how = "moved to volume " + m.Restore.Volume + " at " + timeOf(m.Ended)
		if m.Retired {
			how += ", the source volume was removed"
		}
	}
	c.warn("  migration of %s from %s to %s: %s, %s", transport.PrintName(cmp.Or(m.Name, m.Volume)), m.From, m.To, count(int64(len(m.Passes)), "pass"), how)
}

// showPointSummary prints how a policy's restore points stand.
func showPointSummary(c *console, p report.PointSummary) {
	line := fmt.Sprintf("%s: %s of %s of %s", transport.PrintName(p.Policy), count(int64(p.Points), "point"), count(int64(p.Volumes), "volume"), p.Region)
	if !p.Newest.IsZero() {
		line += ", the newest " + age(p.Age) + " old"
	}
	c.warn("  %s", line)
	for _, r := range p.Regions {
		line := fmt.Sprintf("%s: %s can be restored", r.Region, count(int64(r.Restorable), "point"))
		if r.Restorable > 0 {
			line += ", the newest " + age(r.Age) + " old"
		}
		if more := joined([]string{"not imported", "on the way", "lost"}, []int64{int64(r.NotImported), int64(r.Shipping), int64(r.Lost)}, 0); more != "" {
			line += "; " + more
		}
		c.warn("    %s", line)
	}
	proof, drill := "never", "never"
	if x := p.Proof; x != nil {
		proof = fmt.Sprintf("%s, %s in %s: equal", timeOf(x.At), transport.PrintName(cmp.Or(x.VolumeName, x.Point)), x.Region)
		if !x.OK {
			proof = strings.TrimSuffix(proof, "equal") + "NOT EQUAL"
		}
	}
	if x := p.Drill; x != nil {
		drill = timeOf(x.Began) + ", " + verdict(x.OK)
	}
	c.warn("    last proof: %s; last drill: %s", proof, drill)
}

// age is how old something is, for people.
func age(s float64) string {
	return seconds(time.Duration(s * float64(time.Second)).Round(time.Second))
}

func newLimit(c *console) *cobra.Command {
	var o selectOptions
	var l control.Limit
	cmd := &cobra.Command{
		Use:   "limit RATE|off|policy",
		Short: "Change a limit of bytes sent, while passes run",
		Long: `Change the limit of all bytes sent, of whoever holds the ledger, at once and until it ends.
RATE replaces the policy file's total and its timetable; off lifts them; policy goes back to them.
With --of it is the limit of one policy, with --pair that of what goes from one region to another,
of farshore run; farshore status shows what was changed.`,
		Example: `  farshore limit 20MiB/s
  farshore limit 5MiB/s --of assets
  farshore limit off --pair 'paris->lyon'
  farshore limit policy --ledger /var/lib/farshore/ledger.db`,
		Args: cobra.ExactArgs(1), ValidArgs: []string{"off", "policy"},
	}
	o.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&l.Policy, "of", "", "only what is sent for this policy")
	cmd.Flags().StringVar(&l.Pair, "pair", "", "only what goes from one region to another, such as 'paris->lyon'")
	cmd.MarkFlagsMutuallyExclusive("of", "pair")
	c.completes(cmd, "of", completePolicies(&o))
	c.completes(cmd, "pair", completeNothing)
	cmd.RunE = c.do(func(ctx context.Context, args []string) error { return runLimit(ctx, &o, l, args[0], c) })
	return cmd
}

func runLimit(ctx context.Context, o *selectOptions, l control.Limit, text string, c *console) error {
	rate := int64(-1)
	if text != "policy" {
		r, err := policies.ParseRate(text)
		if err != nil {
			return usagef("such as 50MiB/s, off or policy", "%v", err)
		}
		rate = int64(r)
	}
	return ask(ctx, o, c, func(ctx context.Context, cl *control.Client) (control.Status, error) {
		if l.Policy+l.Pair != "" {
			l.Rate = rate
			return cl.SetLimit(ctx, l)
		}
		return cl.SetTotalLimit(ctx, rate)
	},
		func(st control.Status) {
			if l.Policy+l.Pair != "" {
				for _, x := range st.Limits {
					if x.Policy == l.Policy && x.Pair == l.Pair {
						c.say("process %d: %s", st.PID, limitLine(x))
						return
					}
				}
				c.say("process %d: as the policy file says", st.PID)
				return
			}
			c.say("process %d now sends at most %s", st.PID, policies.Rate(st.TotalLimit))
		})
}

func newStop(c *console) *cobra.Command {
	var o selectOptions
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End a pass that is running, as SIGTERM does",
		Long: `Ask whoever holds the ledger to end: transfers are cut off, what is confirmed is written
down, and the same command goes on from there later. It does not wait for the end.`,
		Example: `  farshore stop --ledger /var/lib/farshore/ledger.db`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, _ []string) error {
		return ask(ctx, &o, c, func(ctx context.Context, cl *control.Client) (control.Status, error) { return cl.Stop(ctx) },
			func(st control.Status) { c.say("process %d (%s) is ending", st.PID, st.Command) })
	})
	return cmd
}

// ask has the holder of a ledger do something.
func ask(ctx context.Context, o *selectOptions, c *console, do func(context.Context, *control.Client) (control.Status, error), show func(control.Status)) error {
	path, err := o.findLedger()
	if err != nil {
		return err
	}
	st, err := do(ctx, control.NewClient(path))
	if errors.Is(err, control.ErrNobody) {
		return &hintError{op: "ask the holder of", item: path, err: errors.New("nobody is working on this ledger"), hint: "name the ledger with --ledger, or the policy file with -f: farshore ledger path"}
	}
	if no := (*control.Refusal)(nil); errors.As(err, &no) && no.Usage {
		return &usageError{msg: no.Msg, hint: no.Hint}
	}
	if err != nil {
		return unasked(path, err)
	}
	c.result = statusResult{Ledger: path, Holder: &st, Passes: []passStatus{}, Routes: []routeStatus{}, Points: []report.PointSummary{}}
	show(st)
	return nil
}
