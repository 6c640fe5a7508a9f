package fakecloud

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

type listedVersion struct {
	listed
	ID     string `json:"version_id"`
	Latest bool   `json:"is_latest"`
}

func (g *rig) versions(path string) (out []listedVersion) {
	g.t.Helper()
	if err := json.Unmarshal([]byte(g.must(200, "GET", path, "").body), &out); err != nil {
		g.t.Fatalf("listing %s: %v", path, err)
	}
	return out
}

func told(rows []listedVersion, ids map[string]string) string {
	var out []string
	for _, r := range rows {
		s := r.Name + r.Subdir + "=" + ids[r.ID]
		if r.ContentType == deleteMarker {
			s += " deleted"
		}
		if r.Latest {
			s += " latest"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestVersions(t *testing.T) {
	g := newRig(t, RegionOptions{})
	ids := map[string]string{"null": "null"}
	keep := func(a reply, name string) string {
		id := a.header.Get("X-Object-Version-Id")
		if id == "" || ids[id] != "" {
			t.Fatalf("version id %q of %s", id, name)
		}
		ids[id] = name
		return id
	}
	g.must(201, "PUT", "/c", "")
	g.must(201, "PUT", "/c/old", "before", "X-Object-Meta-A", "1")
	g.must(400, "GET", "/c/old?version-id=1", "")
	g.must(204, "POST", "/c", "", "X-Versions-Enabled", "true")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Versions-Enabled", "True")
	a := g.must(200, "GET", "/c/old", "")
	g.header(a, "X-Object-Version-Id", "null")
	g.header(a, "X-Object-Meta-A", "1")

	one := keep(g.must(201, "PUT", "/c/o", "one", "Content-Type", "t/1"), "one")
	two := keep(g.must(201, "PUT", "/c/o", "two!", "Content-Type", "t/2; charset=x"), "two")
	a = g.must(200, "GET", "/c/o", "")
	g.eq("current", a.body, "two!")
	g.header(a, "X-Object-Version-Id", two)
	g.header(a, "Content-Type", "t/2; charset=x")
	g.header(a, "Content-Location", strings.TrimPrefix(g.r.StorageURL(), g.r.URL())+"/c/o?version-id="+two)
	g.eq("older", g.must(200, "GET", "/c/o?version-id="+one, "").body, "one")
	g.must(404, "GET", "/c/o?version-id=null", "")
	g.must(404, "GET", "/c/o?version-id=5", "")
	g.must(400, "GET", "/c/o?version-id=x", "")
	g.must(400, "POST", "/c/o?version-id="+one, "")
	row := g.list("/c?format=json")[0]
	g.eq("listed bytes", row.Bytes, int64(4))
	g.eq("listed hash", row.Hash, md5Hex([]byte("two!")))
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Object-Count", "2")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Container-Bytes-Used", "13")

	// A POST changes the version, not their number.
	g.must(202, "POST", "/c/o", "", "X-Object-Meta-P", "1")
	g.header(g.must(200, "HEAD", "/c/o?version-id="+two, ""), "X-Object-Meta-P", "1")
	keep(g.must(201, "PUT", "/c/old", "after"), "after")
	gone := keep(g.must(204, "DELETE", "/c/o", ""), "gone")
	g.must(404, "GET", "/c/o", "")
	a = g.must(404, "GET", "/c/o?version-id="+gone, "")
	g.header(a, "Content-Type", deleteMarker)
	keep(g.must(404, "DELETE", "/c/never", ""), "never")
	rows := g.versions("/c?versions")
	for _, r := range rows {
		if ids[r.ID] == "" {
			ids[r.ID] = "kept" // what was there before has its own time as id
		}
	}
	g.eq("versions", told(rows, ids), "never=never deleted latest, o=gone deleted latest, o=two, o=one, old=after latest, old=kept")
	g.eq("pages", told(g.versions("/c?versions&limit=2&marker=o&version_marker="+two), ids), "o=one, old=after latest")
	g.eq("prefix, backwards", told(g.versions("/c?versions&prefix=o&reverse=1"), ids), "old=kept, old=after latest, o=one, o=two, o=gone deleted latest")
	g.must(406, "GET", "/c?versions&format=xml", "")
	g.must(400, "GET", "/c?versions&version_marker=1", "")

	// The marker's removal does not bring the object back; a PUT of a version does.
	a = g.must(204, "DELETE", "/c/o?version-id="+gone, "")
	g.header(a, "X-Object-Current-Version-Id", "null")
	g.must(404, "GET", "/c/o", "")
	g.must(201, "PUT", "/c/o?version-id="+one, "")
	g.eq("restored", g.must(200, "GET", "/c/o", "").body, "one")
	g.must(404, "PUT", "/c/o?version-id=7", "")
	a = g.must(204, "DELETE", "/c/o?version-id="+two, "")
	g.header(a, "X-Object-Current-Version-Id", one)
	g.must(204, "DELETE", "/c/o?version-id="+one, "")
	g.must(404, "GET", "/c/o", "")
	g.must(409, "DELETE", "/c", "")
	var public []string
	for _, v := range g.r.Versions("c") {
		public = append(public, fmt.Sprintf("%s %q deleted=%v latest=%v", v.Name, v.Bytes(), v.Deleted, v.Latest))
		g.do("DELETE", "/c/"+v.Name+"?version-id="+v.ID, "")
	}
	g.eq("as tests see them", strings.Join(public, "; "),
		`never "" deleted=true latest=true; old "after" deleted=false latest=true; old "before" deleted=false latest=false`)
	g.must(204, "DELETE", "/c", "")
	g.eq("hidden containers left", len(g.r.account(g.r.accountName()).containers), 0)
}

func TestVersionsOfLargeObjectsLinksAndCopies(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.r.Put("s", "1", []byte("segment"), nil)
	g.must(201, "PUT", "/c", "", "X-Versions-Enabled", "true")
	a := g.must(201, "PUT", "/c/slo?multipart-manifest=put", `[{"path":"/s/1"},{"data":"YWJj"}]`)
	id := a.header.Get("X-Object-Version-Id")
	g.header(a, "Etag", `"`+etagOf(md5Hex([]byte("segment")), md5Hex([]byte("abc")))+`"`)
	g.must(201, "PUT", "/c/slo", "plain")
	g.eq("an SLO's version", g.must(200, "GET", "/c/slo?version-id="+id, "").body, "segmentabc")
	a = g.must(201, "COPY", "/c/slo?multipart-manifest=get&version-id="+id, "", "Destination", "c/again")
	g.header(a, "X-Copied-From-Version-Id", id)
	row := g.list("/c?format=json&prefix=again")[0]
	g.eq("listed bytes", row.Bytes, int64(10))
	g.eq("slo_etag", row.SLOETag, `"`+etagOf(md5Hex([]byte("segment")), md5Hex([]byte("abc")))+`"`)
	g.must(201, "PUT", "/c/ln", "", "X-Symlink-Target", "s/1")
	g.eq("a link's version", g.must(200, "GET", "/c/ln", "").body, "segment")
	g.must(201, "PUT", "/s/into", "", "X-Symlink-Target", "c/again")
	g.eq("a link into versions", g.must(200, "GET", "/s/into", "").body, "segmentabc")
	// A version is stored before a taken name is found (as in Swift).
	g.must(412, "PUT", "/c/slo", "lost", "If-None-Match", "*")
	g.eq("versions", len(g.versions("/c?versions&prefix=slo")), 3)
	// X-Delete-At is the link's: what expires is not the version.
	id = g.must(201, "PUT", "/c/exp", "kept", "X-Delete-After", "10").header.Get("X-Object-Version-Id")
	g.clock.add(11 * time.Second)
	g.must(404, "GET", "/c/exp", "")
	g.eq("after expiry", g.must(200, "GET", "/c/exp?version-id="+id, "").body, "kept")
	if got := names(g.list("/c?format=json&prefix=exp")); len(got) != 0 {
		t.Errorf("listed after expiry: %q", got)
	}
	g.r.Put("c", "direct", []byte("1"), nil)
	g.r.Put("c", "direct", []byte("2"), nil)
	o, _ := g.r.Get("c", "direct")
	g.eq("Put and Get go by versions", fmt.Sprintf("%s %d", o.Bytes(), len(g.versions("/c?versions&prefix=direct"))), "2 2")
}

func TestVersioningModesExclude(t *testing.T) {
	g := newRig(t, RegionOptions{})
	g.must(201, "PUT", "/c", "")
	g.must(400, "POST", "/c", "", "X-Versions-Location", "a", "X-History-Location", "a")
	g.must(204, "POST", "/c", "", "X-Versions-Location", "a")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Versions-Location", "a")
	g.must(400, "POST", "/c", "", "X-Versions-Enabled", "true")
	g.must(204, "POST", "/c", "", "X-History-Location", "b")
	g.header(g.must(204, "HEAD", "/c", ""), "X-Versions-Location", "")
	g.header(g.must(204, "HEAD", "/c", ""), "X-History-Location", "b")
	g.must(204, "POST", "/c", "", "X-Remove-Versions-Location", "x")
	g.must(204, "POST", "/c", "", "X-Container-Sync-To", "//realm/cluster/account/container")
	g.must(400, "POST", "/c", "", "X-Versions-Enabled", "true")
	g.must(204, "POST", "/c", "", "X-Container-Sync-To", "")
	g.must(204, "POST", "/c", "", "X-Versions-Enabled", "true")
}

func TestArchivedVersions(t *testing.T) {
	for _, mode := range []string{"X-Versions-Location", "X-History-Location"} {
		g := newRig(t, RegionOptions{})
		g.must(201, "PUT", "/a", "")
		g.must(201, "PUT", "/c", "", mode, "a")
		for _, body := range []string{"one", "two", "three"} {
			g.must(201, "PUT", "/c/\u00fc", body, "X-Object-Meta-B", body)
		}
		archived := g.r.Names("a")
		g.eq("archived", len(archived), 2)
		if !strings.HasPrefix(archived[0], "002\u00fc/1") || len(archived[0]) != len("002\u00fc/1795367109.44684") || !slices.IsSorted(archived) {
			t.Errorf("%s: archive names %q", mode, archived)
		}
		a := g.must(200, "GET", "/a/"+escape(archived[0]), "")
		g.eq("oldest", a.body, "one")
		g.header(a, "X-Object-Meta-B", "one")
		g.must(204, "DELETE", "/c/\u00fc", "")
		if mode == "X-Versions-Location" {
			g.eq("brought back", g.must(200, "GET", "/c/\u00fc", "").body, "two")
			g.eq("archived", len(g.r.Names("a")), 1)
			g.must(204, "DELETE", "/c/\u00fc", "")
			g.must(204, "DELETE", "/c/\u00fc", "")
			g.must(404, "DELETE", "/c/\u00fc", "")
			continue
		}
		g.must(404, "GET", "/c/\u00fc", "")
		rows := g.list("/a?format=json")
		g.eq("archived", len(rows), 4)
		g.eq("marker", rows[3].ContentType, deleteMarker)
		g.must(204, "POST", "/c", "", mode, "none")
		g.must(201, "PUT", "/c/x", "1")
		g.must(412, "PUT", "/c/x", "2")
	}
}
