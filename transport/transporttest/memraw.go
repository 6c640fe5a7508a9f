package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"farshore/transport"
)

// Raw gives the back door of a Mem in the shape of Swift's API, as far as the
// conformance suite needs it.
func (m *Mem) Raw() Raw { return memRaw{m} }

type memRaw struct{ m *Mem }

// Do implements Raw.
func (r memRaw) Do(t testing.TB, method, container, name, query string, header map[string]string, sent []byte) Reply {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		return r.properties(t, method, container, header)
	}
	h := transport.Header{}
	for k, v := range header {
		if transport.Keeps(k) || k == transport.OriginHeader {
			h[k] = v
		}
	}
	ctx := context.Background()
	switch method {
	case http.MethodGet, http.MethodHead:
		return r.read(method, container, name, q)
	case http.MethodPut:
		var rc transport.Receipt
		switch {
		case q.Get("version-id") != "":
			err = r.m.Revive(ctx, container, name, q.Get("version-id"))
		case q.Get("multipart-manifest") == "put":
			rc, err = r.m.PutRaw(ctx, container, name, sent, "", transport.PutOptions{Header: h})
		default:
			if h["Content-Type"] == "" && h[transport.TargetETagHeader] == "" {
				h["Content-Type"] = "text/plain"
			}
			rc, err = r.m.Put(ctx, container, name, body(sent), transport.PutOptions{Header: h})
		}
		return replyOf(201, rc.Version, err)
	case http.MethodPost:
		return replyOf(202, "", r.m.Post(ctx, container, name, h))
	case http.MethodDelete:
		if id := q.Get("version-id"); id != "" {
			return replyOf(204, "", r.m.DeleteVersion(ctx, container, name, id))
		}
		rc, err := r.m.DeleteMarker(ctx, container, name)
		return replyOf(204, rc.Version, err)
	}
	t.Fatalf("no raw %s", method)
	return Reply{}
}

func replyOf(good int, version string, err error) Reply {
	var f *transport.Error
	if errors.As(err, &f) {
		return Reply{Status: f.Status, Header: http.Header{}, Body: []byte(err.Error())}
	}
	h := http.Header{}
	if version != "" {
		h.Set("X-Object-Version-Id", version)
	}
	return Reply{Status: good, Header: h}
}

// read is a GET or HEAD: links and manifests are followed unless the query says not to.
func (r memRaw) read(method, container, name string, q url.Values) Reply {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.version(container, name, q.Get("version-id"))
	if o != nil && q.Get("symlink") != "get" {
		o = m.follow(o)
	}
	if o == nil {
		return Reply{Status: 404, Header: http.Header{}}
	}
	d := o.describe(name, m.containers[container].ever())
	data, err := o.data, error(nil)
	if q.Get("multipart-manifest") != "get" {
		if data = nil; o.kind != transport.Symlink {
			data, err = m.whole("get", container, name, o)
		}
	} else if o.kind == transport.SLO {
		data = o.parts.Encode()
	}
	if err != nil {
		return replyOf(0, "", err)
	}
	out := http.Header{"Etag": {d.ETag}, "Content-Length": {fmt.Sprint(len(data))}}
	for k, v := range d.Header {
		if o.kind == transport.Symlink || !strings.HasPrefix(k, "X-Symlink-") {
			out[k] = []string{v}
		}
	}
	if d.Version != "" {
		out.Set("X-Object-Version-Id", d.Version)
	}
	if d.Kind == transport.SLO {
		out["X-Static-Large-Object"] = []string{"True"}
	}
	if method == http.MethodHead {
		data = nil
	}
	return Reply{200, out, data}
}

// properties is a request about a container or the account.
func (r memRaw) properties(t testing.TB, method, container string, header map[string]string) Reply {
	t.Helper()
	set, remove := transport.Header{}, []string(nil)
	for k, v := range header {
		if rest, ok := strings.CutPrefix(k, "X-Remove-"); ok {
			remove = append(remove, textproto.CanonicalMIMEHeaderKey("X-"+rest))
		} else {
			set[k] = v
		}
	}
	ctx := context.Background()
	var err error
	out := http.Header{}
	show := func(of ...transport.Header) {
		for _, h := range of {
			for k, v := range h {
				out[k] = []string{v}
			}
		}
	}
	switch {
	case method == http.MethodPut:
		err = r.m.CreateContainer(ctx, container, set)
	case method == http.MethodDelete:
		err = r.m.DeleteContainer(ctx, container)
	case method == http.MethodPost && container == "":
		err = r.m.PostAccount(ctx, set, remove)
	case method == http.MethodPost:
		err = r.m.PostContainer(ctx, container, set, remove)
	case method == http.MethodHead && container == "":
		var i transport.AccountInfo
		i, err = r.m.Account(ctx)
		show(i.Header, i.Keys)
	case method == http.MethodHead:
		var i transport.ContainerInfo
		i, err = r.m.Container(ctx, container)
		show(i.Header, i.Keys)
	case method == http.MethodGet:
		return Reply{200, out, []byte(strings.Join(r.m.Names(container), "\n"))}
	}
	reply := replyOf(204, "", err)
	if err == nil {
		reply.Header = out
	}
	return reply
}
