package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"farshore/transport"
)

// Method names one method of transport.Sink.
type Method string

// The methods that Faulty watches. Abilities and Identity pass untouched.
const (
	Containers      Method = "Containers"
	Container       Method = "Container"
	List            Method = "List"
	Split           Method = "Split"
	Head            Method = "Head"
	Open            Method = "Open"
	CreateContainer Method = "CreateContainer"
	DeleteContainer Method = "DeleteContainer"
	Put             Method = "Put"
	Post            Method = "Post"
	PutManifest     Method = "PutManifest"
	Collapse        Method = "Collapse"
	Delete          Method = "Delete"
	DeleteMany      Method = "DeleteMany"
	HeadVersion     Method = "HeadVersion"
	Versions        Method = "Versions"
	Manifest        Method = "Manifest"
	PutRaw          Method = "PutRaw"
	DeleteMarker    Method = "DeleteMarker"
	DeleteVersion   Method = "DeleteVersion"
	Revive          Method = "Revive"
	PostContainer   Method = "PostContainer"
	Account         Method = "Account"
	PostAccount     Method = "PostAccount"
)

// Writes are the methods that change the account.
var writes = []Method{CreateContainer, DeleteContainer, Put, Post, PutManifest, Collapse, Delete, DeleteMany,
	PutRaw, DeleteMarker, DeleteVersion, Revive, PostContainer, PostAccount}

// Call is one call that an endpoint got.
type Call struct {
	Method    Method
	Container string
	Name      string // DeleteMany: the first; List, Versions and Split: the prefix
	Names     int    // of DeleteMany; pages of List and Versions
	Bytes     int64  // read by Open's reader or taken from Put's body, so far
	Offset    int64  // of Open
	ETag      string // of Open: the version pinned
	Version   string // asked for, removed or revived, by its id
	IfAbsent  bool
	Err       error
}

// Writes reports whether the call changes the account.
func (c Call) Writes() bool { return slices.Contains(writes, c.Method) }

// Fault is what happens to one call. Build it with the functions below and narrow
// it with On, Skip and Times.
type Fault struct {
	container, name string
	skip, times     int
	class           transport.Class
	err             error
	fail            bool // err (or one of class) instead of the call
	lost            bool // the call is done, then it fails
	before, after   func()
	flip            int64 // byte to flip; -1: none
	end             int64 // the stream ends here; -1: it does not
	endErr          error // how it ends; nil: a clean io.EOF (a lying endpoint)
	status          int
}

func fault() Fault { return Fault{times: 1, flip: -1, end: -1} }

// Fail lets a call fail with an error of the class; nothing is done.
func Fail(c transport.Class) Fault { f := fault(); f.fail, f.class = true, c; return f }

// FailWith lets a call fail with err; nothing is done.
func FailWith(err error) Fault { f := fault(); f.fail, f.err = true, err; return f }

// LoseReply lets a call be done and then fail with an error of the class.
func LoseReply(c transport.Class) Fault { f := fault(); f.lost, f.class = true, c; return f }

// Flip turns a bit of the byte at an offset of what Open reads or Put sends.
func Flip(at int64) Fault { f := fault(); f.flip = at; return f }

// Break ends what Open reads or Put sends after n bytes with an error of class Transient.
func Break(n int64) Fault { f := fault(); f.end, f.endErr = n, io.ErrUnexpectedEOF; return f }

// Truncate ends what Open reads or Put sends after n bytes with a clean io.EOF,
// which no honest endpoint does.
func Truncate(n int64) Fault { f := fault(); f.end = n; return f }

// Before calls do before the call, which then goes on.
func Before(do func()) Fault { f := fault(); f.before = do; return f }

// After calls do after the call, with nothing changed about its result.
func After(do func()) Fault { f := fault(); f.after = do; return f }

// On narrows a fault to one object; an empty name means any of the container.
func (f Fault) On(container, name string) Fault { f.container, f.name = container, name; return f }

// Skip lets n calls that the fault would hit go by first.
func (f Fault) Skip(n int) Fault { f.skip = n; return f }

// Times lets the fault happen n times; -1: every time, and VerifyUsed asks for one.
func (f Fault) Times(n int) Fault { f.times = n; return f }

// Status sets the HTTP status of the error.
func (f Fault) Status(s int) Fault { f.status = s; return f }

// Step is a point at which the world may stop: just before or just after a call.
type Step struct {
	N     int // 1, 2, 3 … over all calls
	After bool
	Call
}

// Faults is the script of a Faulty and its memory. All methods may be called concurrently.
type Faults struct {
	mu     sync.Mutex
	queues map[Method][]*Fault
	used   map[*Fault]int
	calls  []*Call
	steps  int
	dead   error
	step   func(Step) error
}

// ErrStopped is how a world that was stopped answers.
var ErrStopped = errors.New("the world has stopped")

// Add queues faults for a method. A call meets the first that is for its object.
func (s *Faults) Add(m Method, faults ...Fault) *Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues == nil {
		s.queues, s.used = map[Method][]*Fault{}, map[*Fault]int{}
	}
	for _, f := range faults {
		s.queues[m] = append(s.queues[m], &f)
	}
	return s
}

// OnStep sets the hook that is called before and after every call, and without
// any lock. If it returns an error, that and every later call, and every read of
// an open reader, fails with it: the process has died at this step.
func (s *Faults) OnStep(hook func(Step) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step = hook
}

// StopAt stops the world at step n (see OnStep) with ErrStopped.
func (s *Faults) StopAt(n int) {
	s.OnStep(func(at Step) error {
		if at.N >= n {
			return ErrStopped
		}
		return nil
	})
}

// Revive lets a stopped world go on.
func (s *Faults) Revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead, s.step = nil, nil
}

// Steps is the number of steps so far.
func (s *Faults) Steps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steps
}

// Calls gives what was called so far, in the order in which the calls began.
func (s *Faults) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, c := range s.calls {
		out[i] = *c
	}
	return out
}

// Count is the number of calls of the methods; of all, if none is named.
func (s *Faults) Count(methods ...Method) (n int) {
	for _, c := range s.Calls() {
		if len(methods) == 0 || slices.Contains(methods, c.Method) {
			n++
		}
	}
	return n
}

// Bytes is the sum of the bytes of the methods' calls.
func (s *Faults) Bytes(methods ...Method) (n int64) {
	for _, c := range s.Calls() {
		if slices.Contains(methods, c.Method) {
			n += c.Bytes
		}
	}
	return n
}

// Forget empties the list of calls.
func (s *Faults) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// VerifyUsed fails the test if a fault never happened, or not as often as it should.
func (s *Faults) VerifyUsed(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for m, queue := range s.queues {
		for i, f := range queue {
			if want := max(f.times, 1); s.used[f] < want {
				t.Errorf("fault %d of %s (on %q/%q) happened %d times instead of %d", i+1, m, f.container, f.name, s.used[f], want)
			}
		}
	}
}

// begin records a call, runs the step hook and finds the call's fault.
func (s *Faults) begin(c Call) (*Call, *Fault, error) {
	call := &c
	if err := s.pass(false, call); err != nil {
		return call, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	for _, f := range s.queues[c.Method] {
		if f.times >= 0 && s.used[f] >= f.times || f.container != "" && f.container != c.Container || f.name != "" && f.name != c.Name {
			continue
		}
		if f.skip > 0 {
			f.skip--
			return call, nil, nil
		}
		s.used[f]++
		return call, f, nil
	}
	return call, nil, nil
}

// pass is one step.
func (s *Faults) pass(after bool, c *Call) error {
	s.mu.Lock()
	if s.dead != nil {
		defer s.mu.Unlock()
		return s.dead
	}
	s.steps++
	step, hook := Step{N: s.steps, After: after, Call: *c}, s.step
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	if err := hook(step); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dead == nil {
			s.dead = err
		}
		return s.dead
	}
	return nil
}

func (s *Faults) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

func (s *Faults) count(c *Call, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Bytes += int64(n)
}

// Faulty passes calls on to an endpoint as the script says.
func Faulty(ep transport.Sink, script *Faults) transport.Sink { return &faulty{ep: ep, s: script} }

type faulty struct {
	ep transport.Sink
	s  *Faults
}

// do runs one call through the script.
func (f *faulty) do(c Call, do func(*Call, *Fault) error) error {
	call, flt, err := f.s.begin(c)
	if err != nil {
		return err
	}
	if flt != nil && flt.before != nil {
		flt.before()
	}
	if flt != nil && flt.fail {
		err = f.made(call, flt)
	} else {
		err = do(call, flt)
		if flt != nil && flt.lost && err == nil {
			err = f.made(call, flt)
		}
	}
	if flt != nil && flt.after != nil {
		flt.after()
	}
	f.s.mu.Lock()
	call.Err = err
	f.s.mu.Unlock()
	if stop := f.s.pass(true, call); stop != nil {
		return stop
	}
	return err
}

// made is the error of a fault.
func (f *faulty) made(c *Call, flt *Fault) error {
	if flt.err != nil {
		return flt.err
	}
	id, _ := f.ep.Identity(context.Background())
	return &transport.Error{Op: string(c.Method), Region: id.Region, Container: c.Container, Name: c.Name, Class: flt.class,
		Status: flt.status, Err: fmt.Errorf("injected: %s", flt.class)}
}

// stream spoils what passes through it.
type stream struct {
	in   io.Reader
	s    *Faults
	call *Call
	flt  *Fault
	at   int64
}

func (r *stream) Read(p []byte) (int, error) {
	if err := r.s.alive(); err != nil {
		return 0, err
	}
	if r.flt != nil && r.flt.end >= 0 {
		if r.at >= r.flt.end {
			if r.flt.endErr == nil {
				return 0, io.EOF
			}
			return 0, &transport.Error{Op: string(r.call.Method), Container: r.call.Container, Name: r.call.Name,
				Class: transport.Transient, Err: fmt.Errorf("injected: %w", r.flt.endErr)}
		}
		p = p[:min(int64(len(p)), r.flt.end-r.at)]
	}
	n, err := r.in.Read(p)
	if r.flt != nil && r.flt.flip >= r.at && r.flt.flip < r.at+int64(n) {
		p[r.flt.flip-r.at] ^= 1
	}
	r.at += int64(n)
	r.s.count(r.call, n)
	return n, err
}

type closing struct {
	stream
	io.Closer
}
