package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/replicator/control"
)

// listener is a service manager.
type listener struct {
	path string
	conn *net.UnixConn
}

func listenAsManager(t *testing.T) *listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a short path: a socket's has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{path: filepath.Join(dir, "s")}
	if l.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.conn.Close()
		os.RemoveAll(dir)
	})
	return l
}

// hear gives the next datagram.
func (l *listener) hear(t *testing.T) string {
	t.Helper()
	buf := make([]byte, 4096)
	if err := l.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	n, err := l.conn.Read(buf)
	if err != nil {
		t.Fatalf("the manager hears nothing: %v", err)
	}
	return string(buf[:n])
}

// await drops what comes before a datagram that matches.
func (l *listener) await(t *testing.T, expr string) []string {
	t.Helper()
	for {
		said := l.hear(t)
		if m := regexp.MustCompile(expr).FindStringSubmatch(said); m != nil {
			return m
		}
	}
}

type fakeHeart struct {
	looked time.Time
	tasks  []control.Task
}

func (h *fakeHeart) Looked() time.Time     { return h.looked }
func (h *fakeHeart) Tasks() []control.Task { return h.tasks }

type flushFunc func(context.Context) error

func (f flushFunc) Flush(ctx context.Context) error { return f(ctx) }

// Signs of life come only while the ledger answers and the schedule is looked at.
func TestPulse(t *testing.T) {
	l := listenAsManager(t)
	now := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	var broken error
	p := newPulse(&manager{path: l.path}, flushFunc(func(context.Context) error { return broken }), slog.New(slog.DiscardHandler))
	p.now = func() time.Time { return now }
	health := func() string {
		t.Helper()
		r := httptest.NewRecorder()
		p.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return strconv.Itoa(r.Code) + " " + strings.TrimSpace(r.Body.String())
	}
	p.beat(t.Context())
	if got := l.hear(t) + l.hear(t); got != "WATCHDOG=1STATUS=logging in to the regions" {
		t.Errorf("before there is a schedule: %q", got)
	}
	h := &fakeHeart{looked: now, tasks: []control.Task{{Policy: "photos", Kind: "pass", Running: true}, {Policy: "photos", Kind: "audit", Error: "no"}, {Policy: "docs", Kind: "pass", Next: now.Local()}}}
	p.follow(h, []string{"berlin"})
	p.beat(t.Context())
	want := "WATCHDOG=1STATUS=2 policies; at work: photos pass; 1 task failed; down: berlin; next: docs pass at " + timeOf(now)
	if got := l.hear(t) + l.hear(t); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got := health(); got != "200 alive" {
		t.Error(got)
	}
	p.beat(t.Context()) // nothing new: only the sign of life

	now = now.Add(3 * time.Minute)
	p.beat(t.Context())
	if got := l.hear(t) + l.hear(t); got != "WATCHDOG=1STATUS=not alive: the schedule was looked at 3m0s ago, which is due every 30s" {
		t.Errorf("a schedule that hangs: %q", got)
	}
	if got := health(); !strings.HasPrefix(got, "503 not alive: the schedule") {
		t.Error(got)
	}
	h.looked, broken = now, errors.New("no space\nleft")
	p.beat(t.Context())
	if got := l.hear(t); got != "STATUS=not alive: write the ledger: no space left" {
		t.Errorf("a ledger that is not written: %q", got)
	}
	broken = nil
	p.beat(t.Context())
	if got := l.hear(t) + l.hear(t) + health(); !strings.HasPrefix(got, "WATCHDOG=1STATUS=2 policies") || !strings.HasSuffix(got, "200 alive") {
		t.Errorf("alive again: %q", got)
	}
	now = now.Add(time.Hour) // nobody looked: the pulse itself hangs
	if got := health(); got != "503 not alive: no sign of life for 1h0m0s" {
		t.Error(got)
	}
}

// What there is to tell of a schedule is told when there is one, not half a minute later.
func TestPulseTellsOfASchedule(t *testing.T) {
	l := listenAsManager(t)
	p := newPulse(&manager{path: l.path}, flushFunc(func(context.Context) error { return nil }), slog.New(slog.DiscardHandler))
	stop := p.start(t.Context())
	defer stop()
	l.await(t, "^STATUS=logging in")
	began := time.Now()
	p.follow(&fakeHeart{looked: began, tasks: []control.Task{{Policy: "photos", Kind: "pass", Running: true}}}, nil)
	l.await(t, "^STATUS=1 policy; at work: photos pass")
	if took := time.Since(began); took > pulseEvery/2 {
		t.Errorf("it took %s", took)
	}
}

// A ledger that does not answer is no sign of life, and not waited for at the end.
func TestPulseHangs(t *testing.T) {
	l := listenAsManager(t)
	asked := make(chan struct{})
	p := newPulse(&manager{path: l.path, watchdog: time.Second}, flushFunc(func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}), slog.New(slog.DiscardHandler))
	stop := p.start(t.Context())
	<-asked
	stop()
	if err := l.conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes were said", n)
	}
}

func TestManagerFromEnvironment(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{{"", "", 0}, {"90000000", "", 90 * time.Second}, {"90000000", strconv.Itoa(os.Getpid()), 90 * time.Second}, {"90000000", "1", 0}, {"-5", "", 0}, {"soon", "", 0}} {
		t.Setenv("NOTIFY_SOCKET", "/run/x")
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if m := newManager(); m.watchdog != c.want || m.path != "/run/x" {
			t.Errorf("%+v gives %+v", c, m)
		}
	}
}

// A daemon tells the service manager when it is ready, alive, reading its file again and
// ending.
func TestServiceManager(t *testing.T) {
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	cloud.Region("paris").Put("photos", "a", []byte("x"), nil)
	dir := t.TempDir()
	clouds, err := cloud.CloudsYAML(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := "regions: {paris: {}, lyon: {}}\npolicies: [{name: photos, from: paris, to: [lyon], containers: [photos], every: 1h}]\n"
	if err := os.WriteFile(filepath.Join(dir, "farshore.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	l := listenAsManager(t)
	cmd := exec.Command("farshore", "run", "--listen", "off")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OS_CLIENT_CONFIG_FILE="+clouds, "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir, "NOTIFY_SOCKET="+l.path, "WATCHDOG_USEC=300000")
	var log growing
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	l.await(t, "^READY=1$")
	l.await(t, `^STATUS=1 policy; (at work|next): photos pass`)
	l.await(t, "^WATCHDOG=1$")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m := l.await(t, `^RELOADING=1(\nMONOTONIC_USEC=(\d+))?$`)
	if us, ok := monotonic(); ok {
		if at, err := strconv.ParseInt(m[2], 10, 64); err != nil || at > us || at < us-int64(time.Minute/time.Microsecond) {
			t.Errorf("%q, and it is %d", m[0], us)
		}
	}
	l.await(t, "^READY=1$")
	l.await(t, "^WATCHDOG=1$")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.await(t, "^STOPPING=1\nSTATUS=ending")
	if err := cmd.Wait(); err != nil {
		text, _ := log.read()
		t.Error(fmt.Errorf("%w\n%s", err, text))
	}
}
