package swift

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"farshore/transport"
)

// Check is what one trial found out.
type Check struct {
	Name   string           `json:"name"`
	Answer transport.Answer `json:"answer"`
	Detail string           `json:"detail,omitempty"` // why not, or what was seen
}

// ProbeReport is what a region was found to do. The names of checks that are
// abilities are those of transport.Abilities.Tried.
type ProbeReport struct {
	Region string    `json:"region"`
	URL    string    `json:"url"`
	At     time.Time `json:"at"`
	Checks []Check   `json:"checks"`
}

// Answers gives the checks by name, as transport.Abilities.Learn takes them.
func (p ProbeReport) Answers() map[string]transport.Answer {
	out := map[string]transport.Answer{}
	for _, c := range p.Checks {
		out[c.Name] = c.Answer
	}
	return out
}

// Learn makes Abilities say what earlier probes found. Unknown changes nothing.
func (e *Endpoint) Learn(found map[string]transport.Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, a := range found {
		if a == transport.Yes || a == transport.No {
			e.answers[name] = a
		}
	}
}

// Check looks at a region without writing anything: does the login work, may it
// see its account and list containers, does the region publish its limits. An
// error means that nothing could be found out at all.
func (e *Endpoint) Check(ctx context.Context) (ProbeReport, error) {
	p := probe{e: e, ctx: ctx}
	if err := p.login(); err != nil {
		return p.report, err
	}
	_, err := e.simple(ctx, request{op: "head account", method: http.MethodHead})
	p.note("account", err)
	err = e.Containers(ctx, "", func(transport.ContainerInfo) error { return errEnough })
	if errors.Is(err, errEnough) {
		err = nil
	}
	p.note("list-containers", err)
	p.info()
	return p.report, nil
}

var errEnough = errors.New("enough")

// probePrefix is before every name that a probe writes.
const probePrefix = ".farshore-probe/"

// Probe does what Check does, and then tries in a scratch container what the
// engine would like to rely on (R17): rights to write, read, list and delete,
// If-None-Match, If-Match with Range, raw manifests, COPY with an Etag, NUL in
// end_marker, X-Delete-After, bulk-delete. The container is made if it is missing,
// and then removed again; in one that was there only names below
// ".farshore-probe/" are touched. What a probe that died has left there is removed
// after a quarter of an hour. What was found is learnt by the endpoint.
func (e *Endpoint) Probe(ctx context.Context, scratch string) (ProbeReport, error) {
	seen, err := e.Check(ctx)
	p := probe{e: e, ctx: ctx, c: scratch, report: seen}
	if err != nil {
		return p.report, err
	}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	p.dir = probePrefix + hex.EncodeToString(id[:]) + "/"
	_, err = e.Container(ctx, scratch)
	made := transport.Is(err, transport.NotFound)
	if made {
		err = e.CreateContainer(ctx, scratch, nil)
		p.note("create-container", err)
	}
	if err != nil {
		return p.report, fmt.Errorf("probe needs a scratch container: %w", err)
	}
	p.try()
	p.clean(made)
	e.Learn(p.report.Answers())
	return p.report, ctx.Err()
}

type probe struct {
	e      *Endpoint
	ctx    context.Context
	c, dir string
	report ProbeReport
	wrote  []string
	now    time.Time // the server's
}

func (p *probe) add(name string, a transport.Answer, detail string) {
	p.report.Checks = append(p.report.Checks, Check{name, a, detail})
}

// note records a check that is good if there was no error.
func (p *probe) note(name string, err error) bool {
	switch {
	case err == nil:
		p.add(name, transport.Yes, "")
	case slices.Contains([]transport.Class{transport.Transient, transport.Throttled, transport.Canceled}, transport.ClassOf(err)):
		p.add(name, transport.Unknown, err.Error())
	default:
		p.add(name, transport.No, err.Error())
	}
	return err == nil
}

func (p *probe) login() error {
	id, err := p.e.Identity(p.ctx)
	p.report = ProbeReport{Region: p.e.o.Region, URL: id.URL, At: p.e.o.Clock().UTC()}
	p.note("login", err)
	return err
}

func (p *probe) info() {
	_, page, _, err := p.e.readInfo(p.ctx)
	if err == nil && page == 0 {
		p.add("info", transport.No, "the region does not publish its limits; Swift's defaults are assumed")
		return
	}
	p.note("info", err)
}

// put writes an object of the probe.
func (p *probe) put(name string, data []byte, o transport.PutOptions) (transport.Receipt, error) {
	p.wrote = append(p.wrote, p.dir+name)
	sum := md5.Sum(data)
	return p.e.Put(p.ctx, p.c, p.dir+name, transport.Body{Size: int64(len(data)), MD5: hex.EncodeToString(sum[:]),
		Open: func() (io.Reader, error) { return bytes.NewReader(data), nil }}, o)
}

func (p *probe) try() {
	one, two := []byte("the first version of a probe of farshore"), []byte("the second version of a probe of farshore")
	rc, err := p.put("object", one, transport.PutOptions{})
	if !p.note("write", err) {
		return
	}
	p.now = rc.Modified
	p.note("read", p.reads("object", one, transport.OpenOptions{Length: -1}))
	p.listing()
	p.ifNoneMatch(one)
	p.ifMatchRange(rc.ETag, two)
	p.large([][]byte{one, two})
	p.deleteAfter(one)
	p.bulk(one)
}

// reads reads an object and compares.
func (p *probe) reads(name string, want []byte, o transport.OpenOptions) error {
	_, r, err := p.e.Open(p.ctx, p.c, p.dir+name, o)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("read %q instead of %q", got, want)
	}
	return err
}

// listing tries to list, and NUL in end_marker.
func (p *probe) listing() {
	found := false
	err := p.e.List(p.ctx, p.c, transport.Range{Prefix: p.dir}, func(page []transport.Entry) error {
		found = found || page[0].Name == p.dir+"object"
		return nil
	})
	switch {
	case err == nil && !found:
		p.add("list", transport.Yes, "what was just written is not listed yet: listings lag")
		p.add("nul-end-marker", transport.Unknown, "listings lag")
		return
	case !p.note("list", err):
		return
	}
	r := request{op: "list", method: http.MethodGet, container: p.c,
		query: url.Values{"format": {"json"}, "limit": {"2"}, "prefix": {p.dir}, "end_marker": {p.dir + "object\x00"}}}
	resp, err := p.e.do(p.ctx, r)
	if err == nil {
		n := 0
		err = p.e.rows(r, resp, "", func(*row) { n++ })
		if err == nil && n != 1 {
			err = errors.New("a listing up to NAME%00 lacks NAME")
		}
	}
	p.note("nul-end-marker", err)
}

func (p *probe) ifNoneMatch(data []byte) {
	_, err := p.put("object", data, transport.PutOptions{IfAbsent: true})
	switch {
	case transport.Is(err, transport.Exists):
		_, err = p.put("absent", data, transport.PutOptions{IfAbsent: true})
		p.note("if-none-match", err)
	case err == nil:
		p.add("if-none-match", transport.No, "a PUT with If-None-Match: * overwrote an existing object")
	default:
		p.note("if-none-match", err)
	}
}

func (p *probe) ifMatchRange(old string, fresh []byte) {
	rc, err := p.put("object", fresh, transport.PutOptions{})
	if err == nil {
		err = p.reads("object", fresh[4:10], transport.OpenOptions{Offset: 4, Length: 6, ETag: rc.ETag})
	}
	if err != nil {
		p.note("if-match-range", err)
		return
	}
	// Not by Open, which does without If-Match where that is refused.
	_, err = p.e.simple(p.ctx, request{op: "get", method: http.MethodGet, container: p.c, name: p.dir + "object",
		header: map[string]string{"If-Match": `"` + old + `"`, "Range": "bytes=4-9"}})
	switch {
	case transport.Is(err, transport.Changed):
		p.add("if-match-range", transport.Yes, "")
	case err == nil:
		p.add("if-match-range", transport.No, "a range of a version that is gone was answered from another")
	default:
		p.note("if-match-range", err)
	}
}

// large tries manifests and their collapse to a plain object.
func (p *probe) large(parts [][]byte) {
	var segs []transport.Segment
	for i, data := range parts {
		rc, err := p.put(fmt.Sprint("segment", i), data, transport.PutOptions{})
		if err != nil {
			p.note("slo", err)
			return
		}
		segs = append(segs, transport.Segment{Container: p.c, Name: p.dir + fmt.Sprint("segment", i), ETag: rc.ETag, Size: int64(len(data))})
	}
	p.wrote = append(p.wrote, p.dir+"manifest")
	_, err := p.e.PutManifest(p.ctx, p.c, p.dir+"manifest", segs, transport.PutOptions{})
	whole := bytes.Join(parts, nil)
	if err == nil {
		err = p.reads("manifest", whole, transport.OpenOptions{Length: -1})
	}
	if !p.note("slo", err) {
		return
	}
	p.note("raw-manifest", p.rawManifest(segs))
	sum := md5.Sum(whole)
	p.copies(hex.EncodeToString(sum[:]))
}

// rawManifest reads a manifest as it was written (S3).
func (p *probe) rawManifest(segs []transport.Segment) error {
	resp, err := p.e.do(p.ctx, request{op: "get manifest", method: http.MethodGet, container: p.c, name: p.dir + "manifest",
		query: url.Values{"multipart-manifest": {"get"}, "format": {"raw"}}})
	if err != nil {
		return err
	}
	var got []struct {
		Path string `json:"path"`
		ETag string `json:"etag"`
		Size int64  `json:"size_bytes"`
	}
	if err := readJSON(resp.Body, &got); err != nil {
		return err
	}
	if len(got) != len(segs) {
		return fmt.Errorf("the raw manifest has %d segments instead of %d", len(got), len(segs))
	}
	for i, g := range got {
		if strings.TrimPrefix(g.Path, "/") != segs[i].Container+"/"+segs[i].Name || g.ETag != segs[i].ETag || g.Size != segs[i].Size {
			j, _ := json.Marshal(g)
			return fmt.Errorf("the raw manifest's segment is %s", j)
		}
	}
	return nil
}

// copies tries whether a COPY of a manifest heeds Etag and makes a plain object (L1).
func (p *probe) copies(sum string) {
	send := func(name, etag string) (*http.Response, error) {
		p.wrote = append(p.wrote, p.dir+name)
		return p.e.simple(p.ctx, request{op: "collapse", method: http.MethodPut, container: p.c, name: p.dir + name, header: map[string]string{
			"X-Copy-From": "/" + escapePath(p.c) + "/" + escapePath(p.dir+"manifest"), "Etag": etag,
			"X-Fresh-Metadata": "true", "Content-Type": "application/octet-stream"}})
	}
	_, err := send("wrong", strings.Repeat("0", 32))
	switch {
	case transport.Is(err, transport.Corrupt):
		if _, err = p.e.Head(p.ctx, p.c, p.dir+"wrong"); transport.Is(err, transport.NotFound) {
			p.add("copy-etag", transport.Yes, "")
		} else {
			p.add("copy-etag", transport.No, "a COPY refused for its Etag left an object")
		}
	case err == nil:
		p.add("copy-etag", transport.No, "a COPY with a wrong Etag was done")
	default:
		p.note("copy-etag", err)
	}
	_, err = send("plain", sum)
	if err != nil {
		p.note("copy-collapses", err)
		return
	}
	o, err := p.e.Head(p.ctx, p.c, p.dir+"plain")
	if err == nil && (o.Kind != transport.Plain || o.ETag != sum) {
		err = fmt.Errorf("the copy of a manifest is an object of kind %s with ETag %s", o.Kind, o.ETag)
	}
	p.note("copy-collapses", err)
}

func (p *probe) deleteAfter(data []byte) {
	_, err := p.put("dies", data, transport.PutOptions{DeleteAfter: time.Hour})
	var o transport.Object
	if err == nil {
		o, err = p.e.Head(p.ctx, p.c, p.dir+"dies")
	}
	if err == nil && o.Header["X-Delete-At"] == "" {
		err = errors.New("X-Delete-After was ignored")
	}
	p.note("delete-after", err)
}

// bulk tries bulk-delete where it is published, and plain deletes.
func (p *probe) bulk(data []byte) {
	a, err := p.e.Abilities(p.ctx)
	if err == nil && a.BulkDelete > 0 {
		name := "bulk %41é"
		if _, err = p.put(name, data, transport.PutOptions{}); err == nil {
			err = p.e.DeleteMany(p.ctx, p.c, []string{p.dir + name, p.dir + "none"})
		}
		if err == nil {
			err = p.gone(name)
		}
		p.note("bulk-delete", err)
	}
	if err = p.e.Delete(p.ctx, p.c, p.dir+"object"); err == nil {
		err = p.gone("object")
	}
	p.note("delete", err)
}

func (p *probe) gone(name string) error {
	_, err := p.e.Head(p.ctx, p.c, p.dir+name)
	switch {
	case transport.Is(err, transport.NotFound):
		return nil
	case err == nil:
		return errors.New("an object that was deleted is still there")
	}
	return err
}

// clean removes what the probe wrote, and what an earlier one left; also when the
// caller has given up meanwhile.
func (p *probe) clean(made bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 30*time.Second)
	defer cancel()
	for _, name := range p.wrote {
		_ = p.e.Delete(ctx, p.c, name)
	}
	var left []string
	_ = p.e.List(ctx, p.c, transport.Range{Prefix: probePrefix}, func(page []transport.Entry) error {
		for _, o := range page {
			if strings.HasPrefix(o.Name, p.dir) || p.now.Sub(o.Modified) > 15*time.Minute {
				left = append(left, o.Name)
			}
		}
		return nil
	})
	for _, name := range left {
		_ = p.e.Delete(ctx, p.c, name)
	}
	if made {
		_ = p.e.DeleteContainer(ctx, p.c)
	}
}
