package swift

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"farshore/transport"
)

// info is what /info publishes (S10), as far as it matters here. Pointers tell
// what is missing from what is zero.
type info struct {
	Swift *struct {
		MaxObject     int64 `json:"max_file_size"`
		MaxName       int   `json:"max_object_name_length"`
		MaxContainer  int   `json:"max_container_name_length"`
		MaxMetaCount  int   `json:"max_meta_count"`
		MaxMetaBytes  int   `json:"max_meta_overall_size"`
		MaxMetaValue  int   `json:"max_meta_value_length"`
		ContainerPage int   `json:"container_listing_limit"`
		AccountPage   int   `json:"account_listing_limit"`
	} `json:"swift"`
	SLO *struct {
		MaxSegments int   `json:"max_manifest_segments"`
		MaxManifest int64 `json:"max_manifest_size"`
		MinSegment  int64 `json:"min_segment_size"`
	} `json:"slo"`
	BulkDelete *struct {
		Max int `json:"max_deletes_per_request"`
	} `json:"bulk_delete"`
	DLO     *struct{} `json:"dlo"`
	Symlink *struct {
		Static bool `json:"static_links"`
	} `json:"symlink"`
	Versioning      *struct{} `json:"object_versioning"`
	VersionedWrites *struct {
		Flags []string `json:"allowed_flags"`
	} `json:"versioned_writes"`
}

// usual are Swift's defaults, for what a server does not publish.
func usual() transport.Abilities {
	return transport.Abilities{MaxObject: 5<<30 + 2, MaxName: 1024, MaxContainerName: 256, MaxMetaCount: 90, MaxMetaBytes: 4096,
		MaxMetaValue: 256, SLO: transport.Unknown, MaxSegments: 1000, MaxManifest: 8 << 20, MinSegment: 1,
		IfNoneMatch: transport.Unknown, IfMatchRange: transport.Unknown, CopyETag: transport.Unknown, CopyCollapses: transport.Unknown,
		DLO: transport.Unknown, Symlink: transport.Unknown, StaticLink: transport.Unknown, Versioning: transport.Unknown,
		VersionsLocation: transport.Unknown, RawManifest: transport.Unknown, NULEndMarker: transport.Unknown, DeleteAfter: transport.Unknown}
}

// Abilities says what the server can do: /info, read once, and on top of it what
// probes have found out. Where there is no /info, Swift's defaults stand.
func (e *Endpoint) Abilities(ctx context.Context) (transport.Abilities, error) {
	if !e.informed() {
		select { // one asks, who comes meanwhile waits for the answer
		case e.asking <- struct{}{}:
		case <-ctx.Done():
			return transport.Abilities{}, e.fail(request{op: "read /info"}, nil, context.Cause(ctx))
		}
		err := e.inform(ctx)
		<-e.asking
		if err != nil {
			return transport.Abilities{}, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a := *e.abilities
	a.Learn(e.answers)
	return a, nil
}

// informed reports whether /info was read.
func (e *Endpoint) informed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.abilities != nil
}

// inform reads /info unless that was done meanwhile.
func (e *Endpoint) inform(ctx context.Context) error {
	if e.informed() {
		return nil
	}
	a, page, dry, err := e.readInfo(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abilities, e.pageLimit, e.untilDry = &a, page, dry
	return nil
}

// readInfo asks for /info beside the account's API version: /v1/AUTH_x → /info,
// /swift/v1 → /swift/info (Ceph RGW). dry says that pages may be short before the end.
func (e *Endpoint) readInfo(ctx context.Context) (a transport.Abilities, page int, dry bool, err error) {
	a = usual()
	id, err := e.Identity(ctx)
	if err != nil {
		return a, 0, false, err
	}
	at, err := infoURL(id.URL)
	if err != nil {
		return a, 0, false, e.permanent(request{op: "read /info"}, err)
	}
	resp, err := e.do(ctx, request{op: "read /info", method: http.MethodGet, url: at})
	var f *transport.Error
	if errors.As(err, &f) && f.Status >= 400 && f.Status < 500 && f.Class != transport.Throttled && f.Status != http.StatusRequestTimeout {
		return a, 0, true, nil // not published here
	}
	if err != nil {
		return a, 0, false, err
	}
	var in info
	if err := readJSON(resp.Body, &in); err != nil {
		return a, 0, true, nil
	}
	dry = true
	if s := in.Swift; s != nil {
		dry, page = s.ContainerPage == 0, s.ContainerPage
		if s.AccountPage > 0 && s.AccountPage < page {
			page = s.AccountPage
		}
		set(&a.MaxObject, s.MaxObject)
		set(&a.MaxName, s.MaxName)
		set(&a.MaxContainerName, s.MaxContainer)
		set(&a.MaxMetaCount, s.MaxMetaCount)
		set(&a.MaxMetaBytes, s.MaxMetaBytes)
		set(&a.MaxMetaValue, s.MaxMetaValue)
	}
	a.SLO = transport.No
	if s := in.SLO; s != nil {
		a.SLO = transport.Yes
		set(&a.MaxSegments, s.MaxSegments)
		set(&a.MaxManifest, s.MaxManifest)
		set(&a.MinSegment, s.MinSegment)
	}
	if in.DLO != nil { // Swift 2.30 has it and does not say so
		a.DLO = transport.Yes
	}
	a.Symlink, a.Versioning = answer(in.Symlink != nil), answer(in.Versioning != nil)
	a.StaticLink = answer(in.Symlink != nil && in.Symlink.Static)
	a.VersionsLocation = answer(in.VersionedWrites != nil && slices.Contains(in.VersionedWrites.Flags, "x-versions-location"))
	if b := in.BulkDelete; b != nil {
		a.BulkDelete = b.Max
		if b.Max == 0 {
			a.BulkDelete = 1000
		}
	}
	return a, page, dry, nil
}

func answer(yes bool) transport.Answer {
	if yes {
		return transport.Yes
	}
	return transport.No
}

func set[T int | int64](to *T, v T) {
	if v > 0 {
		*to = v
	}
}

// infoURL finds /info from a storage URL.
func infoURL(storage string) (string, error) {
	u, err := url.Parse(storage)
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	keep := 0
	for i, p := range parts {
		if len(p) >= 2 && p[0] == 'v' && p[1] >= '0' && p[1] <= '9' {
			keep = i
			break
		}
	}
	u.Path, u.RawPath, u.RawQuery = "/"+strings.Join(append(parts[:keep:keep], "info"), "/"), "", ""
	return u.String(), nil
}
