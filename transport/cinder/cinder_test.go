package cinder_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"farshore/transport"
	"farshore/transport/cinder"
	"farshore/transport/region"
)

// scripted answers the requests of a region from a function, and notes those for Cinder.
type scripted struct {
	catalog string
	cinder  func(n int, q *http.Request, body string) (int, string)

	mu     sync.Mutex
	tokens int
	seen   []string // method, path and query, microversion
	bodies []string
}

const bothServices = `{"type": "object-store", "endpoints": [{"region_id": "north", "interface": "public", "url": "http://swift.example/v1/AUTH_p1"}]},
	{"type": "volumev3", "endpoints": [{"region_id": "north", "interface": "public", "url": "http://cinder.example/v3/p1"}]}`

func (s *scripted) RoundTrip(q *http.Request) (*http.Response, error) {
	var body string
	if q.Body != nil {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		_ = q.Body.Close()
		body = string(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(q.URL.Path, "/auth/tokens") {
		s.tokens++
		ends := time.Now().Add(time.Duration(s.tokens) * time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")
		return answer(q, 201, fmt.Sprintf(`{"token": {"expires_at": %q, "project": {"id": "p1", "domain": {"id": "default"}}, "catalog": [%s]}}`, ends, s.catalog),
			fmt.Sprint("tok", s.tokens)), nil
	}
	if q.URL.Host != "cinder.example" || q.Header.Get("X-Auth-Token") != fmt.Sprint("tok", s.tokens) && s.tokens > 1 {
		return answer(q, 418, "", ""), nil
	}
	s.seen = append(s.seen, strings.TrimSpace(q.Method+" "+q.URL.RequestURI()+" "+strings.TrimPrefix(q.Header.Get("OpenStack-API-Version"), "volume ")))
	s.bodies = append(s.bodies, body)
	status, text := s.cinder(len(s.seen), q, body)
	return answer(q, status, text, ""), nil
}

func answer(q *http.Request, status int, body, token string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}, "X-Openstack-Request-Id": {"req-1"}}
	if token != "" {
		h.Set("X-Subject-Token", token)
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Request: q, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func openRegion(t *testing.T, s *scripted, extra string) *region.Region {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	if s.catalog == "" {
		s.catalog = bothServices
	}
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	text := "clouds:\n  one:\n    auth: {auth_url: \"http://ks.example/v3\", username: u, password: s3, project_id: p1}\n    region_name: north\n" + extra
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := region.Open(t.Context(), region.Config{Name: "lyon", Cloud: "one", CloudsFile: file, Base: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func open(t *testing.T, s *scripted) *cinder.Storage {
	t.Helper()
	c, err := cinder.New(openRegion(t, s, ""), cinder.Options{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Cinder's own words for what goes wrong, as 21.3 says them, and what they mean.
func TestErrors(t *testing.T) {
	fault := func(name, text string) string {
		b, _ := json.Marshal(map[string]any{name: map[string]any{"code": 1, "message": text}})
		return string(b)
	}
	for _, c := range []struct {
		status int
		body   string
		class  transport.Class
		says   []string
	}{
		{400, fault("badRequest", "Invalid backup: Backup already exists in database."), transport.Exists, []string{"already exists"}},
		{400, fault("badRequest", "Invalid backup: Backup status must be available or error"), transport.Changed, nil},
		{400, fault("badRequest", "Invalid backup: Incremental backups exist for this backup."), transport.Changed, []string{"increments upon it first"}},
		{400, fault("badRequest", "Invalid backup: No backups available to do an incremental backup."), transport.Changed, []string{"make a full backup"}},
		{400, fault("badRequest", "Invalid backup: The parent backup must be available for incremental backup."), transport.Changed, nil},
		{400, fault("badRequest", `Invalid snapshot: Snapshot to be backed up must be available, but the current status is "backing-up".`), transport.Changed, []string{"backing-up"}},
		{400, fault("badRequest", "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."), transport.Changed, nil},
		{400, fault("badRequest", "Invalid volume: volume size 1 is too small to restore backup of size 2."), transport.Permanent, []string{"too small"}},
		{400, fault("badRequest", "Invalid input received: Availability zone 'x' is invalid."), transport.Permanent, nil},
		{409, fault("conflictingRequest", "Resource is busy"), transport.Changed, nil},
		{403, fault("forbidden", "Policy doesn't allow backup:backup-import to be performed."), transport.Denied, []string{"rule backup:backup-import", "admin of region lyon"}},
		{413, fault("overLimit", "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes_fast'."), transport.Quota, []string{`"volumes_fast"`, "region lyon"}},
		{413, fault("overLimit", "BackupLimitExceeded: Maximum number of backups allowed (10) exceeded"), transport.Quota, []string{`"backups"`}},
		{413, fault("overLimit", "SnapshotLimitExceeded: Maximum number of snapshots allowed (10) exceeded"), transport.Quota, []string{`"snapshots"`}},
		{413, fault("overLimit", "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested 2G, quota is 1G and 0G has been consumed."), transport.Quota, []string{`"gigabytes"`}},
		{413, fault("overLimit", "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. Requested 2G, quota is 1G and 0G has been consumed."), transport.Quota, []string{`"backup_gigabytes"`}},
		{413, "", transport.Quota, []string{"volumes, snapshots, backups or gigabytes"}},
		{404, fault("itemNotFound", "Volume type with name gold could not be found."), transport.NotFound, []string{"volume_types in the policy"}},
		{404, fault("itemNotFound", "Service cinder-backup could not be found."), transport.Transient, []string{"no service of this name"}},
		{503, fault("serviceUnavailable", "Service cinder-backup could not be found."), transport.Transient, []string{"no service of this name"}},
		{503, "<html><head><title>x</title></head><h1>503 Busy</h1></html>", transport.Throttled, []string{"503 Service Unavailable: 503 Busy"}},
		{500, fault("computeFault", "The server has either erred."), transport.Transient, nil},
		{429, "", transport.Throttled, nil},
		{401, "", transport.Denied, nil},
		{418, "", transport.Permanent, nil},
	} {
		s := &scripted{cinder: func(int, *http.Request, string) (int, string) { return c.status, c.body }}
		st := open(t, s)
		_, err := st.CreateBackup(t.Context(), transport.BackupSpec{Volume: "v1", Snapshot: "s1", Name: "b"})
		e := wants(t, err, c.class, append(c.says, "create backup of snapshot s1 (region lyon)")...)
		if c.status != 401 && (e.Status != c.status || e.TxID != "req-1" || len(s.seen) != 1) {
			t.Errorf("%+v, %q", e, s.seen)
		}
	}
}

func wants(t *testing.T, err error, class transport.Class, texts ...string) *transport.Error {
	t.Helper()
	e, ok := err.(*transport.Error)
	if !ok || e.Class != class {
		t.Errorf("%v (%T) is of class %v, not %v", err, err, transport.ClassOf(err), class)
		return &transport.Error{}
	}
	text := e.Error() + " hint: " + transport.HintOf(e)
	for _, want := range texts {
		if !strings.Contains(text, want) {
			t.Errorf("%s: does not say %q", text, want)
		}
	}
	return e
}

// A token that has ended is renewed and the create sent once more: it was not carried
// out. No other failure makes anything a second time.
func TestTokenEndsBeforeACreate(t *testing.T) {
	s := &scripted{cinder: func(n int, q *http.Request, _ string) (int, string) {
		if n == 1 {
			return 401, ""
		}
		return 202, `{"backup": {"id": "b1", "name": "x"}}`
	}}
	st := open(t, s)
	b, err := st.CreateBackup(t.Context(), transport.BackupSpec{Volume: "v1", Snapshot: "s1", Name: "x", Incremental: true, Container: "c",
		Metadata: map[string]string{"farshore_work": "w"}})
	if err != nil || b.ID != "b1" || b.Status != "creating" || !b.Incremental || b.Metadata["farshore_work"] != "w" || b.Container != "c" {
		t.Errorf("%+v %v", b, err)
	}
	want := `{"backup":{"container":"c","incremental":true,"metadata":{"farshore_work":"w"},"name":"x","snapshot_id":"s1","volume_id":"v1"}}`
	if s.tokens != 2 || len(s.bodies) != 2 || s.bodies[0] != s.bodies[1] || s.bodies[1] != want {
		t.Errorf("%d tokens, %q", s.tokens, s.bodies)
	}
	if ends, err := st.Renew(t.Context()); err != nil || time.Until(ends) < 150*time.Minute || s.tokens != 3 {
		t.Errorf("renewed: %v %v, %d tokens", ends, err, s.tokens)
	}
}

// A region older than 3.43 refuses the version with 406 and gets the request without
// it, and without the metadata that its schema does not know.
func TestOldMicroversion(t *testing.T) {
	s := &scripted{cinder: func(_ int, q *http.Request, body string) (int, string) {
		switch {
		case q.Header.Get("OpenStack-API-Version") != "":
			return 406, `{"computeFault": {"message": "Version 3.43 is not supported by the API. Minimum is 3.0 and maximum is 3.27."}}`
		case q.Method == "POST":
			return 202, `{"backup": {"id": "b1", "name": "x"}}`
		case strings.HasSuffix(q.URL.Path, "/detail"):
			return 200, `{"backups": [{"id": "b1", "size": 1, "object_count": null, "volume_id": "v1", "snapshot_id": null, "data_timestamp": null, "created_at": "2026-01-02T03:04:05.000000"}]}`
		}
		return 200, `{"backup": {"id": "b1", "fail_reason": null, "availability_zone": null, "is_incremental": true, "has_dependent_backups": true}}`
	}}
	st := open(t, s)
	b, err := st.CreateBackup(t.Context(), transport.BackupSpec{Volume: "v1", Snapshot: "s1", Name: "x", Metadata: map[string]string{"a": "b"}})
	if err != nil || b.Metadata != nil || strings.Contains(s.bodies[1], "metadata") {
		t.Errorf("%+v %v %q", b, err, s.bodies)
	}
	if b, err = st.Backup(t.Context(), "b1"); err != nil || !b.Incremental || !b.Dependents || b.Metadata != nil || b.Zone != "" {
		t.Errorf("%+v %v", b, err)
	}
	all, err := st.Backups(t.Context())
	if err != nil || len(all) != 1 || all[0].Objects != 0 || !all[0].Created.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || !all[0].DataTime.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	want := []string{"POST /v3/p1/backups 3.43", "POST /v3/p1/backups", "GET /v3/p1/backups/b1 3.43", "GET /v3/p1/backups/b1",
		"GET /v3/p1/backups/detail?limit=2 3.43", "GET /v3/p1/backups/detail?limit=2"}
	if !slices.Equal(s.seen, want) {
		t.Errorf("%q", s.seen)
	}
}

// Pages are asked for by marker at the endpoint that we know: the server's link names
// another host.
func TestPages(t *testing.T) {
	s := &scripted{cinder: func(n int, q *http.Request, _ string) (int, string) {
		return 200, map[string]string{
			"":   `{"volumes": [{"id": "a", "metadata": {"readonly": "False", "attached_mode": "rw", "k": "v"}}, {"id": "b"}], "volumes_links": [{"rel": "next", "href": "http://inside.example/v3/p1/volumes/detail?marker=b"}]}`,
			"b":  `{"volumes": [{"id": "c"}, {"id": "d"}], "volumes_links": [{"rel": "next", "href": "http://inside.example/v3/p1/volumes/detail?marker=d"}]}`,
			"d":  `{"volumes": []}`,
			"d2": "",
		}[q.URL.Query().Get("marker")]
	}}
	all, err := open(t, s).Volumes(t.Context())
	if err != nil || len(all) != 4 || all[3].ID != "d" || len(all[0].Metadata) != 1 || all[0].Metadata["k"] != "v" || len(s.seen) != 3 {
		t.Errorf("%+v %v %q", all, err, s.seen)
	}

	// A marker that was deleted meanwhile is no missing volume; a server that goes in
	// circles is left.
	s = &scripted{cinder: func(n int, q *http.Request, _ string) (int, string) {
		if n == 2 {
			return 404, `{"itemNotFound": {"message": "Volume b could not be found."}}`
		}
		return 200, `{"volumes": [{"id": "a"}, {"id": "b"}], "volumes_links": [{"rel": "next", "href": "x"}]}`
	}}
	st := open(t, s)
	_, err = st.Volumes(t.Context())
	wants(t, err, transport.Transient, "list volumes (region lyon)")
	_, err = st.Volumes(t.Context())
	wants(t, err, transport.Permanent, "does not go on")
}

// Deletes: gone is fine, and so is what is being deleted already.
func TestDeletes(t *testing.T) {
	for status, ok := range map[string]bool{"deleting": true, "creating": false, "": true} {
		s := &scripted{cinder: func(_ int, q *http.Request, _ string) (int, string) {
			switch {
			case q.Method == "DELETE":
				return 400, `{"badRequest": {"message": "Invalid backup: Backup status must be available or error"}}`
			case status == "":
				return 404, `{"itemNotFound": {"message": "Backup b1 could not be found."}}`
			}
			return 200, `{"backup": {"id": "b1", "status": "` + status + `"}}`
		}}
		if err := open(t, s).DeleteBackup(t.Context(), "b1"); (err == nil) != ok || err != nil && !transport.Is(err, transport.Changed) {
			t.Errorf("%q: %v", status, err)
		}
	}
	s := &scripted{cinder: func(int, *http.Request, string) (int, string) { return 404, "" }}
	st := open(t, s)
	for _, err := range []error{st.DeleteVolume(t.Context(), "v"), st.DeleteSnapshot(t.Context(), "s"), st.DeleteBackup(t.Context(), "b")} {
		if err != nil {
			t.Error(err)
		}
	}
	n := len(s.seen)
	wants(t, st.DeleteVolume(t.Context(), ""), transport.NotFound, "is not an id")
	wants(t, st.RestoreBackup(t.Context(), "b", ""), transport.NotFound)
	if len(s.seen) != n {
		t.Errorf("%q", s.seen[n:])
	}
}

func TestImportRights(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		allowed transport.Answer
		rule    string
		ok      bool
	}{
		{400, `{"badRequest": {"message": "Invalid input received: Provided backup record is missing an id"}}`, transport.Yes, "", true},
		{403, `{"forbidden": {"message": "Policy doesn't allow backup:backup-import to be performed."}}`, transport.No, "backup:backup-import", true},
		{403, `Forbidden`, transport.No, "backup:backup-import", true},
		{500, ``, transport.Unknown, "", false},
		{201, `{"backup": {"id": "x"}}`, transport.Unknown, "", false},
	} {
		s := &scripted{cinder: func(int, *http.Request, string) (int, string) { return c.status, c.body }}
		got, err := open(t, s).ImportRights(t.Context())
		if got.Allowed != c.allowed || got.Rule != c.rule || got.Project != "p1" || (err == nil) != c.ok {
			t.Errorf("%+v: %+v %v", c, got, err)
		}
		if want := `{"backup-record":{"backup_service":"cinder.backup.drivers.swift.SwiftBackupDriver","backup_url":"e30="}}`; s.bodies[0] != want {
			t.Errorf("%s", s.bodies[0])
		}
	}
}

// Quotas a login may not see are asked for as limits.
func TestQuotas(t *testing.T) {
	s := &scripted{cinder: func(_ int, q *http.Request, _ string) (int, string) {
		if strings.Contains(q.URL.Path, "os-quota-sets") {
			return 403, `{"forbidden": {"message": "Policy doesn't allow volume_extension:quotas:show to be performed."}}`
		}
		return 200, `{"limits": {"rate": [], "absolute": {"maxTotalVolumes": 10, "totalVolumesUsed": 3, "maxTotalVolumeGigabytes": -1, "totalGigabytesUsed": 7,
			"maxTotalSnapshots": 5, "totalSnapshotsUsed": 1, "maxTotalBackups": 4, "totalBackupsUsed": 2, "maxTotalBackupGigabytes": 1000, "totalBackupGigabytesUsed": 6}}}`
	}}
	got, err := open(t, s).Quotas(t.Context())
	want := transport.VolumeQuotas{Volumes: transport.Amount{Limit: 10, Used: 3}, Gigabytes: transport.Amount{Limit: -1, Used: 7},
		Snapshots: transport.Amount{Limit: 5, Used: 1}, Backups: transport.Amount{Limit: 4, Used: 2}, BackupGigabytes: transport.Amount{Limit: 1000, Used: 6}}
	if err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	s.cinder = func(int, *http.Request, string) (int, string) {
		return 200, `{"quota_set": {"id": "p1", "volumes": {"limit": 10, "in_use": 2, "reserved": 1}, "gigabytes": {"limit": -1, "in_use": 7, "reserved": 0},
			"snapshots": {"limit": 5, "in_use": 1, "reserved": 0}, "backups": {"limit": 4, "in_use": 2, "reserved": 0}, "backup_gigabytes": {"limit": 1000, "in_use": 6, "reserved": 0}}}`
	}
	if got, err := open(t, s).Quotas(t.Context()); err != nil || got != want || !strings.HasSuffix(s.seen[len(s.seen)-1], "/os-quota-sets/p1?usage=true") {
		t.Errorf("%+v %v %q", got, err, s.seen)
	}
}

// Where block storage is found, and where not.
func TestEndpoint(t *testing.T) {
	endpoint := func(kind, url string) string {
		return `{"type": "object-store", "endpoints": [{"region_id": "north", "interface": "public", "url": "http://swift.example/v1/AUTH_p1"}]},
			{"type": "` + kind + `", "endpoints": [{"region_id": "north", "interface": "public", "url": "` + url + `"}]}`
	}
	for _, c := range []struct{ catalog, extra, url, says string }{
		{endpoint("block-storage", "http://cinder.example/volume/v3/p1/"), "", "http://cinder.example/volume/v3/p1", ""},
		{endpoint("block-storage", "http://cinder.example/volume/"), "", "http://cinder.example/volume/v3/p1", ""},
		{endpoint("block-storage", "http://cinder.example/v3"), "", "http://cinder.example/v3", ""},
		{endpoint("volume", "http://cinder.example/v3/p1"), "", "http://cinder.example/v3/p1", ""},
		{endpoint("volume", "http://cinder.example/v2/p1"), "", "", "not of API version 3"},
		{endpoint("volumev2", "http://cinder.example/v2/p1"), "", "", "the catalog has no block-storage service"},
		{endpoint("volumev3", "http://cinder.example/v3/p1"), "    volume_endpoint_override: \"http://tunnel.example:8776\"\n", "http://tunnel.example:8776/v3/p1", ""},
		{endpoint("image", "http://x/"), "    block_storage_endpoint_override: \"http://tunnel.example:8776\"\n", "http://tunnel.example:8776/v3/p1", ""},
		{strings.Replace(endpoint("volumev3", "http://cinder.example/v3/p1"), `"north", "interface": "public", "url": "http://c`, `"south", "interface": "public", "url": "http://c`, 1), "", "", `no region "north"; it has south`},
	} {
		st, err := cinder.New(openRegion(t, &scripted{catalog: c.catalog}, c.extra), cinder.Options{})
		if c.says != "" {
			wants(t, err, transport.Permanent, c.says, "find block storage (region lyon)", "only volumes need it")
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if id, err := st.Identity(context.Background()); err != nil || id.URL != c.url || id.Project != "p1" || id.Region != "lyon" {
			t.Errorf("%+v: %+v %v", c, id, err)
		}
	}
}

func TestVersions(t *testing.T) {
	s := &scripted{cinder: func(int, *http.Request, string) (int, string) {
		return 200, `{"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0"}]}`
	}}
	low, high, err := open(t, s).Versions(t.Context())
	if low != "3.0" || high != "3.70" || err != nil || s.seen[0] != "GET /v3/" {
		t.Errorf("%s %s %v %q", low, high, err, s.seen)
	}
}

// What is not Cinder's JSON is an error that says so.
func TestNotCinder(t *testing.T) {
	s := &scripted{cinder: func(int, *http.Request, string) (int, string) { return 200, "<html>welcome" }}
	_, err := open(t, s).Volume(t.Context(), "v1")
	wants(t, err, transport.Permanent, "not what Cinder answers", "farshore region check lyon")
}
