package cinder_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/cinder"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// fake is one region of a fakecloud, and logins to it.
type fake struct {
	*fakecloud.Region
	login   *region.Region
	storage *cinder.Storage
	admin   *cinder.Storage // may import records
	objects *swift.Endpoint
}

func newFake(t *testing.T, o fakecloud.BlockOptions) *fake {
	t.Helper()
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{{Name: "one", Block: o}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	file, err := cloud.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{Region: cloud.Region("one")}
	open := func(cloud string) (*region.Region, *cinder.Storage) {
		return login(t, region.Config{Name: "one", Cloud: cloud, CloudsFile: file})
	}
	_, f.admin = open("one-admin")
	f.login, f.storage = open("one")
	f.objects = swift.New(f.login.SwiftConnection(), swift.Options{Region: "one", Project: f.login.Identity().Project})
	return f
}

// login opens a region and its block storage, which lists in small pages.
func login(t testing.TB, c region.Config) (*region.Region, *cinder.Storage) {
	t.Helper()
	r, err := region.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s, err := cinder.New(r, cinder.Options{PageSize: transporttest.SuiteBlockPage})
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// A GiB of 64 MiB holds two objects of a backup.
var small = fakecloud.BlockOptions{GiB: 64 << 20}

func (f *fake) blocks() transporttest.Blocks {
	return transporttest.Blocks{Storage: f.storage, Importer: f.admin, Objects: f.objects, Poll: 1e6,
		Write: func(t testing.TB, volume string, offset int64, data []byte) {
			if _, err := f.Volume(volume).WriteAt(data, offset); err != nil {
				t.Fatal(err)
			}
		},
		Read: func(t testing.TB, volume string, offset, length int64) []byte {
			b := make([]byte, length)
			if _, err := f.Volume(volume).ReadAt(b, offset); err != nil {
				t.Fatal(err)
			}
			return b
		},
		Attach: func(_ testing.TB, volume string) func() {
			v := f.Volume(volume)
			v.Attach("a-server", "/dev/vdb")
			return v.Detach
		}}
}

func TestFakecloudConforms(t *testing.T) {
	transporttest.RunBlocks(t, func(t *testing.T) transporttest.Blocks { return newFake(t, small).blocks() })
}

// The retry layer is block storage like that behind it, through one slot only.
func TestRetriedConforms(t *testing.T) {
	transporttest.RunBlocks(t, func(t *testing.T) transporttest.Blocks {
		b := newFake(t, small).blocks()
		b.Storage = transport.RetryBlocks(b.Storage, transport.NewLink(transport.LinkOptions{Region: "one", Start: 1, Max: 1}), transport.RetryPolicy{})
		return b
	})
}

// A create whose reply is lost was carried out once and is not sent again; its name
// leads to it. Reads and deletes get over the same, and over all tokens' end.
func TestLostReplies(t *testing.T) {
	f := newFake(t, small)
	ctx := t.Context()
	again := 0
	st := transport.RetryBlocks(f.storage, nil, transport.RetryPolicy{First: time.Millisecond, Observer: func(transport.Attempt) { again++ }})
	lose := func(class fakecloud.Class, method string, n int) {
		f.AddFault(fakecloud.Fault{Name: method, Match: fakecloud.Match{Class: class, Method: method, Times: n}, Do: fakecloud.LoseReply()})
	}
	volume := f.AddVolume("db", 1, "", nil).ID()
	f.ResetCounters()
	lose(fakecloud.ClassBackup, "POST", 1)
	_, err := st.CreateBackup(ctx, transport.BackupSpec{Volume: volume, Name: "lost"})
	wants(t, err, transport.Transient, "create backup of volume "+volume)
	if again != 0 {
		t.Errorf("repeated %d times", again)
	}
	lose(fakecloud.ClassBackup, "GET", 2)
	all, err := st.Backups(ctx)
	if err != nil || len(all) != 1 || all[0].Name != "lost" || again != 2 {
		t.Fatalf("%+v %v, repeated %d times", all, err, again)
	}
	f.ExpireTokens()
	x, err := st.Backup(ctx, all[0].ID)
	if err != nil || x.Status != "available" {
		t.Errorf("%+v %v", x, err)
	}
	lose(fakecloud.ClassBackup, "DELETE", 1)
	if err := st.DeleteBackup(ctx, x.ID); err != nil || again != 3 {
		t.Errorf("%v, repeated %d times", err, again)
	}
	if n := f.Counters().Of(fakecloud.ClassBackup, "POST").Requests; n != 1 {
		t.Errorf("%d creates", n)
	}
	if err := f.VerifyFaultsUsed(); err != nil {
		t.Error(err)
	}
	got := f.login.Counters().Requests
	if got["POST block"] != 1 || got["DELETE block"] != 2 || got["GET block"] == 0 || got["POST auth"] != 2 || got["GET other"] != 0 {
		t.Errorf("counted: %v", got)
	}
}

// Where backups are, in every kind of region, and that an imported one tells nothing.
func TestPlacement(t *testing.T) {
	for at, want := range map[fakecloud.BlockPlacement]transport.Placement{fakecloud.PerUser: transport.PlacedPerUser,
		fakecloud.SingleUser: transport.PlacedSingleUser, fakecloud.Elsewhere: transport.PlacedElsewhere} {
		f := newFake(t, fakecloud.BlockOptions{GiB: 1 << 20, Placement: at})
		find := func(want transport.Placement) {
			t.Helper()
			if p, err := transport.FindPlacement(t.Context(), f.storage, f.objects); err != nil || p.Where != want || p.Why == "" {
				t.Errorf("%s: found %+v %v", at, p, err)
			}
		}
		find(transport.PlacedUnknown)
		record := fmt.Sprintf(`{"id": "11111111-2222-4333-8444-555555555555", "size": 1, "volume_id": "66666666-2222-4333-8444-555555555555", "container": "imported",
			"display_name": null, "display_description": null, "object_count": 1, "service_metadata": %q}`, "volume_x/y/z")
		if _, err := f.admin.ImportBackup(t.Context(), "", []byte(record)); err != nil {
			t.Fatal(err)
		}
		find(transport.PlacedUnknown)
		p, err := transport.ProbePlacement(t.Context(), f.storage, f.objects, nil, nil)
		if err != nil || p.Where != want || len(p.Left) != 0 {
			t.Errorf("%s: %+v %v", at, p, err)
		}
		if left := f.BlockResources(); len(left) != 1 || left[0].Name != "" {
			t.Errorf("%s: left %+v", at, left)
		}
		if names := f.ContainerNames(); len(names) != 0 {
			t.Errorf("%s: left containers %q", at, names)
		}
		if _, err := f.storage.CreateBackup(t.Context(), transport.BackupSpec{Volume: f.AddVolume("db", 1, "", nil).ID(), Name: "b"}); err != nil {
			t.Fatal(err)
		}
		find(want)
		if want == transport.PlacedPerUser { // who may not look knows nothing
			f.AddFault(fakecloud.Fault{Match: fakecloud.Match{Class: fakecloud.ClassListing}, Do: fakecloud.Status(403, nil)})
			find(transport.PlacedUnknown)
		}
	}
}

// A probe that fails anywhere says so and leaves nothing, nor what an earlier one left
// that died.
func TestPlacementProbeFails(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*fake)
		says    string
		left    int
	}{
		"no room for a volume": {func(f *fake) { f.SetQuota(fakecloud.Project, "volumes", 1) }, "413", 0},
		"no room for a backup": {func(f *fake) { f.SetQuota(fakecloud.Project, "backups", 0) }, `413`, 0},
		"the backup fails": {func(f *fake) {
			f.AddBlockFault(fakecloud.BlockFault{Kind: fakecloud.JobBackup, Fail: "no space in Swift"})
		}, "no space in Swift", 0},
		"the volume's reply is lost": {func(f *fake) {
			f.AddFault(fakecloud.Fault{Match: fakecloud.Match{Class: fakecloud.ClassVolume, Method: "POST"}, Do: fakecloud.LoseReply()})
		}, "create volume farshore-probe-", 0},
		"the backup is stuck": {func(f *fake) {
			f.AddBlockFault(fakecloud.BlockFault{Kind: fakecloud.JobBackup})
		}, "is creating after 10m", 2},
	} {
		f := newFake(t, fakecloud.BlockOptions{GiB: 1 << 20})
		old := f.AddVolume("farshore-probe-0123", 1, "", map[string]string{"farshore_probe": "farshore-probe-0123"})
		c.prepare(f)
		p, err := transport.ProbePlacement(t.Context(), f.storage, f.objects, new(transporttest.Quick), nil)
		if err == nil || !strings.Contains(err.Error(), c.says) || p.Where != transport.PlacedUnknown || p.Why == "" || len(p.Left) != c.left {
			t.Errorf("%s: %+v %v", name, p, err)
		}
		var names []string
		for _, x := range f.BlockResources() {
			names = append(names, x.ID)
		}
		// The old one is too young to be taken for one that died.
		if want := c.left + 1; len(names) != want || !slices.Contains(names, old.ID()) {
			t.Errorf("%s: left %+v", name, f.BlockResources())
		}
		for _, left := range p.Left {
			if !strings.Contains(left, "openstack volume") {
				t.Errorf("%s: left %s", name, left)
			}
		}
	}
}

// All tokens end again and again in the middle of many calls: none fails, and nothing is
// made twice.
func TestTokensEndUnderManyCalls(t *testing.T) {
	f := newFake(t, fakecloud.BlockOptions{GiB: 1 << 20, Quota: map[string]int{"volumes": -1}})
	ctx := t.Context()
	st := transport.RetryBlocks(f.storage, nil, transport.RetryPolicy{First: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				v, err := st.CreateVolume(ctx, transport.VolumeSpec{Name: fmt.Sprint(i, "-", j), Size: 1})
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := st.Volume(ctx, v.ID); err != nil {
					t.Error(err)
				}
				if j%3 == 0 {
					f.ExpireTokens()
				}
			}
		})
	}
	wg.Wait()
	all, err := f.storage.Volumes(ctx)
	names := map[string]bool{}
	for _, v := range all {
		names[v.Name] = true
	}
	if err != nil || len(all) != 80 || len(names) != 80 {
		t.Errorf("%d volumes of %d names, %v", len(all), len(names), err)
	}
	if n := f.login.Counters().Requests["POST auth"]; n < 3 {
		t.Errorf("%d logins: no token ended", n)
	}
}
