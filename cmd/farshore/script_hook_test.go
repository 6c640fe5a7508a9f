package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"farshore/replicator/webhook"
)

// hookReceiver takes a daemon's webhooks.
type hookReceiver struct {
	server *httptest.Server

	mu     sync.Mutex
	bodies []string
	wrong  []string      // bodies whose signature was not right
	more   chan struct{} // closed and replaced with each request
}

const hookSecret = "s3cret of the hook"

func (h *hookReceiver) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	b, _ := io.ReadAll(req.Body) // what was cut off matches nothing
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := req.Header.Get("X-Farshore-Signature"); s != "" && s != webhook.Sign([]byte(hookSecret), b) {
		h.wrong = append(h.wrong, string(b))
	}
	h.bodies = append(h.bodies, string(b))
	close(h.more)
	h.more = make(chan struct{})
}

// receiver FILE: somebody who takes webhooks at the address that FILE has, or, where there is
// none yet, at one that is written there; the secret is in FILE.secret. ! receiver FILE: it is
// gone.
func receiverCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 1, "[!] receiver FILE")
	w := worldOf(ts)
	if neg {
		w.hooks[args[0]].server.Close()
		return
	}
	h := &hookReceiver{more: make(chan struct{})}
	s := httptest.NewUnstartedServer(h)
	path := ts.MkAbs(args[0])
	if text, err := os.ReadFile(path); err == nil {
		host := regexp.MustCompile(`//([^/]+)/`).FindStringSubmatch(string(text))
		want(ts, host != nil, "receiver FILE: there is no address in it")
		l, err := net.Listen("tcp", host[1])
		ts.Check(err)
		ts.Check(s.Listener.Close())
		s.Listener = l
	}
	s.Start()
	h.server = s
	ts.Defer(s.Close)
	ts.Check(os.WriteFile(path, []byte(s.URL+"/hook/SECRETPATH\n"), 0o600))
	ts.Check(os.WriteFile(path+".secret", []byte(hookSecret+"\n"), 0o600))
	w.hooks[args[0]] = h
}

// hooked FILE REGEXP: the receiver was, or will be, told so; rightly signed.
func hookedCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "hooked FILE REGEXP")
	h, expr, late := worldOf(ts).hooks[args[0]], regexp.MustCompile(args[1]), time.After(time.Minute)
	for {
		h.mu.Lock()
		bodies, wrong, more := h.bodies, h.wrong, h.more
		h.mu.Unlock()
		if len(wrong) > 0 {
			ts.Fatalf("wrongly signed: %s", wrong)
		}
		for _, b := range bodies {
			if expr.MatchString(b) {
				return
			}
		}
		select {
		case <-more:
		case <-late:
			ts.Fatalf("%s was never told %s:\n%s", args[0], args[1], bodies)
		}
	}
}
