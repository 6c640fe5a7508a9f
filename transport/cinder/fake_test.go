package cinder_test

import (
	"testing"

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
		r, err := region.Open(t.Context(), region.Config{Name: "one", Cloud: cloud, CloudsFile: file})
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
	_, f.admin = open("one-admin")
	f.login, f.storage = open("one")
	f.objects = swift.New(f.login.SwiftConnection(), swift.Options{Region: "one", Project: f.login.Identity().Project})
	return f
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
