package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"farshore/transport"
)

// maxPage is the most names asked for at once, whatever the server would give: it bounds memory.
const maxPage = 10_000

// lastByte ends a range: names n with n <= Through are those before
// Through+"\x01", because no Swift name holds a NUL. It says the same as
// Through+"\x00" (L1b, R1) and also survives servers and proxies that refuse a
// NUL, or that take it for the end of the text.
const lastByte = "\x01"

// Containers lists the account's containers in order. Swift hides the containers
// behind versions from a page after cutting it, so only an empty page is the end.
func (e *Endpoint) Containers(ctx context.Context, prefix string, yield func(transport.ContainerInfo) error) error {
	limit := e.pageSize(ctx)
	for last := ""; ; {
		r := request{op: "list", method: http.MethodGet, query: url.Values{"format": {"json"}, "limit": {strconv.Itoa(limit)}}}
		setIf(r.query, "prefix", prefix)
		setIf(r.query, "marker", last)
		resp, err := e.do(ctx, r)
		if err != nil {
			return err
		}
		var page []transport.ContainerInfo
		if err := e.rows(r, resp, last, func(w *row) {
			page = append(page, transport.ContainerInfo{Name: w.name, Objects: w.count, Bytes: w.bytes, QuotaBytes: -1, QuotaObjects: -1})
		}); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, info := range page {
			if err := yield(info); err != nil {
				return err
			}
		}
		last = page[len(page)-1].Name
	}
}

// List calls yield with one page after the other. A page is read whole before
// yield sees it, so that a slow consumer holds no connection. On Swift a page
// with fewer names than asked for is the last; elsewhere only an empty one is.
func (e *Endpoint) List(ctx context.Context, container string, rg transport.Range, yield func([]transport.Entry) error) error {
	if rg.Through != "" && rg.Through <= rg.After {
		return nil
	}
	limit := e.pageSize(ctx)
	var page []transport.Entry
	for after := rg.After; ; {
		full, err := e.page(ctx, container, transport.Range{Prefix: rg.Prefix, After: after, Through: rg.Through}, limit, &page)
		if err != nil {
			return err
		}
		if len(page) > 0 {
			after = page[len(page)-1].Name // before yield, which may do with the page what it likes
			if err := yield(page); err != nil {
				return err
			}
		}
		if !full || rg.Through != "" && after == rg.Through {
			return nil
		}
	}
}

// page replaces what is in page by one page of a container's listing; full says
// that another may follow.
func (e *Endpoint) page(ctx context.Context, container string, rg transport.Range, limit int, page *[]transport.Entry) (full bool, err error) {
	r := request{op: "list", method: http.MethodGet, container: container,
		query: url.Values{"format": {"json"}, "limit": {strconv.Itoa(limit)}}}
	setIf(r.query, "prefix", rg.Prefix)
	setIf(r.query, "marker", rg.After)
	e.mu.Lock()
	bounded := rg.Through != "" && !e.noMarker
	dry := e.untilDry
	e.mu.Unlock()
	if bounded {
		r.query.Set("end_marker", rg.Through+lastByte)
	}
	resp, err := e.do(ctx, r)
	var f *transport.Error
	if bounded && errors.As(err, &f) && (f.Status == http.StatusBadRequest || f.Status == http.StatusPreconditionFailed) {
		// Perhaps it is our end_marker that this server does not like; the range is then cut here.
		r.query.Del("end_marker")
		if resp, err = e.do(ctx, r); err == nil {
			e.mu.Lock()
			e.noMarker = true
			e.mu.Unlock()
		}
	}
	if err != nil {
		return false, err
	}
	if *page = (*page)[:0]; resp.ContentLength > 0 {
		// A row has 150 bytes of JSON beside the name, so that this is enough, and never many times too much.
		*page = slices.Grow(*page, int(min(int64(limit), 1+resp.ContentLength/150)))
	}
	n, past := 0, false
	err = e.rows(r, resp, rg.After, func(w *row) {
		n++
		if past = past || rg.Through != "" && w.name > rg.Through; !past {
			*page = append(*page, w.entry())
		}
	})
	return !past && (n >= limit || dry && n > 0), err
}

// rows reads a page and checks its order: a marker makes sense in a sorted
// listing only, and the ledger is merged with it name by name.
func (e *Endpoint) rows(r request, resp *http.Response, after string, each func(*row)) error {
	defer drain(resp.Body)
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	last := after
	err := decodeRows(resp.Body, func(w *row) error {
		if w.name <= last {
			return &rowError{fmt.Sprintf("listing not sorted: %s comes after %s", transport.PrintName(w.name), transport.PrintName(last))}
		}
		last = w.name
		each(w)
		return nil
	})
	return e.unlisted(r, resp, err)
}

// unlisted is the error of a listing that did not arrive or makes no sense, or nil.
func (e *Endpoint) unlisted(r request, resp *http.Response, err error) error {
	if err == nil {
		return nil
	}
	f := e.fail(r, nil, fmt.Errorf("read listing: %w", err))
	f.TxID = txID(resp.Header)
	var nonsense *rowError
	if errors.As(err, &nonsense) {
		f.Class = transport.Corrupt
	}
	return f
}

// pageSize is the limit of a listing request. It asks /info once, but does not
// insist: a server without /info gets the usual limit and is listed until an empty page.
func (e *Endpoint) pageSize(ctx context.Context) int {
	_, _ = e.Abilities(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	limit := maxPage
	if e.pageLimit > 0 {
		limit = min(limit, e.pageLimit)
	}
	if e.o.PageSize > 0 {
		limit = min(limit, e.o.PageSize)
	}
	return limit
}

func setIf(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}
