package main

import (
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"farshore/integration/fakecloud"
)

// block REGION placement per_user|single_user|other: where backups go from now on.
// block REGION rule RULE [ROLE]: who may what RULE guards; no role: the default again.
// block REGION quota NAME N: a limit of the project.
// block REGION volume NAME SIZE: a new volume.
// block REGION id NAME VAR: the variable VAR gets the volume's id.
// block REGION used NAME: the volume is attached and detached.
// block REGION has [KIND NAME]...: exactly these volumes, snapshots and backups are there.
func blockCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "block REGION placement|rule|quota|volume|id|used|has ...")
	r := worldOf(ts).region(ts, args[0])
	switch rest := args[2:]; {
	case args[1] == "placement" && len(rest) == 1:
		r.SetPlacement(fakecloud.BlockPlacement(rest[0]))
	case args[1] == "rule" && len(rest) == 1:
		r.SetBlockRule(rest[0], "")
	case args[1] == "rule" && len(rest) == 2:
		r.SetBlockRule(rest[0], rest[1])
	case args[1] == "quota" && len(rest) == 2:
		n, err := strconv.Atoi(rest[1])
		ts.Check(err)
		r.SetQuota(fakecloud.Project, rest[0], n)
	case args[1] == "volume" && len(rest) == 2:
		n, err := strconv.Atoi(rest[1])
		ts.Check(err)
		r.AddVolume(rest[0], n, "", nil)
	case args[1] == "id" && len(rest) == 2:
		for _, x := range r.BlockResources() {
			if x.Kind == "volume" && x.Name == rest[0] {
				ts.Setenv(rest[1], x.ID)
			}
		}
	case args[1] == "used" && len(rest) == 1:
		for _, x := range r.BlockResources() {
			if x.Kind == "volume" && x.Name == rest[0] {
				v := r.Volume(x.ID)
				v.Attach("server", "/dev/vdb")
				v.Detach()
			}
		}
	case args[1] == "has" && len(rest)%2 == 0:
		var got []string
		for _, x := range r.BlockResources() {
			got = append(got, x.Kind, x.Name)
		}
		if !slices.Equal(got, rest) {
			ts.Fatalf("%s has %q, want %q", args[0], got, rest)
		}
	default:
		ts.Fatalf("block: what is %q?", args[1:])
	}
}
