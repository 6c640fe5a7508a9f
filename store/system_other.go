//go:build !linux && !darwin && !freebsd

package store

import (
	"os"
	"time"
)

func freeBytes(string) (int64, bool) { return 0, false }

func holder(string) string { return "" }

// lock leaves the locking to bbolt.
func lock(*os.File, bool, time.Duration) error { return nil }
