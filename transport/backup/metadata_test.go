package backup

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The files of testdata have the form of Cinder's own: Python's json.dumps, in the calls
// that its driver makes.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readSample(t testing.TB, name string) Metadata {
	t.Helper()
	m, err := ReadMetadata(iotest.OneByteReader(bytes.NewReader(sample(t, name))))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func block(n byte) []byte { return bytes.Repeat([]byte{n}, 32768) }

func TestMetadataOfAFullBackup(t *testing.T) {
	m := readSample(t, "full_metadata")
	first := slices.Concat(block(1), block(0), block(0), block(2), block(0), block(0), block(0), block(0))
	want := Metadata{Version: "1.0.0", BackupID: testFull, VolumeID: testVolume, Name: "farshore db é😀", CreatedAt: "2026-09-21 14:13:20+00:00", Prefix: fullPrefix,
		Extents: []Extent{{Part: 1, Length: 262144, Compression: "zlib", MD5: md5.Sum(first)}, {Part: 2, Offset: 262144, Length: 262144, Compression: "zlib", MD5: md5.Sum(make([]byte, 262144))}},
		VolumeMeta: VolumeMeta{Version: 2, Size: 1, TypeID: "1b7a4a1e-6e8e-4a68-9c63-9b6f5f0f7c11", Zone: "nova", Name: "db é😀", Status: "available", Bootable: true,
			Metadata: map[string]string{"dr": "gold", "näme": "v\"\\\n\x01\x7f"}, Image: map[string]string{"os_distro": "debian", "min_ram": "0"}}}
	if d := cmp.Diff(want, m, cmpopts.IgnoreUnexported(Metadata{}), cmpopts.IgnoreFields(VolumeMeta{}, "Raw")); d != "" {
		t.Error(d)
	}
	if got, want := slices.Collect(m.Names("p")), []string{"p-00001", "p-00002", "p_metadata"}; !slices.Equal(got, want) {
		t.Errorf("names %v", got)
	}
	for range m.Names("p") {
		break // must be possible
	}
	if m.Data() != 524288 || m.Extents[1].End() != 524288 || m.Extents[1].Object(m.Prefix) != fullPrefix+"-00002" {
		t.Errorf("%d bytes, %+v", m.Data(), m.Extents[1])
	}
	for part, want := range map[Part]bool{1: true, 2: true, 3: false, MetadataPart: true, HashesPart: false} {
		if m.Has(part) != want {
			t.Errorf("part %d: %v", part, m.Has(part))
		}
	}
}

// What Cinder wrote comes back byte by byte, null and "" told apart; what is changed
// changes alone.
func TestMetadataIsWrittenAsCinderDoes(t *testing.T) {
	for _, name := range []string{"full_metadata", "increment_metadata", "unchanged_metadata"} {
		m := readSample(t, name)
		var out bytes.Buffer
		n, err := m.WriteTo(&out)
		if err != nil || n != int64(out.Len()) || out.String() != string(sample(t, name)) {
			t.Errorf("%s: %d of %d, %v\n%s", name, n, out.Len(), err, cmp.Diff(string(sample(t, name)), out.String()))
		}
	}
	m := readSample(t, "increment_metadata")
	m.BackupID, m.Parent, m.Prefix = "new", "", strings.ReplaceAll(m.Prefix, testIncrement, "new")
	m.Extents = append(m.Extents, Extent{Part: 100000, Offset: 1, Length: 2, Compression: "zstd"})
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	again, err := ReadMetadata(bytes.NewReader(out.Bytes()))
	if d := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Metadata{})); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	for _, want := range []string{`"parent_id": null,`, `"backup_id": "new",`, `backup_new-100000": {`, `"backup_description": "",`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in it:\n%s", want, out.String())
		}
	}
	// One that is made of nothing, as a synthetic full may be.
	made := Metadata{Version: Version, BackupID: "b", VolumeID: "v", Name: "n", Prefix: "p"}
	out.Reset()
	if _, err := made.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"backup_description\": null,\n  \"backup_id\": \"b\",\n  \"backup_name\": \"n\",\n  \"created_at\": null,\n  \"objects\": [],\n  \"parent_id\": null,\n" +
		"  \"version\": \"1.0.0\",\n  \"volume_id\": \"v\",\n  \"volume_meta\": null\n}"
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	if _, err := made.WriteTo(errWriter{}); !errors.Is(err, errTest) {
		t.Errorf("a full disk: %v", err)
	}
}

var errTest = errors.New("test")

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, errTest }

// Fields that are not known, nested ones too, are written as they were.
func TestUnknownFieldsOfMetadataStay(t *testing.T) {
	text := strings.Replace(string(sample(t, "unchanged_metadata")), `"objects": []`, `"extra_metadata": {
    "a": [
      1,
      {
        "b": null
      },
      {},
      []
    ],
    "c": true,
    "d": 1e400
  },
  "objects": []`, 1)
	m, err := ReadMetadata(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil || out.String() != text {
		t.Errorf("%v\n%s", err, cmp.Diff(text, out.String()))
	}
}

func TestWhatIsNoMetadataIsRefusedByName(t *testing.T) {
	good := string(sample(t, "increment_metadata"))
	first := `az_nova_backup_` + testIncrement + `-00001`
	second := `az_nova_backup_` + testIncrement + `-00002`
	for name, c := range map[string]struct{ from, to, says string }{
		"version":           {`"version": "1.0.0"`, `"version": "2.0.0"`, `version is "2.0.0", "1.0.0" is known`},
		"version's type":    {`"version": "1.0.0"`, `"version": 1`, "version: is neither a text nor null"},
		"no version":        {`"version": "1.0.0"`, `"versio": "1.0.0"`, "version: is missing"},
		"no backup id":      {`"backup_id": "` + testIncrement + `"`, `"backup_id": ""`, "backup_id is empty"},
		"null volume id":    {`"volume_id": "` + testVolume + `"`, `"volume_id": null`, "volume_id is empty"},
		"no objects":        {`"objects": [`, `"objets": [`, "objects is missing"},
		"objects null":      {`"objects": [`, `"objects": null, "x": [`, "objects: not in the form of a Cinder backup: it is no list"},
		"a key twice":       {`"version": "1.0.0"`, `"version": "1.0.0", "version": "1.0.0"`, "field version is there twice"},
		"two names":         {first + `": {`, first + `": {}, "x": {`, "element 0 has 2 names"},
		"numbers fall":      {second, first, "comes after number 1"},
		"another prefix":    {second, "x-00002", `"volume_` + testVolume + `/20260922141320/x-00002" has another prefix`},
		"no number":         {first, "x", "is no data object's name"},
		"offset":            {`"offset": 32768`, `"offset": -1`, "offset is missing or negative"},
		"offset's type":     {`"offset": 32768`, `"offset": "1"`, "offset"},
		"no offset":         {`"offset": 32768`, `"off": 32768`, "offset is missing"},
		"length":            {`"length": 32768`, `"length": 0`, "length is missing or impossible"},
		"length's overflow": {`"length": 32768`, `"length": 9223372036854775807`, "length is missing or impossible"},
		"fraction":          {`"length": 32768`, `"length": 1.5`, "length"},
		"compression":       {`"compression": "zlib"`, `"compression": "lz4"`, `compression "lz4" is not known`},
		"no compression":    {`"compression": "zlib",`, ``, "compression is missing"},
		"md5":               {`"md5": "`, `"md5": "x`, "is none"},
		"md5 upper case":    {`"md5": "`, `"md5": "ABCDEF0123456789ABCDEF0123456789", "m": "`, "is none"},
		"no md5":            {`"md5": "`, `"md": "`, "md5 is missing"},
		"volume_meta":       {`"volume_meta": "{`, `"volume_meta": "`, "volume_meta: "},
		"meta's version":    {`\"version\": 2`, `\"version\": 3`, "volume_meta: its version is 3"},
		"meta's size":       {`\"size\": 1,`, `\"size\": \"1\",`, "volume_meta: size is no number"},
		"meta's name":       {`\"display_name\": `, `\"display_name\": 1, \"x\": `, "volume_meta: display_name is neither"},
		"cut":               {good[len(good)-40:], "", "EOF"},
		"more":              {good[len(good)-1:], "}{}", "something follows it"},
		"no object":         {good, "[]", "it is no object"},
		"nothing":           {good, "", "EOF"},
	} {
		find := strings.Index
		if name == "cut" || name == "more" {
			find = strings.LastIndex
		}
		at := find(good, c.from)
		if at < 0 {
			t.Fatalf("%s: %q is not in the sample", name, c.from)
		}
		m, err := ReadMetadata(strings.NewReader(good[:at] + c.to + good[at+len(c.from):]))
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.says) || !strings.HasPrefix(fmt.Sprint(err), "read _metadata: ") || m.BackupID != "" {
			t.Errorf("%s: got %v, want %s", name, err, c.says)
		}
	}
	// A connection that breaks says nothing of the format, whatever it calls that.
	for _, broken := range []error{errTest, io.ErrUnexpectedEOF} {
		_, err := ReadMetadata(io.MultiReader(strings.NewReader(good[:len(good)/2]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
			t.Errorf("broken off by %v: %v", broken, err)
		}
	}
}

// A million extents would not fit if their names were kept.
func TestMetadataOfManyExtentsTakesLittleMemory(t *testing.T) {
	const n = 100_000
	m := readSample(t, "increment_metadata")
	m.Extents = make([]Extent, n)
	for i := range m.Extents {
		m.Extents[i] = Extent{Part: Part(i + 1), Offset: int64(i) * 65536, Length: 32768, Compression: "zlib", MD5: [16]byte{byte(i)}}
	}
	r, w := io.Pipe()
	go func() {
		_, err := m.WriteTo(w)
		w.CloseWithError(err)
	}()
	before := heap()
	got, err := ReadMetadata(r)
	if err != nil || len(got.Extents) != n || got.Extents[n-1] != m.Extents[n-1] {
		t.Fatalf("%d extents, %v", len(got.Extents), err)
	}
	per := float64(heap()-before) / n
	t.Logf("%.0f bytes an extent", per)
	if per > 128 {
		t.Errorf("%.0f bytes an extent", per)
	}
	runtime.KeepAlive(got)
	runtime.KeepAlive(m) // or its end would count for less than nothing
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// FuzzReadMetadata: what is read can be written, and is the same when it is read again.
func FuzzReadMetadata(f *testing.F) {
	for _, name := range []string{"full_metadata", "increment_metadata", "unchanged_metadata"} {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadMetadata(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("it is no JSON")
		}
		var out bytes.Buffer
		if _, err := m.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		again, err := ReadMetadata(bytes.NewReader(out.Bytes()))
		if d := cmp.Diff(m, again, cmpopts.IgnoreUnexported(Metadata{}), cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
