//go:build integration

package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"farshore/integration/lab"
)

// volumes is a volume of the lab's region one that a policy ships to region two.
type volumes struct {
	*farshore
	lab      *lab.Lab
	one, two *lab.Block
	swift    *lab.Client // region two's
	swiftOne *lab.Client
	volume   string
	policy   string
	rng      *rand.Rand
	others   []string // what stood there before

	types   string // what the policy's volume_types make of gold; "": gold
	region2 string // keys of region two in the policy file; "": its cloud, and who imports
}

// longName is a volume's name of as many characters as Cinder takes.
var longName = "shipped ✓" + strings.Repeat(" long", 49) + "!"

func newVolumes(t *testing.T, keys string) *volumes {
	l := lab.RequireCinder(t)
	v := &volumes{farshore: newFarshore(t, l.CloudsFile()), lab: l, one: l.Block(t, "one", lab.Tenant), two: l.Block(t, "two", lab.Tenant),
		swift: l.Client(t, "lab-two"), swiftOne: l.Client(t, "lab-one"), rng: rand.New(rand.NewPCG(11, 12))}
	v.volume = v.one.Create(t, lab.Volumes, map[string]any{"size": 1, "name": longName, "volume_type": lab.GoldType("one"), "metadata": map[string]string{"dr": "gold"}})
	v.says(keys)
	t.Cleanup(v.clear)
	v.others = v.stands()
	return v
}

// says writes the policy anew, with more keys, and other policies after it.
func (v *volumes) says(keys string, more ...string) {
	v.t.Helper()
	v.policy = v.policyFile(fmt.Sprintf(`
regions:
  one: {cloud: lab-one}
  two: {%s}
policies:
  - name: vols
    from: one
    to: [two]
    volumes: {ids: [%s]}
    volume_types: {%s: %s}
%s%s`, cmp.Or(v.region2, "cloud: lab-two, import_cloud: lab-two-admin"), v.volume, lab.GoldType("one"), cmp.Or(v.types, lab.GoldType("two")), keys, strings.Join(more, "")))
}

// clear removes the volume's backups at both sides and what is kept of its points, and the snapshots that a test
// which failed has left. Increments go first.
func (v *volumes) clear() {
	for _, b := range []*lab.Block{v.two, v.one} {
		for range 40 { // a chain is as long at most
			ids := v.backups(b)
			if len(ids) == 0 {
				break
			}
			b.Remove(v.t, lab.Backups, ids[len(ids)-1])
		}
	}
	for _, id := range v.of(lab.Snapshots, v.volume) {
		v.one.Remove(v.t, lab.Snapshots, id)
	}
	for container, prefix := range map[string]string{".farshore-points": v.volume, "volumebackups": "volume_" + v.volume + "/"} {
		for _, c := range []*lab.Client{v.swift, v.swiftOne} {
			if c.Call(v.t, "HEAD", "/"+container, nil, nil).Want(v.t, 204, 404).Status == 404 {
				continue
			}
			for _, e := range c.List(v.t, container, url.Values{"prefix": {prefix}}) {
				c.Call(v.t, "DELETE", lab.Path(container, e.Name), nil, nil)
			}
		}
	}
}

// backups are the ids of the volume's backups in a region, the oldest first.
func (v *volumes) backups(b *lab.Block) []string {
	v.t.Helper()
	type row struct {
		ID     string
		Volume string `json:"volume_id"`
		Data   string `json:"data_timestamp"`
	}
	var doc struct{ Backups []row }
	if err := json.Unmarshal(b.Do(v.t, "GET", "/backups/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
		v.t.Fatal(err)
	}
	slices.SortFunc(doc.Backups, func(a, b row) int { return strings.Compare(a.Data, b.Data) })
	var out []string
	for _, x := range doc.Backups {
		if x.Volume == v.volume {
			out = append(out, x.ID)
		}
	}
	return out
}

// stands lists all that the project has in both regions: volumes, snapshots and backups, and each object of
// each container.
func (v *volumes) stands() (all []string) {
	v.t.Helper()
	for _, b := range []*lab.Block{v.one, v.two} {
		for _, kind := range []string{lab.Volumes, lab.Snapshots, lab.Backups} {
			var doc map[string][]struct{ ID, Name, Status string }
			if err := json.Unmarshal(b.Do(v.t, "GET", "/"+kind+"/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
				v.t.Fatal(err)
			}
			for _, x := range doc[kind] {
				all = append(all, fmt.Sprintf("%s %s %s %q %s", b.Alias, kind, x.ID, x.Name, x.Status))
			}
		}
	}
	for alias, swift := range map[string]*lab.Client{"one": v.swiftOne, "two": v.swift} {
		for _, c := range strings.Fields(string(swift.Call(v.t, "GET", "", nil, nil).Want(v.t, 200, 204).Body)) {
			all = append(all, alias+" container "+c)
			for _, e := range swift.List(v.t, c, nil) {
				all = append(all, fmt.Sprintf("%s object %s/%s %s", alias, c, e.Name, e.Hash))
			}
		}
	}
	slices.Sort(all)
	return all
}

// left is what stands in either region now and did not before, but for what belongs to the things with these
// ids: points, volumes and snapshots, the source volume, and the two containers that points lie in. What of those is not
// available or in use is left, too. A listing may lag for a while.
func (v *volumes) left(kept ...string) (more []string) {
	v.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Second) {
		more = slices.DeleteFunc(v.stands(), func(x string) bool {
			f := strings.Fields(x)
			ours := strings.Contains(x, " "+lab.Volumes+" "+v.volume) || slices.ContainsFunc(kept, func(id string) bool { return strings.Contains(x, id) })
			return slices.Contains(v.others, x) || f[1] == "container" && (f[2] == "volumebackups" || f[2] == ".farshore-points") ||
				ours && (f[1] == "object" || f[len(f)-1] == "available" || f[len(f)-1] == "in-use")
		})
		if len(more) == 0 || time.Now().After(end) {
			return more
		}
	}
}

// nothingLeft fails the test if anything is left.
func (v *volumes) nothingLeft(kept ...string) {
	v.t.Helper()
	if left := v.left(kept...); len(left) != 0 {
		v.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// write changes the volume's bytes at MiBs: random, or zero.
func (v *volumes) write(zero bool, at ...int64) {
	v.t.Helper()
	f, err := os.OpenFile(v.lab.VolumeFile(v.t, "one", v.volume), os.O_WRONLY, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for _, off := range at {
		for i := 0; !zero && i < len(buf); i += 8 {
			x := v.rng.Uint64()
			for k := range 8 {
				buf[i+k] = byte(x >> (8 * k))
			}
		}
		if _, err := f.WriteAt(buf, off<<20); err != nil {
			v.t.Fatal(err)
		}
	}
}

// sum is the SHA-256 of a volume's bytes.
func (v *volumes) sum(alias, volume string) string { return v.lab.VolumeSHA256(v.t, alias, volume, 1) }

// put counts the bytes that region two's proxy took since a mark of its log, apart from what region two's
// own Cinder sent it.
func (v *volumes) put(since int64) (n int64) {
	v.t.Helper()
	n, _ = v.moved("two", "PUT", since)
	return n
}

// moved counts the bytes that a region's proxy took from farshore and gave it, by one method, since a mark of its log.
func (v *volumes) moved(alias, method string, since int64) (in, out int64) {
	v.t.Helper()
	text, err := os.ReadFile(swiftLog(v.lab, alias))
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(text[since:])) {
		f := strings.Fields(line)
		if len(f) > 12 && f[4] == method && strings.HasPrefix(f[9], "farshore/") {
			got, _ := strconv.ParseInt(f[11], 10, 64) // "-" is none
			gave, _ := strconv.ParseInt(f[12], 10, 64)
			in, out = in+got, out+gave
		}
	}
	return in, out
}

// volumeAnswer is what the suites read of the commands about volumes (docs/json.md).
type volumeAnswer struct {
	Exit   int
	Error  *struct{ Op, Region, Item, Cause, Hint string }
	Result struct {
		Policies []struct {
			Points []struct {
				Point, Parent string
				Incremental   bool
				Why_full      string
				Bytes         int64
				Chain         int
				Backup_began  time.Time
				Backup_ended  time.Time
				First_object  time.Time
				Last_object   time.Time
				Regions       []struct {
					Region, State, Note                         string
					Bytes_sent                                  int64
					First_object, Last_object, Listed, Imported time.Time
				}
			}
			Retention *struct {
				Deleted, Synthesized, Failed int
				Server_side_copied_bytes     int64
			}
			Findings       []struct{ Kind, Level, Region, Container, Name, Op, Cause, Hint string }
			Finding_counts map[string]int64
		}
		Restore   *restoreAnswer
		Migration *struct {
			State, Volume string
			Passes        []struct {
				Incremental, Final bool
				Bytes              int64
			}
			Bytes                 int64
			Downtime_seconds      float64
			Already_done, Retired bool
			Restore               *restoreAnswer
		}
		Drill *struct {
			OK          bool
			Rto_seconds float64
			Volumes     []struct {
				OK          bool
				Cause, Hint string
				Restore     restoreAnswer
			}
		}
	}
}

type restoreAnswer struct {
	Volume, Known string
	Resumed       bool
	Rto_seconds   float64
	Proof         *struct {
		OK               bool
		Against          string
		Blocks           int64
		Differing_blocks int64
		First_differing  []struct{ Offset, Length int64 }
	}
}

// ask runs a command and wants it to end so.
func (v *volumes) ask(exit int, args ...string) volumeAnswer {
	v.t.Helper()
	o := v.run(append(args, "-f", v.policy)...)
	var a volumeAnswer
	if err := json.Unmarshal([]byte(o.Stdout), &a); err != nil || o.Exit != exit {
		v.t.Fatalf("farshore %q: exit %d, want %d (%v)\n%s\n%s", args, o.Exit, exit, err, o.Stdout, o.Stderr)
	}
	return a
}

// restored restores a point in region two, and gives what the volume's bytes are then; the volume goes again.
func (v *volumes) restored(point string, more ...string) (sum string, r restoreAnswer) {
	v.t.Helper()
	a := v.ask(0, append([]string{"restore", point, "--to", "two"}, more...)...)
	r = *a.Result.Restore
	sum = v.sum("two", r.Volume)
	v.two.Remove(v.t, lab.Volumes, r.Volume)
	return sum, r
}

// long leaves to `make lab-full` what would take the quick run minutes.
func long(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("make lab-full runs it")
	}
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.0") }
