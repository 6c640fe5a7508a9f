package integration

import (
	"fmt"
	"testing"

	"farshore/integration/fakecloud"
)

// TestFanOut copies one source to three destinations: every byte is read from the
// source once, and with one region dead `replicas: 2` is still satisfied.
func TestFanOut(t *testing.T) {
	cloud, f := fake(t, fakecloud.Options{}, "one", "two", "three", "four")
	one := cloud.Region("one")
	one.CreateContainer("data")
	total, objects := int64(0), 0
	put := func(name string, seed uint64, n int) {
		one.Put("data", name, content(seed, n), nil)
		total += int64(n)
		objects++
	}
	for i := range 100 {
		put(fmt.Sprintf("small/%03d", i), uint64(i), 300*i)
	}
	put("streamed", 500, 3<<20)
	put("large", 501, 9<<20)
	policy := f.policyFile(`
regions:
  one: {cloud: one}
  two: {cloud: two}
  three: {cloud: three}
  four: {cloud: four}
policies:
  - name: fan
    from: one
    to: [two, three, four]
    replicas: 2
    containers: [data]
    large: {as: exact, over: 4MiB, chunk: 1MiB}
`)
	cloud.Region("one").ResetCounters()
	o := f.must("sync", "-f", policy)
	gets := one.Counters().Of(fakecloud.ClassObject, "GET")
	if gets.Out != total || gets.Requests != int64(objects-1+9) {
		t.Errorf("%d GETs of %d bytes for %d objects of %d bytes (the large one in 9 chunks)", gets.Requests, gets.Out, objects, total)
	}
	if p := o.JSON.Result.Policies[0]; p.Replicas.By_count["3"] != int64(objects) {
		t.Errorf("replicas: %+v", p.Replicas)
	}
	for _, d := range []string{"two", "three", "four"} {
		equal(t, one, cloud.Region(d), "data", "data")
	}
	if err := cloud.Region("three").Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(fmt.Sprintf("later/%03d", i), uint64(900+i), 1000)
	}
	o = f.must("sync", "-f", policy)
	p := o.JSON.Result.Policies[0]
	if !p.Replicas.Satisfied || p.Replicas.By_count["2"] != 20 || p.Finding_counts["region-down"] != 1 {
		t.Errorf("one region dead: %+v %+v", p.Replicas, p.Findings)
	}
	if err := cloud.Region("three").Start(); err != nil {
		t.Fatal(err)
	}
	o = f.must("sync", "-f", policy)
	if p := o.JSON.Result.Policies[0]; p.Replicas.By_count["3"] != int64(objects) || p.Totals.Copied != 20 {
		t.Errorf("it did not catch up: %+v %+v", p.Replicas, p.Totals)
	}
	equal(t, one, cloud.Region("three"), "data", "data")
	f.checkLedger()
}
