package main

import (
	"os/exec"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// filesize NAME BYTES|unlimited: from now on the job can write no file beyond so many
// bytes: with 0 nothing at all, which is what a full disk does to it.
func filesizeCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "filesize NAME BYTES|unlimited")
	pid := strconv.Itoa(worldOf(ts).jobs[args[0]].cmd.Process.Pid)
	out, err := exec.Command("prlimit", "--pid", pid, "--fsize="+args[1]+":unlimited").CombinedOutput()
	if err != nil {
		ts.Fatalf("prlimit: %v: %s", err, out)
	}
}
