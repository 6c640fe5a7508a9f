package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// path is what the network between a client and a region is like.
type path struct {
	RTT    time.Duration // a round trip; a new connection costs one more
	Window int64         // bytes that one connection has under way at most; 0: no bound
}

// initialWindow is what a connection may send before the first acknowledgement
// (RFC 6928); it doubles with every round trip until it is path.Window.
const initialWindow = 10 * 1460

// relay stands before a region and behaves like a long way: fakecloud delays
// requests, but one connection through it is as fast as sixteen, which no long link
// is. It also meters what clients send, moment by moment.
type relay struct {
	ln     net.Listener
	target string
	path   path
	sent   atomic.Int64 // bytes from clients to the region
	open   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// newRelay listens on 127.0.0.1 before target.
func newRelay(target string, p path) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, target: target, path: p, conns: map[net.Conn]bool{}}
	r.open.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

// Close cuts all connections.
func (r *relay) Close() error {
	err := r.ln.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.open.Wait()
	return err
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.open.Go(func() { r.carry(c) })
	}
}

// keep notes a connection, so that Close can cut it; false when closed already.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		_ = c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) carry(client net.Conn) {
	if !r.keep(client) {
		return
	}
	defer r.drop(client)
	server, err := net.Dial("tcp", r.target)
	if err != nil || !r.keep(server) {
		return
	}
	defer r.drop(server)
	time.Sleep(r.path.RTT) // the handshake
	var both sync.WaitGroup
	both.Go(func() { r.one(server, client, &r.sent) })
	both.Go(func() { r.one(client, server, nil) })
	both.Wait()
}

// parcel is bytes on their way.
type parcel struct {
	data []byte
	due  time.Time
}

// one carries one direction until its end, then hands the end on.
func (r *relay) one(to, from net.Conn, meter *atomic.Int64) {
	way := make(chan parcel, 1024)
	win := newWindow(r.path.Window)
	var writer sync.WaitGroup
	writer.Go(func() {
		failed := false
		for p := range way {
			time.Sleep(time.Until(p.due))
			if !failed {
				_, err := to.Write(p.data)
				if failed = err != nil; failed {
					_ = from.Close() // ends the reader
				}
			}
			win.arrived(int64(len(p.data)), time.Now().Add(r.path.RTT/2))
		}
		if t, ok := to.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
	})
	for {
		buf := make([]byte, win.room())
		n, err := from.Read(buf)
		if n > 0 {
			win.send(int64(n))
			if meter != nil {
				meter.Add(int64(n))
			}
			way <- parcel{buf[:n], time.Now().Add(r.path.RTT / 2)}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = from.Close()
			}
			break
		}
	}
	close(way)
	writer.Wait()
}

// window is what one direction of a connection may have under way.
type window struct {
	most int64 // 0: no bound

	mu     sync.Mutex
	change *sync.Cond
	size   int64 // grows by what is acknowledged (slow start), up to most
	under  int64
	acks   []ack // on their way back, oldest first
}

type ack struct {
	n   int64
	due time.Time
}

func newWindow(most int64) *window {
	w := &window{most: most, size: min(initialWindow, most)}
	w.change = sync.NewCond(&w.mu)
	return w
}

// room waits until something may be sent and says how much in one go.
func (w *window) room() int64 {
	const parcelMax = 64 << 10
	if w.most <= 0 {
		return parcelMax
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.acks) > 0 && !time.Now().Before(w.acks[0].due) {
			w.under -= w.acks[0].n
			w.size = min(w.most, w.size+w.acks[0].n)
			w.acks = w.acks[1:]
		}
		if w.under < w.size {
			return min(parcelMax, w.size-w.under)
		}
		if len(w.acks) == 0 {
			w.change.Wait()
			continue
		}
		due := w.acks[0].due
		w.mu.Unlock()
		time.Sleep(time.Until(due))
		w.mu.Lock()
	}
}

func (w *window) send(n int64) {
	if w.most > 0 {
		w.mu.Lock()
		w.under += n
		w.mu.Unlock()
	}
}

func (w *window) arrived(n int64, due time.Time) {
	if w.most > 0 {
		w.mu.Lock()
		w.acks = append(w.acks, ack{n, due})
		w.mu.Unlock()
		w.change.Signal()
	}
}
