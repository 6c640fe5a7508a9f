package fakecloud

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Class sorts requests by what they address.
type Class string

// The classes. A GET of a container is a listing; a GET of an account is account.
const (
	ClassInfo      Class = "info"
	ClassAccount   Class = "account"
	ClassContainer Class = "container"
	ClassListing   Class = "listing"
	ClassObject    Class = "object"
	ClassBulk      Class = "bulk"

	// Requests to Cinder. Match and Entry have the collection in Container and
	// the id in Name and Object.
	ClassVolume       Class = "volume"
	ClassVolumeAction Class = "volume-action"
	ClassSnapshot     Class = "snapshot"
	ClassBackup       Class = "backup"
	ClassRestore      Class = "restore"
	ClassImport       Class = "import"
	ClassBlock        Class = "block" // all others: types, limits, zones, attachments …
)

// Count is what requests of one kind added up to. Bytes are those of bodies.
type Count struct {
	Requests int64 `json:"requests"`
	In       int64 `json:"in"`
	Out      int64 `json:"out"`
	Failed   int64 `json:"failed"` // answered 4xx or 5xx, or not at all
}

// Kind keys the counters; Method is PUT with Copy for a COPY by either way.
type Kind struct {
	Class  Class  `json:"class"`
	Method string `json:"method"`
}

// Counters is a snapshot.
type Counters map[Kind]Count

// Of returns the count of one class and method; method COPY means server-side
// copies by either way, which are not counted as PUT.
func (c Counters) Of(class Class, method string) Count { return c[Kind{class, method}] }

// Total adds everything up.
func (c Counters) Total() Count {
	var t Count
	for _, n := range c {
		t.Requests += n.Requests
		t.In += n.In
		t.Out += n.Out
		t.Failed += n.Failed
	}
	return t
}

type counter struct{ requests, in, out, failed atomic.Int64 }

type counterBox struct{ m sync.Map } // Kind -> *counter

func (b *counterBox) add(k Kind, in, out int64, failed bool) {
	v, ok := b.m.Load(k)
	if !ok {
		v, _ = b.m.LoadOrStore(k, new(counter))
	}
	c := v.(*counter)
	c.requests.Add(1)
	c.in.Add(in)
	c.out.Add(out)
	if failed {
		c.failed.Add(1)
	}
}

// Counters returns what the region's Swift has been asked since the start or
// the last reset. A request counts when its handling ends.
func (r *Region) Counters() Counters {
	out := Counters{}
	r.counters.m.Range(func(k, v any) bool {
		c := v.(*counter)
		out[k.(Kind)] = Count{c.requests.Load(), c.in.Load(), c.out.Load(), c.failed.Load()}
		return true
	})
	return out
}

// ResetCounters starts the counters again from nothing.
func (r *Region) ResetCounters() { r.counters.m.Clear() }

// Entry is one logged request.
type Entry struct {
	At        time.Time   `json:"at"` // when it arrived, by the cloud's clock
	Method    string      `json:"method"`
	Class     Class       `json:"class"`
	Container string      `json:"container,omitempty"`
	Object    string      `json:"object,omitempty"`
	Query     string      `json:"query,omitempty"`
	Header    http.Header `json:"header"` // without X-Auth-Token
	Status    int         `json:"status"` // 0: never answered
	In        int64       `json:"in"`
	Out       int64       `json:"out"`
}

type logBox struct {
	on  atomic.Bool
	mu  sync.Mutex
	all []Entry
}

// LogRequests turns the request log on (empty) or off (forgotten).
func (r *Region) LogRequests(on bool) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.all = nil
	r.log.on.Store(on)
}

// Requests returns the log so far, in the order in which requests ended.
func (r *Region) Requests() []Entry {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return append([]Entry(nil), r.log.all...)
}

// ObjectBytesOut adds up, by object name, the body bytes that logged GETs of a
// container's objects sent.
func (r *Region) ObjectBytesOut(container string) map[string]int64 {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	out := map[string]int64{}
	for _, e := range r.log.all {
		if e.Method == http.MethodGet && e.Class == ClassObject && e.Container == container {
			out[e.Object] += e.Out
		}
	}
	return out
}

// account books a finished request.
func (q *request) account() {
	method := q.r.Method
	if q.copying {
		method = "COPY"
	}
	in := q.body.count
	status := q.w.status
	if q.w.plan != nil && q.w.plan.mute {
		status = 0
	}
	q.rg.counters.add(Kind{q.class, method}, in, q.w.sent, status == 0 || status >= 400)
	if !q.rg.log.on.Load() {
		return
	}
	h := q.r.Header.Clone()
	h.Del("X-Auth-Token")
	e := Entry{At: q.now.time(), Method: q.r.Method, Class: q.class, Container: q.cont, Object: q.obj,
		Query: q.r.URL.RawQuery, Header: h, Status: status, In: in, Out: q.w.sent}
	q.rg.log.mu.Lock()
	defer q.rg.log.mu.Unlock()
	q.rg.log.all = append(q.rg.log.all, e)
}
