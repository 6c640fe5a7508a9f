package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"farshore/policies"
	"farshore/replicator/control"
)

// SetLimit implements control.Handler.
func (s *session) SetLimit(l control.Limit) error {
	s.mu.Lock()
	daemon := s.daemon
	s.mu.Unlock()
	x := &s.guests
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.host == nil && daemon:
		return notYet()
	case x.host == nil:
		return errors.New("this process has one limit for all it sends: only farshore run has others that can be changed")
	}
	if err := x.host.knows(l); err != nil {
		return err
	}
	x.limits = slices.DeleteFunc(x.limits, func(o control.Limit) bool { return o.Policy == l.Policy && o.Pair == l.Pair })
	if l.Rate >= 0 {
		x.limits = append(x.limits, l)
	}
	x.host.limit(l)
	return nil
}

// changed gives the limits that were changed, but for those of what the policy file does
// not have now: they are in force when it comes back.
func (x *guests) changed() []control.Limit {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.limits), func(l control.Limit) bool { return x.host != nil && x.host.knows(l) != nil })
}

// knows refuses a limit of what the policy file does not have.
func (h *hostAtWork) knows(l control.Limit) error {
	if l.Policy != "" {
		if names := policyNames(h.file); !slices.Contains(names, l.Policy) {
			return fmt.Errorf("no policy %q (there are: %s)", l.Policy, strings.Join(names, ", "))
		}
		return nil
	}
	var pairs []string
	for _, p := range h.file.Policies {
		for _, to := range p.To {
			pairs = append(pairs, policies.PairKey(p.From, to))
		}
	}
	if !slices.Contains(pairs, l.Pair) {
		return fmt.Errorf("nothing goes by %q (there are: %s)", l.Pair, strings.Join(slices.Compact(slices.Sorted(slices.Values(pairs))), ", "))
	}
	return nil
}

// limit has the engine keep a limit.
func (h *hostAtWork) limit(l control.Limit) {
	if l.Policy == "" {
		h.engine.SetPairLimit(l.Pair, l.Rate)
		return
	}
	for _, p := range h.file.Policies {
		if p.Name == l.Policy {
			h.engine.SetPolicyLimit(l.Policy, l.Rate, int64(p.Limit))
		}
	}
}

// limitLine is a limit that was changed, for people.
func limitLine(l control.Limit) string {
	of := "policy " + l.Policy
	if l.Policy == "" {
		of = strings.ReplaceAll(l.Pair, "->", " → ")
	}
	return "limit of " + of + ", changed: " + policies.Rate(l.Rate).String()
}
