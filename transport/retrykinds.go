package transport

import (
	"context"
	"errors"
)

// The verbs for containers, accounts, manifests and versions, with the same retries.

func (r *retrier) Account(ctx context.Context) (info AccountInfo, err error) {
	err = r.call(ctx, "look at the account", "", "", func() (err error) {
		info, err = r.ep.Account(ctx)
		return err
	})
	return info, err
}

func (r *retrier) PostAccount(ctx context.Context, set Header, remove []string) error {
	return r.call(ctx, "post account", "", "", func() error { return r.ep.PostAccount(ctx, set, remove) })
}

func (r *retrier) PostContainer(ctx context.Context, container string, set Header, remove []string) error {
	return r.call(ctx, "post container", container, "", func() error { return r.ep.PostContainer(ctx, container, set, remove) })
}

func (r *retrier) HeadVersion(ctx context.Context, container, name, version string) (o Object, err error) {
	err = r.call(ctx, "head", container, name, func() (err error) {
		o, err = r.ep.HeadVersion(ctx, container, name, version)
		return err
	})
	return o, err
}

func (r *retrier) Manifest(ctx context.Context, container, name, version string) (o Object, raw []byte, err error) {
	err = r.call(ctx, "get manifest", container, name, func() (err error) {
		o, raw, err = r.ep.Manifest(ctx, container, name, version)
		return err
	})
	return o, raw, err
}

func (r *retrier) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o PutOptions) (Receipt, error) {
	m, err := ParseManifest(manifest)
	if err == nil && etag == "" {
		etag, err = m.ETag()
	}
	if err != nil {
		return Receipt{}, &Error{Op: "put", Region: r.link.region, Container: container, Name: name, Class: Permanent, Err: err}
	}
	return r.silent(ctx, "put", container, name, etag, o, int64(len(m))*silentRate/20, func() (Receipt, error) {
		return r.ep.PutRaw(ctx, container, name, manifest, etag, o)
	})
}

func (r *retrier) DeleteVersion(ctx context.Context, container, name, version string) error {
	return r.call(ctx, "delete version", container, name, func() error { return r.ep.DeleteVersion(ctx, container, name, version) })
}

func (r *retrier) Revive(ctx context.Context, container, name, version string) error {
	return r.call(ctx, "revive version", container, name, func() error { return r.ep.Revive(ctx, container, name, version) })
}

// DeleteMarker looks, before it is made again, whether a try before was carried out:
// then a marker is the newest version.
func (r *retrier) DeleteMarker(ctx context.Context, container, name string) (Receipt, error) {
	b, err := r.budget(ctx, "delete", container, name)
	if err != nil {
		return Receipt{}, err
	}
	for {
		if b.total > 0 {
			if got, ok, err := r.marker(ctx, container, name); ok || err != nil {
				return got, err
			}
		}
		var rec Receipt
		err := r.once(ctx, b, 0, func() (err error) {
			rec, err = r.ep.DeleteMarker(ctx, container, name)
			return err
		})
		if err == nil {
			return rec, nil
		}
		if err = b.failed(ctx, err); err != nil {
			return Receipt{}, err
		}
	}
}

var errSeen = errors.New("seen")

// marker finds the delete marker that is a name's current version.
func (r *retrier) marker(ctx context.Context, container, name string) (rec Receipt, ok bool, err error) {
	err = r.Versions(ctx, container, Range{Prefix: name, Through: name}, func(page []VersionEntry) error {
		for _, v := range page {
			if v.Name == name && v.Latest && v.Marker {
				rec, ok = Receipt{Version: v.ID, Modified: v.Modified}, true
			}
		}
		return errSeen
	})
	if errors.Is(err, errSeen) || Is(err, NotFound) {
		err = nil
	}
	return rec, ok, err
}

// Versions goes on after the last version it has told of when a page fails. A page
// may end within a name: then the name's listing starts again, and what of it was
// told already is left out.
func (r *retrier) Versions(ctx context.Context, container string, rg Range, yield func([]VersionEntry) error) error {
	b, err := r.budget(ctx, "list", container, "")
	if err != nil {
		return err
	}
	var (
		stopped error
		last    string // the name that is being told of
		told    = map[string]bool{}
	)
	for {
		release, err := r.link.Acquire(ctx)
		if err != nil {
			return b.canceled(err, nil)
		}
		err = r.ep.Versions(ctx, container, rg, func(page []VersionEntry) error {
			release(Result{})
			for len(page) > 0 && page[0].Name == last && told[page[0].ID] {
				page = page[1:]
			}
			if len(page) > 0 {
				b.refill()
				for _, v := range page {
					if v.Name != last {
						if last != "" {
							rg.After = last
						}
						last = v.Name
						clear(told)
					}
					told[v.ID] = true
				}
				if stopped = yield(page); stopped != nil {
					return stopped
				}
			}
			next, err := r.link.Acquire(ctx)
			if err != nil {
				stopped = b.canceled(err, nil)
				return stopped
			}
			release = next
			return nil
		})
		release(Result{Err: err})
		switch {
		case stopped != nil:
			return stopped
		case err == nil:
			return nil
		}
		if err = b.failed(ctx, err); err != nil {
			return err
		}
	}
}
