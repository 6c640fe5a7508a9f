package swift

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	ncw "github.com/ncw/swift/v2"

	"farshore/transport"
)

// fail makes the error of a request. With a reply, err holds the server's words;
// without one, resp is nil and err says why.
func (e *Endpoint) fail(r request, resp *http.Response, err error) *transport.Error {
	f := &transport.Error{Op: r.op, Region: e.o.Region, Container: r.container, Name: r.name, Err: err}
	var known *transport.Error
	var vendor *ncw.Error
	switch {
	case resp != nil:
		f.Status = resp.StatusCode
		f.TxID = txID(resp.Header)
		f.After = retryAfter(resp.Header, e.o.Clock)
		text := transport.OneLine(err.Error())
		f.Class, f.Hint = classify(e.o.Region, r, resp.StatusCode, text)
		if resp.StatusCode == http.StatusBadRequest && strings.Contains(text, "X-Delete-At in past") {
			f.Class, f.Err = transport.NotFound, transport.ErrExpired
			break
		}
		title := http.StatusText(resp.StatusCode)
		cause := strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", title))
		if text = strings.TrimSpace(strings.TrimPrefix(text, title)); text != "" {
			cause += ": " + text
		}
		f.Err = errors.New(cause)
	case errors.As(err, &known): // the login's, or the wire's, own judgement
		f.Class, f.Status, f.After, f.TxID, f.Hint = known.Class, known.Status, known.After, known.TxID, known.Hint
		if known.Op != "" {
			f.Op = known.Op
		}
		f.Err = known.Err
		if f.Err == nil {
			f.Err = errors.New(known.Class.String())
		}
	case errors.As(err, &vendor) && vendor.StatusCode != 0: // ncw's own login
		f.Op, f.Container, f.Name = "log in", "", ""
		f.Status = vendor.StatusCode
		f.Class, f.Hint = classify(e.o.Region, request{op: "log in"}, vendor.StatusCode, "")
		f.Err = errors.New(transport.OneLine(err.Error()))
	default:
		if f.Class = transport.ClassOf(err); strings.Contains(err.Error(), "malformed MIME header") {
			f.Class = transport.Permanent
			f.Hint = "Swift takes metadata names that are not ASCII, but Go's HTTP client reads no such reply: give the metadata another name at the region"
		}
	}
	var u *url.Error
	if resp == nil && errors.As(f.Err, &u) {
		f.Err = u.Err // the URL says nothing that Op, Region and Name do not
	}
	return f
}

// classify gives a status its class, and a better hint than the class's where
// more is known: transport.ClassOfStatus, and what depends on the request.
func classify(region string, r request, status int, text string) (transport.Class, string) {
	switch status {
	case http.StatusBadRequest:
		if r.query.Has("multipart-manifest") && garbled(text) {
			return transport.Transient, ""
		}
	case http.StatusConflict:
		if r.method == http.MethodDelete && r.name == "" {
			return transport.Permanent, "the container is not empty; delete its objects first"
		}
		return transport.Transient, "" // a newer write is on its way or there
	case http.StatusPreconditionFailed:
		switch {
		case r.header["If-None-Match"] != "":
			return transport.Exists, ""
		case r.header["If-Match"] != "":
			return transport.Changed, ""
		}
		return transport.Permanent, "" // Swift's "this URL or name is not possible"
	case http.StatusRequestEntityTooLarge:
		if !strings.Contains(strings.ToLower(text), "quota") {
			return transport.Quota, "the region takes no single PUT of this size, or has no room for it: compare its limits (farshore region check " + region + "), or raise the quota"
		}
	}
	return transport.ClassOfStatus(status), ""
}

// garbled reports whether a manifest did not arrive as it was sent: those that are sent
// are lists of such keys (the words are those of Swift's slo.py).
func garbled(text string) bool {
	for _, t := range []string{"must be valid JSON", "must be a list", "expected keys to include", "extraneous keys", "not a JSON object"} {
		if strings.Contains(text, t) {
			return true
		}
	}
	return false
}

// bodyError is the error of a PUT whose body broke. A failure that an endpoint
// has already classed (the source's) is returned as it is: it names its region.
func (e *Endpoint) bodyError(r request, err error) error {
	var known *transport.Error
	if errors.As(err, &known) {
		return err
	}
	f := &transport.Error{Op: r.op, Region: e.o.Region, Container: r.container, Name: r.name,
		Class: transport.ClassOf(err), Err: fmt.Errorf("read body: %w", err)}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		f.Class = transport.Transient
	}
	return f
}

var errHeader = errors.New("a header that HTTP cannot carry")

// checkHeader refuses what net/http would refuse, in words that name the header.
func checkHeader(h map[string]string) error {
	for name, value := range h {
		bad := name == ""
		for i := 0; i < len(name); i++ {
			c := name[i]
			bad = bad || c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0
		}
		for i := 0; i < len(value); i++ {
			c := value[i]
			bad = bad || c < ' ' && c != '\t' || c == 0x7f
		}
		if bad {
			return fmt.Errorf("%w: %q: %q", errHeader, name, value)
		}
	}
	return nil
}

// txID is the id under which the region's operator finds the request in the logs.
func txID(h http.Header) string {
	for _, name := range []string{"X-Trans-Id", "X-Openstack-Request-Id"} {
		if id := h.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// retryAfter reads Retry-After. A date is compared with the reply's own Date, so
// that a wrong clock here does not matter.
func retryAfter(h http.Header, clock func() time.Time) time.Duration {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = clock()
	}
	return transport.RetryAfter(h.Get("Retry-After"), now)
}
