package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"farshore/integration/bench/proc"
)

// idleRow has `farshore run` hold containers true in which nothing changes, and counts what an hour of that costs.
func idleRow(b *bench, r *row) error {
	const containers = 100
	each := b.sizes.idle
	r.Title = fmt.Sprintf("farshore run, fakecloud 0 ms, %d containers × %s objects, nothing changes", containers, grouped(each))
	r.Note = "An hour is made of what was counted between the ends of two passes, or of ten minutes with `watch`. The copies stood there before, so that the first pass only had to find that out."
	r.Table = []string{"| policy | counted for | requests an hour, source | destination | CPU an hour | RssAnon, mean | peak |", "| --- | --: | --: | --: | --: | --: | --: |"}
	return onFake(b, serveOptions{}, func(s *site) error {
		for i := range containers {
			for _, region := range []string{sourceName, copyName} {
				if _, err := s.fake.tell(order{Do: "synthetic", Region: region, Container: fmt.Sprintf("idle-%03d", i), Count: each, Size: 256}); err != nil {
					return err
				}
			}
		}
		d := &idleDaemon{b: b, s: s, ledger: filepath.Join(b.dir, "idle.db")}
		for _, how := range []string{"every: " + b.sizes.idleEvery.String(), "every: " + (2 * b.sizes.idleEvery).String() + ", watch: 15s"} {
			if err := d.row(r, how); err != nil {
				return err
			}
		}
		return nil
	})
}

// idleDaemon is `farshore run` on one ledger.
type idleDaemon struct {
	b      *bench
	s      *site
	ledger string
	listen string
	pid    int
}

// idleSeen is what one moment shows.
type idleSeen struct {
	at           time.Time
	source, copy int64 // requests
	cpu          float64
	ended        float64 // when the last pass did
}

// row measures one policy.
func (d *idleDaemon) row(r *row, how string) (err error) {
	file := filepath.Join(d.b.dir, "idle.yaml")
	text := fmt.Sprintf("regions: {%s: {}, %s: {}}\npolicies:\n  - {name: idle, from: %s, to: [%s], containers: [\"idle-*\"], audit: off, %s}\n", sourceName, copyName, sourceName, copyName, how)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(d.b.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.listen = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.b.ctx, longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.b.farshore, "run", "-f", file, "--ledger", d.ledger, "--listen", d.listen)
	cmd.Env, cmd.Dir = append(d.b.bare(), "OS_CLIENT_CONFIG_FILE="+d.s.clouds), d.b.dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start farshore run: %w", err)
	}
	d.pid = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	merr := d.measure(ctx, r, how, ended)
	_ = cmd.Process.Signal(syscall.SIGTERM) // gone already: then the channel says so
	if err := errors.Join(merr, <-ended); err != nil {
		return fmt.Errorf("%w: %s", err, tail(errs.Bytes()))
	}
	return nil
}

// measure waits for a first pass and counts from then on: two passes, or ten minutes of short ones.
func (d *idleDaemon) measure(ctx context.Context, r *row, how string, ended chan error) error {
	began := float64(time.Now().Unix()) // the ledger knows of passes before
	first, err := d.until(ctx, ended, nil, func(x idleSeen) bool { return x.ended > began })
	if err != nil {
		return err
	}
	var anon []int64
	last, passes := first, 0
	end, err := d.until(ctx, ended, &anon, func(x idleSeen) bool {
		if x.ended > last.ended {
			passes++
		}
		last.ended = x.ended
		return passes >= 2 && x.at.Sub(first.at) >= 2*d.b.sizes.idleEvery-2*idleLook
	})
	if err != nil {
		return err
	}
	sum, most := int64(0), int64(0)
	for _, n := range anon {
		sum, most = sum+n, max(most, n)
	}
	took := end.at.Sub(first.at)
	hour := func(n float64) float64 { return n * float64(time.Hour) / float64(took) }
	r.Table = append(r.Table, fmt.Sprintf("| `%s` | %.1f min, %d passes | %s | %s | %.1f s | %.1f MiB | %.1f MiB |", how, took.Minutes(), passes,
		grouped(int(hour(float64(end.source-first.source)))), grouped(int(hour(float64(end.copy-first.copy)))), hour(end.cpu-first.cpu), mib(sum/int64(max(len(anon), 1))), mib(most)))
	r.judge(how+": requests to the destination", fmt.Sprint(end.copy-first.copy), "0", end.copy == first.copy)
	r.judge(how+": peak RssAnon", fmt.Sprintf("%.0f MiB", mib(most)), fmt.Sprintf("≤ %.0f MiB", mib(memoryBar)), most <= memoryBar)
	d.b.log("%-16s %s", r.ID, r.Table[len(r.Table)-1])
	return nil
}

// idleLook is how often the daemon is asked: that is work for it too.
const idleLook = 5 * time.Second

// until looks until what it sees is wanted; anon is given the memory, seen more often.
func (d *idleDaemon) until(ctx context.Context, ended chan error, anon *[]int64, wanted func(idleSeen) bool) (idleSeen, error) {
	ticks := time.NewTicker(time.Second / 4)
	defer ticks.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return idleSeen{}, context.Cause(ctx)
		case err := <-ended:
			ended <- err
			return idleSeen{}, errors.New("farshore run ended by itself")
		case <-ticks.C:
		}
		if bytes, _, ok := proc.Memory(d.pid); ok && anon != nil {
			*anon = append(*anon, bytes)
		}
		if time.Since(last) < idleLook {
			continue
		}
		last = time.Now()
		x, err := d.see(ctx)
		if err == nil && wanted(x) {
			return x, nil
		}
	}
}

// see asks the daemon and the regions.
func (d *idleDaemon) see(ctx context.Context) (x idleSeen, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.listen+"/metrics", nil)
	if err != nil {
		return x, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return x, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return x, err
	}
	value := func(name string) (v float64) {
		if m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text); m != nil {
			v, _ = strconv.ParseFloat(string(m[1]), 64)
		}
		return v
	}
	x.at, x.cpu, x.ended = time.Now(), value("process_cpu_seconds_total"), value(`farshore_task_end_timestamp_seconds\{kind="pass",policy="idle"\}`)
	for region, n := range map[string]*int64{sourceName: &x.source, copyName: &x.copy} {
		a, err := d.s.fake.tell(order{Do: "counters", Region: region})
		if err != nil {
			return x, err
		}
		*n = a.Requests
	}
	return x, nil
}
