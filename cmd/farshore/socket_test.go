package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"farshore/replicator/control"
	"farshore/store"
)

// keepOut is a holder of a ledger, whose socket is then made unusable.
func keepOut(t *testing.T) (ledger string) {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(d) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { // a stranger must come as far as to the socket
			t.Fatal(err)
		}
	}
	ledger = filepath.Join(dir, "ledger.db")
	l, err := store.Open(ledger, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(ledger, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSession(l)
	if s.server, err = control.Serve(ledger, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.server.Close() })
	return ledger
}

// typed runs the command as a user, or, with none, as this one.
func typed(t *testing.T, program string, user *syscall.Credential, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &out, &errs
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// A socket that nobody may open: whoever asks is told who may, with exit code 1, and
// nothing is begun.
func TestSocketOfAnother(t *testing.T) {
	program, err := exec.LookPath("farshore")
	if err != nil {
		t.Fatal(err)
	}
	var stranger *syscall.Credential
	ledger := keepOut(t)
	if os.Getuid() == 0 {
		// Modes say nothing to root. The program lies where only this user comes.
		stranger = &syscall.Credential{Uid: 65534, Gid: 65534}
		public := filepath.Join(filepath.Dir(ledger), "farshore")
		if err := copyFile(public, program); err != nil {
			t.Fatal(err)
		}
		program = public
	}
	for name, mode := range map[string]os.FileMode{"no mode at all": 0, "another user's": 0o600} {
		if stranger == nil && mode != 0 {
			t.Log("being another user takes root: only mode 0 is tried")
			continue
		}
		if err := os.Chmod(control.Path(ledger), mode); err != nil {
			t.Fatal(err)
		}
		for _, words := range [][]string{{"status"}, {"limit", "1MiB/s"}, {"stop"}, {"pause", "photos"}, {"run-now", "photos"}, {"cancel", "photos"}} {
			code, _, stderr := typed(t, program, stranger, append(words, "--ledger", ledger)...)
			if want := regexp.MustCompile(`(?s)^farshore: ask the holder of .*ledger.db.*permission denied\n  hint: only the user who started it, root and who is in its control_group may ask`); code != exitCannot || !want.MatchString(stderr) {
				t.Errorf("%s: %s: exit code %d: %s", name, words, code, stderr)
			}
		}
		if code, stdout, _ := typed(t, program, stranger, "status", "--json", "--ledger", ledger); code != exitCannot || !regexp.MustCompile(`"hint": "only the user`).MatchString(stdout) {
			t.Errorf("%s: exit code %d: %s", name, code, stdout)
		}
	}
}

// What a killed process left, and a folder in the socket's place, keep nobody from the
// ledger; while it is held, they say that its holder does not answer.
func TestSocketInTheWay(t *testing.T) {
	program, err := exec.LookPath("farshore")
	if err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(path string) error{
		"a stale socket": func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			return l.Close()
		},
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		ledger := filepath.Join(t.TempDir(), "ledger.db")
		l, err := store.Open(ledger, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := put(control.Path(ledger)); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			held  bool
			words []string
			code  int
			says  string
		}{
			{true, []string{"status"}, exitCannot, `^farshore: open ledger .*: it is in use.*\n  hint: wait until it has ended`},
			{true, []string{"stop"}, exitCannot, `nobody is working on this ledger\n  hint: `},
			{false, []string{"status"}, exitDone, `nobody is working on it`},
			{false, []string{"pause", "photos"}, exitCannot, `nobody is working on this ledger\n  hint: `},
		} {
			if !c.held && l != nil {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = nil
			}
			code, stdout, stderr := typed(t, program, nil, append(c.words, "--ledger", ledger)...)
			if code != c.code || !regexp.MustCompile("(?s)"+c.says).MatchString(stdout+stderr) {
				t.Errorf("%s: held %v: %s: exit code %d: %s%s", name, c.held, c.words, code, stdout, stderr)
			}
		}
		s, err := control.Serve(ledger, newSessionOf(t, ledger))
		if name == "a folder" {
			if err == nil || !regexp.MustCompile(`ledger.db.sock is in the way of the control socket and is no socket: move it away`).MatchString(err.Error()) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s keeps the next process out: %v", name, err)
		}
		_ = s.Close()
	}
}

func newSessionOf(t *testing.T, ledger string) *session {
	t.Helper()
	l, err := store.Open(ledger, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return newSession(l)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy: %w", errors.Join(err, out.Close()))
	}
	return out.Close()
}
