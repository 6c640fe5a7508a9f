package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"farshore/replicator/report"
)

// kept keeps what a command said.
type kept struct {
	stdout, stderr bytes.Buffer
	progress       []string
	files          map[string]*bytes.Buffer
	closed         int
	begun          chan string
}

func (k *kept) output() Output {
	k.files, k.begun = map[string]*bytes.Buffer{}, make(chan string, 1)
	return Output{Begun: func(id string) { k.begun <- id }, Stdout: &k.stdout, Stderr: &k.stderr,
		Progress: func(s *report.Snapshot) {
			if s == nil {
				k.progress = append(k.progress, "hidden")
				return
			}
			k.progress = append(k.progress, s.Phase)
		},
		File: func(name string) (io.WriteCloser, error) {
			if name != "out.txt" {
				return nil, errors.New("not asked for")
			}
			k.files[name] = &bytes.Buffer{}
			return keptFile{k.files[name], k}, nil
		}}
}

type keptFile struct {
	io.Writer
	k *kept
}

func (f keptFile) Close() error { f.k.closed++; return nil }

func serving(t *testing.T) (*holder, *Client) {
	t.Helper()
	ledger := filepath.Join(t.TempDir(), "l.db")
	h := &holder{cancels: make(chan string, 1), gone: make(chan string, 1)}
	s, err := Serve(ledger, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, NewClient(ledger)
}

func asInterrupted() string { return "interrupted" }

func TestRun(t *testing.T) {
	_, c := serving(t)
	var k kept
	code, err := c.Run(t.Context(), Request{Command: "ledger dump", Args: []string{"--json", "a b"}, Policies: &PolicyFile{Name: "x", Text: []byte("regions: {}\n")}}, asInterrupted, k.output())
	if err != nil || code != 3 {
		t.Fatalf("Run: %d, %v", code, err)
	}
	if got, want := k.stdout.String(), `ledger dump ["--json" "a b"] regions: {}`+"\n"; got != want {
		t.Errorf("stdout is %q, want %q", got, want)
	}
	if k.stderr.Len() != frameMost+1 || bytes.Count(k.stderr.Bytes(), []byte{0xff}) != k.stderr.Len() {
		t.Errorf("stderr has %d bytes, want %d of 0xff", k.stderr.Len(), frameMost+1)
	}
	if got := strings.Join(k.progress, " "); got != "copying hidden" {
		t.Errorf("progress: %s", got)
	}
	if f := k.files["out.txt"]; f == nil || f.String() != "whole" || k.closed != 1 {
		t.Errorf("the file is %v, closed %d times", f, k.closed)
	}
	if id := <-k.begun; id != "7" {
		t.Errorf("it began as %q", id)
	}
	var no *Refusal
	if _, err := c.Run(t.Context(), Request{Command: "dance"}, asInterrupted, k.output()); !errors.As(err, &no) || no.Msg != "no dancing" || no.Hint != "sit down" {
		t.Errorf("a refusal came as %v", err)
	}
}

// The end of the asker's context is a word to the holder, whose last words are waited for.
func TestRunCancelled(t *testing.T) {
	h, c := serving(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var k kept
	out := k.output()
	out.Begun = func(string) { cancel() }
	code, err := c.Run(ctx, Request{Command: "wait", Policies: &PolicyFile{}}, asInterrupted, out)
	if err != nil || code != 130 {
		t.Errorf("Run: %d, %v", code, err)
	}
	if how := <-h.gone; how != "interrupted" {
		t.Errorf("the holder was told %q", how)
	}
	if _, err := c.Cancel(t.Context(), Cancelled{ID: "8"}); err == nil || !strings.Contains(err.Error(), "no command 8") {
		t.Errorf("Cancel of another: %v", err)
	}
}

// A file that cannot be written ends the asker, and the holder sees that it has gone.
func TestRunAskerGone(t *testing.T) {
	h, c := serving(t)
	var k kept
	out := k.output()
	full := errors.New("disk full")
	out.File = func(string) (io.WriteCloser, error) { return nil, full }
	if _, err := c.Run(t.Context(), Request{Command: "wait", Policies: &PolicyFile{}}, asInterrupted, out); !errors.Is(err, full) {
		t.Errorf("Run: %v", err)
	}
	if how := <-h.gone; how != "gone" {
		t.Errorf("the holder was told %q", how)
	}
}
