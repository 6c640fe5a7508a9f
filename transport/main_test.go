package transport_test

import (
	"context"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"farshore/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an endpoint whose calls are answered by functions, and counted.
type script struct {
	transport.Sink
	mu    sync.Mutex
	calls map[string]int
	log   []string

	head     func(try int) (transport.Object, error)
	open     func(try int, o transport.OpenOptions) (transport.Object, io.ReadCloser, error)
	put      func(try int, b transport.Body, o transport.PutOptions) (transport.Receipt, error)
	manifest func(try int) (transport.Receipt, error)
	collapse func(try int) (transport.Receipt, error)
	list     func(try int, r transport.Range, yield func([]transport.Entry) error) error
	rows     func(try int, yield func(transport.ContainerInfo) error) error
	remove   func(try int) error
}

func (s *script) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[op]++
	s.log = append(s.log, op)
	return s.calls[op]
}

func (s *script) made(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *script) Head(context.Context, string, string) (transport.Object, error) {
	return s.head(s.count("head"))
}

func (s *script) Open(_ context.Context, _, _ string, o transport.OpenOptions) (transport.Object, io.ReadCloser, error) {
	return s.open(s.count("open"), o)
}

func (s *script) Put(_ context.Context, _, _ string, b transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	return s.put(s.count("put"), b, o)
}

func (s *script) PutManifest(context.Context, string, string, []transport.Segment, transport.PutOptions) (transport.Receipt, error) {
	return s.manifest(s.count("manifest"))
}

func (s *script) Collapse(context.Context, string, string, string, string, string, int64, transport.Header) (transport.Receipt, error) {
	return s.collapse(s.count("collapse"))
}

func (s *script) List(_ context.Context, _ string, r transport.Range, yield func([]transport.Entry) error) error {
	return s.list(s.count("list"), r, yield)
}

func (s *script) Containers(_ context.Context, _ string, yield func(transport.ContainerInfo) error) error {
	return s.rows(s.count("containers"), yield)
}

func (s *script) DeleteContainer(context.Context, string) error {
	return s.remove(s.count("remove"))
}

func failure(c transport.Class, status int) *transport.Error {
	return &transport.Error{Op: "put", Region: "east", Container: "c", Name: "n", Class: c, Status: status}
}
