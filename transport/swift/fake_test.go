package swift_test

import (
	"net/http"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// fake is one region of a fakecloud with an endpoint on it.
type fake struct {
	*fakecloud.Region
	ep  *swift.Endpoint
	raw transporttest.HTTPRaw
}

func newFake(t *testing.T, ro fakecloud.RegionOptions, o swift.Options) *fake {
	t.Helper()
	ro.Name = "one"
	cloud, err := fakecloud.Start(fakecloud.Options{Regions: []fakecloud.RegionOptions{ro}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	file, err := cloud.CloudsYAML(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := region.Open(t.Context(), region.Config{Name: "one", Cloud: "one", CloudsFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	o.Region, o.Project = "one", r.Identity().Project
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	fr := cloud.Region("one")
	return &fake{Region: fr, ep: swift.New(r.SwiftConnection(), o),
		raw: transporttest.HTTPRaw{URL: fr.StorageURL(), Token: fr.Token(fakecloud.User, fakecloud.Project), Client: &http.Client{Transport: tr}}}
}

var suiteOptions = swift.Options{PageSize: transporttest.SuitePage, SplitOver: transporttest.SuiteSplit}

func TestFakecloudConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) (transport.Sink, transporttest.Raw) {
		f := newFake(t, fakecloud.RegionOptions{}, suiteOptions)
		return f.ep, f.raw
	})
}

// TestFakecloudRGWConforms runs the suite on a Ceph RGW, whose lacks a probe finds
// out first; what is skipped then is what the engine will not rely on.
func TestFakecloudRGWConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) (transport.Sink, transporttest.Raw) {
		f := newFake(t, fakecloud.RegionOptions{Profile: fakecloud.RGW}, suiteOptions)
		if _, err := f.ep.Probe(t.Context(), "probe"); err != nil {
			t.Fatal(err)
		}
		return f.ep, f.raw
	}, "ListEntries")
}
