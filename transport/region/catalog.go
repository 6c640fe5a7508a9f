package region

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// atomicString is a string that is set once and read by many.
type atomicString struct{ v atomic.Pointer[string] }

func (s *atomicString) store(v string) { s.v.Store(&v) }

func (s *atomicString) load() string {
	if p := s.v.Load(); p != nil {
		return *p
	}
	return ""
}

// ErrNoService is what errors.Is finds in the error of a search for a service that the
// region does not have.
var ErrNoService = errors.New("no such service")

// noService is such an error.
type noService struct {
	text      string
	elsewhere bool // another region has it
}

func (e *noService) Error() string        { return e.text }
func (e *noService) Is(target error) bool { return target == ErrNoService }

// findService looks a service up by its type. gophercloud's own search asks the
// endpoint for its API versions on the way, which Swift does not have, and answers only
// "no suitable endpoint".
func findService(catalog *tokens.ServiceCatalog, want gophercloud.EndpointOpts, service string) (string, error) {
	var (
		regions, interfaces []string
		inRegion            bool
		found               []tokens.Endpoint
	)
	add := func(to []string, s string) []string {
		if s == "" || slices.Contains(to, s) {
			return to
		}
		return append(to, s)
	}
	for _, e := range catalog.Entries {
		if e.Type != service {
			continue
		}
		for _, p := range e.Endpoints {
			id := p.RegionID
			if id == "" {
				id = p.Region
			}
			regions = add(regions, id)
			if want.Region != "" && p.Region != want.Region && p.RegionID != want.Region {
				continue
			}
			inRegion = true
			interfaces = add(interfaces, p.Interface)
			if p.Interface == string(want.Availability) {
				found = append(found, p)
			}
		}
	}
	slices.Sort(regions)
	slices.Sort(interfaces)
	switch {
	case len(regions) == 0:
		return "", &noService{text: "the catalog has no " + service + " service for this project"}
	case want.Region == "" && len(regions) > 1:
		return "", fmt.Errorf("the catalog has several regions (%s): say which one", strings.Join(regions, ", "))
	case !inRegion:
		return "", &noService{text: fmt.Sprintf("the catalog has no region %q; it has %s", want.Region, strings.Join(regions, ", ")), elsewhere: true}
	case len(found) == 0:
		return "", fmt.Errorf("region %q has no %s %s endpoint; it has %s",
			want.Region, want.Availability, service, strings.Join(interfaces, ", "))
	}
	return found[0].URL, nil
}

// applyOverride makes the URL of a service from an override. The usual override is a
// tunnel or a proxy, host and port only (or with the API's version), so the path is taken
// over from the catalog, or else is usual.
func applyOverride(override, catalogURL, usual, project string) (string, error) {
	for _, v := range []string{"%(project_id)s", "%(tenant_id)s", "$(project_id)s", "$(tenant_id)s"} {
		override = strings.ReplaceAll(override, v, project)
	}
	u, err := url.Parse(override)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the endpoint override %q is not a URL", override)
	}
	path := strings.Trim(u.Path, "/")
	if version, _, _ := strings.Cut(strings.Trim(usual, "/"), "/"); path != "" && path != version {
		return override, nil
	}
	account := usual
	if c, err := url.Parse(catalogURL); err == nil && strings.Trim(c.Path, "/") != "" {
		account = c.Path
	}
	u.Path = account
	return u.String(), nil
}
