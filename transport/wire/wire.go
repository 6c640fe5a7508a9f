// Package wire is the chain of http.RoundTrippers that every request of a region
// passes, whichever client made it: counters, a watchdog that ends requests whose
// peer has gone silent, and the byte limits that travel in the request's context.
//
// It retries nothing, knows no API but the shape of a Swift path, and never ends a
// request for taking long: only for standing still.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"farshore/transport"
)

// DefaultIdle is how long a peer may be silent before its request is ended.
const DefaultIdle = 60 * time.Second

// maxSlice is the most that a request body hands over at once, so that under a
// limit no write to the socket is larger (R14).
const maxSlice = 64 << 10

// Options say how a chain behaves. The zero value is usable.
type Options struct {
	// Idle is the longest silence of the peer; 0: DefaultIdle. WithIdle overrides it
	// for one request.
	Idle time.Duration
	// Counters receives the counts; nil: none are kept.
	Counters *Counters
	// Skew receives the Date of every reply of the object store; nil: not measured.
	Skew *Skew
	// Kind tells what a request is about; nil: KindOf with no storage path.
	Kind func(*http.Request) Kind
}

// Chain puts counters, watchdog and limiter, in this order, before base. The
// result may be used concurrently, and follows the contract of http.RoundTripper.
func Chain(base http.RoundTripper, o Options) http.RoundTripper {
	if o.Idle <= 0 {
		o.Idle = DefaultIdle
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	if o.Skew == nil {
		o.Skew = new(Skew)
	}
	if o.Kind == nil {
		o.Kind = func(r *http.Request) Kind { return KindOf(r.URL.Path, "") }
	}
	return &chain{base: base, o: o}
}

// NewTransport makes the transport under a chain: HTTP/1.1 only (Swift speaks
// nothing else, and one connection a stream is what fills a link), no transparent
// decompression ever (it would change bytes and drop Content-Length), no total
// timeouts. The watchdog bounds the waits which are not bounded here.
func NewTransport(conf *tls.Config) *http.Transport {
	var h1 http.Protocols
	h1.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 128,
		// Below the 60 s after which Swift closes: a PUT that meets a closing connection fails.
		IdleConnTimeout:       45 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		Protocols:             &h1,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

type idleKey struct{}

// WithIdle sets the longest silence of the peer for the requests made with the
// context, for operations that are silent while the server works: a COPY, a
// manifest PUT (R11).
func WithIdle(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, idleKey{}, d)
}

type kindKey struct{}

// WithKind says what the requests made with the context are about, where neither path
// nor host tells.
func WithKind(ctx context.Context, k Kind) context.Context {
	return context.WithValue(ctx, kindKey{}, k)
}

// Phase is what a request was waiting for.
type Phase string

// The phases of a request in which the peer can stall.
const (
	Sending Phase = "taking the request"
	Waiting Phase = "answering"
	Reading Phase = "sending the reply"
)

// StallError ends a request whose peer was silent for too long. It is of class
// Transient.
type StallError struct {
	Idle  time.Duration // the silence
	Phase Phase
	Bytes int64 // of the body in that phase, before the silence
}

func (e *StallError) Error() string {
	if e.Phase == Waiting {
		return fmt.Sprintf("stalled for %v: the server is not %s", e.Idle, e.Phase)
	}
	return fmt.Sprintf("stalled for %v: the server stopped %s after %d bytes", e.Idle, e.Phase, e.Bytes)
}

// ErrorClass makes a stall Transient.
func (*StallError) ErrorClass() transport.Class { return transport.Transient }

// Timeout reports true, as net.Error has it.
func (*StallError) Timeout() bool { return true }

// errDone is the cause with which a finished request's context ends.
var errDone = errors.New("request finished")
