package transport

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// Flow is on whose behalf something is done: a policy. What several flows share -
// the requests at once before a region, streams, memory, bytes a second - is dealt out
// among those that want it, not in the order in which they came: a terabyte of one
// must not keep a few small objects of another waiting. Safe for concurrent use.
type Flow struct {
	name       string
	from, till atomic.Int64 // in a hurry between, µs; 0: not
}

// hurried is how many shares a flow in a hurry has; others have one.
const hurried = 4

// NewFlow makes a flow. Flows of one name are one.
func NewFlow(name string) *Flow { return &Flow{name: name} }

// Name is the flow's name; "" for a nil one.
func (f *Flow) Name() string {
	if f == nil {
		return ""
	}
	return f.name
}

// Hurry gives the flow more of what is shared between two moments: from when it is near
// what it promises until it is so late that it is a backlog like others, which must not
// make theirs late too. Zero times end it.
func (f *Flow) Hurry(from, till time.Time) {
	if from.IsZero() || till.IsZero() {
		f.from.Store(0)
		f.till.Store(0)
		return
	}
	f.from.Store(from.UnixMicro())
	f.till.Store(till.UnixMicro())
}

// share is the flow's weight at a moment.
func (f *Flow) share(now time.Time) float64 {
	if f == nil {
		return 1
	}
	if from, t := f.from.Load(), now.UnixMicro(); from != 0 && t >= from && t < f.till.Load() {
		return hurried
	}
	return 1
}

type flowKey struct{}

// WithFlow says on whose behalf what is done with the context is done.
func WithFlow(ctx context.Context, f *Flow) context.Context {
	return context.WithValue(ctx, flowKey{}, f)
}

// FlowOf gives the flow of a context; nil: of nobody in particular, which is a flow too.
func FlowOf(ctx context.Context) *Flow {
	f, _ := ctx.Value(flowKey{}).(*Flow)
	return f
}

// queue holds who waits for something that flows share, flow by flow. Its owner's lock
// guards it.
type queue struct {
	flows   map[string]*member
	waiting int
	asked   int64 // numbers those who wait
}

// member is a flow as a queue sees it.
type member struct {
	flow    *Flow
	held    int64   // of what is given back: how much it has now
	had     float64 // of what is used up: how much it had, divided by its share
	waiting []*waiter
}

// waiter is somebody who waits.
type waiter struct {
	n     int64
	order int64
	turn  chan struct{} // closed when it is granted
	of    *member
}

func (q *queue) member(f *Flow) *member {
	m := q.flows[f.Name()]
	if m == nil {
		if q.flows == nil {
			q.flows = map[string]*member{}
		}
		m = &member{flow: f}
		q.flows[f.Name()] = m
	}
	return m
}

// push lets somebody wait for n.
func (q *queue) push(m *member, n int64) *waiter {
	q.asked++
	q.waiting++
	w := &waiter{n: n, order: q.asked, turn: make(chan struct{}), of: m}
	m.waiting = append(m.waiting, w)
	return w
}

// next gives the one whose turn it is: the first of the flow with the lowest score, and
// among equals who came first. nil: none that may.
func (q *queue) next(score func(*member) float64, may func(*waiter) bool) (best *waiter) {
	low := math.Inf(1)
	for _, m := range q.flows {
		if len(m.waiting) == 0 || !may(m.waiting[0]) {
			continue
		}
		if s := score(m); best == nil || s < low || s == low && m.waiting[0].order < best.order {
			best, low = m.waiting[0], s
		}
	}
	return best
}

// remove takes somebody out; false: it was not there any more.
func (q *queue) remove(w *waiter) bool {
	for i, x := range w.of.waiting {
		if x == w {
			w.of.waiting = append(w.of.waiting[:i], w.of.waiting[i+1:]...)
			q.waiting--
			return true
		}
	}
	return false
}

// grant takes somebody out and tells it.
func (q *queue) grant(w *waiter) {
	q.remove(w)
	close(w.turn)
}
