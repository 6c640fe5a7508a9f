package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"farshore/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a testing.TB that only remembers that it failed.
type recorder struct {
	testing.TB
	errs []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
}

func rig() (*Mem, *Faults, transport.Sink) {
	m, s := NewMem(MemOptions{}), &Faults{}
	m.Set("c", "a", []byte("0123456789"), nil)
	return m, s, Faulty(m, s)
}

func readAll(t *testing.T, ep transport.Sink, name string) ([]byte, error) {
	t.Helper()
	_, r, err := ep.Open(t.Context(), "c", name, transport.OpenOptions{Length: -1})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestFaultsOfCalls(t *testing.T) {
	m, s, ep := rig()
	ran := ""
	own := errors.New("own")
	s.Add(Head, Fail(transport.Throttled).Status(503).Times(2).On("c", "a"), FailWith(own).On("c", "b"), Fail(transport.Denied).Skip(1))
	s.Add(Put, LoseReply(transport.Transient), Before(func() { ran += "before " }), After(func() { ran += "after" }))
	for range 2 {
		_, err := ep.Head(t.Context(), "c", "a")
		var f *transport.Error
		if !errors.As(err, &f) || f.Class != transport.Throttled || f.Status != 503 || f.Region != "mem" || f.Name != "a" {
			t.Errorf("%#v", err)
		}
	}
	if _, err := ep.Head(t.Context(), "c", "b"); err != own {
		t.Error(err)
	}
	if o, err := ep.Head(t.Context(), "c", "a"); err != nil || o.Size != 10 {
		t.Errorf("skipped: %+v %v", o, err)
	}
	if _, err := ep.Head(t.Context(), "c", "a"); !transport.Is(err, transport.Denied) {
		t.Error(err)
	}
	if rc, err := ep.Put(t.Context(), "c", "lost", body([]byte("x")), transport.PutOptions{}); !transport.Is(err, transport.Transient) || rc != (transport.Receipt{}) {
		t.Errorf("%+v %v", rc, err)
	}
	if _, data, ok := m.Get("c", "lost"); !ok || string(data) != "x" {
		t.Error("a lost reply's call was not done")
	}
	for range 2 {
		if _, err := ep.Put(t.Context(), "c", "x", body([]byte("x")), transport.PutOptions{}); err != nil {
			t.Error(err)
		}
	}
	if ran != "before after" {
		t.Errorf("ran %q", ran)
	}
	s.VerifyUsed(t)
	s.Add(Post, Fail(transport.Quota))
	rec := &recorder{TB: t}
	if s.VerifyUsed(rec); len(rec.errs) != 1 || !strings.Contains(rec.errs[0], "Post") {
		t.Errorf("unused: %q", rec.errs)
	}
}

func TestFaultsOfStreams(t *testing.T) {
	_, s, ep := rig()
	s.Add(Open, Flip(3), Break(4), Truncate(5), Break(0))
	// Faulty lies between the endpoint and its caller: what Mem verified is spoiled afterwards.
	if data, err := readAll(t, ep, "a"); err != nil || string(data) != "0122456789" {
		t.Errorf("flip: %q %v", data, err)
	}
	data, err := readAll(t, ep, "a")
	if string(data) != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) || !transport.Is(err, transport.Transient) {
		t.Errorf("break: %q %v", data, err)
	}
	if data, err := readAll(t, ep, "a"); string(data) != "01234" || err != nil {
		t.Errorf("truncate: %q %v", data, err)
	}
	if data, err := readAll(t, ep, "a"); len(data) != 0 || !transport.Is(err, transport.Transient) {
		t.Errorf("break at once: %q %v", data, err)
	}
	s.Add(Put, Flip(0), Break(2), Truncate(2))
	for i, class := range []transport.Class{transport.Corrupt, transport.Transient, transport.Transient} {
		if _, err := ep.Put(t.Context(), "c", "p", body([]byte("payload")), transport.PutOptions{}); !transport.Is(err, class) {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if _, err := ep.Head(t.Context(), "c", "p"); !transport.Is(err, transport.NotFound) {
		t.Error("a broken put left something")
	}
	s.VerifyUsed(t)
	for i := range 20 {
		if _, err := ep.Put(t.Context(), "c", fmt.Sprintf("n%02d", i), body(nil), transport.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Add(List, Break(7), Truncate(8))
	for _, want := range []int{7, 8, 21} {
		n := 0
		err := ep.List(t.Context(), "c", transport.Range{}, func(page []transport.Entry) error { n += len(page); return nil })
		if n != want || (err != nil) != (want == 7) {
			t.Errorf("list gave %d of %d, %v", n, want, err)
		}
	}
}

func TestCallsRecorded(t *testing.T) {
	_, s, ep := rig()
	if _, err := readAll(t, ep, "a"); err != nil {
		t.Fatal(err)
	}
	_, r, err := ep.Open(t.Context(), "c", "a", transport.OpenOptions{Offset: 2, Length: 5, ETag: hexMD5([]byte("0123456789"))})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(r, make([]byte, 3))
	r.Close()
	_, _ = ep.Put(t.Context(), "c", "a", body([]byte("xyz")), transport.PutOptions{IfAbsent: true})
	_, _ = ep.Put(t.Context(), "c", "b", body([]byte("xyz")), transport.PutOptions{})
	_ = ep.DeleteMany(t.Context(), "c", []string{"a", "b"})
	got := s.Calls()
	if !transport.Is(got[2].Err, transport.Exists) {
		t.Errorf("%+v", got[2])
	}
	got[2].Err = nil
	want := []Call{{Method: Open, Container: "c", Name: "a", Bytes: 10}, {Method: Open, Container: "c", Name: "a", Bytes: 3, Offset: 2, ETag: hexMD5([]byte("0123456789"))},
		{Method: Put, Container: "c", Name: "a", IfAbsent: true}, {Method: Put, Container: "c", Name: "b", Bytes: 3}, {Method: DeleteMany, Container: "c", Name: "a", Names: 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s.Count() != 5 || s.Count(Put) != 2 || s.Bytes(Open) != 13 || got[0].Writes() || !got[3].Writes() {
		t.Errorf("%d %d %d", s.Count(), s.Count(Put), s.Bytes(Open))
	}
	if s.Forget(); s.Count() != 0 {
		t.Error("not forgotten")
	}
}

// TestStopAtEveryStep runs the same calls, stopped at each step in turn: what was
// done before the stop is there, nothing after it is, and all later calls fail.
func TestStopAtEveryStep(t *testing.T) {
	work := func(ep transport.Sink) error {
		for i := range 3 {
			data := []byte{byte('0' + i)}
			if _, err := ep.Put(t.Context(), "c", fmt.Sprint("new", i), body(data), transport.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	}
	for n := 1; n <= 7; n++ {
		m, s, ep := rig()
		s.StopAt(n)
		err := work(ep)
		if n == 7 {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if !errors.Is(err, ErrStopped) || s.Steps() != n {
			t.Errorf("stop at %d: %v after %d steps", n, err, s.Steps())
		}
		if names := m.Names("c"); len(names) != 1+n/2 { // steps 2, 4, 6 come after a put
			t.Errorf("stop at %d: %q", n, names)
		}
		if _, err := ep.Head(t.Context(), "c", "a"); !errors.Is(err, ErrStopped) {
			t.Errorf("a stopped world answers: %v", err)
		}
		s.Revive()
		if err := work(ep); err != nil || !slices.Equal(m.Names("c"), []string{"a", "new0", "new1", "new2"}) {
			t.Errorf("revived: %v %q", err, m.Names("c"))
		}
	}
	// An open reader dies with the world.
	_, s, ep := rig()
	_, r, err := ep.Open(t.Context(), "c", "a", transport.OpenOptions{Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	s.StopAt(1)
	_, _ = ep.Head(t.Context(), "c", "a")
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

func TestStepsConcurrently(t *testing.T) {
	_, s, ep := rig()
	var mu sync.Mutex
	seen := map[int]bool{}
	s.OnStep(func(at Step) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[at.N] {
			t.Errorf("step %d twice", at.N)
		}
		seen[at.N] = true
		return nil
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				_, _ = ep.Put(t.Context(), "c", fmt.Sprint(i, j), body([]byte("x")), transport.PutOptions{})
				_, _ = readAll(t, ep, "a")
			}
		})
	}
	wg.Wait()
	if len(seen) != 8*20*4 || s.Bytes(Put) != 160 {
		t.Errorf("%d steps, %d bytes", len(seen), s.Bytes(Put))
	}
}

func TestMemBackDoor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	m := NewMem(MemOptions{Now: func() time.Time { return now }})
	ctx := t.Context()
	first := m.Set("c", "a", []byte("one"), transport.Header{"Content-Type": "t/t"})
	second := m.Set("c", "b", []byte("two"), nil)
	if !first.Modified.Equal(now.Truncate(10*time.Microsecond)) || !second.Modified.After(first.Modified) {
		t.Errorf("%v %v", first.Modified, second.Modified)
	}
	listed := func() (names []string) {
		if err := m.List(ctx, "c", transport.Range{}, func(p []transport.Entry) error { names = append(names, namesOf(p)...); return nil }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	m.Freeze("c")
	m.Set("c", "new", nil, nil)
	m.Remove("c", "a")
	i, err := m.Container(ctx, "c")
	if got := listed(); !slices.Equal(got, []string{"a", "b"}) || err != nil || i.Objects != 2 || i.Bytes != 6 {
		t.Errorf("a lagging listing shows %q %+v", got, i)
	}
	if m.Thaw("c"); !slices.Equal(listed(), []string{"b", "new"}) {
		t.Errorf("thawed: %q", listed())
	}
	m.Rot("c", "b", func(b []byte) []byte { b[0] ^= 1; return b })
	if _, err := readAll(t, m, "b"); !transport.Is(err, transport.Corrupt) {
		t.Errorf("rot is read as %v", err)
	}
	if o, err := m.Head(ctx, "c", "b"); err != nil || o.ETag != second.ETag || !o.Modified.Equal(second.Modified) {
		t.Errorf("rot shows: %+v %v", o, err)
	}
	_, r, err := m.Open(ctx, "c", "b", transport.OpenOptions{Length: -1, Unchecked: true})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || bytes.Equal(data, []byte("two")) {
		t.Errorf("unchecked: %q %v", data, err)
	}
	if _, err := m.Put(ctx, "c", "dies", body([]byte("x")), transport.PutOptions{DeleteAfter: time.Minute}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := m.Head(ctx, "c", "dies"); !transport.Is(err, transport.NotFound) || !slices.Contains(listed(), "dies") {
		t.Errorf("expired: %v %q", err, listed())
	}
	if n := m.Expire(); n != 1 || slices.Contains(listed(), "dies") {
		t.Errorf("%d removed, %q", n, listed())
	}
	m.SetQuota(10)
	if _, err := m.Put(ctx, "c", "big", body(make([]byte, 20)), transport.PutOptions{}); !transport.Is(err, transport.Quota) {
		t.Errorf("over quota: %v", err)
	}
	if m.RemoveContainer("c"); m.Names("c") != nil {
		t.Error("the container is still there")
	}
}
