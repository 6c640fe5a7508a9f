package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"farshore/policies"
	"farshore/replicator"
	"farshore/replicator/control"
	"farshore/transport"
	"farshore/transport/wire"
)

// selectOptions are the flags of every command that works on policies.
type selectOptions struct {
	PolicyFile string
	Ledger     string

	use     *fileUse       // nil: made without a command line
	flags   *pflag.FlagSet // nil: made without a command line
	volumes bool           // where no policy is named, those of volumes are meant, too
}

// AddFlags adds them.
func (o *selectOptions) AddFlags(f *pflag.FlagSet) {
	o.addFile(f)
	o.addLedger(f)
}

func (o *selectOptions) addFile(f *pflag.FlagSet) {
	o.use = &fileUse{}
	f.VarP(&policyFlag{o: o, use: o.use}, "policy-file", "f", "the policy file (default: ./farshore.yaml, ~/.config/farshore/farshore.yaml, /etc/farshore/farshore.yaml)")
}

// fileUse is what became of a command's policy file.
type fileUse struct {
	read *control.PolicyFile // as it was read at last

	passed bool // the command was passed on, with the file given
	given  *policies.File
}

// policyFlag is --policy-file.
type policyFlag struct {
	o   *selectOptions
	use *fileUse
}

// Set implements pflag.Value.
func (p *policyFlag) Set(s string) error {
	p.o.PolicyFile = s
	return nil
}

// String implements pflag.Value.
func (p *policyFlag) String() string {
	if p.o == nil { // pflag makes one of its own to learn the zero value
		return ""
	}
	return p.o.PolicyFile
}

// Type implements pflag.Value.
func (p *policyFlag) Type() string { return "string" }

// load reads the policy file: the one named, or the first that there is.
func (o *selectOptions) load() (*policies.File, error) {
	if o.use == nil || !o.use.passed {
		f, text, err := loadPolicies(o.PolicyFile)
		if err == nil && o.use != nil {
			o.use.read = &control.PolicyFile{Name: f.Name, Text: text}
		}
		return f, err
	}
	if o.use.given == nil {
		return nil, noPolicies(o.PolicyFile)
	}
	return o.use.given, nil
}

// hasFile reports whether a policy file is named or there is one.
func (o *selectOptions) hasFile() bool {
	if o.use != nil && o.use.passed {
		return o.use.given != nil
	}
	return o.PolicyFile != "" || slices.ContainsFunc(policyPlaces(), exists)
}

func (o *selectOptions) addLedger(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.Ledger, "ledger", "", "the ledger (default: what the policy file says, else "+defaultLedgerText+")")
}

// check refuses flags without a value: a variable that is empty in a script must not
// lead to another ledger.
func (o *selectOptions) check() error {
	for _, x := range [][2]string{{"policy-file", o.PolicyFile}, {"ledger", o.Ledger}} {
		if x[1] == "" && o.flags != nil && o.flags.Changed(x[0]) {
			return usagef("leave it out for the default", "--%s names no file", x[0])
		}
	}
	return nil
}

// limitOptions are the flags of commands that send bytes.
type limitOptions struct {
	Limit   string
	Streams int
	Stall   time.Duration

	flags *pflag.FlagSet
}

// maxStreams is the policy file's bound too.
const maxStreams = 1024

// AddFlags adds them.
func (o *limitOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.Limit, "limit", "", "send at most so much in all, such as 50MiB/s or 400Mbit/s; windows of the timetable may be slower still")
	f.DurationVar(&o.Stall, "stall", wire.DefaultIdle, "cut a connection whose peer is silent for so long, and try again")
	f.IntVar(&o.Streams, "streams", 0, fmt.Sprintf("objects, or chunks of large ones, sent at once (default: what the policy file says, else %d)", policies.DefaultStreams))
}

// apply puts them over the policy file's.
func (o *limitOptions) apply(r *reach) error {
	l := &r.limits
	if o.Stall < time.Second {
		return usagef("", "--stall is at least 1s, not %s", o.Stall)
	}
	r.stall = o.Stall
	if o.Limit != "" {
		rate, err := policies.ParseRate(o.Limit)
		if err != nil {
			return usagef("", "--limit: %v", err)
		}
		l.Total = rate
	}
	if o.Streams < 0 || o.Streams > maxStreams || o.Streams == 0 && o.flags != nil && o.flags.Changed("streams") {
		return usagef("leave it out for the default", "--streams is from 1 to %d, not %d", maxStreams, o.Streams)
	}
	if o.Streams > 0 {
		l.Streams = o.Streams
	}
	return nil
}

// adHocOptions are what a policy file says otherwise.
type adHocOptions struct {
	Delete   bool
	Large    string
	Takeover bool
	Replicas int
}

// AddFlags adds them.
func (o *adHocOptions) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.Delete, "delete", false, "ad hoc: delete at once at the destination what the source no longer has; the brake stands at 50 %")
	f.StringVar(&o.Large, "large", "", "ad hoc: how objects over 64 MiB stand at the destination: exact (one plain object, the default) or segmented (a static large object)")
	f.BoolVar(&o.Takeover, "takeover", false, "ad hoc: overwrite what stands at the destination and is not ours")
	f.IntVar(&o.Replicas, "replicas", 0, "ad hoc: how many destinations must hold a confirmed copy (default: all)")
}

func (o *adHocOptions) used() string {
	for name, used := range map[string]bool{"--delete": o.Delete, "--large": o.Large != "", "--takeover": o.Takeover, "--replicas": o.Replicas != 0} {
		if used {
			return name
		}
	}
	return ""
}

// work is what a command was asked to do.
type work struct {
	reach
	tasks []task
	// withoutSource says that the work goes on where a source refuses the login.
	withoutSource bool
	text          string // of the policy file; only where others are let work by it
}

// spare reports whether every task that copies to a region has another destination
// that could be logged in to, and none copies from it, or needs to.
func (w *work) spare(name string, names []string, failed []error) bool {
	bad := map[string]bool{}
	for i, n := range names {
		bad[n] = failed[i] != nil
	}
	for _, t := range w.tasks {
		if t.policy.From == name && !w.withoutSource {
			return false
		}
		others := slices.ContainsFunc(t.policy.To, func(to string) bool { return !bad[to] })
		if (t.policy.From == name || slices.Contains(t.policy.To, name)) && !others {
			return false
		}
	}
	return true
}

// task is one policy; jobs are given for an ad hoc one, and found by the engine otherwise.
type task struct {
	policy policies.Policy
	jobs   []replicator.Job
}

// choose reads the command line's POLICY… or CLOUD:CONTAINER… arguments.
func choose(args []string, s selectOptions, a adHocOptions) (*work, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	sides := 0
	for _, arg := range args {
		if strings.Contains(arg, ":") {
			sides++
		}
	}
	switch {
	case sides == 0:
		return choosePolicies(args, s, a)
	case sides < len(args):
		return nil, usagef("give either names of policies or CLOUD:CONTAINER for each end", "policies and places are mixed: %s", transport.PrintName(strings.Join(args, " ")))
	case len(args) < 2:
		return nil, usagef("add where it goes, such as "+strings.Replace(args[0], strings.SplitN(args[0], ":", 2)[0], "OTHERCLOUD", 1), "%s has no destination", args[0])
	}
	return chooseAdHoc(args, s, a)
}

// given is the first of some flags that the command line has; "": it has none.
func given(f *pflag.FlagSet, names []string) string {
	if i := slices.IndexFunc(names, f.Changed); i >= 0 {
		return names[i]
	}
	return ""
}

// addNames adds the names of the policies that want chooses to others that are known, if
// there is a policy file.
func (o *selectOptions) addNames(known map[string]bool, want func(policies.Policy) bool) {
	if f, err := o.load(); err == nil {
		for _, p := range f.Policies {
			if want(p) {
				known[p.Name] = true
			}
		}
	}
}

// policiesNamed gives the policies of a file that are named, all if none is, in its order.
func policiesNamed(f *policies.File, names []string) (out []policies.Policy, err error) {
	known := policyNames(f)
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, usagef("it has: "+strings.Join(known, ", "), "no policy %q in %s", n, f.Name)
		}
	}
	for _, p := range f.Policies {
		if len(names) == 0 || slices.Contains(names, p.Name) {
			out = append(out, p)
		}
	}
	return out, nil
}

func choosePolicies(names []string, s selectOptions, a adHocOptions) (*work, error) {
	if flag := a.used(); flag != "" {
		return nil, usagef("set it in the policy file", "%s is for ad hoc passes: a policy says it by itself", flag)
	}
	f, err := s.load()
	if err != nil {
		return nil, err
	}
	w := &work{reach: reach{ledger: ledgerPath(s.Ledger, f), file: f, regions: map[string]policies.Region{}, limits: f.Limits}}
	named, err := policiesNamed(f, names)
	if err != nil {
		return nil, err
	}
	for _, p := range named {
		if len(names) > 0 || p.Volumes == nil || s.volumes {
			w.tasks = append(w.tasks, task{policy: p})
		}
	}
	if len(w.tasks) == 0 {
		return nil, usagef("add one under policies:, or copy ad hoc: farshore sync CLOUD:CONTAINER CLOUD:CONTAINER", "no policy %sin %s", map[bool]string{false: "about containers "}[s.volumes], f.Name)
	}
	for _, t := range w.tasks {
		for _, r := range append([]string{t.policy.From}, t.policy.To...) {
			w.regions[r] = f.Regions[r]
		}
	}
	return w, nil
}

// policyNames are the names of a file's policies, as they stand there.
func policyNames(f *policies.File) []string {
	names := make([]string, len(f.Policies))
	for i, p := range f.Policies {
		names[i] = p.Name
	}
	return names
}

// chooseAdHoc makes a policy of its own for a command line. With a policy file named,
// regions are looked up there first, and its ledger and limits are used.
func chooseAdHoc(args []string, s selectOptions, a adHocOptions) (*work, error) {
	w := &work{reach: reach{regions: map[string]policies.Region{}}}
	var f *policies.File
	if s.PolicyFile != "" {
		var err error
		if f, err = s.load(); err != nil {
			return nil, err
		}
		w.limits = f.Limits
	}
	w.ledger = ledgerPath(s.Ledger, f)
	var sides []replicator.Side
	var to []string
	for i, arg := range args {
		side, err := parseSide(arg)
		if err != nil {
			return nil, err
		}
		if f != nil && f.Regions[side.Region].Name != "" {
			w.regions[side.Region] = f.Regions[side.Region]
		} else {
			w.regions[side.Region] = policies.Region{Name: side.Region, Cloud: side.Region}
		}
		if slices.Contains(sides, side) {
			return nil, usagef("", "%s is named twice", side)
		}
		sides = append(sides, side)
		if i > 0 && !slices.Contains(to, side.Region) {
			to = append(to, side.Region)
		}
	}
	p := policies.AdHoc(sides[0].Region, sides[0].Container, to, "", a.Delete)
	// An interrupted pass is found again by its policy's name.
	p.Name, p.Prefix, p.Takeover = "ad hoc "+strings.Join(args, " "), sides[0].Prefix, a.Takeover
	switch as := policies.LargeAs(cmp.Or(a.Large, string(policies.Exact))); as {
	case policies.Exact, policies.Segmented:
		p.Large.As = as
	default:
		return nil, usagef("", "--large is exact or segmented, not %q", a.Large)
	}
	if a.Replicas < 0 || a.Replicas > len(to) {
		return nil, usagef("", "--replicas is from 1 to %d, the number of destination regions, not %d", len(to), a.Replicas)
	}
	p.Replicas = cmp.Or(a.Replicas, p.Replicas)
	w.tasks = []task{{policy: p, jobs: []replicator.Job{{Policy: p, From: sides[0], To: sides[1:]}}}}
	return w, nil
}

// parseSide reads CLOUD:CONTAINER[/PREFIX]: cut at the first colon and the first slash
// behind it. A container's name cannot have a slash, and may have colons.
func parseSide(arg string) (replicator.Side, error) {
	cloud, rest, ok := strings.Cut(arg, ":")
	container, prefix, _ := strings.Cut(rest, "/")
	const hint = "write CLOUD:CONTAINER or CLOUD:CONTAINER/PREFIX, where CLOUD is an entry of clouds.yaml"
	switch {
	case !ok || cloud == "":
		return replicator.Side{}, usagef(hint, "%q names no cloud", arg)
	case container == "":
		return replicator.Side{}, usagef(hint, "%q names no container", arg)
	case strings.Contains(cloud, "/"):
		return replicator.Side{}, usagef(hint, "%q is no place", arg)
	case len(container) > 256:
		return replicator.Side{}, usagef("Swift's limit is 256 bytes", "the container's name in %.40q… has %d bytes", arg, len(container))
	case policies.Reserved(container) == "is Farshore's own":
		return replicator.Side{}, usagef("", "container %s is farshore's own and is not copied", transport.PrintName(container))
	}
	return replicator.Side{Region: cloud, Container: container, Prefix: prefix}, nil
}

// loadPolicies reads the file named, or the first that there is, and gives its text, too.
func loadPolicies(named string) (*policies.File, []byte, error) {
	places := []string{named}
	if named == "" {
		places = policyPlaces()
	}
	for _, p := range places {
		text, err := os.ReadFile(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, usagef("check its owner and mode", "read policy file: %v", err)
		}
		f, err := policies.Parse(p, text)
		return f, text, err
	}
	return nil, nil, noPolicies(named)
}

// noPolicies is the error of a file that is not there.
func noPolicies(named string) error {
	if named != "" {
		return usagef("name another with --policy-file (-f), or write it: docs/policy.md has every key", "no policy file %s", named)
	}
	return usagef("write one (docs/policy.md), name one with --policy-file, or copy ad hoc: farshore sync CLOUD:CONTAINER CLOUD:CONTAINER",
		"no policy file: looked for %s", strings.Join(policyPlaces(), ", "))
}

func policyPlaces() []string {
	return []string{"farshore.yaml", filepath.Join(userFolder("XDG_CONFIG_HOME", ".config"), "farshore", "farshore.yaml"), "/etc/farshore/farshore.yaml"}
}

// userFolder is a folder of the XDG base directory specification.
func userFolder(env, below string) string {
	if dir := os.Getenv(env); filepath.IsAbs(dir) {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	return filepath.Join(home, below)
}

const defaultLedgerText = "$XDG_STATE_HOME/farshore/ledger.db, ~/.local/state/farshore/ledger.db"

// ledgerPath is the flag, else what the policy file says (beside the file, if it is
// relative: a pass may be started from anywhere), else the user's own.
func ledgerPath(flag string, f *policies.File) string {
	switch {
	case flag != "":
		return flag
	case f != nil && f.Ledger != "" && filepath.IsAbs(f.Ledger):
		return f.Ledger
	case f != nil && f.Ledger != "":
		return filepath.Join(filepath.Dir(f.Name), f.Ledger)
	}
	return filepath.Join(userFolder("XDG_STATE_HOME", ".local/state"), "farshore", "ledger.db")
}

// findLedger is the ledger of a command that needs no policies: the flag, what a policy
// file says if there is one, the user's own.
func (o *selectOptions) findLedger() (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	if o.Ledger != "" {
		return o.Ledger, nil
	}
	if !o.hasFile() {
		return ledgerPath("", nil), nil
	}
	f, err := o.load()
	if err != nil {
		return "", err
	}
	return ledgerPath("", f), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
