// Package proc runs a program to its end and says what it cost: wall and CPU time,
// and its peak memory from /proc, sampled. Linux only.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// Every is the time between two samples of a process's memory.
const Every = 20 * time.Millisecond

// Usage is what one run of a program cost.
type Usage struct {
	Wall time.Duration
	CPU  time.Duration // user and system, of all its threads
	// Anon is the peak of RssAnon in bytes: memory that is not a file's. A mapped
	// ledger is cache and does not count (design §8).
	Anon int64
	HWM  int64 // VmHWM in bytes: the kernel's own peak, pages of files included
	Exit int
}

// Run starts cmd and waits for it. The error is nil when the program ran, whatever
// its exit code. Cancelling cmd's context kills it, as os/exec has it.
func Run(cmd *exec.Cmd) (Usage, error) {
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Usage{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	end, seen := make(chan struct{}), make(chan Usage, 1)
	go watch(cmd.Process.Pid, end, seen)
	err := cmd.Wait()
	wall := time.Since(began)
	close(end)
	u := <-seen
	u.Wall = wall
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return u, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	u.Exit = cmd.ProcessState.ExitCode()
	return u, nil
}

func watch(pid int, end <-chan struct{}, seen chan<- Usage) {
	var peak Usage
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		if anon, hwm, ok := Memory(pid); ok {
			peak.Anon, peak.HWM = max(peak.Anon, anon), max(peak.HWM, hwm)
		}
		select {
		case <-end:
			seen <- peak
			return
		case <-tick.C:
		}
	}
}

// Memory gives RssAnon and VmHWM of a running process in bytes; false when it has ended.
func Memory(pid int) (anon, hwm int64, ok bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0, false
	}
	anon, ok = field(status, "RssAnon:")
	hwm, _ = field(status, "VmHWM:")
	return anon, hwm, ok
}

// field reads a line such as "RssAnon:    1234 kB".
func field(status []byte, name string) (int64, bool) {
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			return n << 10, err == nil
		}
	}
	return 0, false
}
