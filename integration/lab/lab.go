// Package lab gives tests the real OpenStack regions that integration/lab/up brings up: where the
// clouds file is, HTTP clients that share no code with the project, and the means to take a region
// away for a while. See README.md beside it.
package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// DefaultState is the state folder when FARSHORE_LAB_STATE does not name one.
const DefaultState = "/var/tmp/farshore-lab"

// Who acts on a region: the suffix of the cloud's name.
const (
	Tenant  = ""         // member and swiftoperator of project tenant
	AppCred = "-appcred" // an application credential of the same user
	Other   = "-other"   // a second tenant
	Reader  = "-reader"  // sees only what a container's ACL shows it
	Admin   = "-admin"   // admin and ResellerAdmin, scoped to project tenant
)

// Region is one region of the lab.
type Region struct {
	Alias string `json:"alias"` // one, two, three ...
	Name  string `json:"name"`  // as in the catalog
	Swift string `json:"swift"` // the proxy's root URL, without a slash at its end

	// Cinder is its API's root URL, likewise, and Volumes the folder of the volumes' bytes: "" in a
	// region without it.
	Cinder  string `json:"cinder"`
	Volumes string `json:"volumes"`
}

// Lab is a running lab. It is safe for concurrent use.
type Lab struct {
	state string
	desc  description
}

// description is lab.json, which up writes.
type description struct {
	AuthURL  string            `json:"auth_url"`
	Scripts  string            `json:"scripts"`
	Regions  []Region          `json:"regions"`
	Users    map[string]string `json:"users"`
	Projects map[string]string `json:"projects"`
	Clouds   map[string]cloud  `json:"clouds"`
}

type cloud struct {
	AuthType string            `json:"auth_type"`
	Auth     map[string]string `json:"auth"`
	Region   string            `json:"region_name"`
}

// Require gives the running lab of FARSHORE_LAB_STATE. It fails the test, and never skips it, when
// the lab is not up in all its parts.
func Require(t testing.TB) *Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := Open(ctx)
	if err != nil {
		t.Fatalf("the lab is not up (run integration/lab/up): %v", err)
	}
	return l
}

// Open gives the lab of FARSHORE_LAB_STATE, or an error that names every part that does not answer.
func Open(ctx context.Context) (*Lab, error) {
	state := os.Getenv("FARSHORE_LAB_STATE")
	if state == "" {
		state = DefaultState
	}
	raw, err := os.ReadFile(filepath.Join(state, "lab.json"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's description: %w", err)
	}
	l := &Lab{state: state}
	if err := json.Unmarshal(raw, &l.desc); err != nil {
		return nil, fmt.Errorf("parse %s/lab.json: %w", state, err)
	}
	errs := []error{answers(ctx, l.desc.AuthURL)}
	for _, r := range l.desc.Regions {
		errs = append(errs, answers(ctx, r.Swift+"/healthcheck"))
		if r.Cinder != "" {
			errs = append(errs, answers(ctx, r.Cinder+"/healthcheck"))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := direct.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// CloudsFile is the path of clouds.yaml, for OS_CLIENT_CONFIG_FILE.
func (l *Lab) CloudsFile() string { return filepath.Join(l.state, "clouds.yaml") }

// RcloneConfig is the path of an rclone.conf whose remotes have the clouds' names. It has no
// application credentials.
func (l *Lab) RcloneConfig() string { return filepath.Join(l.state, "rclone.conf") }

// Regions are the lab's regions, at least two, in the order of their aliases.
func (l *Lab) Regions() []Region { return slices.Clone(l.desc.Regions) }

// Cloud is the name in the clouds file of who in the region with this alias.
func (l *Lab) Cloud(alias, who string) string { return "lab-" + alias + who }

// ProjectID is the id of a project: tenant, other, admin or service. It is the same in all regions.
func (l *Lab) ProjectID(name string) string { return l.desc.Projects[name] }

// UserID is the id of a user: tenant, other, reader, admin or swift.
func (l *Lab) UserID(name string) string { return l.desc.Users[name] }

// Env is the process's environment with the clouds file and this cloud named in it, and every other
// OS_ variable and proxy taken out: what openstackclient and a tested binary want.
func (l *Lab) Env(cloud string) []string {
	return append(bareEnv(), "OS_CLIENT_CONFIG_FILE="+l.CloudsFile(), "OS_CLOUD="+cloud)
}

// OpenRC is like Env, with the cloud's credentials spelt out as an openrc file does:
// python-swiftclient reads no clouds file. (With an application credential it takes no notice of the
// region, 4.1.)
func (l *Lab) OpenRC(cloud string) []string {
	c := l.desc.Clouds[cloud]
	env := append(bareEnv(), "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME="+c.Region)
	if c.AuthType != "" {
		env = append(env, "OS_AUTH_TYPE="+c.AuthType)
	}
	for k, v := range c.Auth {
		env = append(env, "OS_"+strings.ToUpper(k)+"="+v)
	}
	return env
}

func bareEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "OS_") || strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
}

// The services of a region that can be taken away each alone.
const (
	Swift     = "swift"  // its proxy
	Cinder    = "cinder" // its API
	Scheduler = "scheduler"
	Volume    = "volume"
	Backup    = "backup"
)

// StopRegion makes services of the region refuse connections, until StartRegion or the test's end.
// Without services, here and below, it is what users see of the region: Swift and Cinder.
func (l *Lab) StopRegion(t testing.TB, alias string, services ...string) {
	t.Helper()
	t.Cleanup(func() { l.StartRegion(t, alias, services...) })
	l.region(t, "stop", alias, services)
}

// KillRegion is StopRegion by SIGKILL: the services drop what they are doing.
func (l *Lab) KillRegion(t testing.TB, alias string, services ...string) {
	t.Helper()
	t.Cleanup(func() { l.StartRegion(t, alias, services...) })
	l.region(t, "kill", alias, services)
}

// StartRegion gives the region's services back and waits until they are ready.
func (l *Lab) StartRegion(t testing.TB, alias string, services ...string) {
	t.Helper()
	l.region(t, "start", alias, services)
}

// FreezeRegion makes services of the region take connections and answer none, until ThawRegion or
// the test's end. A frozen Backup holds its backups and restores where they are.
func (l *Lab) FreezeRegion(t testing.TB, alias string, services ...string) {
	t.Helper()
	t.Cleanup(func() { l.ThawRegion(t, alias, services...) })
	l.region(t, "freeze", alias, services)
}

// ThawRegion lets the region's services go on, with the requests that waited.
func (l *Lab) ThawRegion(t testing.TB, alias string, services ...string) {
	t.Helper()
	l.region(t, "thaw", alias, services)
}

func (l *Lab) region(t testing.TB, verb, alias string, services []string) {
	t.Helper()
	l.script(t, nil, "region", append([]string{verb, alias}, services...)...)
}

// TokenLife makes tokens issued from now on live for d (whole seconds) until the test ends. Keystone
// is away for some seconds while it restarts; tokens already out keep their own life.
func (l *Lab) TokenLife(t testing.TB, d time.Duration) {
	t.Helper()
	t.Cleanup(func() { l.script(t, nil, "up") })
	l.script(t, []string{"FARSHORE_LAB_TOKEN_LIFE=" + strconv.Itoa(int(d/time.Second))}, "up")
}

func (l *Lab) script(t testing.TB, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.desc.Scripts, name), args...)
	cmd.Env = append(os.Environ(), "FARSHORE_LAB_STATE="+l.state)
	cmd.Env = append(cmd.Env, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
}
