package daemon

import (
	"testing"
	"testing/synctest"
	"time"
)

// Policies whose passes take days do not keep one with a promise to hold from its own;
// one without waits, and of those that are let through there are only so many.
func TestABusySchedulerLetsThroughWhoCannotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{start: time.Now()}
		bulk := every(d, "bulk", Pass, time.Hour, 100*time.Hour)
		small := every(d, "small", Pass, 5*time.Minute, time.Minute)
		small.Patience = 20 * time.Second
		late := every(d, "late", Pass, time.Hour, 3*time.Minute)
		late.Patience = 30 * time.Second
		calm := every(d, "calm", Pass, time.Hour, time.Second)
		_, stop := begin(t, newNotes(), 1, bulk, small, late, calm)
		defer stop()
		time.Sleep(9 * time.Minute)
		expect(t, d, "bulk/pass@0s small/pass@20s late/pass@1m20s small/pass@5m40s")
	})
}
