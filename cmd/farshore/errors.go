package main

import (
	"errors"
	"fmt"
	"strings"

	"farshore/policies"
	"farshore/replicator"
	"farshore/store"
	"farshore/transport"
)

// jsonError is an error in JSON. Op, Region and Item are empty where an error has none.
type jsonError struct {
	Op       string        `json:"op"`
	Region   string        `json:"region"`
	Item     string        `json:"item"` // container, container/name, or a file
	Cause    string        `json:"cause"`
	Hint     string        `json:"hint"`
	Problems []jsonProblem `json:"problems,omitempty"` // of a policy file
}

type jsonProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// hintError adds what to do next to an error that does not say it.
type hintError struct {
	op, item string
	err      error
	hint     string
}

func (e *hintError) Error() string {
	s := e.err.Error()
	if e.item != "" {
		s = e.item + ": " + s
	}
	if e.op != "" {
		s = strings.TrimSuffix(e.op+" "+s, " ")
	}
	return s
}

func (e *hintError) Unwrap() error { return e.err }

// describe takes an error apart: operation, region, item, cause, hint (promise 10).
func describe(err error) *jsonError {
	var (
		region  *transport.Error
		ledger  *store.Error
		own     *usageError
		job     *replicator.UsageError
		file    policies.Errors
		hinted  *hintError
		held    *heldError
		toFind  *brakeError
		details jsonError
	)
	switch {
	case errors.As(err, &held):
		return &jsonError{Op: "open ledger", Item: held.path, Cause: held.cause(), Hint: held.hint()}
	case errors.As(err, &toFind):
		return &jsonError{Op: "sync", Region: toFind.finding.Region, Item: toFind.finding.Container, Cause: toFind.finding.Cause, Hint: toFind.finding.Hint}
	case errors.As(err, &file):
		details = jsonError{Op: "read policy file", Item: file[0].File, Cause: fmt.Sprintf("%d problems", len(file)), Hint: "docs/policy.md has every key"}
		if len(file) == 1 {
			details.Cause = "1 problem"
		}
		for _, p := range file {
			details.Problems = append(details.Problems, jsonProblem(p))
		}
		if errors.As(err, &hinted) {
			details.Hint = hinted.hint
		}
		return &details
	case errors.As(err, &hinted):
		return &jsonError{Op: hinted.op, Item: hinted.item, Cause: hinted.err.Error(), Hint: hinted.hint}
	case errors.As(err, &region):
		details = jsonError{Op: region.Op, Region: region.Region, Item: region.Container, Hint: transport.HintOf(err)}
		if region.Name != "" {
			details.Item += "/" + region.Name
		}
		if details.Cause = region.Class.String(); region.Err != nil {
			details.Cause = region.Err.Error()
		}
		return &details
	case errors.As(err, &ledger):
		bare := *ledger
		bare.Hint = ""
		return &jsonError{Op: "use ledger", Item: ledger.Path, Cause: strings.TrimPrefix(bare.Error(), "ledger "+ledger.Path+": "), Hint: ledger.Hint}
	case errors.As(err, &own):
		return &jsonError{Op: "read the command line", Cause: own.msg, Hint: own.hint}
	case errors.As(err, &job):
		return &jsonError{Op: "check the request", Cause: job.Msg, Hint: job.Hint}
	}
	return &jsonError{Cause: err.Error()}
}

// textOf is an error for people: farshore: op item (region X): cause, then the hint.
func textOf(err error) string {
	var file policies.Errors
	if errors.As(err, &file) {
		noun := "problems"
		if len(file) == 1 {
			noun = "problem"
		}
		text := fmt.Sprintf("farshore: the policy file has %d %s:\n  %s\n", len(file), noun, strings.ReplaceAll(file.Error(), "\n", "\n  "))
		if hinted := (*hintError)(nil); errors.As(err, &hinted) {
			text += "  hint: " + hinted.hint + "\n"
		}
		return text
	}
	text, hint := apart(err)
	out := "farshore: " + text + "\n"
	if hint != "" {
		out += "  hint: " + hint + "\n"
	}
	return out
}

// apart is what an error says and what to do next, each by itself.
func apart(err error) (text, hint string) {
	text = err.Error()
	var ledger *store.Error
	if errors.As(err, &ledger) && ledger.Hint != "" {
		text = strings.Replace(text, "; "+ledger.Hint, "", 1)
	}
	return text, describe(err).Hint
}
