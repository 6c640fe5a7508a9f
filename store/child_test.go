package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startChild runs this test binary as another process in a role.
func startChild(t *testing.T, role ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(role, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// child plays a role; its result is the exit code.
func child(role []string) int {
	var err error
	switch role[0] {
	case "hold":
		err = childHold(role[1])
	case "write":
		err = childWrite(role[1])
	case "room":
		err = childRoom(role[1])
	case "fill":
		err = childFill(role[1], role[2])
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// childHold keeps the ledger open until it is killed.
func childHold(path string) error {
	if _, err := Open(path, Options{}); err != nil {
		return err
	}
	fmt.Println("held")
	time.Sleep(time.Minute)
	return nil
}

// openWithRoute opens a ledger that has a route.
func openWithRoute(path string) (*Ledger, RouteInfo, error) {
	l, err := Open(path, Options{})
	if err != nil {
		return nil, RouteInfo{}, err
	}
	r, err := l.Route(Route{From: paris("a"), To: lyon("a")})
	return l, r, err
}

// childWrite goes on for ever: objects 0, 1, 2 ... confirmed in batches, with a pass
// saved after each ten that says how far it got; it prints what SavePass and
// ChunkDone promised.
func childWrite(path string) error {
	l, r, err := openWithRoute(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		name := fmt.Sprintf("%08d", i)
		if i%10 == 0 {
			var ins []Intent
			for j := i; j < i+10; j++ {
				ins = append(ins, Intent{Route: r.ID, Name: fmt.Sprintf("%08d", j), Size: int64(j)})
			}
			if err := l.AddIntents(ctx, ins); err != nil {
				return err
			}
			fmt.Println("planned", i+9)
		}
		l.Confirm(Confirmation{Place: r.From, Route: r.ID, Name: name, Apply: set(testObject(name, r.ID))})
		if i%10 == 9 {
			if err := l.SavePass(ctx, Pass{Key: "p", Ranges: []PassRange{{Pos: name}}}); err != nil {
				return err
			}
			fmt.Println("passed", i)
		}
	}
}

// childFill writes until the file may not grow any more.
func childFill(path, limit string) error {
	n, err := strconv.ParseUint(limit, 10, 64)
	if err != nil {
		return err
	}
	if n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	return fillUp(path)
}

// fillUp writes until ErrFull, and makes sure that everybody is told and that what
// was promised before is there.
func fillUp(path string) error {
	l, err := Open(path, Options{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	r, err := l.Route(Route{From: paris("a"), To: lyon("a")})
	if err != nil {
		return fmt.Errorf("route: %w", err)
	}
	ctx := context.Background()
	durable, sent := 0, 0
	for ; durable == sent && sent < 1_000_000; sent += 500 {
		for i := range 500 {
			name := fmt.Sprintf("%08d", sent+i)
			l.Update(r.From, name, set(testObject(name, r.ID)))
		}
		if err = l.Flush(ctx); err == nil {
			durable += 500
		}
	}
	var full *Error
	if !errors.Is(err, ErrFull) || !errors.As(err, &full) || full.Path != path || full.Hint == "" {
		return fmt.Errorf("flush after %d: got %v, want ErrFull that names %s and says what to do", durable, err, path)
	}
	l.Update(r.From, "late", set(testObject("late")))
	for what, err := range map[string]error{"flush": l.Flush(ctx), "note": l.PutNote("k", []byte("v")), "intents": l.AddIntents(ctx, []Intent{{Route: r.ID, Name: "x"}})} {
		if !errors.Is(err, ErrFull) {
			return fmt.Errorf("%s afterwards: got %v, want ErrFull", what, err)
		}
	}
	read := 0
	for after := ""; ; {
		page, err := l.Page(r.From, after, "", "", 0)
		if err != nil {
			return fmt.Errorf("read on a full disk: %w", err)
		}
		if read += len(page); len(page) < MaxPage {
			break
		}
		after = page[len(page)-1].Name
	}
	if read < durable || read > sent {
		return fmt.Errorf("%d were promised and %d sent, %d are there", durable, sent, read)
	}
	if err := l.Close(); !errors.Is(err, ErrFull) {
		return fmt.Errorf("close: got %v, want ErrFull", err)
	}
	if durable == 0 {
		return errors.New("not one batch fitted: the test tests nothing")
	}
	fmt.Println("kept", read)
	return nil
}
