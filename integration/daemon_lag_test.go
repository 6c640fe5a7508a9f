package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/control"
	"farshore/replicator/report"
)

// TestLagAgainstAnObserver has a daemon copy what a writer creates and overwrites, with
// the destination down for a while, and compares every figure of lag with one that is
// computed outside from what stands in the two regions.
//
// What the observer sees and what the daemon says are asked for one after the other, so
// the daemon's figure must lie between the observer's before and after, give or take 5 %
// or one poll interval and two seconds.
func TestLagAgainstAnObserver(t *testing.T) {
	const poll = time.Second
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a script, no secret
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	paris, lyon := cloud.Region("paris"), cloud.Region("lyon")
	clouds, err := cloud.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := newFarshore(t, clouds)
	paris.Put("c", "first", []byte("0"), nil)
	file := filepath.Join(filepath.Dir(f.ledger), "farshore.yaml")
	text := fmt.Sprintf("regions: {paris: {cloud: paris}, lyon: {cloud: lyon}}\nledger: %s\npolicies:\n  - {name: p, from: paris, to: [lyon], containers: [c], every: 1s, rpo: 2s}\n", f.ledger)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	daemon := f.command(ctx, "run", "-f", file, "--listen", "off")
	log := &strings.Builder{}
	daemon.Stderr = log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		if err := daemon.Wait(); err != nil || t.Failed() {
			t.Errorf("the daemon: %v\n%s", err, log)
		}
	})
	defer end()

	client := control.NewClient(f.ledger)
	lag := func() (report.Lag, bool) {
		st, err := client.Status(ctx)
		if err != nil || len(st.Lag) != 1 {
			return report.Lag{}, false
		}
		return st.Lag[0], true
	}
	changes := map[string][]time.Time{} // by name; the content of an object is the number of its change
	truth := func() time.Duration {
		oldest, now := time.Duration(0), time.Now()
		for name, at := range changes {
			has := ""
			if there, ok := lyon.Get("c", name); ok {
				has = string(there.Bytes())
			}
			for n := len(at) - 1; n >= 0 && has != fmt.Sprint(n); n-- {
				oldest = max(oldest, now.Sub(at[n]))
			}
		}
		return oldest
	}
	until := func(what string, is func() bool) {
		t.Helper()
		ticks := time.NewTicker(50 * time.Millisecond)
		defer ticks.Stop()
		for last := time.Now().Add(time.Minute); !is(); <-ticks.C {
			if time.Now().After(last) || ctx.Err() != nil {
				t.Fatalf("never: %s", what)
			}
		}
	}
	until("the first pass ends", func() bool {
		l, ok := lag()
		return ok && !l.AsOf.IsZero() && l.Items == 0
	})

	samples, longest := 0, time.Duration(0)
	compare := func() {
		before := truth()
		l, ok := lag()
		after := truth()
		if !ok {
			t.Fatal("no status")
		}
		samples++
		longest = max(longest, after)
		said := time.Duration(l.Seconds * float64(time.Second))
		// A machine that is busy with other things looks later than it should.
		unseen := time.Duration((l.AtMost - l.Known) * float64(time.Second))
		give := max(poll, unseen) + 2*time.Second + max(before, after)/20
		if said < min(before, after)-give || said > max(before, after)+give {
			text, _ := json.Marshal(l)
			t.Errorf("the daemon says %v, the observer %v and then %v: %s", said, before, after, text)
		}
		if atMost := time.Duration(l.AtMost * float64(time.Second)); min(before, after) > atMost+50*time.Millisecond {
			t.Errorf("the observer says %v, the daemon at most %v", before, atMost)
		}
	}
	write := func() {
		name := fmt.Sprintf("o%02d", random.IntN(20))
		paris.Put("c", name, fmt.Append(nil, len(changes[name])), nil)
		changes[name] = append(changes[name], time.Now())
	}
	work := func(d time.Duration) {
		ticks := time.NewTicker(100 * time.Millisecond)
		defer ticks.Stop()
		for last := time.Now().Add(d); time.Now().Before(last); <-ticks.C {
			for range random.IntN(3) {
				write()
			}
			compare()
		}
	}
	d := time.Duration(scaled(1, 20)) * time.Second
	work(d)
	if err := lyon.Stop(); err != nil {
		t.Fatal(err)
	}
	work(2 * d)
	until("it is late", func() bool {
		l, ok := lag()
		return ok && l.Late.Is && l.Late.Episode != ""
	})
	compare()
	if err := lyon.Start(); err != nil {
		t.Fatal(err)
	}
	work(d)
	until("all has arrived", func() bool {
		l, ok := lag()
		return ok && truth() == 0 && l.Seconds == 0 && l.Late.Episode == ""
	})
	end()
	t.Logf("%d figures compared; the longest lag was %v", samples, longest.Round(time.Millisecond))
	if late, arrived := strings.Count(log.String(), "event=late"), strings.Count(log.String(), "event=arrived"); late == 0 || late != arrived {
		t.Errorf("%d late and %d arrived events", late, arrived)
	}
}
