//go:build !linux

package main

// monotonic has no clock to read: only systems with systemd ask for it.
func monotonic() (microseconds int64, ok bool) { return 0, false }
