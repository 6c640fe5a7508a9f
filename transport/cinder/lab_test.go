//go:build integration

package cinder_test

import (
	"os"
	"testing"
	"time"

	"farshore/integration/lab"
	"farshore/transport/cinder"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// onLab gives what the suite needs of a region of the lab, which must be up.
func onLab(t *testing.T, alias string) transporttest.Blocks {
	t.Helper()
	l := lab.RequireCinder(t)
	open := func(who string) (*region.Region, *cinder.Storage) {
		return login(t, region.Config{Name: alias, Cloud: l.Cloud(alias, who), CloudsFile: l.CloudsFile()})
	}
	_, admin := open("-admin")
	r, storage := open("")
	at := func(t testing.TB, volume string, flag int, do func(*os.File) error) {
		f, err := os.OpenFile(l.VolumeFile(t, alias, volume), flag, 0)
		if err == nil {
			err = do(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return transporttest.Blocks{Storage: storage, Importer: admin, Poll: time.Second,
		Objects: swift.New(r.SwiftConnection(), swift.Options{Region: alias, Project: r.Identity().Project}),
		Write: func(t testing.TB, volume string, offset int64, data []byte) {
			at(t, volume, os.O_WRONLY, func(f *os.File) error { _, err := f.WriteAt(data, offset); return err })
		},
		Read: func(t testing.TB, volume string, offset, length int64) []byte {
			b := make([]byte, length)
			at(t, volume, os.O_RDONLY, func(f *os.File) error { _, err := f.ReadAt(b, offset); return err })
			return b
		},
		Attach: func(t testing.TB, volume string) func() { return l.Block(t, alias, "").Attach(t, volume) }}
}

func TestLabConforms(t *testing.T) {
	transporttest.RunBlocks(t, func(t *testing.T) transporttest.Blocks { return onLab(t, "one") })
}
