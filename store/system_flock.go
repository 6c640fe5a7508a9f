//go:build linux || darwin || freebsd

package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	berrors "go.etcd.io/bbolt/errors"
)

// lockRetry is how long to wait between two tries to lock.
const lockRetry = 25 * time.Millisecond

// lock takes the lock that bbolt takes later on the same descriptor, which then
// costs nothing. Before it is held the pages may change under whoever looks at them.
func lock(f *os.File, exclusive bool, timeout time.Duration) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) //nolint:gosec // descriptors are small
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock: %w", err)
		case timeout <= 0:
			return berrors.ErrTimeout
		}
		wait := min(timeout, lockRetry)
		timeout -= wait
		<-time.NewTimer(wait).C
	}
}

// freeBytes is what an ordinary user may still write where path lies.
func freeBytes(path string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:gosec,unconvert // widths differ between systems
}

// holder names the process that locks path, as far as Linux tells, else "".
func holder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	// 1: FLOCK  ADVISORY  WRITE 4242 fd:01:1234 0 EOF; the device is the file
	// system's own idea of it, so the inode has to do.
	inode := fmt.Sprintf(":%d", st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) < 6 || w[1] != "FLOCK" || !strings.HasSuffix(w[5], inode) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", w[4], "comm"))
		if err != nil {
			return "process " + w[4]
		}
		return fmt.Sprintf("process %s (%s)", w[4], strings.TrimSpace(string(comm)))
	}
	return ""
}
