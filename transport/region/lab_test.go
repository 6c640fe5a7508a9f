//go:build integration

package region_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/ncw/swift/v2"

	"farshore/transport"
	"farshore/transport/region"
)

// labCloud gives the entry of a lab region: FARSHORE_LAB_ONE or _TWO, of the
// file FARSHORE_LAB_CLOUDS.
func labCloud(t *testing.T, variable, fallback string) region.Config {
	t.Helper()
	file := os.Getenv("FARSHORE_LAB_CLOUDS")
	if file == "" {
		t.Fatal("FARSHORE_LAB_CLOUDS must name the lab's clouds.yaml")
	}
	name := os.Getenv(variable)
	if name == "" {
		name = fallback
	}
	clearEnv(t)
	return region.Config{Cloud: name, CloudsFile: file}
}

func TestLabTwoRegions(t *testing.T) {
	one := open(t, labCloud(t, "FARSHORE_LAB_ONE", "lab-one"))
	two := open(t, labCloud(t, "FARSHORE_LAB_TWO", "lab-two"))
	if a, b := one.Identity(), two.Identity(); a.URL == b.URL || a.Project == "" || b.Project == "" {
		t.Errorf("%+v and %+v are the same place", a, b)
	}
	for _, r := range []*region.Region{one, two} {
		if _, err := r.SwiftConnection().ContainerNames(t.Context(), nil); err != nil {
			t.Error(err)
		}
		// Everything runs on one machine.
		if skew, within, ok := r.ClockSkew(); !ok || skew.Abs() > within+50*time.Millisecond {
			t.Errorf("%v: skew %v ± %v %v", r, skew, within, ok)
		}
	}
}

// A token that Keystone does not know gets a 401 from the real middleware: every
// kind of request must survive it, with one login.
func TestLabRefusedToken(t *testing.T) {
	r := open(t, labCloud(t, "FARSHORE_LAB_ONE", "lab-one"))
	ctx := context.Background()
	conn := r.SwiftConnection()
	container := fmt.Sprintf("farshore-region-test-%d", os.Getpid())
	if err := conn.ContainerCreate(ctx, container, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.ObjectDelete(ctx, container, "small")
		_ = conn.ObjectDelete(ctx, container, "large")
		if err := conn.ContainerDelete(ctx, container); err != nil {
			t.Error(err)
		}
	}()
	logins := func() int64 { return r.Counters().Requests["POST auth"] }
	before := logins()
	for _, size := range []int{100, 3 << 20} {
		name := map[bool]string{true: "small", false: "large"}[size == 100]
		data := bytes.Repeat([]byte("farshore"), size/8+1)[:size]
		r.Provider().SetToken("gAAAAABnothing")
		// A loaded Swift closes the connection while the body still comes, and the
		// 401 is lost with it: then the next try learns of it, and the third succeeds.
		tries := 0
		policy := transport.RetryPolicy{Attempts: 3, First: time.Millisecond}
		_, err := transport.Try(ctx, policy, transport.Attempt{Op: "put"}, func(ctx context.Context) (string, error) {
			tries++
			return call(ctx, r, "PUT", container, name, bytes.NewReader(data), int64(size))
		})
		t.Logf("PUT of %d bytes with a refused token: %d tries", size, tries)
		if err != nil {
			t.Error(err)
		}
		r.Provider().SetToken("gAAAAABnothing")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if got, err := call(ctx, r, "GET", container, name, nil, 0); err != nil || got != string(data) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		wg.Wait()
	}
	if n := logins() - before; n != 4 {
		t.Errorf("%d logins for 4 refused tokens", n)
	}
}

func TestLabWrongPassword(t *testing.T) {
	c := labCloud(t, "FARSHORE_LAB_ONE", "lab-one")
	raw, err := os.ReadFile(c.CloudsFile)
	if err != nil {
		t.Fatal(err)
	}
	password := regexp.MustCompile(`(password"?: *)("[^"]*"|[^ ,}\n]+)`)
	wrong := password.ReplaceAllString(string(raw), `${1}"canary-7f"`)
	c.CloudsFile = write(t, t.TempDir(), "clouds.yaml", wrong)
	c.Name = "lyon"
	_, err = region.Open(t.Context(), c)
	wantClass(t, err, transport.Denied, "lyon", "401")
	noCanary(t, err)
}

func TestLabMissingObject(t *testing.T) {
	r := open(t, labCloud(t, "FARSHORE_LAB_ONE", "lab-one"))
	_, err := call(t.Context(), r, "GET", "no-such-container", "o", nil, 0)
	var e *swift.Error
	if !errors.As(err, &e) || e.StatusCode != 404 || r.Counters().Requests["GET object"] != 1 {
		t.Errorf("%v, %+v", err, r.Counters())
	}
}
