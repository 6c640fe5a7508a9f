package transporttest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"farshore/transport"
)

// properties are what a container keeps, with values as owners write them.
func properties() transport.Header {
	return transport.Header{"X-Container-Meta-Quota-Bytes": "1000000", "X-Container-Meta-Quota-Count": "500",
		"X-Container-Meta-Access-Control-Allow-Origin": "https://a.example https://b.example", "X-Container-Meta-Access-Control-Max-Age": "60",
		"X-Container-Meta-Access-Control-Expose-Headers": "x-a x-b", "X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Error": "error.html",
		"X-Container-Meta-Web-Listings": "true", "X-Container-Meta-Utf8": "näïve €\U0001F600", "X-Container-Meta-Percent": "100%41%zz+%20",
		"X-Container-Meta-Quotes": `"a", 'b'; c=d`, "X-Container-Meta-Long": strings.Repeat("l", 256), "X-Container-Meta-123": "x",
		"X-Container-Read": ".r:*,.rlistings", "X-Container-Write": "some-project:some-user"}
}

// containerProperties sets, changes, keeps and removes properties.
func (s *suite) containerProperties() {
	want := properties()
	keys := transport.Header{"X-Container-Meta-Temp-Url-Key": "secret one", "X-Container-Meta-Temp-Url-Key-2": "sécret two"}
	all := want.Clone()
	for k, v := range keys {
		all[k] = v
	}
	before, err := s.ep.Container(s.ctx, s.c)
	if err != nil {
		s.Fatal(err)
	}
	policy := before.Header[transport.PolicyHeader]
	if policy == "" || policy != before.Policy || len(before.Header) != 1 || len(before.Keys) != 0 {
		s.Errorf("a new container: %+v", before)
	}
	want[transport.PolicyHeader] = policy
	// By PUT of a new container and POST of one that is there; by PUT of one that is there, too.
	fresh := s.c + " new"
	s.Cleanup(func() { s.discard(fresh) })
	all[transport.PolicyHeader] = policy
	for range 2 {
		if err := s.ep.CreateContainer(s.ctx, fresh, all); err != nil {
			s.Fatal(err)
		}
	}
	delete(all, transport.PolicyHeader)
	if err := s.ep.PostContainer(s.ctx, s.c, all, nil); err != nil {
		s.Fatal(err)
	}
	for _, c := range []string{fresh, s.c} {
		s.containerIs(c, want, keys)
	}
	// What is not named stays, what is removed goes.
	if err := s.ep.PostContainer(s.ctx, s.c, transport.Header{"X-Container-Meta-Web-Index": "other.html"},
		[]string{"X-Container-Meta-Utf8", "X-Container-Write", "X-Container-Meta-Quota-Count", "X-Container-Meta-Temp-Url-Key", "X-Container-Meta-Never"}); err != nil {
		s.Fatal(err)
	}
	want["X-Container-Meta-Web-Index"] = "other.html"
	for _, k := range []string{"X-Container-Meta-Utf8", "X-Container-Write", "X-Container-Meta-Quota-Count"} {
		delete(want, k)
	}
	delete(keys, "X-Container-Meta-Temp-Url-Key")
	s.containerIs(s.c, want, keys)
	i, err := s.ep.Container(s.ctx, s.c)
	if err != nil || i.QuotaBytes != 1_000_000 || i.QuotaObjects != -1 || i.ReadACL != ".r:*,.rlistings" {
		s.Errorf("%+v %v", i, err)
	}
	// Quotas are heeded, and told as what they are.
	if err := s.ep.PostContainer(s.ctx, s.c, transport.Header{"X-Container-Meta-Quota-Bytes": "10"}, nil); err != nil {
		s.Fatal(err)
	}
	_, err = s.ep.Put(s.ctx, s.c, "big", body([]byte("eleven bytes")), transport.PutOptions{})
	s.wantError(err, transport.Quota, s.c, "big")
	if err := s.ep.PostContainer(s.ctx, s.c, nil, []string{"X-Container-Meta-Quota-Bytes"}); err != nil {
		s.Fatal(err)
	}
	s.mustPut("big", []byte("eleven bytes"), transport.PutOptions{})
	// Refusals.
	for _, h := range []transport.Header{{"X-Container-Sync-To": "//a/b/c/d"}, {"X-Custom": "1"}, {transport.PolicyHeader: policy}, {"X-Object-Meta-A": "b"}} {
		s.wantError(s.ep.PostContainer(s.ctx, s.c, h, nil), transport.Permanent, s.c, "")
	}
	s.wantError(s.ep.PostContainer(s.ctx, s.c, nil, []string{transport.PolicyHeader}), transport.Permanent, s.c, "")
	s.wantError(s.ep.CreateContainer(s.ctx, s.c+" bad", transport.Header{transport.PolicyHeader: "no such policy"}), transport.Permanent, s.c+" bad", "")
	s.wantError(s.ep.PostContainer(s.ctx, s.c+" none", properties(), nil), transport.NotFound, s.c+" none", "")
	if r := s.raw.Do(s, http.MethodHead, s.c+" bad", "", "", nil, nil); r.Status != 404 {
		s.Errorf("a container with a policy that is not: %d", r.Status)
	}
}

// containerIs compares an endpoint's and raw's view of a container's properties.
func (s *suite) containerIs(name string, want, keys transport.Header) {
	s.Helper()
	i, err := s.ep.Container(s.ctx, name)
	if err != nil || !maps2Equal(i.Header, want) || !maps2Equal(i.Keys, keys) {
		s.Errorf("%q: %q, keys %q, %v; want %q and %q", name, i.Header, i.Keys, err, want, keys)
	}
	r := s.made(s.raw.Do(s, http.MethodHead, name, "", "", nil, nil))
	got := transport.Header{}
	for k, v := range r.Header {
		if transport.KeepsContainer(k) && !transport.IsKey(k) {
			got[k] = v[0]
		}
	}
	if !maps2Equal(got, want) {
		s.Errorf("raw %q: %q, want %q", name, got, want)
	}
}

// accountProperties sets and removes what it alone has named.
func (s *suite) accountProperties() {
	var id [6]byte
	_, _ = rand.Read(id[:])
	mark := hex.EncodeToString(id[:])
	name, second := "X-Account-Meta-Conform-"+mark, "X-Account-Meta-Conform2-"+mark
	const key = "X-Account-Meta-Temp-Url-Key-2"
	before, err := s.ep.Account(s.ctx)
	if err != nil || before.Header == nil || before.Keys == nil || before.Containers < 1 {
		s.Fatalf("%+v %v", before, err)
	}
	s.Cleanup(func() {
		header := map[string]string{"X-Remove-" + name[2:]: "x", "X-Remove-" + second[2:]: "x", key: before.Keys[key]}
		s.raw.Do(s, http.MethodPost, "", "", "", header, nil)
	})
	name, second = http.CanonicalHeaderKey(name), http.CanonicalHeaderKey(second)
	if err := s.ep.PostAccount(s.ctx, transport.Header{name: "näïve %41", second: "2", key: "secret"}, nil); err != nil {
		s.Fatal(err)
	}
	i, err := s.ep.Account(s.ctx)
	if err != nil || i.Header[name] != "näïve %41" || i.Header[second] != "2" || i.Keys[key] != "secret" || i.Header[key] != "" {
		s.Errorf("%+v %v", i, err)
	}
	if r := s.raw.Do(s, http.MethodHead, "", "", "", nil, nil); r.Header.Get(name) != "näïve %41" {
		s.Errorf("raw: %v", r.Header)
	}
	if err := s.ep.PostAccount(s.ctx, transport.Header{name: "other"}, []string{second}); err != nil {
		s.Fatal(err)
	}
	i, err = s.ep.Account(s.ctx)
	if _, left := i.Header[second]; err != nil || i.Header[name] != "other" || left || i.Keys[key] != "secret" {
		s.Errorf("%+v %v", i, err)
	}
	if err := s.ep.PostAccount(s.ctx, transport.Header{"X-Account-Meta-Quota-Bytes": "1"}, nil); transport.ClassOf(err) != transport.Denied || err == nil {
		s.Errorf("a quota by the account's owner: %v", err)
	}
	if err := s.ep.PostAccount(s.ctx, transport.Header{"X-Container-Meta-A": "1"}, nil); transport.ClassOf(err) != transport.Permanent || err == nil {
		s.Errorf("a container's header for the account: %v", err)
	}
}

// limits writes metadata up to what the region takes, and one byte more.
func (s *suite) limits() {
	a, err := s.ep.Abilities(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	h := transport.Header{"Content-Type": "a/b"}
	for left, i := min(a.MaxMetaBytes, 3000), 0; left > 0; i++ { // not all 4096: L11
		name := fmt.Sprintf("K%02d", i)
		n := min(a.MaxMetaValue, left-len(name))
		if n <= 0 {
			break
		}
		h["X-Object-Meta-"+name] = strings.Repeat("v", n-min(n, 2)) + strings.Repeat("é", min(n, 2)/2)
		left -= n + len(name)
	}
	s.mustPut("full", []byte("x"), transport.PutOptions{Header: h})
	s.kept(s.wantRaw("full", []byte("x")), h)
	if o, err := s.ep.Head(s.ctx, s.c, "full"); err != nil || !maps2Equal(o.Header, h) {
		s.Errorf("%+v %v", o, err)
	}
	if err := s.ep.Post(s.ctx, s.c, "full", h); err != nil {
		s.Error(err)
	}
	over := transport.Header{}
	for i := range a.MaxMetaBytes/a.MaxMetaValue + 1 {
		over[fmt.Sprintf("X-Object-Meta-K%02d", i)] = strings.Repeat("v", a.MaxMetaValue)
	}
	_, err = s.ep.Put(s.ctx, s.c, "over", body([]byte("x")), transport.PutOptions{Header: over})
	s.wantError(err, transport.Permanent, s.c, "over")
	s.wantNone("over")
}
