package replicator

import (
	"hash"
	"sync"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/chunk"
)

// sender is one destination of a segmented transfer.
type sender struct {
	t         target
	container string // of the segments
	prefix    string
	exact     bool
	resumed   bool

	mu   sync.Mutex
	have map[int][16]byte
	err  error // it was detached
}

func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *sender) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil
}

func (s *sender) has(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.have[i]
	return ok
}

// transfer is one large object on its way.
type transfer struct {
	p       *pass
	it      *item
	obj     transport.Object
	layout  chunk.Layout
	senders []*sender

	reads chan struct{} // half of the window may read, so that the other half is being sent

	mu    sync.Mutex
	state store.HashState
	ready []chan *piece // chunks read, for the digest of the whole, in order
	md5   hash.Hash
	sha   hash.Hash
}

// piece is a chunk in memory: freed when it was sent and went into the digest.
type piece struct {
	data   []byte
	refs   int
	mu     sync.Mutex
	free   func()
	buffer *sync.Pool // where data goes back to
}

func (c *piece) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refs--; c.refs == 0 {
		if c.data != nil {
			c.buffer.Put(&c.data)
		}
		c.free()
	}
}
