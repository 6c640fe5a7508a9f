package fakecloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// blockRig is two regions with small volumes (a GiB of 1 MiB, blocks of 4 KiB,
// objects of 64 KiB) and a client of their Cinders.
type blockRig struct {
	t     *testing.T
	cloud *Cloud
	clock *fakeClock
	one   *blockSide
	two   *blockSide
}

type blockSide struct {
	t     *testing.T
	r     *Region
	token string
	micro string
}

// jmap is a decoded JSON object.
type jmap map[string]any

func (m jmap) at(keys ...string) any {
	var v any = map[string]any(m)
	for _, k := range keys {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = o[k]
	}
	return v
}

func (m jmap) str(keys ...string) string { s, _ := m.at(keys...).(string); return s }

func newBlockRig(t *testing.T, change func(*BlockOptions)) *blockRig {
	t.Helper()
	clock := newClock()
	o := BlockOptions{GiB: 1 << 20, BlockSize: 4096, ObjectSize: 64 << 10}
	if change != nil {
		change(&o)
	}
	c, err := Start(Options{SharedKeystone: true, Clock: clock.Now, Regions: []RegionOptions{{Name: "one", Block: o}, {Name: "two", Block: o}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &blockRig{t: t, cloud: c, clock: clock}
	side := func(name string) *blockSide {
		r := c.Region(name)
		return &blockSide{t: t, r: r, token: r.Token(User, Project), micro: "3.70"}
	}
	g.one, g.two = side("one"), side("two")
	return g
}

func (s *blockSide) as(user, project string) *blockSide {
	c := *s
	c.token = s.r.Token(user, project)
	return &c
}

// do sends a request; the path follows the project, a body is marshalled.
func (s *blockSide) do(method, path string, body any) (int, jmap) {
	s.t.Helper()
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.r.VolumeURL()+path, rd)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", s.token)
	req.Header.Set("OpenStack-API-Version", "volume "+s.micro)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var m jmap
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &m); err != nil {
			s.t.Fatalf("%s %s: %d %q: %v", method, path, resp.StatusCode, raw, err)
		}
	}
	return resp.StatusCode, m
}

func (s *blockSide) must(code int, method, path string, body any) jmap {
	s.t.Helper()
	got, m := s.do(method, path, body)
	if got != code {
		s.t.Fatalf("%s %s: status %d, want %d: %v", method, path, got, code, m)
	}
	return m
}

// refused wants an error whose words contain part.
func (s *blockSide) refused(code int, part, method, path string, body any) {
	s.t.Helper()
	m := s.must(code, method, path, body)
	if words := m.str(faultName(code), "message"); !strings.Contains(words, part) {
		s.t.Errorf("%s %s: %q does not say %q", method, path, words, part)
	}
}

// volume makes a volume of that many GiB and gives its handle.
func (s *blockSide) volume(size int) *BlockVolume {
	s.t.Helper()
	m := s.must(202, "POST", "/volumes", jmap{"volume": jmap{"name": "v", "size": size}})
	return s.r.Volume(m.str("volume", "id"))
}

func (s *blockSide) snap(v *BlockVolume) string {
	s.t.Helper()
	return s.must(202, "POST", "/snapshots", jmap{"snapshot": jmap{"name": "s", "volume_id": v.ID()}}).str("snapshot", "id")
}

// backup backs a snapshot up, which has to come out well.
func (s *blockSide) backup(v *BlockVolume, snap string, incremental bool) string {
	s.t.Helper()
	id := s.must(202, "POST", "/backups", jmap{"backup": jmap{"volume_id": v.ID(), "snapshot_id": snap, "incremental": incremental}}).str("backup", "id")
	if m := s.get("backups", id); m.str("status") != stAvailable {
		s.t.Fatalf("backup: %v", m)
	}
	return id
}

// get shows a thing of a collection.
func (s *blockSide) get(kind, id string) jmap {
	s.t.Helper()
	m := s.must(200, "GET", "/"+kind+"/"+id, nil)
	inner, _ := m[strings.TrimSuffix(kind, "s")].(map[string]any)
	return inner
}

// prefix is where a backup's objects lie.
func (s *blockSide) prefix(backup string) string {
	for _, b := range s.r.BlockResources() {
		if b.ID == backup {
			return b.Prefix
		}
	}
	return ""
}

// carry copies the objects of a backup to another region, and imports its record
// there as an admin.
func (s *blockSide) carry(to *blockSide, backup string) {
	s.t.Helper()
	for _, n := range s.r.Names("volumebackups") {
		if strings.HasPrefix(n, s.prefix(backup)) && !strings.HasSuffix(n, "_sha256file") {
			o, _ := s.r.Get("volumebackups", n)
			to.r.Put("volumebackups", n, o.Bytes(), nil)
		}
	}
	rec := s.as(AdminUser, Project).must(200, "GET", "/backups/"+backup+"/export_record", nil)
	to.as(AdminUser, Project).must(201, "POST", "/backups/import_record", rec)
	if st := to.get("backups", backup).str("status"); st != stAvailable {
		s.t.Fatalf("imported backup is %s", st)
	}
}

func (s *blockSide) restore(backup string, v *BlockVolume) {
	s.t.Helper()
	s.must(202, "POST", "/backups/"+backup+"/restore", jmap{"restore": jmap{"volume_id": v.ID()}})
	if v.Status() != stAvailable {
		s.t.Fatalf("restored volume is %s", v.Status())
	}
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (g *blockRig) same(a, b *BlockVolume) {
	g.t.Helper()
	if ok, at := a.Equal(b); !ok {
		g.t.Errorf("volumes differ at %d", at)
	}
}

func decode(t *testing.T, raw []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(raw, to); err != nil {
		t.Fatal(fmt.Errorf("%w in %.200s", err, raw))
	}
}
