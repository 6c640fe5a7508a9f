package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"farshore/integration/fakecloud"
)

// The scripts in testdata/script drive the real command as its own process against a
// cloud of three emulated regions: paris, lyon and berlin. Each asserts exit codes, the
// text people get, and what then stands in the regions.

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"farshore": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "", // writes what cmp compares with
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "race":
				return raceDetector, nil
			case "browser":
				return chromium() != "", nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": runCmd, "start": startCmd, "signal": signalCmd, "logged": loggedCmd, "scrape": scrapeCmd, "documented": documentedCmd, "finish": finishCmd, "await": awaitCmd,
			"put": putCmd, "fill": fillCmd, "has": hasCmd, "names": namesCmd, "same": sameCmd, "delete": deleteCmd, "container": containerCmd,
			"header": headerCmd, "fault": faultCmd, "mend": mendCmd, "region": regionCmd, "requests": requestsCmd, "mode": modeCmd, "json": jsonCmd, "sub": subCmd, "corrupt": corruptCmd, "token": tokenCmd,
			"block": blockCmd, "take": takeCmd, "receiver": receiverCmd, "hooked": hookedCmd, "filesize": filesizeCmd, "apart": apartCmd, "paired": pairedCmd, "browse": browseCmd, "hear": hearCmd,
		},
	})
}

// world is what a script's commands share.
type world struct {
	cloud *fakecloud.Cloud
	mu    sync.Mutex
	jobs  map[string]*job
	seen  map[string]map[string]int // region: "METHOD container" counts
	moved chan struct{}             // closed and replaced with each request
	hooks map[string]*hookReceiver  // by the file that names their address
}

type job struct {
	cmd *exec.Cmd
	out bytes.Buffer
	err growing

	looked int // bytes of err that the command logged has seen
}

// growing is text that somebody waits for.
type growing struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced with each write
}

func (g *growing) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.more != nil {
		close(g.more)
		g.more = nil
	}
	return g.text.Write(b)
}

// read gives what is there, and what is closed when there is more.
func (g *growing) read() (string, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.more == nil {
		g.more = make(chan struct{})
	}
	return g.text.String(), g.more
}

type worldKey struct{}

func setup(env *testscript.Env) error {
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "paris"}, {Name: "lyon"}, {Name: "berlin"}}})
	if err != nil {
		return err
	}
	w := &world{cloud: cloud, jobs: map[string]*job{}, seen: map[string]map[string]int{}, moved: make(chan struct{}), hooks: map[string]*hookReceiver{}}
	env.Defer(func() {
		for _, j := range w.jobs {
			_ = j.cmd.Process.Kill()
			_ = j.cmd.Wait()
		}
		if err := cloud.Close(); err != nil {
			env.T().Log(err)
		}
	})
	for _, r := range cloud.Regions() {
		w.watch(r)
	}
	clouds, err := cloud.CloudsYAML(env.WorkDir)
	if err != nil {
		return err
	}
	env.Setenv("OS_CLIENT_CONFIG_FILE", clouds)
	for k, dir := range map[string]string{"HOME": "home", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_RUNTIME_DIR": "run"} {
		env.Setenv(k, filepath.Join(env.WorkDir, dir))
	}
	env.Values[worldKey{}] = w
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func (w *world) region(ts *testscript.TestScript, name string) *fakecloud.Region {
	r := w.cloud.Region(name)
	if r == nil {
		ts.Fatalf("no region %q", name)
	}
	return r
}

func want(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// secrets never appear in what the command prints (promise 9).
func noSecrets(ts *testscript.TestScript, what string, text string) {
	for _, s := range []string{fakecloud.Password, fakecloud.AppCredSecret, "canary-password", "gAAAA", "X-Auth-Token", "X-Subject-Token"} {
		if strings.Contains(text, s) {
			ts.Fatalf("%s shows a secret (%s):\n%s", what, s, text)
		}
	}
}

// run CODE ARGS…: farshore ARGS… must end with the code.
func runCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 1, "run CODE ARGS...")
	err := ts.Exec("farshore", args[1:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	out, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	noSecrets(ts, "stdout", out)
	noSecrets(ts, "stderr", stderr)
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if strings.Contains(stderr, "panic:") || strings.Contains(stderr, "goroutine ") {
		ts.Fatalf("it panicked")
	}
}

// start NAME ARGS…: the same in the background.
func startCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "start NAME ARGS...")
	w := worldOf(ts)
	path, err := exec.LookPath("farshore")
	ts.Check(err)
	j := &job{cmd: exec.Command(path, args[1:]...)}
	j.cmd.Dir = ts.MkAbs(".")
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "OS_CLIENT_CONFIG_FILE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		j.cmd.Env = append(j.cmd.Env, k+"="+ts.Getenv(k))
	}
	j.cmd.Stdout, j.cmd.Stderr = &j.out, &j.err
	ts.Check(j.cmd.Start())
	w.jobs[args[0]] = j
}

// logged NAME REGEXP: wait until the job's stderr has a new line that matches; lines
// up to it are not looked at again.
func loggedCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "logged NAME REGEXP")
	j, expr := worldOf(ts).jobs[args[0]], regexp.MustCompile(`(?m)^.*(?:`+args[1]+`).*\n`)
	late := time.After(time.Minute)
	for {
		text, more := j.err.read()
		if at := expr.FindStringIndex(text[j.looked:]); at != nil {
			j.looked += at[1]
			return
		}
		select {
		case <-more:
		case <-late:
			ts.Fatalf("%s never logged %s:\n%s", args[0], args[1], text)
		}
	}
}

// scrape NAME PATH: what the daemon answers there; its status and body go to the file scraped.
func scrapeCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "scrape NAME PATH")
	text, _ := worldOf(ts).jobs[args[0]].err.read()
	m := regexp.MustCompile(`metrics=(http://[0-9.:]+)/metrics`).FindStringSubmatch(text)
	if m == nil {
		ts.Fatalf("it does not say where it listens:\n%s", text)
	}
	resp, err := http.Get(m[1] + args[1])
	ts.Check(err)
	body, err := io.ReadAll(resp.Body)
	ts.Check(errors.Join(err, resp.Body.Close()))
	noSecrets(ts, args[1], string(body))
	ts.Check(os.WriteFile(ts.MkAbs("scraped"), append([]byte(resp.Status+"\n"), body...), 0o600))
	req, err := http.NewRequest(http.MethodGet, m[1]+args[1], nil)
	ts.Check(err)
	req.Host = "elsewhere.example"
	resp, err = http.DefaultClient.Do(req)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound {
		ts.Fatalf("%s is shown to %s: %s", args[1], req.Host, resp.Status)
	}
}

// documented FILE DOC: every series of the scraped FILE is in DOC of docs/, and the other
// way round.
func documentedCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "documented FILE DOC")
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", args[1]))
	ts.Check(err)
	names := func(expr, text string) map[string]bool {
		all := map[string]bool{}
		for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
			all[m[1]] = true
		}
		return all
	}
	served, told := names(`(?m)^# TYPE (farshore_\S+)`, ts.ReadFile(args[0])), names("(?m)^\\| `(farshore_[a-z_]+)", string(doc))
	if d := cmp.Diff(served, told); d != "" {
		ts.Fatalf("docs/%s (-served +told):\n%s", args[1], d)
	}
}

// signal NAME INT|TERM|KILL|HUP
func signalCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "signal NAME INT|TERM|KILL|HUP")
	s := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}[args[1]]
	ts.Check(worldOf(ts).jobs[args[0]].cmd.Process.Signal(s))
}

// finish NAME CODE: wait for the end; its output is then in NAME.out and NAME.err.
func finishCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "finish NAME CODE")
	w := worldOf(ts)
	j := w.jobs[args[0]]
	delete(w.jobs, args[0])
	late := time.AfterFunc(time.Minute, func() { _ = j.cmd.Process.Kill() })
	err := j.cmd.Wait()
	late.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), j.out.Bytes(), 0o600))
	stderr, _ := j.err.read()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(stderr), 0o600))
	ts.Logf("[%s stdout]\n%s[%s stderr]\n%s", args[0], &j.out, args[0], stderr)
	noSecrets(ts, args[0]+".out", j.out.String())
	noSecrets(ts, args[0]+".err", stderr)
	if got := strconv.Itoa(j.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s ended with %s (%v), want %s", args[0], got, j.cmd.ProcessState, args[1])
	}
}

// mode PERM FILE: the file has that mode.
func modeCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "mode PERM FILE")
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// sub FILE REGEXP TEXT: replace in a file; something must match.
func subCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 3, "sub FILE REGEXP TEXT")
	old := ts.ReadFile(args[0])
	text := regexp.MustCompile(args[1]).ReplaceAllString(old, args[2])
	if text == old {
		ts.Fatalf("nothing to replace in\n%s", old)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// token VAR [NAME]: the --release-brake token of the last JSON output, or of a job's log.
func tokenCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && (len(args) == 1 || len(args) == 2), "token VAR [NAME]")
	var m []string
	if len(args) == 2 {
		text, _ := worldOf(ts).jobs[args[1]].err.read()
		m = regexp.MustCompile(`--release-brake ([0-9a-f]+)`).FindStringSubmatch(text)
	} else {
		m = regexp.MustCompile(`"release_brake": "([0-9a-f]+)"`).FindStringSubmatch(ts.ReadFile("stdout"))
	}
	if m == nil {
		ts.Fatalf("no token in the output")
	}
	ts.Setenv(args[0], m[1])
}
