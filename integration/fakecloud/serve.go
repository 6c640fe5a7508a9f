package fakecloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// service is one listening HTTP server that can be stopped and started again
// on the same port.
type service struct {
	handler http.Handler
	small   func() bool // small socket buffers, so that a slow link shows at once

	at   sync.Mutex // around addr alone: requests under way ask for it while stop waits for them
	addr string

	mu   sync.Mutex // around start and stop
	srv  *http.Server
	end  context.CancelFunc
	busy sync.WaitGroup // the serving loop and every running request
}

func (s *service) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		return nil
	}
	ln, err := net.Listen("tcp", s.address())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.address(), err)
	}
	s.at.Lock()
	s.addr = ln.Addr().String()
	s.at.Unlock()
	base, end := context.WithCancel(context.Background())
	s.end = end
	s.srv = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ConnState:         s.tune,
		// Swift's own limit is on single headers; the 90 metadata headers must pass.
		MaxHeaderBytes: 256 << 10,
	}
	srv := s.srv
	s.busy.Go(func() {
		// Serve's only news is that it was closed.
		_ = srv.Serve(ln)
	})
	return nil
}

func (s *service) handle(w http.ResponseWriter, r *http.Request) {
	s.busy.Add(1)
	defer s.busy.Done()
	s.handler.ServeHTTP(w, r)
}

func (s *service) tune(c net.Conn, st http.ConnState) {
	if st != http.StateNew || s.small == nil || !s.small() {
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(128 << 10)
		_ = t.SetWriteBuffer(128 << 10)
	}
}

func (s *service) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return nil
	}
	s.end() // wakes requests that wait for their link or in a fault
	err := s.srv.Close()
	s.busy.Wait()
	s.srv = nil
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop %s: %w", s.address(), err)
	}
	return nil
}

func (s *service) address() string {
	s.at.Lock()
	defer s.at.Unlock()
	return s.addr
}

// link is the emulated wire of a region.
type link struct {
	latency atomic.Int64 // ns a round trip
	rate    atomic.Int64 // bytes per second, 0 = no limit

	mu   sync.Mutex
	next time.Time
}

// roundTrip waits the latency out.
func (l *link) roundTrip(ctx context.Context) error {
	return pause(ctx, time.Duration(l.latency.Load()))
}

// carry waits until n more bytes have had their time on the wire.
func (l *link) carry(ctx context.Context, n int) error {
	rate := l.rate.Load()
	if rate <= 0 || n == 0 {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	wait := l.next.Sub(now)
	l.mu.Unlock()
	if wait < 2*time.Millisecond {
		return nil
	}
	return pause(ctx, wait)
}

// slice is the most that goes over a limited wire in one go.
const slice = 64 << 10

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
