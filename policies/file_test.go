package policies

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata/invalid anew")

func glober(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func TestValidFiles(t *testing.T) {
	for _, path := range glober(t, "testdata/valid/*.yaml") {
		f, err := Load(path)
		if err != nil {
			t.Errorf("%s:\n%v", path, err)
			continue
		}
		if err := f.Check(); err != nil {
			t.Errorf("%s: Check differs from Load:\n%v", path, err)
		}
	}
}

func TestInvalidFiles(t *testing.T) {
	for _, path := range glober(t, "testdata/invalid/*.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(filepath.Base(path), data)
		var problems Errors
		if f != nil || !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: got %v, %v; want Errors and no file", path, f, err)
			continue
		}
		lines := strings.Count(string(data), "\n")
		for _, p := range problems {
			if p.File != filepath.Base(path) || p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Message == "" {
				t.Errorf("%s: a problem without its place: %+v", path, p)
			}
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err2 := os.ReadFile(golden)
		if err2 != nil {
			t.Fatal(err2)
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	var problems Errors
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &problems) {
		t.Errorf("a missing file gives %v", err)
	}
}

// Every key of everything.yaml arrives where it belongs.
func TestParseEverything(t *testing.T) {
	f, err := Load("testdata/valid/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f.Timezone.String() != "Europe/Paris" || f.Ledger != "/var/lib/farshore/ledger.db" || f.Limits.Timezone != f.Timezone {
		t.Errorf("file: %v %q", f.Timezone, f.Ledger)
	}
	wantRegions := map[string]Region{
		"paris":  {Name: "paris", Cloud: "paris", RegionName: "PAR1", Interface: "internal", ImportCloud: "paris-admin"},
		"lyon":   {Name: "lyon", Cloud: "lyon"},
		"berlin": {Name: "berlin", Cloud: "berlin", Endpoint: "https://swift.berlin.example/v1/AUTH_0123"},
	}
	if diff := cmp.Diff(wantRegions, f.Regions); diff != "" {
		t.Error(diff)
	}
	limits := f.Limits
	limits.Timezone = nil
	week := [7]bool{time.Monday: true, time.Tuesday: true, time.Wednesday: true, time.Thursday: true, time.Friday: true}
	wantLimits := Limits{
		Total: 125e6, Streams: 32, Memory: 128 << 20,
		Timetable: []Slot{
			{Days: week, From: 8 * 60, To: 18 * 60, Rate: 20e6},
			{Days: [7]bool{true, true, true, true, true, true, true}, From: 22 * 60, To: 6 * 60, Rate: 80e6},
		},
		Pairs: map[string]Rate{"paris->lyon": 50 << 20},
	}
	if diff := cmp.Diff(wantLimits, limits); diff != "" {
		t.Error(diff)
	}
	if f.Limits.Pair("paris", "lyon") != 50<<20 || f.Limits.Pair("lyon", "paris") != 0 {
		t.Error("a pair's limit holds one way")
	}
	p := f.Policies[0]
	if p.Schedule.String() != "0 */4 * * mon-fri" || p.Timezone.String() != "Europe/Berlin" {
		t.Errorf("schedule %q in %v", p.Schedule, p.Timezone)
	}
	p.Schedule, p.Timezone = Schedule{}, nil
	want := Policy{
		Name: "assets", From: "paris", To: []string{"lyon", "berlin"}, Replicas: 1,
		Containers: []string{"assets-*", "!assets-tmp", "assets_segments"}, Container: "{from}-{container}", Prefix: "public/",
		RPO: 72 * time.Hour, Deletes: Deletes{true, 48 * time.Hour}, Brake: Brake{0.01, 0.2, 50},
		Audit: Audit{Every: 7 * 24 * time.Hour, Read: 0.005}, Large: Large{Segmented, 256 << 20, 32 << 20}, Limit: 30 << 20,
		Properties: Properties{Containers: true, Account: []string{AccountMetadata, AccountQuotas}},
		Map:        Map{Projects: map[string]string{"3f1a": "77c0"}, Users: map[string]string{"9d2e": "5b61"}, StoragePolicies: map[string]string{"gold": "silver"}},
		Stamp:      true, Strict: true, Accept: []string{"foreign-object", "clock-skew"},
		MaxChain: MaxChain{Source: DefaultChainFrom, Destination: DefaultChainTo}, FullEvery: DefaultFullEvery,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
}

// What is left out has the documented default.
func TestParseDefaults(t *testing.T) {
	f, err := Load("testdata/valid/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := NewPolicy("photos", "paris", "lyon")
	want.Containers = []string{"photos"}
	got := f.Policies[0]
	if got.Timezone != time.UTC || !got.Schedule.IsZero() {
		t.Errorf("timezone %v, schedule %q", got.Timezone, got.Schedule)
	}
	got.Timezone, got.Schedule, want.Schedule = nil, Schedule{}, Schedule{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Every != 5*time.Minute || got.Replicas != 1 || got.Volumes != nil || got.Deletes.Propagate || got.Takeover || got.Brake != (Brake{0.05, Off, 100}) {
		t.Errorf("defaults: %+v", got)
	}
	if f.Limits.Streams != 16 || f.Limits.Memory != 64<<20 || f.Limits.Total != 0 || f.Ledger != "" || f.Regions["lyon"].Cloud != "lyon" {
		t.Errorf("defaults: %+v %+v", f.Limits, f.Regions)
	}
}

func TestParseMerged(t *testing.T) {
	f, err := Load("testdata/valid/shared-settings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := f.Policies[1]
	if p.Name != "mail" || p.Replicas != 1 || p.Every != 10*time.Minute || p.Deletes.After != 7*24*time.Hour || len(p.To) != 2 || p.Containers[0] != "mail-*" {
		t.Errorf("merged: %+v", p)
	}
	if q := f.Policies[0]; q.Name != "web" || q.Replicas != 2 {
		t.Errorf("first: %+v", q)
	}
}

func TestParseVolumes(t *testing.T) {
	f, err := Load("testdata/valid/volumes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := f.Policies[0]
	if diff := cmp.Diff(&Volumes{Metadata: map[string]string{"dr": "gold"}}, p.Volumes); diff != "" {
		t.Error(diff)
	}
	if *p.Keep != (Keep{Last: 24, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 2}) || *p.KeepSource != (Keep{Last: 2, Hourly: 6}) || p.Snapshot.Every != time.Hour ||
		p.VolumeTypes["ssd"] != "premium" || p.Drill.Schedule.String() != "0 3 * * sun" {
		t.Errorf("%+v", p)
	}
	if !f.Policies[3].Volumes.All || f.Policies[1].Volumes.Names[1] != "db-2" || len(f.Policies[2].Volumes.IDs) != 1 {
		t.Errorf("%+v", f.Policies[1:])
	}
}

// A file built by code is checked like one that was read.
func TestCheckWithoutFile(t *testing.T) {
	f := &File{Regions: map[string]Region{"paris": {Name: "paris", Cloud: "paris"}}, Limits: Limits{Memory: DefaultMemory}, Policies: []Policy{NewPolicy("a", "paris", "lyon")}}
	want := "policies[0].to[0]: there is no region \"lyon\" (regions are paris)\npolicies[0].containers: names no container (list names or patterns, as in [\"assets-*\"])"
	if err := f.Check(); err == nil || err.Error() != want {
		t.Errorf("Check: %v", err)
	}
}

// An rpo as long as the pause between passes can just be kept.
func TestCheckRPO(t *testing.T) {
	f := &File{Regions: map[string]Region{"paris": {Name: "paris", Cloud: "p"}, "lyon": {Name: "lyon", Cloud: "l"}}, Limits: Limits{Memory: DefaultMemory}}
	p := NewPolicy("a", "paris", "lyon")
	p.Containers = []string{"a"}
	for rpo, ok := range map[time.Duration]bool{0: true, p.Every: true, p.Every - time.Second: false} {
		p.RPO = rpo
		f.Policies = []Policy{p}
		if err := f.Check(); (err == nil) != ok {
			t.Errorf("rpo %s with a pass every %s: %v", rpo, p.Every, err)
		}
	}
}

// Whatever the bytes are, Parse answers with a file that passes its own check, or
// with problems that have their place.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.yaml", "testdata/invalid/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fuzz.yaml", data)
		var problems Errors
		switch {
		case err == nil:
			if err := file.Check(); err != nil {
				t.Errorf("Check differs from Parse: %v", err)
			}
			for _, p := range file.Policies {
				p.Selects("a")
				p.Next(anyDay)
			}
		case file != nil || !errors.As(err, &problems) || len(problems) == 0:
			t.Errorf("got %v and %v", file, err)
		default:
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 {
					t.Errorf("no place: %+v", p)
				}
			}
		}
	})
}
