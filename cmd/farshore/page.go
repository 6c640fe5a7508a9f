package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"farshore/replicator/lag"
	"farshore/replicator/page"
	"farshore/replicator/webhook"
)

// wall serves the page of a daemon, at / of the address of metrics.
type wall struct {
	eyes  *watched
	runs  *runs
	past  *lagHistory
	pages *page.Pages
	peaks func() []lag.Peak // of the policies at work, since it was called last
	hooks *webhook.Sender

	mu    sync.Mutex
	seen  standing  // of the ledger, as it was read at last
	drawn []byte    // the page, as it was drawn at
	at    time.Time // zero: never
}

// A page is drawn at most once a pageAge, and the ledger read for it at most once a
// ledgerAge, however many look at it.
const (
	pageAge   = 2 * time.Second
	ledgerAge = 10 * time.Second
)

func newWall(eyes *watched, hooks *webhook.Sender) (*wall, error) {
	pages, err := page.New()
	if err != nil {
		return nil, err
	}
	l := eyes.session.ledger
	return &wall{eyes: eyes, runs: newRuns(l), past: newLagHistory(l), pages: pages, hooks: hooks, peaks: func() []lag.Peak { return nil }}, nil
}

// handle adds the page and its files, served at an address.
func (b *wall) handle(mux *http.ServeMux, at net.Addr) {
	guarded := onlyHere(at)
	file := func(kind string, body []byte) http.Handler {
		return secured(guarded, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			_, _ = rw.Write(body) // who went away does not read it
		})
	}
	mux.Handle("GET /{$}", secured(guarded, b.show))
	mux.Handle("GET /page.css", file("text/css; charset=utf-8", page.Style))
	mux.Handle("GET /page.js", file("text/javascript; charset=utf-8", page.Script))
	mux.Handle("GET /icon.svg", file("image/svg+xml", page.Icon))
}

// onlyHere tells whether nobody but this machine reaches an address.
func onlyHere(at net.Addr) bool {
	tcp, ok := at.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// secured adds the headers that keep a browser from doing more than to show. An address
// that only this machine reaches is not shown under any other name: else a page from
// elsewhere could have its own name lead here and read what it likes.
func secured(guarded bool, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", page.ContentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if guarded && !local(req.Host) {
			http.Error(rw, "this address is for this machine only: ask for it as 127.0.0.1 or localhost, or have the proxy in front send that as Host", http.StatusForbidden)
			return
		}
		next(rw, req)
	})
}

// local tells whether a Host header is an address, or the name of this machine's own.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(trimBrackets(host)) != nil
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func (b *wall) show(rw http.ResponseWriter, _ *http.Request) {
	body, err := b.draw(time.Now())
	if err != nil {
		http.Error(rw, "the page could not be drawn: "+err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = rw.Write(body) // who went away does not read it
}

// draw gives the page, not older than pageAge.
func (b *wall) draw(now time.Time) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() && now.Sub(b.at) < pageAge && !now.Before(b.at) {
		return b.drawn, nil
	}
	v, err := b.view(now)
	if err != nil {
		return nil, err
	}
	body, err := b.pages.Write(v)
	if err != nil {
		return nil, err
	}
	b.drawn, b.at = body, now
	return body, nil
}

// watch takes the highest lag of every minute until ctx ends, and keeps it.
func (b *wall) watch(ctx context.Context) {
	t := time.NewTicker(lagEvery)
	defer t.Stop()
	for {
		b.past.add(time.Now(), b.peaks())
		select {
		case <-ctx.Done():
			last := b.peaks()
			b.past.add(time.Now(), last)
			b.past.save(last)
			return
		case <-t.C:
		}
	}
}
