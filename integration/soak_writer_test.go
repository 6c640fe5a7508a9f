//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/lab"
)

// soakWriter creates, overwrites, POSTs and deletes objects, and writes down when. Every change gives its object a
// number in the content type, which listings show: so the observer reads off a listing which change a region has.
type soakWriter struct {
	t          *testing.T
	one        *lab.Client
	containers []string
	rng        *rand.Rand

	// away is held for writing while the source is away: nobody can write there then.
	away sync.RWMutex

	mu     sync.Mutex
	done   int
	counts map[string]int
	// changes of an object, by container and name, the oldest first.
	changes map[place][]change
}

type place struct{ container, name string }

// change is what was done to an object. The truth lies between began and ended.
type change struct {
	number       int // 0: deleted
	began, ended time.Time
}

func (c change) gone() bool { return c.number == 0 }

const soakType = "application/x-soak; n="

// numbered is the change that a content type names; 0: none.
func numbered(contentType string) (n int) {
	rest, ok := strings.CutPrefix(contentType, "application/x-soak;")
	if !ok {
		return 0
	}
	if _, err := fmt.Sscanf(strings.TrimSpace(rest), "n=%d", &n); err != nil {
		return 0
	}
	return n
}

func newSoakWriter(t *testing.T, one *lab.Client, rng *rand.Rand, containers ...string) *soakWriter {
	return &soakWriter{t: t, one: one, containers: containers, rng: rng, counts: map[string]int{}, changes: map[place][]change{}}
}

// write makes one change, or waits while the source is away.
func (w *soakWriter) write() {
	w.away.RLock()
	defer w.away.RUnlock()
	at := place{pick(w.rng, w.containers), fmt.Sprintf("%s/%03d", pick(w.rng, []string{"plain", "dir é/sub %41", "x#y?"}), w.rng.IntN(50))}
	w.mu.Lock()
	before := w.changes[at]
	number := w.done + 1
	w.mu.Unlock()
	stands := len(before) > 0 && !before[len(before)-1].gone()
	c := change{began: time.Now()}
	what := ""
	switch kind := w.rng.IntN(10); {
	case stands && kind < 3:
		what = "deleted"
		w.one.Call(w.t, "DELETE", lab.Path(at.container, at.name), nil, nil).Want(w.t, 204)
	case stands && kind < 5:
		what, c.number = "POSTed", number
		w.one.Call(w.t, "POST", lab.Path(at.container, at.name), w.headers(number), nil).Want(w.t, 202)
	default:
		if what = "created"; stands {
			what = "overwritten"
		}
		c.number = number
		w.one.Put(w.t, at.container, at.name, content(w.rng.Uint64(), w.size()), w.headers(number))
	}
	c.ended = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = number
	w.counts[what]++
	w.changes[at] = append(w.changes[at], c)
}

func (w *soakWriter) headers(number int) map[string]string {
	h := map[string]string{"Content-Type": fmt.Sprint(soakType, number), "X-Object-Meta-Number": fmt.Sprint(number)}
	if w.rng.IntN(3) == 0 {
		h["X-Object-Meta-City"] = "Zürich 🚢"
	}
	if w.rng.IntN(4) == 0 {
		h["Cache-Control"] = "no-cache"
	}
	return h
}

// size is mostly some KiB, now and then one that travels in pieces.
func (w *soakWriter) size() int {
	switch n := w.rng.IntN(60); {
	case n == 0:
		return 5 << 20
	case n < 4:
		return w.rng.IntN(2 << 20)
	case n < 8:
		return 0
	}
	return w.rng.IntN(64 << 10)
}

// run writes in bursts until quit is closed.
func (w *soakWriter) run(quit <-chan struct{}) {
	for !w.t.Failed() {
		for range w.rng.IntN(4) {
			w.write()
		}
		select {
		case <-quit:
			return
		case <-time.After(time.Duration(500+w.rng.IntN(2500)) * time.Millisecond):
		}
	}
}

// stand is what should stand in a container, by name: the number of its last change.
func (w *soakWriter) stand(container string) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for at, all := range w.changes {
		if last := all[len(all)-1]; at.container == container && !last.gone() {
			out[at.name] = last.number
		}
	}
	return out
}

// blockWriter writes to a volume in use and has it snapshotted, as the volume's owner would.
type blockWriter struct {
	*volumes
	snapshots []snapshot
	written   int
}

// snapshot is one that the owner took, with what it should hold.
type snapshot struct {
	id    string
	sum   string    // SHA-256 of the volume's bytes
	taken time.Time // created_at, by the source's clock
}

// change writes one to three MiBs, and now and then zeros.
func (b *blockWriter) change() {
	for range 1 + b.rng.IntN(3) {
		b.write(b.rng.IntN(5) == 0, int64(b.rng.IntN(1024)))
		b.written++
	}
}

// snap has a snapshot taken; nothing may write meanwhile.
func (b *blockWriter) snap() {
	b.t.Helper()
	id := b.one.Create(b.t, lab.Snapshots, map[string]any{"volume_id": b.volume, "name": fmt.Sprint("by its owner ", len(b.snapshots)), "force": true})
	created, _ := b.one.Show(b.t, lab.Snapshots, id)["created_at"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.999999", created)
	if err != nil {
		b.t.Fatal(err)
	}
	b.snapshots = append(b.snapshots, snapshot{id: id, sum: b.sum("one", b.volume), taken: at})
}
