package main

import (
	"errors"
	"testing"

	"farshore/replicator/control"
)

// A daemon that logs in to its regions serves its socket already: it says that it is not at work yet, and not
// that it is no daemon.
func TestNotYetAtWork(t *testing.T) {
	s := &session{}
	asked := map[string]func() error{
		"limit": func() error { return s.SetLimit(control.Limit{Policy: "assets", Rate: 1}) },
		"order": func() error { return s.Order(control.Order{Policy: "assets", Do: control.RunNow}) },
	}
	for what, ask := range asked {
		var no *control.Refusal
		if err := ask(); err == nil || errors.As(err, &no) {
			t.Errorf("%s of a process that works once: %v", what, err)
		}
	}
	s.lasts()
	for what, ask := range asked {
		var no *control.Refusal
		if err := ask(); !errors.As(err, &no) || no.Hint != "run the command again in a moment" {
			t.Errorf("%s of a daemon that begins: %v", what, err)
		}
	}
}
