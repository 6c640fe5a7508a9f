package swift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"farshore/transport"
)

// Container describes one container.
func (e *Endpoint) Container(ctx context.Context, container string) (transport.ContainerInfo, error) {
	resp, err := e.simple(ctx, request{op: "head", method: http.MethodHead, container: container})
	if err != nil {
		return transport.ContainerInfo{}, err
	}
	h := resp.Header
	info := transport.ContainerInfo{Name: container, Objects: number(h, "X-Container-Object-Count", 0),
		Bytes: number(h, "X-Container-Bytes-Used", 0), QuotaBytes: number(h, "X-Container-Meta-Quota-Bytes", -1),
		QuotaObjects: number(h, "X-Container-Meta-Quota-Count", -1), ReadACL: h.Get("X-Container-Read"), Policy: h.Get(transport.PolicyHeader)}
	info.Header, info.Keys = properties(h, transport.KeepsContainer)
	switch {
	case isTrue(h.Get("X-Versions-Enabled")):
		info.Versioning = "X-Versions-Enabled"
	case h.Get("X-History-Location") != "":
		info.Versioning = "X-History-Location"
	case h.Get("X-Versions-Location") != "":
		info.Versioning = "X-Versions-Location"
	}
	return info, nil
}

// Account describes the account.
func (e *Endpoint) Account(ctx context.Context) (transport.AccountInfo, error) {
	resp, err := e.simple(ctx, request{op: "head account", method: http.MethodHead})
	if err != nil {
		return transport.AccountInfo{}, err
	}
	h := resp.Header
	info := transport.AccountInfo{Containers: number(h, "X-Account-Container-Count", 0),
		Objects: number(h, "X-Account-Object-Count", 0), Bytes: number(h, "X-Account-Bytes-Used", 0)}
	info.Header, info.Keys = properties(h, transport.KeepsAccount)
	return info, nil
}

func number(h http.Header, name string, missing int64) int64 {
	n, err := strconv.ParseInt(h.Get(name), 10, 64)
	if err != nil {
		return missing
	}
	return n
}

// properties takes from a reply what a copy keeps, byte for byte, the secrets apart.
func properties(h http.Header, keeps func(string) bool) (open, keys transport.Header) {
	open, keys = transport.Header{}, transport.Header{}
	for name, values := range h {
		switch {
		case len(values) == 0 || !keeps(name):
		case transport.IsKey(name):
			keys[name] = values[0]
		default:
			open[name] = values[0]
		}
	}
	return open, keys
}

// CreateContainer makes the container if it is missing (201), or sets the headers of
// the one that is there (202).
func (e *Endpoint) CreateContainer(ctx context.Context, container string, h transport.Header) error {
	r := request{op: "create container", method: http.MethodPut, container: container}
	var err error
	if r.header, err = changes(h, nil, transport.KeepsContainer); err != nil {
		return e.permanent(r, err)
	}
	_, err = e.simple(ctx, r)
	var f *transport.Error
	if errors.As(err, &f) && f.Status == http.StatusConflict && r.header[transport.PolicyHeader] != "" {
		f.Class = transport.Permanent
		f.Hint = "the container is there already, in another storage policy, which cannot be changed"
	}
	return err
}

// PostContainer changes properties of a container.
func (e *Endpoint) PostContainer(ctx context.Context, container string, set transport.Header, remove []string) error {
	r := request{op: "post container", method: http.MethodPost, container: container}
	var err error
	r.header, err = changes(set, remove, transport.KeepsContainer)
	if err == nil && r.header[transport.PolicyHeader] != "" {
		err = errors.New("a container's storage policy cannot be changed")
	}
	if err != nil {
		return e.permanent(r, err)
	}
	_, err = e.simple(ctx, r)
	return err
}

// PostAccount changes properties of the account.
func (e *Endpoint) PostAccount(ctx context.Context, set transport.Header, remove []string) error {
	r := request{op: "post account", method: http.MethodPost}
	var err error
	if r.header, err = changes(set, remove, transport.KeepsAccount); err != nil {
		return e.permanent(r, err)
	}
	_, err = e.simple(ctx, r)
	return err
}

// changes makes the headers of a request that sets some properties and removes
// others. What the server would drop in silence is an error.
func changes(set transport.Header, remove []string, keeps func(string) bool) (map[string]string, error) {
	out := make(map[string]string, len(set)+len(remove))
	for name, value := range set {
		if !keeps(name) {
			return nil, fmt.Errorf("%w: %q is no property that is kept", errHeader, name)
		}
		out[name] = value
	}
	for _, name := range remove {
		switch {
		case !keeps(name) || name == transport.PolicyHeader:
			return nil, fmt.Errorf("%w: %q is no property that can be removed", errHeader, name)
		case name == "X-Versions-Enabled":
			out[name] = "false"
		default:
			out["X-Remove-"+strings.TrimPrefix(name, "X-")] = "x"
		}
	}
	return out, nil
}

// DeleteContainer removes an empty container. Missing is not an error.
func (e *Endpoint) DeleteContainer(ctx context.Context, container string) error {
	_, err := e.simple(ctx, request{op: "delete container", method: http.MethodDelete, container: container})
	if transport.Is(err, transport.NotFound) {
		return nil
	}
	return err
}
