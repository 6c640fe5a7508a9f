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
	format            format // plain, JSON or XML
	declared          string // what stands for XML in Content-Type
	root              string // of XML
	beating           bool   // the 202 and the first space are out already
	counts            bool
	deleted, notFound int
	etag, modified    string
	errors            [][2]string
}

func newReport(q *request) *report {
	r := &report{q: q, root: "upload"}
	for part := range strings.SplitSeq(q.r.Header.Get("Accept"), ",") {
		switch mime, _, _ := strings.Cut(strings.TrimSpace(part), ";"); mime {
		case "text/plain", "text/*", "*/*":
			return r
		case "application/json":
			r.format = jsonFormat
			return r
		case "application/xml", "text/xml":
			r.format, r.declared = xmlFormat, mime
			return r
		}
	}
	return r
}

func (r *report) problem(name, what string) { r.errors = append(r.errors, [2]string{name, what}) }

func (r *report) mime() string {
	switch r.format {
	case jsonFormat:
		return "application/json"
	case xmlFormat:
		return r.declared
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
	words := ""
	if r.beating && code >= 400 {
		title, text := reason(code)
		words = title + "\n" + text
	}
	r.finishWith(code, words)
}

// finishWith is finish with a body of the response that is reported.
func (r *report) finishWith(code int, words string) {
	out := r.render(code, r.beating || r.counts, words)
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

// render writes the report; full is with status and counts, which errors of a
// plain upload go without.
func (r *report) render(code int, full bool, words string) string {
	if r.format == jsonFormat {
		return r.renderJSON(code, full, words)
	}
	var lines [][2]string // Python sorts the keys
	if full {
		if r.etag != "" {
			lines = append(lines, [2]string{"Etag", r.etag}, [2]string{"Last Modified", r.modified})
		}
		if r.counts {
			lines = append(lines, [2]string{"Number Deleted", strconv.Itoa(r.deleted)},
				[2]string{"Number Not Found", strconv.Itoa(r.notFound)})
		}
		lines = append(lines, [2]string{"Response Body", words}, [2]string{"Response Status", status(code)})
	}
	var b strings.Builder
	if r.format == plain {
		for _, l := range lines {
			fmt.Fprintf(&b, "%s: %s\n", l[0], l[1])
		}
		b.WriteString("Errors:\n")
		for _, e := range r.errors {
			fmt.Fprintf(&b, "%s, %s\n", e[0], e[1])
		}
		return b.String()
	}
	text := func(s string) string { return string(xmlText(nil, s)) }
	fmt.Fprintf(&b, "<%s>\n", r.root)
	for _, l := range lines {
		key := strings.ToLower(strings.ReplaceAll(l[0], " ", "_"))
		fmt.Fprintf(&b, "<%s>%s</%s>\n", key, text(l[1]), key)
	}
	b.WriteString("<errors>\n")
	for _, e := range r.errors {
		fmt.Fprintf(&b, "<object><name>%s</name><status>%s</status></object>\n", text(e[0]), text(e[1]))
	}
	fmt.Fprintf(&b, "</errors>\n</%s>\n", r.root)
	return b.String()
}

func (r *report) renderJSON(code int, full bool, words string) string {
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

const maxBulkDeletes = 10000

// bulkDelete removes the newline-separated, quoted container/object names of
// the body, and after them the containers that it names.
func (q *request) bulkDelete() {
	r := newReport(q)
	r.counts, r.root = true, "delete"
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
			q.unlink(place{q.acct, cont, obj}, "", r)
		}
	}
	a := q.rg.account(q.acct)
	for _, n := range containers {
		c := a.container(n)
		if c == nil {
			r.notFound++
		} else if code, _ := q.rg.dropContainer(a, c); code == 0 {
			r.deleted++
		} else {
			r.problem(quotePath(n), status(code))
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
