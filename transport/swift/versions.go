package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"farshore/transport"
)

const (
	// markerType is the content type that makes a version a delete marker (S7).
	markerType = "application/x-deleted;swift_versions_deleted=1"
	// noVersion is Swift's id of a version that has none.
	noVersion = "null"
	// aboveAll is a version marker from which every version of a name follows. After a
	// page that ends with version "null" Swift cannot be asked to go on there: with
	// version_marker=null it lists no version any more, of this name or any after it.
	aboveAll = "9999999999.99999"
)

// Versions lists with ?versions, which Swift merges from two listings. A page may end
// within a name; version_marker goes on there (G9). In what follows such a cut, and
// where an older version was made current again, Swift's is_latest is wrong, so which
// version is current is told here: of a name that is whole within a page by its row
// that is latest and no marker, of one that is cut by asking for it.
func (e *Endpoint) Versions(ctx context.Context, container string, rg transport.Range, yield func([]transport.VersionEntry) error) error {
	if rg.Through != "" && rg.Through <= rg.After {
		return nil
	}
	limit := e.pageSize(ctx)
	at := versionMarker{name: rg.After}
	cut := current{}
	for {
		page, full, err := e.versionPage(ctx, container, rg, at, limit)
		if err != nil || len(page) == 0 {
			return err
		}
		last := page[len(page)-1]
		at = versionMarker{last.Name, last.ID}
		next := current{}
		if full {
			if next, err = e.current(ctx, container, last.Name); err != nil {
				return err
			}
		}
		settle(page, cut, next)
		cut = next
		if err := yield(page); err != nil {
			return err
		}
		if !full {
			return nil
		}
	}
}

// versionMarker is where a listing goes on; without an id after every version of the name.
type versionMarker struct{ name, id string }

// current is which version of a name is the current one; "": none, it is deleted.
type current struct{ name, id string }

// current asks for it.
func (e *Endpoint) current(ctx context.Context, container, name string) (current, error) {
	resp, err := e.simple(ctx, request{op: "head", method: http.MethodHead, container: container, name: name, query: url.Values{"symlink": {"get"}}})
	if transport.Is(err, transport.NotFound) {
		return current{name: name}, nil
	}
	if err != nil {
		return current{}, err
	}
	id := resp.Header.Get("X-Object-Version-Id")
	if id == "" {
		id = noVersion
	}
	return current{name: name, id: id}, nil
}

// settle sets Latest in a page. before and after are the names that the page's ends cut.
func settle(page []transport.VersionEntry, before, after current) {
	for i := 0; i < len(page); {
		name, j, id := page[i].Name, i, ""
		for ; j < len(page) && page[j].Name == name; j++ {
			if page[j].Latest && !page[j].Marker {
				id = page[j].ID
			}
		}
		switch name {
		case before.name:
			id = before.id
		case after.name:
			id = after.id
		}
		first := name != before.name // the row of i is the newest of the name
		for k := i; k < j; k++ {
			page[k].Latest = id != "" && page[k].ID == id || id == "" && k == i && first && page[k].Marker
		}
		i = j
	}
}

// versionPage reads one page. full says that another may follow.
func (e *Endpoint) versionPage(ctx context.Context, container string, rg transport.Range, at versionMarker, limit int) (page []transport.VersionEntry, full bool, err error) {
	r := request{op: "list", method: http.MethodGet, container: container,
		query: url.Values{"versions": {"true"}, "format": {"json"}, "limit": {strconv.Itoa(limit)}}}
	setIf(r.query, "prefix", rg.Prefix)
	setIf(r.query, "marker", at.name)
	switch at.id {
	case "":
	case noVersion:
		r.query.Set("version_marker", aboveAll)
	default:
		r.query.Set("version_marker", at.id)
	}
	resp, err := e.do(ctx, r)
	if err != nil {
		return nil, false, err
	}
	defer drain(resp.Body)
	n, past := 0, false
	err = decodeRows(resp.Body, func(w *row) error {
		if w.name < at.name || w.id == "" {
			return &rowError{fmt.Sprintf("no listing of versions: %s, version %q, comes after %s", transport.PrintName(w.name), w.id, transport.PrintName(at.name))}
		}
		at.name = w.name
		n++
		if past = past || rg.Through != "" && w.name > rg.Through; !past {
			page = append(page, transport.VersionEntry{Entry: w.entry(), ID: w.id, Latest: w.latest, Marker: w.contentType == markerType})
		}
		return nil
	})
	return page, !past && n >= limit, e.unlisted(r, resp, err)
}

// DeleteMarker deletes in a versioned container. The reply is 404 where there was
// nothing to delete, and there is a marker nevertheless.
func (e *Endpoint) DeleteMarker(ctx context.Context, container, name string) (transport.Receipt, error) {
	var seen http.Header
	r := request{op: "delete", method: http.MethodDelete, container: container, name: name, seen: &seen}
	_, err := e.simple(ctx, r)
	if err != nil && !transport.Is(err, transport.NotFound) {
		return transport.Receipt{}, err
	}
	rc := transport.Receipt{Version: seen.Get("X-Object-Version-Id"), Modified: e.o.Clock().UTC()}
	if t, err := http.ParseTime(seen.Get("Date")); err == nil {
		rc.Modified = t.UTC()
	}
	rc.Modified = rc.Modified.Truncate(time.Second).Add(time.Second)
	return rc, nil
}

// DeleteVersion removes one version for good. Asked to delete version "null", Swift
// would delete the current one, whatever that is.
func (e *Endpoint) DeleteVersion(ctx context.Context, container, name, version string) error {
	r := request{op: "delete version", method: http.MethodDelete, container: container, name: name}
	if version == "" {
		return e.permanent(r, errors.New("no version is said"))
	}
	if version == noVersion {
		if _, err := e.HeadVersion(ctx, container, name, version); err != nil {
			if transport.Is(err, transport.NotFound) {
				return nil
			}
			return err
		}
	}
	r.query = url.Values{"version-id": {version}}
	_, err := e.simple(ctx, r)
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	return err
}

// Revive makes an older version the current one: it moves Swift's link.
func (e *Endpoint) Revive(ctx context.Context, container, name, version string) error {
	r := request{op: "revive version", method: http.MethodPut, container: container, name: name}
	if version == "" || version == noVersion { // Swift answers 500
		return e.permanent(r, fmt.Errorf("version %q cannot be made the current one", version))
	}
	r.query = url.Values{"version-id": {version}}
	_, err := e.simple(ctx, r)
	return err
}
