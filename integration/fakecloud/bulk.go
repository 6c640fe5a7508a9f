package fakecloud

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// report is the body that bulk and large-object requests answer with: the true
// status is inside it (S3, G11).
type report struct {
	q                 *request
	json              bool
	beating           bool // the 202 and the first space are out already
	counts            bool
	deleted, notFound int
	etag, modified    string
	errors            [][2]string
}

func newReport(q *request) *report {
	accept := q.r.Header.Get("Accept")
	return &report{q: q, json: strings.Contains(accept, "application/json")}
}

func (r *report) problem(name, what string) { r.errors = append(r.errors, [2]string{name, what}) }

func (r *report) mime() string {
	if r.json {
		return "application/json"
	}
	return "text/plain"
}

// beat sends status and a first space before the work is done.
func (r *report) beat() { r.start(http.StatusAccepted, " ") }

func (r *report) start(code int, body string) {
	r.beating = true
	r.q.w.Header()["Content-Type"] = []string{r.mime()}
	r.q.w.WriteHeader(code)
	// The rest follows; a client that has gone is noticed then.
	_, _ = io.WriteString(r.q.w, body)
	r.q.w.flush()
}

// status is a code with its phrase, as Swift prints it.
func status(code int) string {
	title, _ := reason(code)
	if title == "" {
		title = http.StatusText(code)
	}
	return strconv.Itoa(code) + " " + title
}

// finish sends the report. A plain upload report has no more than the errors.
func (r *report) finish(code int) {
	full := r.beating || r.counts
	out := r.render(code, full)
	switch {
	case r.beating:
		out = "\r\n\r\n" + out
	case r.counts:
		r.start(http.StatusOK, "")
	default:
		r.q.send(code, r.mime(), out)
		return
	}
	// As in start.
	_, _ = io.WriteString(r.q.w, out)
}

func (r *report) render(code int, full bool) string {
	words := ""
	if full && code >= 400 && !r.counts {
		title, text := reason(code)
		words = title + "\n" + text
	}
	if r.json {
		b := []byte{'{'}
		if full {
			b = jsonString(append(b, `"Response Status": `...), status(code))
			if r.etag != "" {
				b = jsonString(append(b, `, "Etag": `...), r.etag)
				b = jsonString(append(b, `, "Last Modified": `...), r.modified)
			}
			b = jsonString(append(b, `, "Response Body": `...), words)
			if r.counts {
				b = fmt.Appendf(b, `, "Number Deleted": %d, "Number Not Found": %d`, r.deleted, r.notFound)
			}
			b = append(b, ", "...)
		}
		b = append(b, `"Errors": [`...)
		for i, e := range r.errors {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(jsonString(append(jsonString(append(b, '['), e[0]), ", "...), e[1]), ']')
		}
		return string(append(b, "]}"...))
	}
	var b strings.Builder
	if full {
		// Python sorts the keys.
		if r.etag != "" {
			fmt.Fprintf(&b, "Etag: %s\nLast Modified: %s\n", r.etag, r.modified)
		}
		if r.counts {
			fmt.Fprintf(&b, "Number Deleted: %d\nNumber Not Found: %d\n", r.deleted, r.notFound)
		}
		fmt.Fprintf(&b, "Response Body: %s\nResponse Status: %s\n", words, status(code))
	}
	b.WriteString("Errors:\n")
	for _, e := range r.errors {
		fmt.Fprintf(&b, "%s, %s\n", e[0], e[1])
	}
	return b.String()
}

const maxBulkDeletes = 10000

// bulkDelete removes the newline-separated, quoted container/object names of
// the body, and after them the containers that it names.
func (q *request) bulkDelete() {
	r := newReport(q)
	r.counts = true
	if ct := q.r.Header.Get("Content-Type"); ct != "" && !strings.HasPrefix(ct, "text/plain") {
		r.finish(http.StatusNotAcceptable)
		return
	}
	raw, err := io.ReadAll(&q.body)
	if err != nil {
		if !errors.Is(err, errCut) {
			q.fail(499)
		}
		return
	}
	var names []string
	for line := range strings.SplitSeq(string(raw), "\n") {
		if n := lenientPath(strings.TrimSpace(line)); strings.Trim(n, "/") != "" {
			names = append(names, strings.TrimLeft(n, "/"))
		}
	}
	if len(names) > maxBulkDeletes {
		r.finish(http.StatusRequestEntityTooLarge)
		return
	}
	var containers []string
	for _, n := range names {
		cont, obj, ok := strings.Cut(n, "/")
		switch {
		case !ok || obj == "":
			containers = append(containers, cont)
		case !validName(n):
			r.problem(quotePath(n), status(http.StatusPreconditionFailed))
		default:
			q.unlink(cont, obj, r)
		}
	}
	a := q.rg.account(q.acct)
	for _, n := range containers {
		c := a.container(n)
		switch {
		case c == nil:
			r.notFound++
		case a.drop(c, false):
			r.deleted++
		default:
			r.problem(quotePath(n), status(http.StatusConflict))
		}
	}
	code := http.StatusOK
	if len(r.errors) > 0 {
		code = http.StatusBadRequest
	} else if r.deleted == 0 && r.notFound == 0 {
		code = http.StatusBadRequest
	}
	r.finish(code)
}
