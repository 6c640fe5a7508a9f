package replicator

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"farshore/transport/transporttest"
)

// With one stream, the next object is read while the first is written, and no two
// are written at once; one that is not held in memory whole is not read ahead.
func TestReadsRunAheadOfWrites(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		ahead bool
	}{{"held in memory", 4 << 10, true}, {"streamed", bufferUpTo + 1, false}} {
		t.Run(c.name, func(t *testing.T) {
			const objects = 6
			w := newWorld(t, "b")
			w.limits.Streams = 1
			for i := range objects {
				w.put(fmt.Sprintf("o%d", i), uint64(i), c.size, nil)
			}
			var reads, writing, written atomic.Int64
			second := make(chan struct{})
			w.faults["a"].OnStep(func(s transporttest.Step) error {
				if s.Method == transporttest.Open && s.After && reads.Add(1) == 2 {
					close(second)
				}
				return nil
			})
			w.faults["b"].OnStep(func(s transporttest.Step) error {
				switch {
				case s.Method != transporttest.Put:
				case s.After:
					writing.Add(-1)
					written.Add(1)
				case writing.Add(1) > 1:
					return errors.New("two writes at once with one stream")
				case c.ahead:
					select {
					case <-second:
					case <-time.After(20 * time.Second):
						return errors.New("nothing was read while the first object was written")
					}
				case reads.Load() > written.Load()+1:
					return errors.New("two objects open with one stream")
				}
				return nil
			})
			if r := w.sync(); r.Totals.Copied != objects {
				t.Fatalf("copied %d of %d", r.Totals.Copied, objects)
			}
			w.same("b")
		})
	}
}
