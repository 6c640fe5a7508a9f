//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"time"

	"farshore/integration/lab"
)

// prove checks all that must be true at the end.
func (s *soak) prove() {
	s.t.Helper()
	s.restoredMeanwhile(<-s.restores)
	s.daemon.stop()
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.same()
	s.daemon.f.checkLedger()
	last := s.block.snapshots[len(s.block.snapshots)-1]
	began := time.Now()
	sum, _ := s.block.restored(s.watch.points()[last.id])
	s.holds(last, sum, time.Since(began), "after it")
	if late, arrived := s.daemon.events("late", "objects"), s.daemon.events("arrived", "objects"); !slices.Equal(late, arrived) {
		s.t.Errorf("late events %q, arrived events %q", late, arrived)
	}
	// Nobody takes snapshots any more: the volume may be late by now.
	if late, arrived := s.daemon.events("late", "vols"), s.daemon.events("arrived", "vols"); len(late) > len(arrived)+1 {
		s.t.Errorf("late events of the volume %q, arrived events %q", late, arrived)
	}
	if text := s.daemon.said(math.MaxInt32); bytes.Contains([]byte(text), []byte("goroutine ")) || bytes.Contains([]byte(text), []byte("panic")) {
		s.t.Error("the log has a trace of goroutines")
	}
	s.lags()
	s.steady()
	if dir := os.Getenv("FARSHORE_SOAK_OUT"); dir != "" {
		s.publish(dir)
	}
}

// same compares both sides' containers by bytes and headers, and the source with what the writer did.
func (s *soak) same() {
	s.t.Helper()
	for _, c := range s.writer.containers {
		cmd := exec.Command("/usr/bin/python3", "testdata/compare.py", c, c+"-copy")
		cmd.Env = append(s.lab.OpenRC("lab-one"), "OTHER_REGION=RegionTwo")
		out, err := cmd.CombinedOutput()
		s.compared = append(s.compared, string(bytes.TrimSpace(out)))
		s.t.Logf("python-swiftclient: %s", bytes.TrimSpace(out))
		if err != nil {
			s.t.Errorf("the containers differ: %v", err)
		}
		want := s.writer.stand(c)
		for _, e := range s.writer.one.List(s.t, c, nil) {
			if numbered(e.ContentType) != want[e.Name] {
				s.t.Errorf("the source has change %d of %s/%s, the writer made %d", numbered(e.ContentType), c, e.Name, want[e.Name])
			}
			delete(want, e.Name)
		}
		if len(want) > 0 {
			s.t.Errorf("the source lacks %v", want)
		}
	}
}

// restoredMeanwhile is how a restore by the daemon, in the middle of its other work, has ended.
type restoredMeanwhile struct {
	of   snapshot
	took time.Duration
	out  []byte
	err  error
}

// restoreMeanwhile has the daemon restore the first point.
func (s *soak) restoreMeanwhile() {
	s.restores = make(chan restoredMeanwhile, 1)
	of := s.block.snapshots[0]
	cmd := s.block.command(s.t.Context(), "restore", s.watch.points()[of.id], "--to", "two", "--json", "--ledger", s.block.ledger, "-f", s.block.policy)
	go func() {
		began := time.Now()
		out, err := cmd.Output()
		s.restores <- restoredMeanwhile{of, time.Since(began), out, err}
	}()
}

func (s *soak) restoredMeanwhile(r restoredMeanwhile) {
	s.t.Helper()
	var a volumeAnswer
	if err := json.Unmarshal(r.out, &a); err != nil || r.err != nil || a.Result.Restore == nil {
		s.t.Fatalf("a restore by the daemon: %v %v\n%s", r.err, err, r.out)
	}
	s.holds(r.of, s.block.sum("two", a.Result.Restore.Volume), r.took, "by the daemon, meanwhile")
	s.block.two.Remove(s.t, lab.Volumes, a.Result.Restore.Volume)
}

// holds compares what a restored volume has with what the source's had.
func (s *soak) holds(x snapshot, sum string, took time.Duration, when string) {
	s.t.Helper()
	if sum != x.sum {
		s.t.Errorf("the point of %v: SHA-256 %s restored, %s when its snapshot was taken", x.taken, sum, x.sum)
	}
	line := fmt.Sprintf("the one of minute %.1f in %.0f s, %s", x.taken.Sub(s.began).Minutes(), took.Seconds(), when)
	s.restored = append(s.restored, line)
	s.t.Log("restored: " + line)
}

// lags compares every figure of lag with the observer's.
func (s *soak) lags() {
	s.t.Helper()
	s.figures = map[string][]lagPoint{"objects": s.watch.objectLag(), "vols": s.watch.volumeLag()}
	for policy, all := range s.figures {
		bad, tight, farthest, longest := 0, 0, 0.0, 0.0
		for _, p := range all {
			w := p.want()
			if w.high-w.low <= give(w.high, p.poll()) {
				tight++
			}
			farthest, longest = max(farthest, w.off(p.said)), max(longest, p.said)
			if why := p.wrong(); why != "" {
				if bad++; bad <= 60 {
					s.t.Errorf("%s at %.1f s: %s; the observer's truth is %.1f, exposed %.1f, bound %.1f; known %.1f, at most %.1f", policy, p.at.Sub(s.began).Seconds(), why, p.truth, p.exposed, p.bound, p.known, p.atMost)
				}
			}
		}
		if len(all) == 0 {
			s.t.Errorf("no figure of %s", policy)
		}
		s.t.Logf("%s: %d figures compared, %d of them to one value; %d wrong; farthest off %.1f s; longest lag %.0f s", policy, len(all), tight, bad, farthest, longest)
	}
}

// steady asserts that memory, goroutines and descriptors of the last life, which is the longest, are what they were.
func (s *soak) steady() {
	s.t.Helper()
	n := len(s.daemon.lives) - 1
	began := s.daemon.lives[n].began
	early, late := s.within(n, began.Add(soakCalm/2), began.Add(3*soakCalm)), s.within(n, s.settled.Add(-soakCalm), s.settled)
	if len(early) == 0 || len(late) == 0 {
		s.t.Fatal("no samples of the calm stretches")
	}
	// The lowest of a stretch is what stays open when nothing is under way; connections that are kept for later differ
	// by some, each of them a descriptor and two goroutines.
	for what, get := range map[string]func(sample) float64{"goroutines": goroutines, "descriptors": func(x sample) float64 { return float64(x.fds) }} {
		a, b := least(early, get), least(late, get)
		s.t.Logf("%s: at least %.0f at first, %.0f at the end", what, a, b)
		if b > a+map[string]float64{"goroutines": 16, "descriptors": 8}[what] {
			s.t.Errorf("%s: at least %.0f in the first minutes of the last life, %.0f in its last one", what, a, b)
		}
	}
	slope, mean := s.growth()
	s.t.Logf("memory: RssAnon of the last life %.1f MiB on average, %+.3f MiB a minute", mean, slope)
	// Upwards only: after a busy start Go gives memory back for many minutes, which is no leak.
	if s.length >= 10*time.Minute && slope > 0.25 {
		s.t.Errorf("memory grows: RssAnon %.1f MiB on average, %+.3f MiB a minute", mean, slope)
	}
}

func goroutines(x sample) float64 { return x.series["go_goroutines"] }

// within are the samples of a life between two times that have metrics.
func (s *soak) within(life int, from, to time.Time) (out []sample) {
	for _, x := range s.watch.samples {
		if x.life == life && x.series != nil && x.asked.After(from) && x.asked.Before(to) {
			out = append(out, x)
		}
	}
	return out
}

func least(all []sample, get func(sample) float64) float64 {
	low := math.Inf(1)
	for _, x := range all {
		low = min(low, get(x))
	}
	return low
}

// growth is the slope of RssAnon in the last life by least squares, its first minute left out, in MiB a minute; and its
// mean in MiB.
func (s *soak) growth() (slope, mean float64) {
	n := len(s.daemon.lives) - 1
	all := s.within(n, s.daemon.lives[n].began.Add(soakCalm), s.settled)
	var x, y, xx, xy float64
	for _, p := range all {
		at, mib := p.asked.Sub(s.began).Minutes(), float64(p.anon)/(1<<20)
		x, y, xx, xy = x+at, y+mib, xx+at*at, xy+at*mib
	}
	k := float64(len(all))
	return (k*xy - x*y) / (k*xx - x*x), y / k
}
