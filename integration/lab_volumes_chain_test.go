//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"farshore/integration/lab"
)

// TestLabSyntheticFull lets a chain of a full backup and eight increments become one full backup in the
// destination: no byte of it crosses regions, and the volume that a restore makes is the same before it, after
// it, and when the old chain is gone.
func TestLabSyntheticFull(t *testing.T) {
	long(t)
	const snapshots = "    snapshot: {every: 1h}\n"
	v := newVolumes(t, snapshots+"    max_chain: {source: 30, destination: 30}\n")
	v.write(false, 0, 1, 2, 3, 100, 512, 1023)
	var point string
	var sent int64
	for i := range 9 {
		if i > 0 {
			v.write(i%3 == 0, 2, 100)
			v.write(i%3 != 0, int64(200+i), 1023)
		}
		x := v.ask(0, "sync", "--snapshot-now").Result.Policies[0].Points[0]
		if x.Chain != i+1 || x.Regions[0].State != "landed" {
			t.Fatalf("pass %d: %+v", i, x)
		}
		point, sent = x.Point, sent+x.Bytes
	}
	want := v.sum("one", v.volume)
	restored := func(when string, backups int) {
		t.Helper()
		if got := len(v.backups(v.two)); got != backups {
			t.Errorf("%s: %d backups in region two, want %d", when, got, backups)
		}
		sum, r := v.restored(point, "--proof", "blocks", "--name", when)
		if sum != want || r.Proof == nil || !r.Proof.OK {
			t.Errorf("%s: SHA-256 %s restored, %s backed up; proof %+v", when, sum, want, r.Proof)
		}
		t.Logf("%s: restored in %.1f s", when, r.Rto_seconds)
	}
	restored("of nine backups", 9)

	// Past the bound: a full backup of what is there.
	v.says(snapshots + "    max_chain: {source: 30, destination: 8}\n")
	here, there := mark(t, swiftLog(v.lab, "one")), logMark(t, v.lab)
	began := time.Now()
	a := v.ask(0, "sync")
	took := time.Since(began)
	r := a.Result.Policies[0].Retention
	if r == nil || r.Synthesized != 1 || r.Failed != 0 || r.Server_side_copied_bytes == 0 {
		t.Fatalf("no synthetic full: %+v", r)
	}
	_, read := v.moved("one", "GET", here)
	in, _ := v.moved("two", "PUT", there)
	t.Logf("a chain of %d bytes became a synthetic full of %d in %.1f s; region one sent farshore %d bytes, region two got %d from it: lists and descriptions", sent, r.Server_side_copied_bytes, took.Seconds(), read, in)
	if read != 0 {
		t.Errorf("%d bytes were read from region one", read)
	}
	if in > 256<<10 {
		t.Errorf("%d bytes were sent to region two", in)
	}
	restored("of the synthetic full", 9)

	// And without the chain that it was made of.
	v.says(snapshots + "    max_chain: {source: 30, destination: 8}\n    keep: {last: 1}\n")
	if r := v.ask(0, "sync").Result.Policies[0].Retention; r == nil || r.Deleted != 8 || r.Failed != 0 {
		t.Errorf("the old chain: %+v", r)
	}
	restored("with the chain gone", 1)
	if got := len(v.backups(v.one)); got != 9 {
		t.Errorf("%d backups in region one, want all 9", got)
	}
	v.nothingLeft(append(v.backups(v.one), v.backups(v.two)...)...)
	v.checkLedger()
}

// mark is where a log ends now.
func mark(t testing.TB, file string) int64 {
	t.Helper()
	i, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}

// TestLabTokenTooShort has tokens of 120 s: a backup that may take longer is warned of, and when its token has ended under
// it, that is what is said; one that is known to take longer is not begun.
func TestLabTokenTooShort(t *testing.T) {
	long(t)
	const life = 120 * time.Second
	v := newVolumes(t, "    snapshot: {every: 1h}\n")
	v.write(false, 0)
	of := func(name string, gib int) (id, policy string) {
		id = v.one.Create(t, lab.Volumes, map[string]any{"size": gib, "name": name})
		return id, fmt.Sprintf("  - {name: %s, from: one, to: [two], volumes: {ids: [%s]}, snapshot: {every: 1h}}\n", name, id)
	}
	slow, slowPolicy := of("slow", 4) // 30 s a GiB are assumed
	huge, hugePolicy := of("huge", 100)
	v.says("    snapshot: {every: 1h}\n", slowPolicy, hugePolicy)
	v.lab.TokenLife(t, life)
	bare := func(volume string) {
		t.Helper()
		for _, kind := range []string{lab.Snapshots, lab.Backups} {
			if got := v.of(kind, volume); len(got) != 0 {
				t.Errorf("%s of volume %s: %v", kind, volume, got)
			}
		}
	}
	finding := func(a volumeAnswer, kind string) (cause, hint, level string) {
		t.Helper()
		for _, f := range a.Result.Policies[0].Findings {
			if f.Kind == kind {
				return f.Cause, f.Hint, f.Level
			}
		}
		t.Fatalf("no finding %s: %+v", kind, a.Result.Policies[0].Findings)
		return "", "", ""
	}

	if _, err := binary(); err != nil { // its compilation is no part of the wait below
		t.Fatal(err)
	}
	answer := make(chan output, 1)
	go func() { answer <- v.run("sync", "slow", "-f", v.policy) }()
	for end := time.Now().Add(5 * time.Minute); len(v.of(lab.Backups, slow)) == 0; time.Sleep(200 * time.Millisecond) {
		select {
		case o := <-answer:
			t.Fatalf("sync ended before a backup was begun: exit %d\n%s\n%s", o.Exit, o.Stdout, o.Stderr)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("no backup was begun")
		}
	}
	v.lab.FreezeRegion(t, "one", lab.Backup)
	time.Sleep(life + 2*time.Second) // by Keystone's own clock
	v.lab.ThawRegion(t, "one", lab.Backup)
	o := <-answer
	var a volumeAnswer
	if err := json.Unmarshal([]byte(o.Stdout), &a); err != nil || o.Exit != 3 {
		t.Fatalf("sync: exit %d (%v)\n%s\n%s", o.Exit, err, o.Stdout, o.Stderr)
	}
	cause, hint, level := finding(a, "token-life")
	t.Logf("beforehand: %s → %s", cause, hint)
	if level != "warn" || !strings.Contains(cause, "about 2m0s") || !strings.Contains(hint, "[token] expiration") {
		t.Errorf("the warning: %s %s → %s", level, cause, hint)
	}
	cause, hint, _ = finding(a, "not-shipped")
	t.Logf("afterwards: %s → %s", cause, hint)
	if !strings.Contains(cause, "ended in error") || !strings.Contains(hint, "the token that it was started with ended at") {
		t.Errorf("the error: %s → %s", cause, hint)
	}
	bare(slow)

	// A backup whose token lasted tells how long others take. On a busy machine one of 1 GiB may need more than two minutes.
	v.lab.TokenLife(t, 24*time.Hour)
	v.ask(0, "sync", "vols")
	v.lab.TokenLife(t, life)
	cause, hint, level = finding(v.ask(3, "sync", "huge"), "token-life")
	t.Logf("refused: %s → %s", cause, hint)
	if level != "error" || !strings.Contains(cause, "nothing was begun") {
		t.Errorf("the refusal: %s %s → %s", level, cause, hint)
	}
	bare(huge)
	v.nothingLeft(append(v.backups(v.one), slow, huge)...)
}

// of are the ids of region one's snapshots or backups of a volume.
func (v *volumes) of(kind, volume string) (ids []string) {
	v.t.Helper()
	var doc map[string][]struct {
		ID     string
		Volume string `json:"volume_id"`
	}
	if err := json.Unmarshal(v.one.Do(v.t, "GET", "/"+kind+"/detail", nil).Want(v.t, 200).Body, &doc); err != nil {
		v.t.Fatal(err)
	}
	for _, x := range doc[kind] {
		if x.Volume == volume {
			ids = append(ids, x.ID)
		}
	}
	slices.Sort(ids)
	return ids
}
