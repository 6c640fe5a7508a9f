package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
)

var binary = sync.OnceValues(func() (string, error) {
	if b := os.Getenv("FARSHORE_BIN"); b != "" {
		return b, nil
	}
	dir, err := os.MkdirTemp("", "farshore-bin")
	if err != nil {
		return "", err
	}
	b := filepath.Join(dir, "farshore")
	out, err := exec.Command("go", "build", "-o", b, "farshore/cmd/farshore").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build farshore: %w\n%s", err, out)
	}
	return b, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if b, err := binary(); err == nil && os.Getenv("FARSHORE_BIN") == "" {
		os.RemoveAll(filepath.Dir(b))
	}
	os.Exit(code)
}

// full reports whether the full numbers are asked for.
func full() bool { return os.Getenv("FARSHORE_SCALE") == "full" }

// scaled picks the quick or the full number.
func scaled(quick, all int) int {
	if full() {
		return all
	}
	return quick
}

// farshore is a way to run the binary: its clouds file and ledger.
type farshore struct {
	t      testing.TB
	clouds string
	ledger string
	env    []string
}

func newFarshore(t testing.TB, clouds string) *farshore {
	return &farshore{t: t, clouds: clouds, ledger: filepath.Join(t.TempDir(), "ledger.db")}
}

// output is what a run said.
type output struct {
	Exit           int
	Stdout, Stderr string
	JSON           document
}

// document is the part of the --json shape that the suites read (docs/json.md).
type document struct {
	OK     bool
	Exit   int
	Error  *struct{ Op, Region, Item, Cause, Hint string }
	Result struct {
		Policies []struct {
			Policy  string
			Resumed bool
			Seconds float64
			Totals  struct {
				Listed, Unchanged, Copied, Bytes, Metadata_updates, Adopted, Deleted, Conflicts, Cannot, Failed, Properties int64
				Read_bytes, Bytes_sent_twice                                                                                int64
			}
			Replicas struct {
				Wanted    int
				Objects   int64
				By_count  map[string]int64
				Short     int64
				Satisfied bool
			}
			Findings       []struct{ Kind, Level, Region, Container, Name, Op, Cause, Hint string }
			Finding_counts map[string]int64
			Release_brake  string
		}
	}
}

func (f *farshore) command(ctx context.Context, args ...string) *exec.Cmd {
	f.t.Helper()
	b, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, b, args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OS_") && !strings.HasSuffix(strings.ToLower(strings.SplitN(kv, "=", 2)[0]), "_proxy") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "OS_CLIENT_CONFIG_FILE="+f.clouds, "HOME="+filepath.Dir(f.ledger), "XDG_STATE_HOME=")
	cmd.Env = append(cmd.Env, f.env...)
	cmd.Dir = filepath.Dir(f.ledger)
	return cmd
}

// run runs the binary with --json and the ledger, to its end.
func (f *farshore) run(args ...string) output {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	cmd := f.command(ctx, append(args, "--json", "--ledger", f.ledger)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatalf("farshore %q: %v\n%s", args, err, errs.String())
	}
	o := output{Exit: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errs.String()}
	if err := json.Unmarshal(out.Bytes(), &o.JSON); err != nil {
		f.t.Fatalf("farshore %q: not JSON: %v\n%s\n%s", args, err, o.Stdout, o.Stderr)
	}
	return o
}

// must runs the binary and fails the test unless it exits with 0.
func (f *farshore) must(args ...string) output {
	f.t.Helper()
	o := f.run(args...)
	if o.Exit != 0 {
		f.t.Fatalf("farshore %q: exit %d\n%s\n%s", args, o.Exit, o.Stdout, o.Stderr)
	}
	return o
}

// checkLedger runs `ledger check`, which must find nothing.
func (f *farshore) checkLedger() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := f.command(ctx, "ledger", "check", "--ledger", f.ledger).CombinedOutput()
	if err != nil {
		f.t.Fatalf("ledger check: %v\n%s", err, out)
	}
}

// runAndKill starts the binary and kills it with SIGKILL after d; false if it ended before.
func (f *farshore) runAndKill(d time.Duration, args ...string) bool {
	f.t.Helper()
	cmd := f.command(context.Background(), append(args, "--json", "--ledger", f.ledger)...)
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
		return false
	case <-time.After(d):
		_ = cmd.Process.Kill()
		<-ended
		return true
	}
}

// fake starts emulated regions and returns them with a way to run the binary on them.
func fake(t testing.TB, o fakecloud.Options, names ...string) (*fakecloud.Cloud, *farshore) {
	t.Helper()
	for _, n := range names {
		o.Regions = append(o.Regions, fakecloud.RegionOptions{Name: n})
	}
	c, err := fakecloud.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	clouds, err := c.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c, newFarshore(t, clouds)
}

// equal asserts that a container holds the same at two emulated regions: names,
// bytes, ETags and kept headers, the stamp left out.
func equal(t testing.TB, a, b *fakecloud.Region, container, copied string) {
	t.Helper()
	names, got := a.Names(container), b.Names(copied)
	if len(names) != len(got) {
		t.Fatalf("%s has %d objects, the source %d", b.Name(), len(got), len(names))
	}
	for i, n := range names {
		if got[i] != n {
			t.Fatalf("%s has %q where the source has %q", b.Name(), got[i], n)
		}
		x, _ := a.Get(container, n)
		y, ok := b.Get(copied, n)
		if !ok || x.ETag != y.ETag || !bytes.Equal(x.Bytes(), y.Bytes()) {
			t.Fatalf("%q differs at %s", n, b.Name())
		}
		for k, v := range x.Header {
			if y.Header.Get(k) != v[0] {
				t.Fatalf("%q at %s has %s: %q, the source %q", n, b.Name(), k, y.Header.Get(k), v[0])
			}
		}
	}
}

// dumped is a line of `ledger dump` (docs/ledger.md).
type dumped struct {
	Type     string
	Name     string
	ETag     string
	Replicas []struct {
		State   string
		ETag    string
		Version *struct{ ETag string } // null: the object's
	}
}

func (f *farshore) dump() []dumped {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := f.command(ctx, "ledger", "dump", "--ledger", f.ledger).Output()
	if err != nil {
		f.t.Fatalf("ledger dump: %v", err)
	}
	var all []dumped
	d := json.NewDecoder(bytes.NewReader(out))
	for d.More() {
		var x dumped
		if err := d.Decode(&x); err != nil {
			f.t.Fatalf("ledger dump: %v", err)
		}
		all = append(all, x)
	}
	return all
}
