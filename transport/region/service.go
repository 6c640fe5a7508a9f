package region

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"farshore/transport"
	"farshore/transport/wire"
)

// BlockStorage gives a client of the region's Cinder, API 3, without asking anybody:
// the URL comes from the catalog or from clouds.yaml. A region that has none is an error
// of class Permanent.
//
// The client makes one attempt a call. Its token is put in by the transport and renewed
// in time; a request that is refused with 401 is sent once more with a new token. Nothing
// has been carried out then (the token is looked at first), so creates are not doubled.
// It may be used concurrently; a copy of it with another Microversion, too.
func (r *Region) BlockStorage() (*gophercloud.ServiceClient, error) {
	// volumev3 is the older name, volume that of clouds which never named it otherwise.
	raw, err := r.service("block-storage", "volumev3", "block-store", "volume")
	if err != nil {
		return nil, r.noBlocks(err)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, r.noBlocks(fmt.Errorf("the block storage's URL %q is not an http or https URL", raw))
	}
	switch path := strings.Split(strings.Trim(u.Path, "/"), "/"); {
	case slices.Contains(path, "v3"):
	case slices.Contains(path, "v1"), slices.Contains(path, "v2"):
		return nil, r.noBlocks(fmt.Errorf("the block storage's URL %q is not of API version 3", raw))
	default: // a root from which clients are to find the versions
		u.Path = strings.TrimSuffix(u.Path, "/") + "/v3/" + r.project
	}
	// gophercloud's own renewal of tokens stays out of it (no ReauthFunc, no token): it
	// reacts to a 401 only, and knows nothing of renewals that are under way.
	own := &gophercloud.ProviderClient{UserAgent: r.login.provider.UserAgent, HTTPClient: http.Client{CheckRedirect: sameHost,
		Transport: &authorized{next: marked{next: r.chain, kind: wire.Block}, login: r.login, storage: u}}}
	return &gophercloud.ServiceClient{ProviderClient: own, Endpoint: strings.TrimSuffix(u.String(), "/") + "/", Type: "block-storage"}, nil
}

func (r *Region) noBlocks(err error) error {
	return &transport.Error{Op: "find block storage", Region: r.name, Class: transport.Permanent, Err: err,
		Hint: "only volumes need it; set block_storage_endpoint_override in the clouds.yaml entry if it is there and the catalog does not say so"}
}

// service finds the URL of a service of API version 3 under the first of its types that
// the region knows.
func (r *Region) service(types ...string) (string, error) {
	catalog, project, err := r.login.catalog()
	if err != nil {
		return "", err
	}
	var found, override string
	for _, t := range types {
		if override == "" {
			override = r.Override(t)
		}
		if found != "" {
			continue
		}
		u, ferr := findService(catalog, r.endpoint, t)
		var none *noService
		if ferr == nil {
			found = u
		} else if err == nil || !errors.As(ferr, &none) || none.elsewhere {
			err = ferr // a service that is elsewhere says more than one that is nowhere
		}
	}
	switch {
	case override != "":
		return applyOverride(override, found, "/v3/"+project, project)
	case found == "":
		return "", err
	}
	return found, nil
}

// marked says what the requests of a service are about.
type marked struct {
	next http.RoundTripper
	kind wire.Kind
}

// RoundTrip implements http.RoundTripper.
func (m marked) RoundTrip(req *http.Request) (*http.Response, error) {
	return m.next.RoundTrip(req.WithContext(wire.WithKind(req.Context(), m.kind)))
}
