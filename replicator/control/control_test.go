package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"farshore/replicator/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type holder struct {
	limit atomic.Int64
	stops atomic.Int64
	order atomic.Pointer[Order]

	changed atomic.Pointer[Limit]

	cancels, gone chan string
}

var began = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func (h *holder) Status() Status {
	return Status{PID: 4711, Command: "farshore sync photos", Version: "v1", Began: began, Ledger: "l.db", TotalLimit: h.limit.Load(), Stopping: h.stops.Load() > 0,
		Snapshot: report.Snapshot{Phase: "copying", Began: began, Listed: 7, Regions: []report.RegionSnapshot{{Region: "lyon", WantObjects: 3, DoneBytes: 12}}}}
}
func (h *holder) SetTotalLimit(n int64) { h.limit.Store(n) }
func (h *holder) SetLimit(l Limit) error {
	if l.Policy == "none" {
		return errors.New("no policy none")
	}
	h.changed.Store(&l)
	return nil
}
func (h *holder) Stop() { h.stops.Add(1) }

// Run says what it was asked, and waits for its end where it is asked to.
func (h *holder) Run(ctx context.Context, r Request, s *Stream) (int, error) {
	if r.Command == "dance" {
		return 0, &Refusal{Msg: "no dancing", Hint: "sit down"}
	}
	if err := s.Begun("7"); err != nil {
		return 0, err
	}
	_, _ = fmt.Fprintf(s.Stdout(), "%s %q %s", r.Command, r.Args, r.Policies.Text)
	_, _ = s.Stderr().Write(bytes.Repeat([]byte{0xff}, frameMost+1))
	s.Progress(&report.Snapshot{Phase: "copying", Listed: 3})
	s.Progress(nil)
	f, err := s.Create("out.txt")
	if err != nil {
		return 0, err
	}
	_, _ = f.Write([]byte("whole"))
	if err := f.Close(); err != nil {
		return 0, err
	}
	if r.Command == "wait" {
		select {
		case <-ctx.Done():
			h.gone <- "gone"
		case how := <-h.cancels:
			h.gone <- how
		}
		return 130, nil
	}
	return 3, nil
}

func (h *holder) Cancel(x Cancelled) error {
	if x.ID != "7" {
		return errors.New("no command " + x.ID)
	}
	h.cancels <- x.How
	return nil
}

func (h *holder) Order(o Order) error {
	if h.order.Store(&o); o.Policy == "none" {
		return errors.New("no policy none")
	}
	return nil
}

func TestExchange(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "l.db")
	h := &holder{}
	s, err := Serve(ledger, h)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, want a socket of 0600", info.Mode())
	}
	ctx, c := context.Background(), NewClient(ledger)
	got, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(h.Status(), got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	for _, rate := range []int64{1 << 20, 0, -1} {
		if got, err = c.SetTotalLimit(ctx, rate); err != nil || got.TotalLimit != rate || h.limit.Load() != rate {
			t.Errorf("SetTotalLimit(%d): %v, %v; the holder has %d", rate, got.TotalLimit, err, h.limit.Load())
		}
	}
	for _, l := range []Limit{{Policy: "photos", Rate: 1 << 20}, {Pair: "paris->lyon", Rate: -1}} {
		if _, err = c.SetLimit(ctx, l); err != nil || *h.changed.Load() != l {
			t.Errorf("SetLimit(%+v): %v; the holder has %+v", l, err, h.changed.Load())
		}
	}
	if _, err = c.SetLimit(ctx, Limit{Policy: "none"}); err == nil || !strings.Contains(err.Error(), "no policy none") {
		t.Errorf("SetLimit of no policy: %v", err)
	}
	want := Order{Do: RunNow, Policy: "photos", Kind: "pass", ReleaseBrake: "abc"}
	if _, err = c.Order(ctx, want); err != nil || *h.order.Load() != want {
		t.Errorf("Order: %v; the holder has %+v", err, h.order.Load())
	}
	for text, o := range map[string]Order{"no policy none": {Do: Pause, Policy: "none"}, `"dance" is no order`: {Do: "dance", Policy: "photos"}} {
		if _, err = c.Order(ctx, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Order(%+v): %v", o, err)
		}
	}
	if got, err = c.Stop(ctx); err != nil || !got.Stopping || h.stops.Load() != 1 {
		t.Errorf("Stop: %+v, %v; stopped %d times", got, err, h.stops.Load())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there after Close: %v", err)
	}
	if _, err := c.Status(ctx); !errors.Is(err, ErrNobody) {
		t.Errorf("Status after Close: %v, want ErrNobody", err)
	}
}

// The members of a group may be let in, of one that there is.
func TestAllow(t *testing.T) {
	s, err := Serve(filepath.Join(t.TempDir(), "l.db"), &holder{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	gid := os.Getgid()
	if os.Getuid() == 0 {
		gid = 1 // every system has one of that number, and root may give to any
	}
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		t.Skip(err)
	}
	mode := func() os.FileMode {
		info, err := os.Lstat(s.Path())
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if err := s.Allow(g.Name); err != nil || mode() != 0o660 {
		t.Errorf("Allow(%s): %v; the mode is %v", g.Name, err, mode())
	}
	var st syscall.Stat_t
	if err := syscall.Stat(s.Path(), &st); err != nil || int(st.Gid) != gid {
		t.Errorf("the socket is of group %d (%v), want %d", st.Gid, err, gid)
	}
	if err := s.Allow("no-such-group"); err == nil || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("Allow of no group: %v", err)
	}
	if err := s.Allow(""); err != nil || mode() != 0o600 {
		t.Errorf("Allow of nobody: %v; the mode is %v", err, mode())
	}
}

func TestBadRequests(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "l.db")
	h := &holder{}
	h.limit.Store(42)
	s, err := Serve(ledger, h)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := NewClient(ledger)
	for _, x := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/v1/limits", `{"totl": 3}`, 400, "totl"},
		{"POST", "/v1/limits", `{"total": "3MB"}`, 400, "makes no sense"},
		{"POST", "/v1/limits", `{}`, 400, "no limit is named"},
		{"POST", "/v1/limits", `{"rate": 3}`, 400, "no limit is named"},
		{"POST", "/v1/limits", `{"rate": 3, "policy": "a", "pair": "b"}`, 400, "no limit is named"},
		{"POST", "/v1/limits", `{"rate": 3, "policy": "a", "total": 3}`, 400, "no limit is named"},
		{"POST", "/v1/limits", `{"total": 1` + strings.Repeat(" ", 5000) + `}`, 400, "too large"},
		{"GET", "/v1/limits", "", 405, ""},
		{"GET", "/v1/stop", "", 405, ""},
		{"GET", "/v2/status", "", 404, ""},
	} {
		req, err := http.NewRequest(x.method, "http://farshore"+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != x.status || !strings.Contains(string(b), x.says) {
			t.Errorf("%s %s %.20s: %d %s (%v), want %d with %q", x.method, x.path, x.body, resp.StatusCode, b, err, x.status, x.says)
		}
	}
	if h.limit.Load() != 42 || h.stops.Load() != 0 {
		t.Errorf("a bad request changed the limit to %d or stopped it %d times", h.limit.Load(), h.stops.Load())
	}
}

// A killed process leaves its socket; the next one takes its place. Anything but a
// socket stays.
func TestInTheWay(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "l.db")
	old, err := listen(Path(ledger))
	if err != nil {
		t.Fatal(err)
	}
	old.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(ledger).Status(context.Background()); !errors.Is(err, ErrNobody) {
		t.Errorf("an abandoned socket: %v, want ErrNobody", err)
	}
	s, err := Serve(ledger, &holder{})
	if err != nil {
		t.Fatalf("an abandoned socket keeps the next process out: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(Path(ledger), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := Serve(ledger, &holder{}); err == nil {
		s.Close()
		t.Error("Serve took the place of a file")
	} else if !strings.Contains(err.Error(), Path(ledger)) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if b, err := os.ReadFile(Path(ledger)); err != nil || string(b) != "mine" {
		t.Errorf("the file at the socket's path was changed: %q, %v", b, err)
	}
}

func TestLongPath(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(dir, "l.db")
	short, err := os.MkdirTemp("", "fs") // t.TempDir is itself too long on some systems
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	for _, runtime := range []string{short, ""} {
		t.Setenv("XDG_RUNTIME_DIR", runtime)
		t.Setenv("TMPDIR", short)
		p := Path(ledger)
		if len(p) > longest || !strings.HasPrefix(p, short) {
			t.Fatalf("Path is %q", p)
		}
		link := filepath.Join(tmp, "link")
		if err := os.Symlink(dir, link); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if q := Path(filepath.Join(link, "l.db")); q != p {
			t.Errorf("one ledger has two sockets: %s and, by a link, %s", p, q)
		}
		s, err := Serve(ledger, &holder{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(ledger).Status(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	// a folder under the temporary one that others can write to is not used
	if err := os.Chmod(filepath.Dir(Path(ledger)), 0o777); err != nil {
		t.Fatal(err)
	}
	if s, err := Serve(ledger, &holder{}); err == nil {
		s.Close()
		t.Error("Serve trusted a folder that everybody can write to")
	}
}
