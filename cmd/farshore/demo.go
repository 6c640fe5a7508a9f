package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vbauerster/mpb/v8/cwriter"

	"farshore/replicator/report"
)

type demoOptions struct {
	Serve   bool
	Keep    bool
	Objects int
}

// AddFlags adds them.
func (o *demoOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Serve, "serve", false, "start the regions, say how to use them, and keep them up until Ctrl-C")
	f.BoolVar(&o.Keep, "keep", false, "leave the folder with the ledger and the policy file behind")
	f.IntVar(&o.Objects, "objects", 3000, "how many objects the source has")
	// A screenful is told for 3,000; fewer are for a machine that is in a hurry.
	_ = f.MarkHidden("objects")
}

func newDemo(c *console) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replicate, break, repair and restore three emulated regions, in front of your eyes",
		Long: `Start three OpenStack regions that are emulated in this process, paris, lyon and berlin, and
run farshore itself on them: copy a container of 3,000 objects, kill the copy half-way, go on
with it, damage replicas, find and repair that, lose a region and have it back; ship a volume's
snapshots, restore one and prove it. What the commands print is shown as it comes; what the regions were asked and what they hold is counted
by the regions. It ends with an error if anything is not as told. Nothing outside a temporary
folder and this machine's loopback is touched.

With --serve the regions stay up until Ctrl-C, for commands of your own: farshore's, and those
of any other client of OpenStack's object storage.`,
		Example: `  farshore demo
  farshore demo --serve        # then, in another terminal, what it says`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.AddFlags(cmd.Flags())
	cmd.RunE = c.do(func(ctx context.Context, _ []string) error { return runDemo(ctx, &o, c) })
	return cmd
}

// demoResult is the result of demo in JSON.
type demoResult struct {
	Regions []string   `json:"regions"`
	Objects int64      `json:"objects"`          // of the source at the beginning
	Bytes   int64      `json:"bytes"`            //
	Folder  string     `json:"folder,omitempty"` // with --keep and --serve
	Clouds  string     `json:"clouds,omitempty"` // with --serve
	Seconds float64    `json:"seconds"`
	Steps   []demoStep `json:"steps"`
}

// demoStep is one chapter of the story.
type demoStep struct {
	Step     string           `json:"step"`
	Commands []demoCommand    `json:"commands"`
	Facts    map[string]int64 `json:"facts"` // counted in the regions, not by the program
}

type demoCommand struct {
	Command string   `json:"command"`
	Exit    int      `json:"exit"` // -1: killed
	Seconds float64  `json:"seconds"`
	Output  []string `json:"output"` // the lines of it that text shows
}

// demoWidth is the widest line that is shown.
const demoWidth = 100

// demo is a story being told.
type demo struct {
	*demoWorld
	c      *console
	styled bool
	out    *demoResult
}

func runDemo(ctx context.Context, o *demoOptions, c *console) (err error) {
	began := time.Now()
	if o.Objects < demoFewest {
		return usagef("", "--objects is at least %d, not %d", demoFewest, o.Objects)
	}
	// Three regions' worth of objects is all live; twice that is more than a laptop may have.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	w, err := startDemo(o.Objects, o.Keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	d := &demo{demoWorld: w, c: c, styled: styled(c)}
	d.out = &demoResult{Regions: w.names(), Objects: w.objects, Bytes: w.bytes, Steps: []demoStep{}}
	if o.Keep || o.Serve {
		d.out.Folder = w.dir
	}
	if o.Serve {
		return d.serve(ctx)
	}
	c.result = d.out
	d.introduce()
	for _, s := range d.chapters() {
		d.begin(s.step, s.title)
		if err := s.tell(ctx); err != nil {
			if stop := stopOf(ctx); stop != nil {
				return stop
			}
			return &hintError{op: "demo", item: s.step, err: err,
				hint: "run it again with --keep: the ledger and the policy file stay in the folder; and report what it said"}
		}
	}
	d.out.Seconds = time.Since(began).Seconds()
	d.c.say("Everything was as told. It took %s. Next: farshore demo --serve, or README.md.", seconds(time.Since(began)))
	if o.Keep {
		d.c.say("The ledger and the policy file are in %s.", w.dir)
	}
	return nil
}

// styled reports whether stdout takes bold type.
func styled(c *console) bool {
	f, ok := c.stdout.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && cwriter.IsTerminal(int(f.Fd()))
}

func (d *demo) begin(step, title string) {
	d.out.Steps = append(d.out.Steps, demoStep{Step: step, Commands: []demoCommand{}, Facts: map[string]int64{}})
	line := fmt.Sprintf("%d. %s", len(d.out.Steps), title)
	if d.styled {
		line = "\x1b[1m" + line + "\x1b[0m"
	}
	d.styledLine(line)
}

// styledLine prints a line that may have type faces in it.
func (d *demo) styledLine(line string) {
	if !d.c.json && !d.c.quiet {
		d.c.line(line)
	}
}

func (d *demo) step() *demoStep { return &d.out.Steps[len(d.out.Steps)-1] }

// fact notes a number of this step and gives it back.
func (d *demo) fact(name string, n int64) int64 {
	d.step().Facts[name] = n
	return n
}

// narrate says what the demo itself did or counted, as against what a command printed.
func (d *demo) narrate(format string, args ...any) {
	d.c.say("   %s", report.Shorten(fmt.Sprintf(format, args...), demoWidth-3))
}

// show runs a command, which must end with the code, and shows the first line of its
// output that matches each pattern; each must match one.
func (d *demo) show(ctx context.Context, code int, line string, patterns ...string) error {
	run, err := d.run(ctx, strings.Fields(line)...)
	if err != nil {
		return err
	}
	return d.showRun(run, code, line, patterns...)
}

func (d *demo) showRun(run demoRun, code int, line string, patterns ...string) error {
	cmd := demoCommand{Command: "farshore " + line, Exit: run.exit, Seconds: run.took.Seconds(), Output: []string{}}
	var missing []string
	for _, p := range patterns {
		if l, ok := firstLine(run.stdout, regexp.MustCompile(p)); ok {
			cmd.Output = append(cmd.Output, l)
		} else {
			missing = append(missing, p)
		}
	}
	d.step().Commands = append(d.step().Commands, cmd)
	prompt := "   $ " + cmd.Command
	if d.styled {
		prompt = "   $ \x1b[36m" + cmd.Command + "\x1b[0m"
	}
	if code > 0 {
		prompt += fmt.Sprintf("   (exit %d)", run.exit)
	}
	d.styledLine(prompt)
	for _, l := range cmd.Output {
		d.c.say("     %s", report.Shorten(l, demoWidth-5))
	}
	if run.exit != code || len(missing) > 0 {
		err := fmt.Errorf("farshore %s ended with %d instead of %d", line, run.exit, code)
		if run.exit == code {
			err = fmt.Errorf("farshore %s did not say %q", line, missing)
		}
		return fmt.Errorf("%w; it said:\n%s%s", err, run.stdout, run.stderr)
	}
	return nil
}

func firstLine(text string, match *regexp.Regexp) (string, bool) {
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); match.MatchString(l) {
			return l, true
		}
	}
	return "", false
}

func comma(n int64) string { return humanize.Comma(n) }
