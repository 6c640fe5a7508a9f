package fakecloud

import (
	"fmt"
	"slices"
	"time"
)

// BlockPace says how long Cinder's work takes by the cloud's clock. The zero
// value does all of it before the request that began it is answered (the answer
// shows it as it began). Otherwise what is due is done when the region is next
// asked for anything, its Swift included: with an injected clock, nothing happens
// but what the test lets happen.
type BlockPace struct {
	// Step is how long creates, deletes, extends and imports take, and how long a
	// backup or restore takes before its first byte and after its last.
	Step time.Duration
	// Window is how long a backup takes over what it reads at a time (ObjectSize),
	// and a restore over each object.
	Window time.Duration
}

// The kinds of work, as BlockStep and BlockFault name them.
const (
	JobCreateVolume   = "create-volume"
	JobExtendVolume   = "extend-volume"
	JobDeleteVolume   = "delete-volume"
	JobCreateSnapshot = "create-snapshot"
	JobDeleteSnapshot = "delete-snapshot"
	JobBackup         = "backup"
	JobRestore        = "restore"
	JobDeleteBackup   = "delete-backup"
	JobImport         = "import"
)

// BlockStep is a step of work that was just done.
type BlockStep struct {
	Kind string // JobBackup …
	ID   string // of the volume, snapshot or backup
	Step int    // from 0
	Done bool   // it was the last one
}

// BlockFault befalls work, where a Fault befalls requests.
type BlockFault struct {
	Name string
	Kind string // JobBackup …; "" is any
	ID   string // of the volume, snapshot or backup; "" is any
	Step int    // the step that it happens before; 0 is the first
	// Skip lets that many fitting jobs pass first; Times then strikes that many (0: all).
	Skip, Times int
	// Fail ends the work with that reason: error, error_restoring or error_deleting.
	// Without it the work is stuck as it stands, until ReleaseBlock or an admin.
	Fail string
	// Delay keeps the step back that long instead; the work goes on then.
	Delay time.Duration
	// Hook is called instead of anything else, without a lock held; the work goes on.
	Hook func() `json:"-"`
}

type armedBlock struct {
	BlockFault
	id, seen, struck int
	removed          bool
}

// job is work in steps. run does one and says whether it was the last; a reason
// ends it as a failure, for which abort sets the states.
type job struct {
	kind, id string
	step     int
	seq      int
	every    time.Duration // between two steps
	due      time.Time
	busy     bool // its hook is running
	stuck    bool
	passed   int // the step whose faults have had their turn, plus one
	run      func(*job) (last bool, reason string)
	abort    func(reason string)
}

// begin queues work; its first step is due after delay. c.mu is held.
func (c *cinder) begin(kind, id string, delay time.Duration, run func(*job) (bool, string), abort func(string)) {
	c.jobSeq++
	j := &job{kind: kind, id: id, seq: c.jobSeq, every: delay, due: c.rg.cloud.opts.Clock().Add(delay), run: run, abort: abort}
	c.jobs = append(c.jobs, j)
	c.due.Add(1)
}

// end takes a job off the list. c.mu is held.
func (c *cinder) end(j *job) {
	if i := slices.Index(c.jobs, j); i >= 0 {
		c.jobs = slices.Delete(c.jobs, i, i+1)
		if !j.stuck {
			c.due.Add(-1)
		}
	}
}

// settle does what is due by the clock. It is called before every request is
// handled, and by the one that began the work once its answer is rendered.
func (c *cinder) settle() {
	for c.due.Load() > 0 {
		c.mu.Lock()
		j := c.nextDue()
		if j == nil {
			c.mu.Unlock()
			return
		}
		hook, step := c.advance(j)
		j.busy = hook != nil
		c.mu.Unlock()
		if hook == nil {
			continue
		}
		hook(step)
		c.mu.Lock()
		j.busy = false
		c.mu.Unlock()
	}
}

func (r *Region) settleBlock() {
	if r.block != nil {
		r.block.settle()
	}
}

func (c *cinder) nextDue() *job {
	var best *job
	now := c.rg.cloud.opts.Clock()
	for _, j := range c.jobs {
		if j.busy || j.stuck || j.due.After(now) {
			continue
		}
		if best == nil || j.due.Before(best.due) || j.due.Equal(best.due) && j.seq < best.seq {
			best = j
		}
	}
	return best
}

// advance does the next step of j, or what a fault has instead. It gives what
// has to be called without the lock.
func (c *cinder) advance(j *job) (func(BlockStep), BlockStep) {
	step := BlockStep{Kind: j.kind, ID: j.id, Step: j.step}
	if f := c.strikeJob(j); f != nil {
		switch {
		case f.Hook != nil:
			return func(BlockStep) { f.Hook() }, step
		case f.Delay > 0:
			j.due = j.due.Add(f.Delay)
			return nil, step
		case f.Fail == "":
			j.stuck = true
			c.due.Add(-1)
			return nil, step
		}
		c.end(j)
		j.abort(f.Fail)
		step.Done = true
		return c.watcher(), step
	}
	last, reason := j.run(j)
	j.step++
	j.due = j.due.Add(j.every)
	if reason != "" {
		c.end(j)
		j.abort(reason)
	} else if last {
		c.end(j)
	}
	step.Done = last || reason != ""
	return c.watcher(), step
}

func (c *cinder) watcher() func(BlockStep) {
	if f := c.hook.Load(); f != nil {
		return *f
	}
	return nil
}

// strikeJob gives the fault that befalls j before its next step, each fault once.
func (c *cinder) strikeJob(j *job) *BlockFault {
	if j.passed > j.step {
		return nil
	}
	j.passed = j.step + 1
	for _, f := range c.faults {
		if f.removed || f.Kind != "" && f.Kind != j.kind || f.ID != "" && f.ID != j.id || f.Step != j.step {
			continue
		}
		f.seen++
		if f.seen <= f.Skip || f.Times > 0 && f.struck >= f.Times {
			continue
		}
		f.struck++
		return &f.BlockFault
	}
	return nil
}

// AddBlockFault puts a fault of Cinder's work in force and returns its id.
func (r *Region) AddBlockFault(f BlockFault) int {
	c := r.block
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faultSeq++
	c.faults = append(c.faults, &armedBlock{BlockFault: f, id: c.faultSeq})
	return c.faultSeq
}

// BlockFaultCount is how many jobs the fault has struck.
func (r *Region) BlockFaultCount(id int) int {
	c := r.block
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		if f.id == id {
			return f.struck
		}
	}
	return 0
}

// ClearBlockFaults forgets all faults of Cinder's work; what is stuck stays so.
func (r *Region) ClearBlockFaults() {
	r.block.mu.Lock()
	defer r.block.mu.Unlock()
	r.block.faults = nil
}

// unusedBlockFaults names the faults that struck less than they should.
func (c *cinder) unusedFaults() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, f := range c.faults {
		if f.struck == 0 || f.struck < f.Times {
			out = append(out, fmt.Sprintf("%q (%s, step %d) struck %d, matched %d, wanted %d", f.Name, f.Kind, f.Step, f.struck, f.seen, max(1, f.Times)))
		}
	}
	return out
}

// ReleaseBlock lets stuck work go on.
func (r *Region) ReleaseBlock() {
	c := r.block
	c.mu.Lock()
	for _, j := range c.jobs {
		if j.stuck {
			j.stuck = false
			j.due = c.rg.cloud.opts.Clock()
			c.due.Add(1)
		}
	}
	c.mu.Unlock()
	c.settle()
}

// OnBlockStep calls f after each step of work, without a lock held; nil ends
// that. While f runs, that work stands still.
func (r *Region) OnBlockStep(f func(BlockStep)) {
	if f == nil {
		r.block.hook.Store(nil)
		return
	}
	r.block.hook.Store(&f)
}

// SetBlockPace changes how long work takes that begins from now on.
func (r *Region) SetBlockPace(p BlockPace) {
	r.block.mu.Lock()
	defer r.block.mu.Unlock()
	r.block.pace = p
}

// SetPlacement changes where backups go from now on.
func (r *Region) SetPlacement(p BlockPlacement) {
	r.block.mu.Lock()
	defer r.block.mu.Unlock()
	r.block.placement = p
}

// SetBlockRule lets those with role (member, reader, admin, or one of your own)
// do what a rule of Cinder's policy guards, such as backup:backup-import; ""
// brings the default back. Admins may do everything.
func (r *Region) SetBlockRule(rule, role string) {
	r.block.mu.Lock()
	defer r.block.mu.Unlock()
	if role == "" {
		delete(r.block.rules, rule)
		return
	}
	r.block.rules[rule] = role
}

// RestartBlock is what a restart of cinder-volume and cinder-backup does to work
// under way: backups end in error with their snapshot still backing-up, restores
// in error_restoring, creates in error, and deletes are done (manager.init_host).
func (r *Region) RestartBlock() {
	c := r.block
	c.mu.Lock()
	jobs := slices.Clone(c.jobs)
	for _, j := range jobs {
		if j.kind == JobDeleteVolume || j.kind == JobDeleteSnapshot || j.kind == JobDeleteBackup {
			j.due, j.passed = time.Time{}, j.step+1
			if j.stuck {
				j.stuck = false
				c.due.Add(1)
			}
			continue
		}
		b := c.backups[j.id]
		if j.kind == JobBackup && j.step == 0 {
			continue // still in the queue, which survives
		}
		c.end(j)
		j.abort("incomplete backup reset on manager restart")
		if j.kind == JobBackup && c.snapshots[b.snapshot] != nil {
			// Cinder thinks of the volume only: it takes an admin to free the snapshot.
			c.snapshots[b.snapshot].status = stBackingUp
		}
	}
	c.mu.Unlock()
	c.settle()
}
