package main

import (
	"net"
	"os"
)

// notify tells the service manager how it stands, where one listens: a datagram to
// $NOTIFY_SOCKET, as sd_notify(3) describes. What cannot be told is not worth failing for.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(state))
	_ = conn.Close()
}
