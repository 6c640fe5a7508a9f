package fakecloud

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// blankChunk is what a run of zeros becomes, computed once.
type blankChunk struct {
	md5    string
	packed []byte
}

// writer is a backup under way: the chunked driver's loop, a window a step.
type writer struct {
	c       *cinder
	b       *backup
	v       *volume
	src     *disk
	tok     string // looked up again at each write: it may end meanwhile (C18)
	acct    string
	off     int64
	next    int // number of the next object
	objects []any
	sums    []string
	old     []string // of the parent
	meta    string
}

// startBackup queues the work. Its source is as it is now, whatever is written
// to the volume meanwhile.
func (c *cinder) startBackup(b *backup, v *volume, s *snapshot, tok *token) {
	w := &writer{c: c, b: b, v: v, tok: tok.id, acct: c.backupAccount(tok.project.ID), next: 1}
	if s != nil {
		w.src = s.disk.clone(0)
	} else {
		w.src = v.disk.clone(0)
	}
	release := func() {
		if s != nil {
			if s.status == stBackingUp {
				s.status = stAvailable
			}
			return
		}
		if v.status == stBackingUp {
			v.status, v.previous = v.previous, stBackingUp
		}
	}
	run := func(j *job) (bool, string) {
		if b.status != stCreating {
			// Forced away or reset meanwhile: the driver cleans up after itself.
			release()
			return true, ""
		}
		if j.step == 0 {
			j.every = c.pace.Window
			return false, w.prepare()
		}
		last, reason := w.window()
		if last && reason == "" {
			release()
			b.status, b.size, b.updated = stAvailable, v.size, c.now()
			if p := c.backups[b.parent]; p != nil {
				p.dependents++
			}
		}
		return last, reason
	}
	c.begin(JobBackup, b.id, c.pace.Step, run, func(reason string) {
		release()
		b.status, b.reason, b.updated = stError, &reason, c.now()
		c.tell(b.project, "VOLUME_BACKUP", b.id, "013", "create backup", "020", "Backup driver failed to create backup.")
	})
}

// backupAccount is the Swift account that a project's backups go to.
func (c *cinder) backupAccount(project string) string {
	if c.placement == SingleUser {
		return "AUTH_" + md5Hex([]byte("project/"+c.rg.opts.Name+"/cinder-service"))
	}
	return "AUTH_" + project
}

// prepare makes the container and the prefix, and reads the parent's hashes.
func (w *writer) prepare() string {
	c, b := w.c, w.b
	driver := c.driver()
	b.service, b.host = &driver, c.rg.opts.Name
	if w.v.key != "" && b.key == "" {
		b.key = newUUID() // a clone of the volume's
	}
	day := c.rg.cloud.opts.Clock().UTC().Format("20060102150405")
	if c.placement == Elsewhere {
		at := b.id[:2] + "/" + b.id[2:4] + "/" + b.id
		prefix := "volume_" + b.volume + "_" + day + "_backup_" + b.id
		b.container, b.prefix = &at, &prefix
		return ""
	}
	if b.container == nil {
		name := c.opts.Container
		b.container = &name
	}
	prefix := "volume_" + b.volume + "/" + day + "/az_" + c.opts.Zones[0] + "_backup_" + b.id
	b.prefix = &prefix
	if b.parent != "" {
		if reason := w.readParent(); reason != "" {
			return reason
		}
	}
	return c.ensureContainer(w.acct, *b.container, w.tok)
}

// readParent wants the parent's _sha256file, always (C18).
func (w *writer) readParent() string {
	p := w.c.backups[w.b.parent]
	if p == nil {
		return "Backup " + w.b.parent + " could not be found."
	}
	raw, reason := w.c.get(w.acct, text(p.container), text(p.prefix)+"_sha256file", w.tok)
	if reason != "" {
		return reason
	}
	var f struct {
		ChunkSize int64    `json:"chunk_size"`
		Sums      []string `json:"sha256s"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err.Error()
	}
	if f.ChunkSize != w.c.opts.BlockSize {
		return fmt.Sprintf("Invalid backup: Hash block size has changed since the last backup. New hash block size: %d. "+
			"Old hash block size: %d. Do a full backup.", w.c.opts.BlockSize, f.ChunkSize)
	}
	if w.b.size > p.size {
		return "Invalid backup: Volume size increased since the last backup. Do a full backup."
	}
	w.old = f.Sums
	return ""
}

// window reads the next ObjectSize bytes and stores what is to be stored of
// them; after the last one come the side files.
func (w *writer) window() (bool, string) {
	c := w.c
	n := min(c.opts.ObjectSize, w.src.size-w.off)
	if n <= 0 {
		return true, w.finish()
	}
	if c.placement == Elsewhere {
		w.off += n
		return false, ""
	}
	blank := w.src.blank(w.off, n)
	var data []byte
	if !blank {
		if c.window == nil {
			c.window = make([]byte, c.opts.ObjectSize)
		}
		data = c.window[:n]
		w.src.readAt(data, w.off)
	}
	first := len(w.sums)
	w.hash(data, n)
	reason := ""
	if w.b.parent == "" {
		reason = w.put(data, w.off, n)
	} else {
		reason = w.putChanges(data, first, n)
	}
	w.off += n
	return false, reason
}

// hash appends the SHA-256 of each block; nil data are n zeros.
func (w *writer) hash(data []byte, n int64) {
	size := w.c.opts.BlockSize
	zero := w.c.zeroSum()
	for at := int64(0); at < n; at += size {
		end := min(at+size, n)
		if data == nil && end-at == size || data != nil && end-at == size && w.src.blank(w.off+at, size) {
			w.sums = append(w.sums, zero)
			continue
		}
		block := make([]byte, end-at)
		if data != nil {
			block = data[at:end]
		}
		sum := sha256.Sum256(block)
		w.sums = append(w.sums, hex.EncodeToString(sum[:]))
	}
}

func (c *cinder) zeroSum() string {
	if c.zero == "" {
		sum := sha256.Sum256(make([]byte, c.opts.BlockSize))
		c.zero = hex.EncodeToString(sum[:])
	}
	return c.zero
}

// putChanges stores each run of blocks that differ from the parent's (C10).
func (w *writer) putChanges(data []byte, first int, n int64) string {
	size := w.c.opts.BlockSize
	begin := int64(-1)
	store := func(end int64) string {
		if begin < 0 {
			return ""
		}
		var part []byte
		if data != nil {
			part = data[begin:end]
		}
		reason := w.put(part, w.off+begin, end-begin)
		begin = -1
		return reason
	}
	for i := first; i < len(w.sums); i++ {
		at := int64(i-first) * size
		if i >= len(w.old) || w.sums[i] != w.old[i] {
			if begin < 0 {
				begin = at
			}
			continue
		}
		if reason := store(at); reason != "" {
			return reason
		}
	}
	return store(n)
}

// put stores one chunk, packed if that makes it smaller (C6, C7).
func (w *writer) put(data []byte, off, n int64) string {
	name := fmt.Sprintf("%s-%05d", *w.b.prefix, w.next)
	chunk, how := blankChunk{}, "zlib"
	if data == nil {
		chunk = w.c.blank(n)
	} else {
		chunk = blankChunk{md5Hex(data), pack(data)}
	}
	// A run of zeros always shrinks, but for the very shortest blocks.
	if int64(len(chunk.packed)) >= n {
		how, chunk.packed = "none", make([]byte, n)
		copy(chunk.packed, data)
	}
	if reason := w.c.put(w.acct, *w.b.container, name, chunk.packed, w.tok); reason != "" {
		return reason
	}
	w.objects = append(w.objects, map[string]any{name: map[string]any{"offset": off, "length": n, "compression": how, "md5": chunk.md5}})
	w.next++
	return ""
}

func pack(data []byte) []byte {
	var b bytes.Buffer
	// A buffer takes every write, and the level is a known one.
	z, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func (c *cinder) blank(n int64) blankChunk {
	b, ok := c.blanks[n]
	if !ok {
		zeros := make([]byte, n)
		b = blankChunk{md5: md5Hex(zeros), packed: pack(zeros)}
		c.blanks[n] = b
	}
	return b
}

// blankOf gives how many zeros a packed chunk is, as far as this Cinder packed such
// zeros itself: unpacking a gibibyte of them takes seconds. 0: it is to be unpacked.
func (c *cinder) blankOf(packed []byte) int64 {
	for n, b := range c.blanks {
		if bytes.Equal(packed, b.packed) {
			return n
		}
	}
	return 0
}

// finish writes the two side files, _metadata last (C5, C8).
func (w *writer) finish() string {
	c, b := w.c, w.b
	w.meta = c.volumeMeta(w.v)
	if c.placement == Elsewhere {
		b.elsewhere, b.volumeMeta, b.objects = w.src, w.meta, 1
		return ""
	}
	b.objects = w.next - 1
	side := map[string]any{"version": "1.0.0", "backup_id": b.id, "volume_id": b.volume, "backup_name": b.name,
		"backup_description": b.desc, "created_at": b.created.Format("2006-01-02 15:04:05+00:00")}
	sums := maps.Clone(side)
	sums["chunk_size"], sums["sha256s"] = c.opts.BlockSize, w.sums
	if reason := c.put(w.acct, *b.container, *b.prefix+"_sha256file", []byte(pyJSON(sums, 2)), w.tok); reason != "" {
		return reason
	}
	if w.objects == nil {
		w.objects = []any{}
	}
	side["objects"], side["parent_id"], side["volume_meta"] = w.objects, orNull(b.parent), w.meta
	return c.put(w.acct, *b.container, *b.prefix+"_metadata", []byte(pyJSON(side, 2)), w.tok)
}

// volumeMeta is the string that _metadata carries of the volume (C9).
func (c *cinder) volumeMeta(v *volume) string {
	base := []pair{{"id", v.id}, {"_name_id", nil}, {"ec2_id", nil}, {"user_id", v.user}, {"project_id", v.project}, {"use_quota", true},
		{"snapshot_id", orNull(v.snapshot)}, {"cluster_name", nil}, {"host", c.rg.opts.Name + "@files#files"}, {"size", v.size},
		{"availability_zone", v.zone}, {"status", v.status}, {"attach_status", "detached"}, {"migration_status", nil},
		{"scheduled_at", stampOrNull(v.created)}, {"launched_at", stampOrNull(v.launched)}, {"terminated_at", nil},
		{"display_name", v.name}, {"display_description", v.desc}, {"provider_id", nil}, {"provider_location", "fake"},
		{"provider_auth", nil}, {"provider_geometry", nil}, {"volume_type_id", v.typ.id}, {"source_volid", orNull(v.source)},
		{"encryption_key_id", orNull(v.key)}, {"consistencygroup_id", nil}, {"group_id", nil}, {"deleted", false}, {"bootable", v.bootable},
		{"multiattach", false}, {"replication_status", nil}, {"replication_extended_status", nil}, {"replication_driver_data", nil},
		{"previous_status", orNull(v.previous)}, {"service_uuid", uuidOf("service/" + c.rg.opts.Name)}, {"shared_targets", false},
		{"created_at", stampOrNull(v.created)}, {"updated_at", stampOrNull(v.updated)}, {"deleted_at", nil}}
	all := []pair{{"version", 2}, {"volume-base-metadata", base}}
	if len(v.meta) > 0 {
		all = append(all, pair{"volume-metadata", v.meta})
	}
	if len(v.image) > 0 {
		all = append(all, pair{"volume-glance-metadata", v.image})
	}
	return pyJSON(all, 0)
}

// The driver's own requests to Swift. Each is refused as the token's would be.

// allowedTo gives the token's rights over an account; the operator's needs none.
func (c *cinder) allowedTo(acct, cont, obj, method, tok string) (*request, string) {
	q := &request{rg: c.rg, r: &http.Request{Method: method, Header: http.Header{}}, now: c.rg.tick.next(), tok: c.rg.ks.check(tok), lieAt: -1}
	if c.placement == SingleUser {
		return q, ""
	}
	if code := q.authorize(acct, cont, obj, method); code != 0 {
		what := "Object"
		if obj == "" {
			what = "Container"
		}
		title, _ := reason(code)
		return nil, fmt.Sprintf("%s %s failed: %s/v1/%s/%s/%s %d %s", what, method, c.rg.URL(), acct, cont, obj, code, title)
	}
	return q, ""
}

func (c *cinder) ensureContainer(acct, cont, tok string) string {
	q, reason := c.allowedTo(acct, cont, "", http.MethodPut, tok)
	if reason != "" {
		return reason
	}
	c.rg.makeContainer(c.rg.account(acct), cont, c.rg.opts.Policies[0], q.now)
	return ""
}

func (c *cinder) put(acct, cont, name string, data []byte, tok string) string {
	q, reason := c.allowedTo(acct, cont, name, http.MethodPut, tok)
	if reason != "" {
		return reason
	}
	a := c.rg.account(acct)
	to := a.container(cont)
	if to == nil {
		return fmt.Sprintf("Object PUT failed: %s/v1/%s/%s/%s 404 Not Found", c.rg.URL(), acct, cont, name)
	}
	o := &object{body: newMemBody(data), etag: md5Hex(data), stamp: q.now}
	o.describe(http.Header{}, name, nil)
	c.rg.save(a, to, name, o, q.now, false)
	return ""
}

func (c *cinder) get(acct, cont, name, tok string) ([]byte, string) {
	q, reason := c.allowedTo(acct, cont, name, http.MethodGet, tok)
	if reason != "" {
		return nil, reason
	}
	a := q.open(place{acct, cont, name})
	if a.code != http.StatusOK {
		return nil, fmt.Sprintf("Object GET failed: %s/v1/%s/%s/%s %d %s", c.rg.URL(), acct, cont, name, a.code, http.StatusText(a.code))
	}
	var b collector
	if err := a.content.writeTo(&b, 0, a.content.Len()); err != nil {
		return nil, err.Error()
	}
	return b.p, ""
}
