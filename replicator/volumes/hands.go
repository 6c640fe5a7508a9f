package volumes

import "sync"

// Hands knows which works are in hand: that shippers of this process are at. What is
// in the ledger and in nobody's hand was left behind by an earlier run. Shippers that work
// side by side on one ledger share one. The zero value is ready.
type Hands struct {
	mu  sync.Mutex
	ids map[string]*Shipper
}

func (h *Hands) take(id string, by *Shipper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids == nil {
		h.ids = map[string]*Shipper{}
	}
	h.ids[id] = by
}

func (h *Hands) drop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ids, id)
}

func (h *Hands) has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ids[id] != nil
}

// Apart gives a shipper that does the same with the same, whose works can be let go of
// without those of others.
func (s *Shipper) Apart() *Shipper { return New(s.o) }

// LetGo says that nobody is at this shipper's works any more: what is left of them is gone
// on with, or cleared away, by whoever comes next.
func (s *Shipper) LetGo() {
	h := s.o.Hands
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, by := range h.ids {
		if by == s {
			delete(h.ids, id)
		}
	}
}
