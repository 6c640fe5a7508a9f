package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"farshore/policies"
	"farshore/replicator/report"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/swift"
)

// links are the regions a command works with.
type links struct {
	sinks map[string]transport.Sink // with the retry layer around them
	down  map[string]error          // regions that did not answer
	raw   map[string]*swift.Endpoint
	open  map[string]*region.Region
	gates []*transport.Link

	// Of commands that work with volumes; see openBlocks and openImports.
	blocks  map[string]transport.BlockStorage
	imports map[string]transport.BlockStorage
	extra   []*region.Region // logins of import clouds
	// importErrs is why regions' import clouds cannot be used, by region.
	importErrs map[string]error

	want    map[string]policies.Region
	stall   time.Duration
	observe transport.Observer
	log     *slog.Logger
}

// spareFunc tells whether the work can go on without a region whose login was
// refused, given the outcome of all logins.
type spareFunc func(name string, names []string, failed []error) bool

// none is the answer of commands that need every region.
func none(string, []string, []error) bool { return false }

// muteFor is how long a region must have answered nothing to count as down: one request
// that fails is tried again.
const muteFor = 30 * time.Second

// mute reports whether a region does not answer: it could not be logged in to, or its last
// requests were answered by nothing.
func (l *links) mute(name string) bool {
	if _, down := l.down[name]; down {
		return true
	}
	r := l.open[name]
	if r == nil {
		return false
	}
	since := r.Silent() // once: a reply may come meanwhile
	return !since.IsZero() && time.Since(since) >= muteFor
}

// connect logs in to the regions, all at once. A region that does not answer goes to
// down, so that the others go on (promise 8); a login that is refused or described
// wrongly is an error, for it will not pass by itself, unless spare says that the work
// has other destinations.
func connect(ctx context.Context, want map[string]policies.Region, stall time.Duration, spare spareFunc, p *report.Progress, log *slog.Logger) (*links, error) {
	l := &links{sinks: map[string]transport.Sink{}, down: map[string]error{}, raw: map[string]*swift.Endpoint{}, open: map[string]*region.Region{},
		blocks: map[string]transport.BlockStorage{}, imports: map[string]transport.BlockStorage{}, importErrs: map[string]error{}, want: want, stall: stall, log: log}
	observe := func(a transport.Attempt) {
		p.Region(a.Region).Retried()
		log.Info("trying again", "op", a.Op, "region", a.Region, "container", a.Container, "name", a.Name, "try", a.Try, "wait", a.Wait, "err", a.Err)
	}
	l.observe = observe
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	failed := make([]error, len(names))
	var mu sync.Mutex
	var g errgroup.Group
	for i, name := range names {
		g.Go(func() error {
			r, err := login(ctx, want[name], stall, observe, log)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case ctx.Err() != nil:
				failed[i] = context.Cause(ctx)
				return nil
			case transport.Is(err, transport.Transient), transport.Is(err, transport.Throttled):
				l.down[name] = err
				return nil
			default:
				failed[i] = err
				return nil
			}
			gate := transport.NewLink(transport.LinkOptions{Region: name})
			ep := swift.New(r.SwiftConnection(), swift.Options{Region: name, Project: r.Identity().Project})
			l.open[name], l.raw[name] = r, ep
			l.sinks[name] = transport.Retry(ep, gate, transport.RetryPolicy{Observer: observe, Refused: transport.RefusedPatience})
			l.gates = append(l.gates, gate)
			return nil
		})
	}
	_ = g.Wait() // every outcome is in failed, in a stable order
	for i, err := range failed {
		if transport.Is(err, transport.Denied) && ctx.Err() == nil && spare(names[i], names, failed) {
			l.down[names[i]], failed[i] = err, nil // the others go on without it; the pass reports it
		}
	}
	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		l.Close()
		return nil, failed[i]
	}
	return l, nil
}

func login(ctx context.Context, r policies.Region, stall time.Duration, observe transport.Observer, log *slog.Logger) (*region.Region, error) {
	began := time.Now()
	open, err := region.Open(ctx, region.Config{Name: r.Name, Cloud: r.Cloud, RegionName: r.RegionName, Interface: r.Interface,
		EndpointOverride: r.Endpoint, Idle: stall, UserAgent: "farshore/" + version, Observer: observe})
	if err != nil {
		log.Warn("no login", "region", r.Name, "err", err)
		return nil, err
	}
	log.Debug("logged in", "region", r.Name, "url", open.Identity().URL, "project", open.Identity().Project, "took", time.Since(began))
	return open, nil
}

// Close ends the logins.
func (l *links) Close() {
	for _, r := range l.open {
		r.Close()
	}
	for _, r := range l.extra {
		r.Close()
	}
}

// maxSkew is the difference of clocks from which it is a finding (R18).
const maxSkew = 2 * time.Second

// skew reports regions whose clock is off.
func (l *links) skew(policy string) []report.Finding {
	var out []report.Finding
	for name, r := range l.open {
		d, unsure, ok := r.ClockSkew()
		if !ok || d.Abs() <= maxSkew+unsure {
			continue
		}
		way := "ahead of"
		if d < 0 {
			way = "behind"
		}
		out = append(out, report.Finding{Kind: report.KindSkew, Level: report.Warn, Policy: policy, Region: name, Op: "compare clocks",
			Cause: fmt.Sprintf("the region's clock is %s %s this machine's", d.Abs().Round(100*time.Millisecond), way),
			Hint:  "set both by NTP: versions and lag are judged by these clocks"})
	}
	slices.SortFunc(out, func(a, b report.Finding) int {
		if a.Region < b.Region {
			return -1
		}
		return 1
	})
	return out
}
