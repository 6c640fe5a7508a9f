package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// manager is the service manager that started us, where one listens: it is told in
// datagrams to $NOTIFY_SOCKET how things stand, as sd_notify(3) describes. What cannot be
// told is not worth failing for. Its methods may be called concurrently.
type manager struct {
	path string // empty: nobody listens
	// watchdog is how long it waits for a sign of life before it ends us; 0: it does not.
	watchdog time.Duration
}

// newManager reads what the service manager left in the environment.
func newManager() *manager {
	m := &manager{path: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m // meant for another process: sd_watchdog_enabled(3)
	}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		m.watchdog = time.Duration(us) * time.Microsecond
	}
	return m
}

// tell sends assignments such as READY=1, all in one datagram. None of them may hold a
// line break.
func (m *manager) tell(assignments ...string) {
	if m == nil || m.path == "" {
		return
	}
	path := m.path
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(strings.Join(assignments, "\n")))
	_ = conn.Close()
}

// status is the line that systemctl status shows.
func (m *manager) status(text string) {
	m.tell("STATUS=" + strings.Join(strings.Fields(printable(text)), " "))
}

// reloading says that the policy file is read again. With Type=notify-reload the moment is
// asked for, by the clock that starts with the machine.
func (m *manager) reloading() {
	say := []string{"RELOADING=1"}
	if us, ok := monotonic(); ok {
		say = append(say, "MONOTONIC_USEC="+strconv.FormatInt(us, 10))
	}
	m.tell(say...)
}
