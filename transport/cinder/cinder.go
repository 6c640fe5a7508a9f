// Package cinder makes the Cinder of a region a transport.BlockStorage, with gophercloud
// over transport/region's login. Each method makes exactly one attempt: repeating and
// waiting are the business of transport.RetryBlocks and of the caller. The one exception is a token that ran
// out (401), which is renewed below; nothing has been carried out then.
//
// Every error is a *transport.Error that says what was to be done with which item, the
// region, the server's own words and what to do next.
package cinder

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"farshore/transport"
	"farshore/transport/region"
)

// Options describe a Storage. The zero value is usable.
type Options struct {
	// PageSize is the number of things asked for in one listing request; 0: as many as
	// the server gives, by default 1,000.
	PageSize int
	// Clock dates replies that do not date themselves; nil: time.Now.
	Clock func() time.Time
}

// Storage is the Cinder of one region, for the project of the region's login. All methods
// may be called concurrently.
type Storage struct {
	region *region.Region
	client *gophercloud.ServiceClient
	o      Options
}

var _ transport.BlockStorage = (*Storage)(nil)

// New finds a region's block storage, without asking it anything. A region that has none
// is an error of class Permanent.
func New(r *region.Region, o Options) (*Storage, error) {
	client, err := r.BlockStorage()
	if err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Storage{region: r, client: client, o: o}, nil
}

// Identity names the project and the volume endpoint.
func (s *Storage) Identity(context.Context) (transport.Identity, error) {
	id := s.region.Identity()
	id.URL = strings.TrimSuffix(s.client.Endpoint, "/")
	return id, nil
}

// Renew makes a new token and says when it ends. A login by a fixed token keeps it, and
// the caller judges by its end.
func (s *Storage) Renew(ctx context.Context) (time.Time, error) {
	if !s.region.Renewable() {
		return s.region.Expires(), nil
	}
	if err := s.region.Renew(ctx); err != nil {
		return time.Time{}, err
	}
	return s.region.Expires(), nil
}

// Versions says which microversions the region's API 3 has, such as "3.0" and "3.70".
// They are "" where it does not say.
func (s *Storage) Versions(ctx context.Context) (low, high string, err error) {
	base, _, _ := strings.Cut(s.client.Endpoint, "/v3/")
	var doc struct {
		Versions []struct {
			ID         string `json:"id"`
			Version    string `json:"version"`
			MinVersion string `json:"min_version"`
		} `json:"versions"`
	}
	resp, err := s.client.Get(ctx, base+"/v3/", &doc, &gophercloud.RequestOpts{OkCodes: []int{200, 300}})
	if resp != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return "", "", s.fail("ask for the versions", err)
	}
	for _, v := range doc.Versions {
		if strings.HasPrefix(v.ID, "v3.") {
			return v.MinVersion, v.Version, nil
		}
	}
	return "", "", nil
}

// withMetadata is the microversion from which backups have metadata (I14). Everything
// else here is in 3.0 and unchanged since: force of a snapshot means from 3.66 on what is
// always done there, and a true one is still accepted.
const withMetadata = "3.43"

// at calls f with a client of a microversion ("": 3.0), or of 3.0 where the region is
// older than that. A 406 has carried out nothing.
func (s *Storage) at(microversion string, f func(*gophercloud.ServiceClient) error) error {
	c := *s.client
	c.Microversion = microversion
	err := f(&c)
	if gophercloud.ResponseCodeIs(err, 406) {
		return f(s.client)
	}
	return err
}

// pages collects a listing. The next page is asked for by its marker: the link that the
// server gives for it names the host by which the server knows itself, which need not
// be the one that we reach it by, and the token must not go elsewhere.
func pages[T any](ctx context.Context, s *Storage, op, microversion string, list func(c *gophercloud.ServiceClient, limit int, marker string) pagination.Pager,
	extract func(pagination.Page) ([]T, error), id func(T) string) ([]T, error) {
	var all []T
	err := s.at(microversion, func(c *gophercloud.ServiceClient) error {
		all = nil
		for marker := ""; ; {
			next := ""
			err := list(c, s.o.PageSize, marker).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
				some, err := extract(p)
				if err != nil {
					return false, err
				}
				all = append(all, some...)
				link, err := p.NextPageURL()
				if link != "" && len(some) > 0 {
					next = id(some[len(some)-1])
				}
				return false, err
			})
			if err != nil || next == "" {
				return err
			}
			if next == marker {
				return errors.New("the listing does not go on: a page ends with the item after which it begins")
			}
			marker = next
		}
	})
	if err == nil {
		return all, nil
	}
	f := s.fail(op, err)
	if f.Class == transport.NotFound {
		f.Class = transport.Transient // the marker was deleted between two pages
	}
	return nil, f
}

// checkID refuses what is no id before it changes the meaning of a URL.
func (s *Storage) checkID(op, id string) error {
	bad := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	}
	if id != "" && len(id) <= 255 && !strings.ContainsFunc(id, bad) {
		return nil
	}
	return &transport.Error{Op: op, Region: s.region.Name(), Class: transport.NotFound,
		Err: errors.New(strconv.Quote(id) + " is not an id"), Hint: "name it by its id, as the region's listing shows it"}
}
