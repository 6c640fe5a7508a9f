//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"farshore/integration/bench/proc"
	"farshore/integration/fakecloud"
)

const (
	scaleBytes   = 256
	scaleChanges = 1000
	scalePage    = 10_000
	// scaleSpare is how many requests a pass may make at the source beside one listing
	// page for each 10,000 objects: the key ranges it walks at once do not end where
	// pages do, and finding them, the container and its abilities take a few.
	scaleSpare = 24
	// scaleMemory is design §8's bound of peak RssAnon at default limits.
	scaleMemory = 128 << 20
)

// measured runs the binary as must does, and also says what it used.
func (f *farshore) measured(args ...string) (output, proc.Usage) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	cmd := f.command(ctx, append(args, "--json", "--ledger", f.ledger)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	used, err := proc.Run(cmd)
	if err != nil || used.Exit != 0 {
		f.t.Fatalf("farshore %q: exit %d, %v\n%s\n%s", args, used.Exit, err, out.String(), errs.String())
	}
	o := output{Stdout: out.String(), Stderr: errs.String()}
	if err := json.Unmarshal(out.Bytes(), &o.JSON); err != nil {
		f.t.Fatalf("farshore %q: not JSON: %v\n%s", args, err, o.Stdout)
	}
	return o, used
}

// TestScale takes a container of a million objects (50,000 unless FARSHORE_SCALE is
// full) through a first pass, one over nothing changed, and one over a thousand
// changes: requests, memory, and the ledger stay within what design §2 and §8 say.
func TestScale(t *testing.T) {
	n := scaled(50_000, 1_000_000)
	cloud, f := fake(t, fakecloud.Options{TokenLife: 24 * time.Hour}, "one", "two")
	one, two := cloud.Region("one"), cloud.Region("two")
	if err := one.SetSynthetic("many", fakecloud.Synthetic{Count: n, Seed: 7, Dir: 1000, Size: func(int) int64 { return scaleBytes }}); err != nil {
		t.Fatal(err)
	}
	pass := func(what string) (reads, lists, asked fakecloud.Count, o output) {
		t.Helper()
		one.ResetCounters()
		two.ResetCounters()
		o, used := f.measured("sync", "one:many", "two:many")
		for _, r := range cloud.Regions() { // a request counts when its handling has ended, which Stop waits for
			if err := errors.Join(r.Stop(), r.Start()); err != nil {
				t.Fatal(err)
			}
		}
		a := one.Counters()
		reads, lists, asked = a.Of(fakecloud.ClassObject, "GET"), a.Of(fakecloud.ClassListing, "GET"), two.Counters().Total()
		file, err := os.Stat(f.ledger)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f s, %.1f s CPU, peak RssAnon %.0f MiB; source: %d requests, %d listing pages, %d objects read; destination: %d requests; ledger %.1f MiB, %.0f B a record",
			what, used.Wall.Seconds(), used.CPU.Seconds(), float64(used.Anon)/(1<<20), a.Total().Requests, lists.Requests, reads.Requests, asked.Requests,
			float64(file.Size())/(1<<20), float64(file.Size())/float64(n))
		if used.Anon > scaleMemory {
			t.Errorf("%s: peak RssAnon %d bytes, want at most %d", what, used.Anon, scaleMemory)
		}
		if most := int64((n+scalePage-1)/scalePage + scaleSpare); lists.Requests > most {
			t.Errorf("%s: %d listing pages for %d objects, want at most %d", what, lists.Requests, n, most)
		}
		if other := a.Total().Requests - lists.Requests - reads.Requests; other > scaleSpare {
			t.Errorf("%s: %d requests at the source that are neither listings nor reads", what, other)
		}
		if got := o.JSON.Result.Policies[0].Totals; got.Listed != int64(n) || got.Failed != 0 {
			t.Errorf("%s: listed %d of %d, failed %d", what, got.Listed, n, got.Failed)
		}
		return reads, lists, asked, o
	}
	reads, _, _, o := pass("first pass")
	if reads.Requests != int64(n) || reads.Out != int64(n)*scaleBytes {
		t.Errorf("read %d objects and %d bytes, want each of %d once", reads.Requests, reads.Out, n)
	}
	if got := o.JSON.Result.Policies[0].Totals.Copied; got != int64(n) {
		t.Errorf("copied %d of %d", got, n)
	}
	sameListings(t, one, two, "many", n)

	reads, _, asked, o := pass("unchanged pass")
	if asked.Requests != 0 {
		t.Errorf("%d requests to the destination: %v", asked.Requests, two.Counters())
	}
	if reads.Requests != 0 || o.JSON.Result.Policies[0].Totals.Unchanged != int64(n) {
		t.Errorf("read %d objects; unchanged %d of %d", reads.Requests, o.JSON.Result.Policies[0].Totals.Unchanged, n)
	}

	names := one.Names("many")
	changed := map[string]bool{}
	for i := range scaleChanges {
		name := names[i*(n/scaleChanges)]
		one.Put("many", name, content(uint64(i), scaleBytes), nil)
		changed[name] = true
	}
	one.LogRequests(true)
	reads, _, asked, _ = pass("1,000 changed")
	read := map[string]int{}
	for _, e := range one.Requests() {
		if e.Class == fakecloud.ClassObject && e.Method == "GET" {
			read[e.Object]++
		}
	}
	if reads.Requests != scaleChanges || len(read) != scaleChanges {
		t.Errorf("%d reads of %d objects, want exactly the %d changed", reads.Requests, len(read), scaleChanges)
	}
	for name := range read {
		if !changed[name] {
			t.Errorf("%s was read and had not changed", name)
		}
	}
	if puts := two.Counters().Of(fakecloud.ClassObject, "PUT"); puts.Requests != scaleChanges || asked.Requests > scaleChanges+scaleSpare {
		t.Errorf("%d PUTs, %d requests in all at the destination for %d changes", puts.Requests, asked.Requests, scaleChanges)
	}
	sameListings(t, one, two, "many", n)
}

// sameListings compares a container's names and ETags in both regions.
func sameListings(t *testing.T, a, b *fakecloud.Region, container string, n int) {
	t.Helper()
	want, got := a.Names(container), b.Names(container)
	if len(want) != n || len(got) != n {
		t.Fatalf("%d objects, and %d copied, want %d", len(want), len(got), n)
	}
	wrong := ""
	for i, name := range want {
		x, _ := a.Get(container, name)
		y, ok := b.Get(container, got[i])
		if got[i] != name || !ok || x.ETag != y.ETag {
			wrong = fmt.Sprintf("%s %s, copied as %s %s", name, x.ETag, got[i], y.ETag)
			break
		}
	}
	if wrong != "" {
		t.Fatal(wrong)
	}
}
