package main

import (
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// take NAME REGEXP: the first submatch in the last output becomes $NAME.
func takeCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "take NAME REGEXP")
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("%q matches nothing", args[1])
	}
	ts.Setenv(args[0], m[1])
}
