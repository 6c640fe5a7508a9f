package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRecords(t *testing.T) {
	r, err := ParseRecord(sample(t, "record.json"))
	want := Record{ID: testFull, VolumeID: testVolume, SnapshotID: "e6a2", Name: "farshore db", Size: 1, Container: "volumebackups", Prefix: fullPrefix, Objects: 2,
		Created: time.Date(2026, 9, 21, 14, 13, 20, 0, time.UTC), DataTime: time.Date(2026, 9, 21, 14, 13, 19, 0, time.UTC), Metadata: map[string]string{"farshore_work": "w1"},
		UserID: "u1", ProjectID: "p1", Zone: "nova", Host: "r1", Status: "available"}
	if d := cmp.Diff(want, r, cmpopts.IgnoreUnexported(Record{})); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
	// What Cinder exported comes back, but for what would pin the backup (I9).
	var was, is map[string]any
	out, err := r.Encode()
	if err := errors.Join(err, json.Unmarshal(sample(t, "record.json"), &was), json.Unmarshal(out, &is)); err != nil {
		t.Fatal(err)
	}
	was["num_dependent_backups"] = 0.0
	if d := cmp.Diff(was, is); d != "" {
		t.Error(d)
	}
	// One that is made of a listing and _metadata (I13) has every field that an export has.
	made := Record{ID: "b", Size: 1, Container: "c", Prefix: "p", Objects: 3}
	if out, err = made.Encode(); err != nil {
		t.Fatal(err)
	}
	is = nil
	if err := json.Unmarshal(out, &is); err != nil {
		t.Fatal(err)
	}
	for key := range was {
		if _, there := is[key]; !there {
			t.Errorf("%s is missing in %s", key, out)
		}
	}
	if is["display_name"] != nil || is["parent_id"] != nil || is["service"] != Service || is["object_count"] != 3.0 || is["data_timestamp"] != nil {
		t.Errorf("%s", out)
	}
	if again, err := ParseRecord(out); err != nil || cmp.Diff(made, again, cmpopts.IgnoreUnexported(Record{})) != "" {
		t.Errorf("%v %s", err, cmp.Diff(made, again, cmpopts.IgnoreUnexported(Record{})))
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	good := string(sample(t, "record.json"))
	for name, c := range map[string]struct{ from, to, says string }{
		"no id":         {`"id": `, `"i": `, "id is missing"},
		"empty id":      {`"id": "` + testFull, `"id": "`, "id, size or object_count"},
		"no size":       {`"size": 1`, `"siz": 1`, "size is missing"},
		"negative":      {`"size": 1`, `"size": -1`, "id, size or object_count"},
		"no count":      {`"object_count"`, `"objects"`, "object_count is missing"},
		"name's type":   {`"display_name": "farshore db"`, `"display_name": 1`, "display_name is neither"},
		"time":          {`"2026-09-21T14:13:19Z"`, `"yesterday"`, `data_timestamp is "yesterday", which is no time`},
		"time's type":   {`"2026-09-21T14:13:19Z"`, `1`, `data_timestamp is neither`},
		"another's":     {`swift.SwiftBackupDriver`, `ceph.CephBackupDriver`, `service is "cinder.backup.drivers.ceph.CephBackupDriver"`},
		"metadata":      {`{"farshore_work": "w1"}`, `[]`, "metadata json"},
		"no JSON":       {good, "x", "invalid character"},
		"no object":     {good, "[]", "cannot unmarshal"},
		"null":          {good, "null", "is missing"},
		"with a number": {`"size": 1`, `"size": "1"`, "size json"},
	} {
		if !strings.Contains(good, c.from) {
			t.Fatalf("%s: %q is not in the sample", name, c.from)
		}
		r, err := ParseRecord([]byte(strings.Replace(good, c.from, c.to, 1)))
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.says) || r.ID != "" {
			t.Errorf("%s: got %v, want %s", name, err, c.says)
		}
	}
	for _, at := range []string{"2026-09-21T14:13:19Z", "2026-09-21T16:13:19+02:00", "2026-09-21T14:13:19.000000", "2026-09-21 14:13:19+00:00", "2026-09-21 14:13:19"} {
		r, err := ParseRecord([]byte(strings.Replace(good, "2026-09-21T14:13:19Z", at, 1)))
		if err != nil || !r.DataTime.Equal(time.Date(2026, 9, 21, 14, 13, 19, 0, time.UTC)) {
			t.Errorf("%s: %s, %v", at, r.DataTime, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(sample(f, "record.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		out, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRecord(out)
		// Seconds are what a record keeps of a time.
		r.Created, r.DataTime = r.Created.Truncate(time.Second), r.DataTime.Truncate(time.Second)
		if d := cmp.Diff(r, again, cmpopts.IgnoreUnexported(Record{})); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
