//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"farshore/integration/bench/proc"
)

// soakDaemon is `farshore run`, started again and again on one ledger.
type soakDaemon struct {
	t      *testing.T
	f      *farshore
	policy string
	listen string
	log    string // its standard error, of all lives

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil: none runs
	ended chan struct{} // closed when it has
	lives []life
}

// life is one process, from its start to its end.
type life struct {
	pid         int
	began, died time.Time // died is zero while it lives
	killed      bool
}

func newSoakDaemon(t *testing.T, f *farshore, policy string) *soakDaemon {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &soakDaemon{t: t, f: f, policy: policy, listen: l.Addr().String(), log: filepath.Join(t.TempDir(), "daemon.log")}
}

func (d *soakDaemon) start() {
	d.t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	cmd := d.f.command(d.t.Context(), "run", "-f", d.policy, "--ledger", d.f.ledger, "--listen", d.listen)
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cmd, d.ended = cmd, ended
	d.lives = append(d.lives, life{pid: cmd.Process.Pid, began: time.Now()})
}

// kill sends SIGKILL, and fails the test if it was gone before.
func (d *soakDaemon) kill() {
	d.t.Helper()
	d.alive()
	_ = d.cmd.Process.Kill()
	d.buried(true)
}

// stop sends SIGTERM, upon which it must end well.
func (d *soakDaemon) stop() {
	d.t.Helper()
	d.alive()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Error(err)
	}
	d.buried(false)
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("the daemon ended with exit code %d\n%s", code, d.said(20))
	}
}

func (d *soakDaemon) alive() {
	d.t.Helper()
	select {
	case <-d.ended:
		d.t.Fatalf("the daemon ended by itself: %s\n%s", d.cmd.ProcessState, d.said(40))
	default:
	}
}

func (d *soakDaemon) buried(killed bool) {
	<-d.ended
	d.mu.Lock()
	defer d.mu.Unlock()
	last := &d.lives[len(d.lives)-1]
	last.died, last.killed = time.Now(), killed
}

// said is the end of the log.
func (d *soakDaemon) said(lines int) string {
	text, _ := os.ReadFile(d.log)
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ask runs a command that the daemon carries out; one that has just begun may need a moment.
func (d *soakDaemon) ask(args ...string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	for {
		out, err := d.f.command(ctx, append(args, "--ledger", d.f.ledger)...).CombinedOutput()
		if err == nil {
			return
		}
		if ctx.Err() != nil || !strings.Contains(string(out), "nobody is working on this ledger") && !strings.Contains(string(out), "has not logged in") {
			d.t.Errorf("farshore %q: %v\n%s", args, err, out)
			return
		}
		time.Sleep(time.Second)
	}
}

// sample is what the process and its metrics said at a moment.
type sample struct {
	asked, answered time.Time
	life            int // which process
	anon            int64
	fds             int
	load            float64            // of the machine, over a minute
	series          map[string]float64 // by name and labels, as in the text format; nil: it did not answer
}

// sample takes one; ok is false while no process runs.
func (d *soakDaemon) sample() (s sample, ok bool) {
	d.mu.Lock()
	n := len(d.lives) - 1
	running := n >= 0 && d.lives[n].died.IsZero()
	pid := 0
	if running {
		pid = d.lives[n].pid
	}
	d.mu.Unlock()
	if !running {
		return sample{}, false
	}
	s = sample{asked: time.Now(), life: n}
	series, err := scrape(d.listen)
	s.answered = time.Now()
	if err == nil {
		s.series = series
	}
	if s.anon, _, ok = proc.Memory(pid); !ok {
		return sample{}, false
	}
	load, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(load), &s.load) // 0: not known
	fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	s.fds = len(fds)
	return s, err == nil
}

// scrape reads /metrics.
func scrape(address string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := bare.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	series := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := cutLast(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(name, "#") {
			series[name] = v
		}
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return series, err
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// lagSeries is the name of a series of a policy at region two.
func lagSeries(name, policy string) string {
	return fmt.Sprintf(`farshore_%s{policy=%q,region="two"}`, name, policy)
}

// events are the ids of a policy's late or arrived events in the log; after a crash one may be told twice.
func (d *soakDaemon) events(kind, policy string) []string {
	d.t.Helper()
	text, err := os.ReadFile(d.log)
	if err != nil {
		d.t.Fatal(err)
	}
	ids := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, " event="+kind+" ") || !strings.Contains(line, " policy="+policy+" ") {
			continue
		}
		for _, f := range strings.Fields(line) {
			if id, ok := strings.CutPrefix(f, "id="); ok {
				ids[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
