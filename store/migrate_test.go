package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// Every released format's file has to open for ever (R9). With -update the current
// one is written, which must not happen again once it is released.
func TestReleasedLedgersOpen(t *testing.T) {
	if *update {
		file := filepath.Join("testdata", fmt.Sprintf("ledger-v%d.db", schemaVersion))
		path := tempPath(t)
		sample(t, path, 20)
		if _, _, err := Compact(context.Background(), path, Options{}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h := newest([2]header{parseHeader(data[pageHeader:]), parseHeader(data[pageBytes+pageHeader:])})
		if err := os.WriteFile(file, data[:h.high*pageBytes], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for schema := range uint32(schemaVersion) {
		t.Run(fmt.Sprint(schema+1), func(t *testing.T) { opensReleased(t, schema+1) })
	}
}

// opensReleased brings a copy of a released ledger up to date; its dump is the
// golden one, but for the format's number what the release itself dumped.
func opensReleased(t *testing.T, schema uint32) {
	data, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("ledger-v%d.db", schema)))
	if err != nil {
		t.Fatal(err)
	}
	path, bak := tempPath(t), fmt.Sprintf("v%d.bak", schema)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if schema < schemaVersion {
		if _, err := Open(path, Options{ReadOnly: true}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("read-only, it would have to be migrated: %v", err)
		}
		if err := Check(context.Background(), path, nil); err == nil || !strings.Contains(err.Error(), "is older") {
			t.Errorf("check before the migration: %v", err)
		}
	} else {
		mustCheck(t, path)
	}
	l := open(t, path, Options{})
	if info, err := os.Stat(path + "." + bak); (err == nil) != (schema < schemaVersion) || err == nil && info.Size() != int64(len(data)) {
		t.Errorf("copy: %v, %v", info, err)
	}
	var out bytes.Buffer
	if err := l.Dump(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	golden(t, fmt.Sprintf("ledger-v%d.jsonl", schema), out.Bytes())
	r := route(t, l, paris("a"), lyon("a"))
	if _, h, err := l.Chunks(r.ID, "big"); err != nil || string(h.MD5) != "md5 state" || string(h.SHA256) != "sha256 state" {
		t.Errorf("digest states: %+v, %v", h, err)
	}
	l.Update(r.From, "new", set(testObject("new", r.ID)))
	l.UpdateSeries(r.From, "new", setSeries(testSeries("new", 3, r.ID)))
	l.SetNeeds(r.ID, "new", []Need{NeedOf("c", "n")})
	if err := errors.Join(l.AddCompanion(r.From, Companion{Container: "new"}), l.PutProperties(r.ID, [8]byte{1}, 1)); err != nil {
		t.Error(err)
	}
	ctx := context.Background()
	putPoint(t, l, testPoint(9, "v", "lyon"))
	if err := errors.Join(l.PutWork(ctx, Work{ID: "new", Kind: "k", Region: "r"}), l.PutDrill(ctx, Drill{ID: "new"}), l.ForgetObjects(ctx, r.From, []string{"new"})); err != nil {
		t.Error(err)
	}
	closeAndCheck(t, l)
}

// steps of a made-up migration from schema to schema + 1: the notes get a "!", three at a time.
func exclaim(fail *int) []migration {
	return []migration{{from: schemaVersion, step: func(tx *bbolt.Tx, cursor []byte) ([]byte, error) {
		if *fail--; *fail == 0 {
			return nil, errCrash
		}
		b := tx.Bucket([]byte(bucketNotes))
		var keys [][]byte
		c := b.Cursor()
		for k, _ := c.Seek(cursor); k != nil && len(keys) < 4; k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for i, k := range keys {
			if i == 3 {
				return k, nil
			}
			v, err := decodeNote(k, b.Get(k))
			if err != nil {
				return nil, err
			}
			if err := b.Put(k, appendNote(nil, k, append(v, '!'))); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}}}
}

func TestMigrationKeepsACopyAndGoesOnWhereItWas(t *testing.T) {
	path := tempPath(t)
	l := open(t, path, Options{})
	for i := range 10 {
		if err := l.PutNote(fmt.Sprintf("n%d", i), []byte{byte('a' + i)}); err != nil {
			t.Fatal(err)
		}
	}
	closeAndCheck(t, l)
	never := 0
	if _, err := openSchema(path, Options{ReadOnly: true}, schemaVersion+1, exclaim(&never)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	if _, err := openSchema(path, Options{}, schemaVersion+1, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("no way from format %d to %d", schemaVersion, schemaVersion+1)) {
		t.Errorf("no step: %v", err)
	}
	// It dies in its third step, is opened again by the old version, dies in its second,
	// and then gets to its end.
	for _, at := range []int{3, 2} {
		if _, err := openSchema(path, Options{}, schemaVersion+1, exclaim(&at)); !errors.Is(err, errCrash) {
			t.Fatalf("killed migration: %v", err)
		}
	}
	l, err := openSchema(path, Options{}, schemaVersion+1, exclaim(&never))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		v, _, err := l.Note(fmt.Sprintf("n%d", i))
		if want := string([]byte{byte('a' + i), '!'}); string(v) != want || err != nil {
			t.Errorf("note %d: %q, %v, want %q: each exactly once", i, v, err, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("the old version: %v", err)
	}
	bak := fmt.Sprintf("%s.v%d.bak", path, schemaVersion)
	if info, err := os.Stat(bak); err != nil || info.Mode() != 0o600 {
		t.Fatalf("copy: %v, %v", info, err)
	}
	mustCheck(t, bak)
	l = open(t, bak, Options{ReadOnly: true})
	for i := range 10 { // the resumed migrations must not have copied what was half changed
		if v, _, err := l.Note(fmt.Sprintf("n%d", i)); string(v) != string(rune('a'+i)) || err != nil {
			t.Errorf("the copy is not the untouched one: note %d is %q, %v", i, v, err)
		}
	}
	_ = l.Close()
}
