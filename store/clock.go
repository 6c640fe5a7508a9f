package store

import "time"

// wallClock is Options.Clock when nobody gives another.
func wallClock() time.Time { return time.Now() }
