//go:build integration

package swift_test

import (
	"cmp"
	"net/http"
	"os"
	"testing"

	"farshore/transport"
	"farshore/transport/region"
	"farshore/transport/swift"
	"farshore/transport/transporttest"
)

// lab opens an endpoint on a real Swift: the entry FARSHORE_LAB_ONE of the clouds
// file FARSHORE_LAB_CLOUDS. It never skips: a lab that is asked for must be there.
func lab(t *testing.T, o swift.Options) (*swift.Endpoint, transporttest.HTTPRaw) {
	t.Helper()
	file := os.Getenv("FARSHORE_LAB_CLOUDS")
	if file == "" {
		t.Fatal("FARSHORE_LAB_CLOUDS does not name the lab's clouds.yaml (see integration/lab)")
	}
	r, err := region.Open(t.Context(), region.Config{Name: "lab", Cloud: cmp.Or(os.Getenv("FARSHORE_LAB_ONE"), "lab-one"), CloudsFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	o.Region, o.Project = "lab", r.Identity().Project
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return swift.New(r.SwiftConnection(), o), transporttest.HTTPRaw{URL: r.Identity().URL, Token: r.Token(), Client: &http.Client{Transport: tr}}
}

func TestLabConforms(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) (transport.Sink, transporttest.Raw) {
		return lab(t, suiteOptions)
	})
}

func TestLabProbe(t *testing.T) {
	ep, _ := lab(t, swift.Options{})
	wantProbe(t, ep, ".farshore-probe-test", yes())
}
