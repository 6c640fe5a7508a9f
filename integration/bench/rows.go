package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"farshore/policies"
)

const (
	kib = int64(1) << 10
	mb  = int64(1) << 20 // MiB
	gib = int64(1) << 30
)

// sizes say how much each row moves.
type sizes struct {
	labSmall, labLarge   int
	labBig               int64
	nearSmall, nearLarge int
	farSmall             int
	farBig               int64
	limited              int // objects of 16 MiB
	scale, changed       int
	ledger               int
	idle                 int           // objects a container
	idleEvery            time.Duration // between two passes
}

var (
	usualSizes = sizes{labSmall: 1000, labLarge: 6, labBig: 300 * mb, nearSmall: 10_000, nearLarge: 16,
		farSmall: 1000, farBig: 2 * gib, limited: 16, scale: 1_000_000, changed: 1000, ledger: 1_000_000, idle: 10_000, idleEvery: 5 * time.Minute}
	quickSizes = sizes{labSmall: 60, labLarge: 2, labBig: 80 * mb, nearSmall: 1000, nearLarge: 4,
		farSmall: 200, farBig: 512 * mb, limited: 10, scale: 20_000, changed: 100, ledger: 20_000, idle: 100, idleEvery: 20 * time.Second}
)

// What the design promises (§8).
const (
	farRTT     = 50 * time.Millisecond
	farLink    = 100 * mb // bytes a second, at both ends
	farWindow  = mb       // a connection: 20 MiB/s at 50 ms
	limitRate  = 20 * mb
	limitOver  = 1.05
	memoryBar  = 128 * mb
	farRunsMax = 3 // of rows whose time is set by the link, not by the machine
)

// spec is one row of the benchmark.
type spec struct {
	id   string
	need string // "lab", "scale" or ""
	run  func(b *bench, r *row) error
}

func specs() []spec {
	return []spec{
		{"lab-small", "lab", labSmall}, {"lab-large", "lab", labLarge}, {"lab-unchanged", "lab", labUnchanged}, {"lab-exact", "lab", labExact},
		{"near-small", "", nearSmall}, {"near-large", "", nearLarge}, {"near-unchanged", "", nearUnchanged},
		{"far-small", "", farSmall}, {"far-large", "", farLarge}, {"far-window", "", farWindowed},
		{"limit", "", limited}, {"ledger", "", ledgerRow}, {"scale", "scale", scaleRow}, {"idle", "scale", idleRow},
	}
}

const (
	ours          = "farshore"
	floor         = "floor"
	rcloneDefault = "rclone, as it comes (4)"
)

// rivals are the ways in which rclone is called: with as many transfers as farshore
// has streams and, when that is not 16, with 16 too.
func (b *bench) rivals(verb string, flags ...string) []entrant {
	out := []entrant{rcloneWith(fmt.Sprintf("rclone, %d", b.streams), verb, b.streams, flags...)}
	if b.streams != policies.DefaultStreams {
		out = append(out, rcloneWith(fmt.Sprintf("rclone, %d", policies.DefaultStreams), verb, policies.DefaultStreams, flags...))
	}
	return out
}

// all are farshore, rclone and the floor.
func (b *bench) all(flags ...string) []entrant {
	e := append([]entrant{farshoreWith(ours, flags...)}, b.rivals("copy")...)
	return append(e, floorWith(false))
}

// copyRow races everybody over one container of the site.
func (b *bench) copyRow(s *site, r *row, objects int, size int64, synthetic bool, runs int, entrants []entrant) error {
	r.Bytes = int64(objects) * size
	from := b.fresh("from")
	if err := s.fill(b.ctx, from, objects, size, synthetic); err != nil {
		return fmt.Errorf("fill the source: %w", err)
	}
	return errors.Join(b.race(s, r, from, runs, entrants...), s.drop(b.ctx, s.source, from))
}

// onLab runs a row on the lab.
func onLab(b *bench, f func(s *site) error) error {
	s, err := labSite(b.ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.close())
}

// onFake runs a row on emulated regions of its own.
func onFake(b *bench, o serveOptions, f func(s *site) error) error {
	s, err := fakeSite(b.ctx, b.dir, o)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.close())
}

func labSmall(b *bench, r *row) error {
	n := b.sizes.labSmall
	r.Title = fmt.Sprintf("lab, %s × 4 KiB", grouped(n))
	err := onLab(b, func(s *site) error { return b.copyRow(s, r, n, 4*kib, false, b.runs, b.all()) })
	r.faster(1.3)
	r.ofFloor()
	return err
}

func labLarge(b *bench, r *row) error {
	n := b.sizes.labLarge
	r.Title = fmt.Sprintf("lab, %d × 64 MiB", n)
	err := onLab(b, func(s *site) error { return b.copyRow(s, r, n, 64*mb, false, b.runs, b.all()) })
	r.faster(1.0)
	r.ofFloor()
	return err
}

// unchanged is a pass over a copy that is complete.
func (b *bench) unchanged(s *site, r *row, n int) error {
	from := b.fresh("from")
	if err := s.fill(b.ctx, from, n, 4*kib, true); err != nil {
		return fmt.Errorf("fill the source: %w", err)
	}
	rclone, sums := b.rivals("sync")[0], rcloneWith("rclone, listings only", "sync", b.streams, "--checksum", "--swift-no-large-objects")
	bare := floorWith(true)
	err := b.again(s, r, from, b.runs, []entrant{farshoreWith(ours), rclone, sums, floorWith(false)}, farshoreWith(ours), rclone, sums, bare)
	r.Note = "rclone asks for each object's own modification time at both ends; with --checksum --swift-no-large-objects the two listings do. " +
		"The floor logs in to both regions and lists the source."
	return errors.Join(err, s.drop(b.ctx, s.source, from))
}

func labUnchanged(b *bench, r *row) error {
	n := b.sizes.labSmall
	r.Title = fmt.Sprintf("lab, unchanged pass over %s objects", grouped(n))
	err := onLab(b, func(s *site) error { return b.unchanged(s, r, n) })
	r.fasterThan(fmt.Sprintf("rclone, %d", b.streams), 20)
	r.overFloor(1.1)
	r.noRequests()
	return err
}

func labExact(b *bench, r *row) error {
	size := b.sizes.labBig
	if b.isFull {
		size = gib
	}
	r.Title = "lab, one object of " + amount(size)
	r.Note = "exact ends with a server-side COPY of the segments into one plain object, segmented does not."
	entrants := append([]entrant{farshoreWith(ours+", exact", "--large", "exact"), farshoreWith(ours+", segmented", "--large", "segmented")}, b.rivals("copy")...)
	entrants = append(entrants, floorWith(false))
	err := onLab(b, func(s *site) error { return b.copyRow(s, r, 1, size, false, b.runs, entrants) })
	if exact, seg := r.find(ours+", exact"), r.find(ours+", segmented"); exact != nil && seg != nil && len(seg.Samples) > 0 {
		r.say("exact costs", fmt.Sprintf("%.2f × the time of segmented", ratio(*exact, *seg).mid), "reported")
	}
	return err
}

func nearSmall(b *bench, r *row) error {
	n := b.sizes.nearSmall
	r.Title = fmt.Sprintf("fakecloud 0 ms, %s × 4 KiB", grouped(n))
	err := onFake(b, serveOptions{}, func(s *site) error { return b.copyRow(s, r, n, 4*kib, true, b.runs, b.all()) })
	r.faster(2)
	r.ofFloor()
	return err
}

func nearLarge(b *bench, r *row) error {
	n := b.sizes.nearLarge
	r.Title = fmt.Sprintf("fakecloud 0 ms, %d × 64 MiB", n)
	err := onFake(b, serveOptions{}, func(s *site) error { return b.copyRow(s, r, n, 64*mb, false, b.runs, b.all()) })
	r.faster(1.2)
	r.ofFloor()
	return err
}

func nearUnchanged(b *bench, r *row) error {
	n := b.sizes.nearSmall
	r.Title = fmt.Sprintf("fakecloud 0 ms, unchanged pass over %s objects", grouped(n))
	err := onFake(b, serveOptions{}, func(s *site) error { return b.unchanged(s, r, n) })
	r.overFloor(1.1)
	r.noRequests()
	return err
}

func farSmall(b *bench, r *row) error {
	n := b.sizes.farSmall
	r.Title = fmt.Sprintf("fakecloud 50 ms, %s × 4 KiB", grouped(n))
	r.Note = "Each request to either region waits 50 ms."
	err := onFake(b, serveOptions{}, func(s *site) error {
		if err := s.hinder(farRTT, 0); err != nil {
			return err
		}
		entrants := append(b.all(), rcloneWith(rcloneDefault, "copy", 4, "--checkers", "8"))
		return b.copyRow(s, r, n, 4*kib, true, b.runs, entrants)
	})
	r.faster(4)
	r.fasterThan(rcloneDefault, 4)
	r.ofFloor()
	return err
}

func farLarge(b *bench, r *row) error {
	size := b.sizes.farBig
	r.Title = fmt.Sprintf("fakecloud 50 ms and 100 MiB/s, one object of %s, segmented", amount(size))
	r.Note = "Each request waits 50 ms, but here one connection can fill the link by itself, so nobody can be faster than the link; far-window is what a long way is like."
	err := onFake(b, serveOptions{}, func(s *site) error {
		if err := s.hinder(farRTT, farLink); err != nil {
			return err
		}
		return b.copyRow(s, r, 1, size, true, min(b.runs, farRunsMax), b.all("--large", "segmented"))
	})
	r.ofLink(size, farLink, 0.9)
	return err
}

func farWindowed(b *bench, r *row) error {
	size := b.sizes.farBig
	r.Title = fmt.Sprintf("the same, %s a connection (20 MiB/s each)", amount(farWindow))
	r.Note = "Through relays: 50 ms for each round trip and new connection, slow start, and at most 1 MiB under way on a connection, " +
		"which is what TCP reaches when three packets in a million are lost."
	err := onFake(b, serveOptions{Relay: true, Path: path{RTT: farRTT, Window: farWindow}}, func(s *site) error {
		if err := s.hinder(0, farLink); err != nil {
			return err
		}
		return b.copyRow(s, r, 1, size, true, min(b.runs, farRunsMax), b.all("--large", "segmented"))
	})
	r.faster(4)
	r.ofLink(size, farLink, 0.9)
	return err
}

// limited measures the fastest five seconds under --limit.
func limited(b *bench, r *row) error {
	n := b.sizes.limited
	r.Title = fmt.Sprintf("--limit 20MiB/s, 8 streams, %d × 16 MiB", n)
	r.Note = "Counted where the requests' bytes leave farshore (HTTP headers included), every 20 ms."
	r.Bytes = int64(n) * 16 * mb
	return onFake(b, serveOptions{Relay: true}, func(s *site) error {
		from := b.fresh("from")
		if err := s.fill(b.ctx, from, n, 16*mb, true); err != nil {
			return err
		}
		e := farshoreWith(ours, "--limit", "20MiB/s", "--streams", "8")
		r.Results = []result{{Who: ours}}
		most := 0.0
		for round := range min(b.runs, farRunsMax) {
			copied := b.fresh("to")
			if _, err := s.fake.tell(order{Do: "meter", Region: copyName}); err != nil {
				return err
			}
			x, err := b.measure(s, e, from, copied, filepath.Join(b.dir, copied+".db"))
			if err != nil {
				return err
			}
			a, err := s.fake.tell(order{Do: "meter", Region: copyName})
			if err != nil {
				return err
			}
			window := 5 * time.Second
			most = max(most, float64(fastest(a.Moments, int(window/meterEvery)))/window.Seconds())
			if err := errors.Join(b.verify(s, from, copied), s.drop(b.ctx, s.copy, copied)); err != nil {
				return err
			}
			r.Results[0].Samples = append(r.Results[0].Samples, x)
			b.tell(r, ours, round, min(b.runs, farRunsMax), x)
		}
		got := most / float64(limitRate)
		r.judge("fastest 5 s", fmt.Sprintf("%.3f × the limit", got), fmt.Sprintf("≤ %.2f ×", limitOver), got <= limitOver)
		used := float64(r.Bytes) / r.Results[0].wall().mid / float64(limitRate)
		r.say("used of the limit", fmt.Sprintf("%.1f %%, start and end included", 100*used), "reported")
		return nil
	})
}
