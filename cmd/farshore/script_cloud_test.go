package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"farshore/integration/fakecloud"
)

// watch counts the requests that reach a region, as they arrive.
func (w *world) watch(r *fakecloud.Region) {
	r.OnRequest(func(req *http.Request) {
		parts := strings.SplitN(strings.TrimPrefix(req.URL.Path, "/v1/"), "/", 3)
		container := ""
		if len(parts) > 1 {
			container = parts[1]
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.seen[r.Name()] == nil {
			w.seen[r.Name()] = map[string]int{}
		}
		w.seen[r.Name()][req.Method+" "+container]++
		if len(parts) > 2 && parts[2] != "" {
			w.seen[r.Name()][req.Method+" "+container+"/"]++
		}
		close(w.moved)
		w.moved = make(chan struct{})
	})
}

// await REGION METHOD CONTAINER/ N: until so many requests for its objects have arrived.
func awaitCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 4, "await REGION METHOD CONTAINER[/] N")
	w := worldOf(ts)
	n, err := strconv.Atoi(args[3])
	ts.Check(err)
	late := time.After(time.Minute)
	for {
		w.mu.Lock()
		got, moved := w.seen[args[0]][args[1]+" "+args[2]], w.moved
		w.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-moved:
		case <-late:
			ts.Fatalf("only %d of %d requests arrived", got, n)
		}
	}
}

// requests REGION METHOD CONTAINER[/] N: exactly so many since the last reset; requests
// reset forgets them.
func requestsCmd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(args) == 1 && args[0] == "reset" {
		clear(w.seen)
		return
	}
	want(ts, !neg && len(args) == 4, "requests REGION METHOD CONTAINER[/] N")
	if got := strconv.Itoa(w.seen[args[0]][args[1]+" "+args[2]]); got != args[3] {
		ts.Fatalf("%s got %s %s of %s, want %s; all: %v", args[0], got, args[1], args[2], args[3], w.seen[args[0]])
	}
}

// put REGION CONTAINER NAME TEXT [HEADER: VALUE…]
func putCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 4, "put REGION CONTAINER NAME TEXT [HEADER: VALUE...]")
	h := map[string]string{}
	for _, a := range args[4:] {
		k, v, _ := strings.Cut(a, ": ")
		h[k] = v
	}
	worldOf(ts).region(ts, args[0]).Put(args[1], args[2], []byte(args[3]), h)
}

// fill REGION CONTAINER N SIZE: objects o0000… of SIZE bytes.
func fillCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 4, "fill REGION CONTAINER N SIZE")
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	size, err := strconv.Atoi(args[3])
	ts.Check(err)
	r := worldOf(ts).region(ts, args[0])
	for i := range n {
		name := fmt.Sprintf("o%04d", i)
		r.Put(args[1], name, bytes.Repeat([]byte(name), size/5+1)[:size], nil)
	}
}

// has REGION CONTAINER NAME [TEXT]
func hasCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 3 || len(args) == 4, "[!] has REGION CONTAINER NAME [TEXT]")
	o, ok := worldOf(ts).region(ts, args[0]).Get(args[1], args[2])
	ok = ok && (len(args) == 3 || string(o.Bytes()) == args[3])
	if ok == neg {
		ts.Fatalf("%s:%s/%s holds %.60q", args[0], args[1], args[2], o.Bytes())
	}
}

// names REGION CONTAINER NAME…: exactly these objects are there.
func namesCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "names REGION CONTAINER NAME...")
	if got := worldOf(ts).region(ts, args[0]).Names(args[1]); !slices.Equal(got, args[2:]) {
		ts.Fatalf("%s:%s has %q, want %q", args[0], args[1], got, args[2:])
	}
}

// same REGION CONTAINER REGION CONTAINER: the same names with the same bytes.
func sameCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 4, "[!] same REGION CONTAINER REGION CONTAINER")
	a, b := worldOf(ts).region(ts, args[0]), worldOf(ts).region(ts, args[2])
	left, right := a.Names(args[1]), b.Names(args[3])
	equal := slices.Equal(left, right) && len(left) > 0
	for i := 0; equal && i < len(left); i++ {
		x, _ := a.Get(args[1], left[i])
		y, _ := b.Get(args[3], left[i])
		equal = bytes.Equal(x.Bytes(), y.Bytes()) && x.ETag == y.ETag && x.ContentType == y.ContentType
	}
	if equal == neg {
		ts.Fatalf("%d objects on one side, %d on the other; equal: %v", len(left), len(right), equal)
	}
}

// delete REGION CONTAINER NAME…; without a name the container.
func deleteCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "delete REGION CONTAINER [NAME...]")
	r := worldOf(ts).region(ts, args[0])
	if len(args) == 2 {
		r.DeleteContainer(args[1])
	}
	for _, n := range args[2:] {
		if !r.Delete(args[1], n) {
			ts.Fatalf("no %s to delete", n)
		}
	}
}

// container REGION NAME: there is one; container make REGION NAME makes it.
func containerCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 3 && args[0] == "make" {
		worldOf(ts).region(ts, args[1]).CreateContainer(args[2])
		return
	}
	want(ts, len(args) == 2, "[!] container REGION NAME")
	if slices.Contains(worldOf(ts).region(ts, args[0]).ContainerNames(), args[1]) == neg {
		ts.Fatalf("region %s has containers %q", args[0], worldOf(ts).region(ts, args[0]).ContainerNames())
	}
}

// header REGION CONTAINER "HEADER: VALUE": POST it to the container.
func headerCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 3, "header REGION CONTAINER 'HEADER: VALUE'")
	r := worldOf(ts).region(ts, args[0])
	req, err := http.NewRequest(http.MethodPost, r.StorageURL()+"/"+args[1], nil)
	ts.Check(err)
	k, v, _ := strings.Cut(args[2], ": ")
	req.Header.Set(k, v)
	req.Header.Set("X-Auth-Token", r.Token(fakecloud.User, fakecloud.Project))
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		ts.Fatalf("POST answered %s", resp.Status)
	}
}

// fault REGION METHOD CONTAINER status=N|stall|lose|delay=D [times=N] [name=NAME]
func faultCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 4, "fault REGION METHOD CONTAINER status=N|stall|lose|delay=D [times=N] [name=NAME]")
	f := fakecloud.Fault{Name: strings.Join(args, " "), Match: fakecloud.Match{Method: args[1], Container: args[2]}}
	kind, value, _ := strings.Cut(args[3], "=")
	switch kind {
	case "status":
		n, err := strconv.Atoi(value)
		ts.Check(err)
		f.Do = fakecloud.Status(n, nil)
	case "stall":
		f.Do = fakecloud.Stall()
	case "lose":
		f.Do = fakecloud.LoseReply()
	case "delay":
		d, err := time.ParseDuration(value)
		ts.Check(err)
		f.Do = fakecloud.Delay(d)
	default:
		ts.Fatalf("no fault %q", args[3])
	}
	for _, a := range args[4:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "times":
			n, err := strconv.Atoi(v)
			ts.Check(err)
			f.Match.Times = n
		case "name":
			f.Match.Name = v
		default:
			ts.Fatalf("no option %q", a)
		}
	}
	worldOf(ts).region(ts, args[0]).AddFault(f)
}

// mend REGION: no more faults; each must have struck.
func mendCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 1, "mend REGION")
	r := worldOf(ts).region(ts, args[0])
	ts.Check(r.VerifyFaultsUsed())
	r.ClearFaults()
}

// region stop|start NAME [keystone]
func regionCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "region stop|start NAME [keystone]")
	r := worldOf(ts).region(ts, args[1])
	do := map[string]func() error{"stop": r.Stop, "start": r.Start, "stop keystone": r.StopKeystone, "start keystone": r.StartKeystone}
	ts.Check(do[strings.Join(append(args[:1:1], args[2:]...), " ")]())
}

var volatile = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`"(began|ended)": "[^"]+"`), `"$1": "TIME"`},
	{regexp.MustCompile(`"seconds": [0-9.e-]+`), `"seconds": 0`},
	{regexp.MustCompile(`"pid": [0-9]+`), `"pid": 0`},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), `HOST`},
	{regexp.MustCompile(`tx[0-9a-f]{21}-[0-9a-f]{10}[A-Za-z0-9_-]*`), `TX`},
	{regexp.MustCompile(`"release_brake": "[0-9a-f]+"`), `"release_brake": "TOKEN"`},
	{regexp.MustCompile(`--release-brake [0-9a-f]+`), `--release-brake TOKEN`},
}

// json FILE: the last output is one JSON document; write it to FILE without times and
// the like, for cmp.
func jsonCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 1, "json FILE")
	text := ts.ReadFile("stdout")
	d := json.NewDecoder(strings.NewReader(text))
	var doc map[string]any
	ts.Check(d.Decode(&doc))
	if d.More() {
		ts.Fatalf("more than one document on stdout")
	}
	for _, v := range volatile {
		text = v.find.ReplaceAllString(text, v.put)
	}
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "WORK")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// corrupt REGION CONTAINER NAME: damage its bytes at rest.
func corruptCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 3, "corrupt REGION CONTAINER NAME")
	if !worldOf(ts).region(ts, args[0]).Corrupt(args[1], args[2]) {
		ts.Fatalf("nothing to damage")
	}
}
