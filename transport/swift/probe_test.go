package swift_test

import (
	"maps"
	"slices"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/swift"
)

// wantProbe runs a probe twice and compares its answers with want.
func wantProbe(t *testing.T, ep *swift.Endpoint, scratch string, want map[string]transport.Answer) {
	t.Helper()
	for range 2 {
		p, err := ep.Probe(t.Context(), scratch)
		if err != nil {
			t.Fatal(err)
		}
		got := p.Answers()
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				t.Errorf("%s: %q, want %q", name, got[name], want[name])
			}
		}
		for _, c := range p.Checks {
			if _, ok := want[c.Name]; !ok {
				t.Errorf("an unexpected check %+v", c)
			}
			if (c.Answer == transport.Yes) != (c.Detail == "") {
				t.Errorf("%+v: a detail is for what is not yes", c)
			}
		}
	}
	a, err := ep.Abilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range a.Tried() {
		if v != want[name] {
			t.Errorf("ability %s is %q, want %q", name, v, want[name])
		}
	}
}

func yes() map[string]transport.Answer {
	m := map[string]transport.Answer{}
	for _, n := range []string{"login", "account", "list-containers", "info", "create-container", "write", "read", "list", "nul-end-marker",
		"if-none-match", "if-match-range", "slo", "raw-manifest", "copy-etag", "copy-collapses", "delete-after", "bulk-delete", "delete"} {
		m[n] = transport.Yes
	}
	return m
}

func TestProbe(t *testing.T) {
	f := newFake(t, fakecloud.RegionOptions{}, swift.Options{})
	f.CreateContainer("mine")
	f.Put("mine", "my own", []byte("x"), nil)
	before := f.ContainerNames()
	wantProbe(t, f.ep, ".farshore-scratch", yes())
	if got := f.ContainerNames(); !slices.Equal(got, before) {
		t.Errorf("containers left: %q", got)
	}
	want := yes()
	delete(want, "create-container")
	wantProbe(t, f.ep, "mine", want)
	if got := f.Names("mine"); !slices.Equal(got, []string{"my own"}) {
		t.Errorf("objects left: %q", got)
	}
}

func TestProbeRGW(t *testing.T) {
	f := newFake(t, fakecloud.RegionOptions{Profile: fakecloud.RGW}, swift.Options{})
	p, err := f.ep.Probe(t.Context(), "scratch")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Checks {
		t.Logf("%+v", c)
	}
	got := p.Answers()
	for name, want := range map[string]transport.Answer{"nul-end-marker": transport.No, "if-none-match": transport.No, "copy-etag": transport.No,
		"if-match-range": transport.Yes, "write": transport.Yes, "delete": transport.Yes} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if got := f.ContainerNames(); len(got) != 0 {
		t.Errorf("containers left: %q", got)
	}
}
