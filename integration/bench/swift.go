package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// credentials are a login with a password (Identity API v3), and the region wanted.
type credentials struct {
	AuthURL, User, Password, Project, Domain, Region string
	// URL takes the catalog's place when a relay stands before the region.
	URL string
}

// account is one account of one region, spoken to with bare HTTP that shares no code
// with what is measured.
type account struct {
	url, token string
	client     *http.Client
	patience   time.Duration // with a listing that lags
}

// newClient is a plain client without proxies; width connections stay open.
func newClient(width int) *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: width, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10}}
}

// login fetches a token and the account's URL.
func login(ctx context.Context, c credentials, width int) (*account, error) {
	domain := map[string]string{"name": c.Domain}
	raw, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{
			"user": map[string]any{"name": c.User, "password": c.Password, "domain": domain}}},
		"scope": map[string]any{"project": map[string]any{"name": c.Project, "domain": domain}}}})
	if err != nil {
		return nil, err
	}
	a := &account{client: newClient(width), patience: time.Minute}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.AuthURL+"/auth/tokens", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("log in to %s: %s", c.AuthURL, resp.Status)
	}
	var doc struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ URL, Interface, Region string }
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return nil, fmt.Errorf("log in to %s: %w", c.AuthURL, err)
	}
	a.token = resp.Header.Get("X-Subject-Token")
	for _, s := range doc.Token.Catalog {
		for _, e := range s.Endpoints {
			if s.Type == "object-store" && e.Interface == "public" && e.Region == c.Region {
				a.url = e.URL
			}
		}
	}
	if c.URL != "" {
		a.url = c.URL
	}
	if a.url == "" {
		return nil, fmt.Errorf("log in to %s: no object store in %s", c.AuthURL, c.Region)
	}
	return a, nil
}

// errStatus is an answer that was not wanted.
type errStatus struct {
	what   string
	status int
}

func (e *errStatus) Error() string { return fmt.Sprintf("%s: status %d", e.what, e.status) }

// do sends a request and wants a 2xx or one of the statuses allowed. The caller reads and closes the body.
func (a *account) do(ctx context.Context, method, path string, body io.Reader, size int64, allowed ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = size
	}
	req.Header["X-Auth-Token"] = []string{a.token}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	for _, s := range allowed {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	if resp.StatusCode/100 != 2 {
		_ = resp.Body.Close()
		return nil, &errStatus{method + " " + path, resp.StatusCode}
	}
	return resp, nil
}

// call is do for requests whose answer has no body worth reading.
func (a *account) call(ctx context.Context, method, path string, body io.Reader, size int64, allowed ...int) error {
	resp, err := a.do(ctx, method, path, body, size, allowed...)
	if err != nil {
		return err
	}
	return finish(resp)
}

// finish reads an answer to its end, so that its connection serves again.
func finish(resp *http.Response) error {
	_, err := io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// place is the path of a container or an object.
func place(container string, object ...string) string {
	p := "/" + url.PathEscape(container)
	for _, o := range object {
		p += "/" + strings.ReplaceAll(url.PathEscape(o), "%2F", "/")
	}
	return p
}

// entry is a row of a listing.
type entry struct {
	Name    string `json:"name"`
	Hash    string `json:"hash"`
	Bytes   int64  `json:"bytes"`
	SLOEtag string `json:"slo_etag"`
}

// pageSize is the most rows that a page has, on both kinds of regions; a shorter page
// is the last.
const pageSize = 10_000

// pages calls f with the listing, page by page.
func (a *account) pages(ctx context.Context, container string, f func([]entry) error) error {
	q := url.Values{"format": {"json"}}
	for {
		resp, err := a.do(ctx, http.MethodGet, place(container)+"?"+q.Encode(), nil, 0)
		if err != nil {
			return err
		}
		var page []entry
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
			return errors.Join(fmt.Errorf("list %s: %w", container, err), resp.Body.Close())
		}
		if err := finish(resp); err != nil {
			return err
		}
		if err := f(page); err != nil || len(page) < pageSize {
			return err
		}
		q.Set("marker", page[len(page)-1].Name)
	}
}

// list gives the whole listing.
func (a *account) list(ctx context.Context, container string) ([]entry, error) {
	var all []entry
	err := a.pages(ctx, container, func(page []entry) error {
		all = append(all, page...)
		return nil
	})
	return all, err
}

// digest reads an object through.
func (a *account) digest(ctx context.Context, container, name string) (string, error) {
	resp, err := a.do(ctx, http.MethodGet, place(container, name), nil, 0)
	if err != nil {
		return "", err
	}
	sum := md5.New()
	n, err := io.Copy(sum, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = fmt.Errorf("read %s/%s: %d of %d bytes", container, name, n, resp.ContentLength)
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// settled gives the listing when it has n objects, or after its patience whatever it has: an
// object server that cannot reach its container server in time leaves the row to its
// updater (S9), so that a listing may lag behind objects that are there.
func (a *account) settled(ctx context.Context, container string, n int) ([]entry, error) {
	for deadline := time.Now().Add(a.patience); ; {
		got, err := a.list(ctx, container)
		if err != nil || len(got) >= n || time.Now().After(deadline) {
			return got, err
		}
		fmt.Fprintf(os.Stderr, "the listing of %s has %d of %d objects: asking again\n", container, len(got), n)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// same checks that to holds exactly what from holds: names, sizes, and MD5s by the
// listings. The content of a static large object is read, since its row has no MD5 of it.
func same(ctx context.Context, from, to *account, container, copied string) error {
	want, err := from.list(ctx, container)
	if err != nil {
		return err
	}
	got, err := to.settled(ctx, copied, len(want))
	if err != nil {
		return err
	}
	if len(got) < len(want) {
		return lacking(ctx, from, to, container, copied, want, got)
	}
	if len(got) != len(want) || len(want) == 0 {
		return fmt.Errorf("the copy has %d objects, the source %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Name != w.Name {
			return fmt.Errorf("the copy has %q where the source has %q", g.Name, w.Name)
		}
		sum := g.Hash
		if g.Bytes == w.Bytes && sum != w.Hash && g.SLOEtag != "" {
			if sum, err = to.digest(ctx, copied, g.Name); err != nil {
				return err
			}
		}
		if g.Bytes != w.Bytes || sum != w.Hash {
			return fmt.Errorf("%q differs: %d bytes %s, the source %d bytes %s", g.Name, g.Bytes, sum, w.Bytes, w.Hash)
		}
	}
	return nil
}

// namedAtMost bounds the objects that an error names.
const namedAtMost = 20

// lacking says which objects the copy's listing does not have, and what either region
// answers when it is asked for them: a row that was lost is told from an object that was.
func lacking(ctx context.Context, from, to *account, container, copied string, want, got []entry) error {
	there := map[string]bool{}
	for _, g := range got {
		there[g.Name] = true
	}
	text, n := fmt.Sprintf("the listing of the copy has %d objects, that of the source %d", len(got), len(want)), 0
	for _, w := range want {
		if there[w.Name] {
			continue
		}
		if n++; n > namedAtMost {
			continue
		}
		text += fmt.Sprintf("; %q is not in it: HEAD there %s, at the source %s", w.Name, to.head(ctx, copied, w.Name), from.head(ctx, container, w.Name))
	}
	if n > namedAtMost {
		text += fmt.Sprintf("; and %d more", n-namedAtMost)
	}
	return errors.New(text)
}

// head says in words what a HEAD of an object answers.
func (a *account) head(ctx context.Context, container, name string) string {
	resp, err := a.do(ctx, http.MethodHead, place(container, name), nil, 0, http.StatusNotFound)
	if err != nil {
		return err.Error()
	}
	if err := finish(resp); err != nil {
		return err.Error()
	}
	if resp.StatusCode == http.StatusNotFound {
		return "404"
	}
	return fmt.Sprintf("%d, %d bytes, X-Timestamp %s", resp.StatusCode, resp.ContentLength, resp.Header.Get("X-Timestamp"))
}
