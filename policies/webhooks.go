package policies

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Events that a webhook may be told of.
const (
	OnFinding = "finding" // a pass, an audit or a drill found something that the one before had not
	OnLate    = "late"    // something has waited for longer than rpo
	OnArrived = "arrived" // nothing has any more
	OnDrill   = "drill"   // a drill has ended
	OnAudit   = "audit"   // an audit has ended
)

// AllEvents are those a webhook is told of unless it says otherwise.
func AllEvents() []string { return []string{OnFinding, OnLate, OnArrived, OnDrill, OnAudit} }

// How an event is written.
const (
	FormatJSON  = "json"  // docs/json.md
	FormatSlack = "slack" // {"text": "…"}, which Slack and Mattermost show
)

// Webhook is somebody who is told of events by an HTTP request.
type Webhook struct {
	URL        string   // empty: URLFile holds it
	URLFile    string   // a file with the URL, for one that is a secret itself
	Events     []string // AllEvents by default
	SecretFile string   // a file with the secret that requests are signed with; empty: they are not
	Format     string   // FormatJSON or FormatSlack
	AllowHTTP  bool     // plain http to other machines than this one is all right
}

// CheckWebhookURL tells what is wrong with the address of a webhook, without naming it: it
// may be a secret. http without TLS is for this machine only, unless plain is set.
func CheckWebhookURL(text string, plain bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must be an http or https URL (as in https://alerts.example/farshore)")
	case u.Fragment != "":
		return nil, errors.New("must have no fragment")
	case u.Scheme == "http" && !plain && !ownMachine(u.Hostname()):
		return nil, errors.New("would be sent in the clear (write https, or add allow_http: true)")
	}
	return u, nil
}

func ownMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (r *reader) webhooks(out *[]Webhook) func(value) {
	return func(v value) {
		for _, item := range r.items(v, "webhooks") {
			*out = append(*out, r.webhook(item))
		}
	}
}

func (r *reader) webhook(v value) Webhook {
	w := Webhook{Format: FormatJSON}
	var at, events value
	given := r.fields(v, "a mapping such as {url: https://alerts.example/farshore}",
		field{"url", func(v value) { at = v; r.text(&w.URL)(v) }},
		field{"url_file", r.text(&w.URLFile)},
		field{"events", func(v value) {
			events = v
			for _, item := range r.items(v, "events") {
				var word string
				r.oneOf(&word, AllEvents()...)(item)
				if slices.Contains(w.Events, word) && word != "" {
					r.problem(item, "is listed twice", "remove one")
				}
				w.Events = append(w.Events, word)
			}
		}},
		field{"secret_file", r.text(&w.SecretFile)},
		field{"format", r.oneOf(&w.Format, FormatJSON, FormatSlack)},
		field{"allow_http", r.flag(&w.AllowHTTP)},
	)
	if given == nil {
		return w
	}
	_, byURL := given["url"]
	place, byFile := given["url_file"]
	switch {
	case byURL && byFile:
		r.problem(value{path: v.path + ".url_file", at: place}, "cannot stand beside url", "remove one")
	case !byURL && !byFile && !r.bad.under(v.path):
		r.problem(v, "url is missing", "or url_file, the path of a file that holds it")
	case byURL && w.URL != "":
		u, err := CheckWebhookURL(w.URL, w.AllowHTTP)
		if err != nil {
			message, hint, _ := strings.Cut(err.Error(), " (")
			r.problem(at, message, strings.TrimSuffix(hint, ")"))
		} else if u.User != nil {
			r.problem(at, "must hold no password", "put the URL into a file of its own and name that: url_file")
		}
	}
	if len(w.Events) == 0 {
		if events.node != nil && !r.bad.under(events.path) {
			r.problem(events, "lists nothing", fmt.Sprintf("leave it out to be told of all: %s", strings.Join(AllEvents(), ", ")))
		}
		w.Events = AllEvents()
	}
	if w.Format == FormatSlack && w.SecretFile != "" && !r.bad.under(v.path) {
		r.problem(v, "secret_file has no effect: Slack and Mattermost check no signature", "remove it, or format: slack")
	}
	return w
}
