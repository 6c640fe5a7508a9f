package replicator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"farshore/replicator/report"
	"farshore/transport"
)

// expiry is what a name's X-Delete-At is at a region; "-": it shows nothing.
func (w *world) expiry(region, name string) string {
	w.t.Helper()
	o, err := w.mem[region].Head(w.t.Context(), "c", name)
	if transport.Is(err, transport.NotFound) {
		return "-"
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return o.Header[expiryHeader]
}

func (w *world) sameExpiry(name, want string) {
	w.t.Helper()
	if a, b := w.expiry("a", name), w.expiry("b", name); a != want || b != want {
		w.t.Fatalf("%s expires at %q at the source and at %q at b, not at %q", name, a, b, want)
	}
}

// The expiry of a name in a container with versions arrives, and follows each change.
func TestExpiryOfAVersionedName(t *testing.T) {
	w := newVersioned(t, "b")
	w.container("a", "segs")
	w.putAt("a", "segs", "1", "segment", nil)
	at := func(d time.Duration) string { return fmt.Sprint(w.clock.Now().Add(d).Unix()) }
	first, second := at(time.Hour), at(2*time.Hour)
	post := func(h transport.Header) {
		t.Helper()
		w.clock.advance(time.Second)
		if err := w.mem["a"].Post(t.Context(), "c", "x", h); err != nil {
			t.Fatal(err)
		}
	}
	old := w.write("a", "x", "one", nil)
	w.write("a", "x", "two", transport.Header{expiryHeader: first, "X-Object-Meta-K": "v"})
	w.slo("c", "slo", transport.Header{expiryHeader: first}, w.segment("segs", "1"))
	w.sync()
	w.alikeHistories("b")
	w.sameExpiry("x", first)
	w.sameExpiry("slo", first)
	rows, _ := w.certify(FidelityOptions{})
	if rows["object c/x X-Delete-At"].Verdict != report.Kept || len(judged(rows, report.Cannot)) != 0 {
		t.Errorf("%v", judged(rows, report.Cannot))
	}
	w.quiet("b")

	post(transport.Header{expiryHeader: second, "X-Object-Meta-K": "w"})
	w.sync()
	w.sameExpiry("x", second)
	post(transport.Header{"X-Object-Meta-K": "w"})
	w.sync()
	w.sameExpiry("x", "")
	w.quiet("b")

	w.clock.advance(time.Second)
	if err := w.mem["a"].Revive(t.Context(), "c", "x", old); err != nil {
		t.Fatal(err)
	}
	post(transport.Header{expiryHeader: second})
	w.sync()
	w.alikeHistories("b")
	w.sameExpiry("x", second)
	w.clock.advance(time.Second)
	w.write("a", "x", "three", nil)
	w.sync()
	w.alikeHistories("b")
	w.sameExpiry("x", "")
	w.restart()
}

// A name whose expiry has passed shows nothing, whatever the source's listing still
// says; its versions are carried.
func TestExpiredVersionedName(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "x", "one", transport.Header{expiryHeader: fmt.Sprint(w.clock.Now().Add(time.Hour).Unix())})
	w.write("a", "y", "stays", nil)
	w.clock.advance(2 * time.Hour)
	for range 3 {
		r := w.sync()
		if !r.Replicas.Satisfied || r.Replicas.Objects != 1 {
			t.Errorf("%+v", r.Replicas)
		}
		w.sameExpiry("x", "-")
		if h := w.history("b")["x"]; len(h) != 1 {
			t.Errorf("x has %+v at b", h)
		}
		w.clock.advance(time.Minute)
	}
	w.restart()
}

// An older version that expires by itself cannot be kept as it is, which is said.
func TestExpiryOfAnOlderVersion(t *testing.T) {
	for _, strict := range []bool{false, true} {
		w := newWorld(t, "b")
		w.policy.Strict = strict
		w.putAt("a", "c", "x", "one", transport.Header{expiryHeader: fmt.Sprint(w.clock.Now().Add(time.Hour).Unix())})
		w.clock.advance(time.Second)
		w.enable("true")
		w.write("a", "x", "two", nil)
		r, err := w.try(w.policy, SyncOptions{})
		if err != nil {
			t.Fatal(err)
		}
		kind := map[bool]string{false: report.KindDegraded, true: report.KindCannot}[strict]
		if f := finding(t, r, kind); !strings.Contains(f.Cause, expiryHeader) || f.Hint == "" {
			t.Errorf("%+v", f)
		}
		if n := len(w.history("b")["x"]); n != map[bool]int{false: 2, true: 1}[strict] {
			t.Errorf("strict %v: %d versions at b", strict, n)
		}
		w.restart()
	}
}

// A version that a destination takes no PUT of is said to be impossible before anything
// of it is sent, and the younger ones do not wait for it.
func TestAVersionTooLargeForOnePut(t *testing.T) {
	w := newVersioned(t, "b")
	w.write("a", "x", "one", nil)
	w.write("a", "x", strings.Repeat("x", 2000), nil)
	w.write("a", "x", "three", nil)
	w.mem["b"].SetAbilities(func(a *transport.Abilities) { a.MaxObject = 1000 })
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(t, r, report.KindCannot); f.Name != "x" || !strings.Contains(f.Cause, "2000 bytes") || !strings.Contains(f.Cause, "one PUT") {
		t.Errorf("%+v", f)
	}
	if h := w.history("b")["x"]; len(h) != 2 || h[1].Data != "three" || r.Totals.Bytes > 100 {
		t.Errorf("%+v %+v", h, r.Totals)
	}
	w.restart()
}

// A refusal for an account's quota says that it is the account's, and whose to raise.
func TestAnAccountsQuotaIsNamed(t *testing.T) {
	w := newWorld(t, "b")
	w.put("large", 1, 5000, nil)
	w.mem["b"].SetQuota(4000)
	r, err := w.try(w.policy, SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := finding(t, r, report.KindFailed)
	if f.Region != "b" || !strings.Contains(f.Hint, "4000 bytes") || !strings.Contains(f.Hint, accountQuota) {
		t.Errorf("%+v", f)
	}
}
