package policies

import "time"

// LongestPause returns the longest time that the policy leaves between two looks at its
// source, what a pass is put off at random (a tenth of every) included.
func (p Policy) LongestPause() time.Duration {
	pause, _ := p.longestPause()
	if p.Schedule.IsZero() {
		pause += p.Every / 10
	}
	return pause
}
