package fakecloud

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// volumeFill is what a new volume is filled from: a disk, a backup, or nothing.
type volumeFill struct {
	from   *disk
	backup *backup
	call   *blockCall
}

// makeVolume queues the making of a volume that is in creating.
func (c *cinder) makeVolume(v *volume, f volumeFill) {
	if f.from != nil {
		v.disk = f.from.clone(c.bytes(v.size))
	} else {
		v.disk = newDisk(c.bytes(v.size))
	}
	if f.backup != nil {
		v.fresh = true
		c.startRestore(f.backup, v, f.call.tok, stCreating)
		return
	}
	c.begin(JobCreateVolume, v.id, c.pace.Step, func(*job) (bool, string) {
		v.status, v.launched, v.updated = stAvailable, c.now(), c.now()
		return true, ""
	}, func(string) {
		v.status = stError
		c.tell(v.project, "VOLUME", v.id, "008", "create volume from backend storage", "012", "Driver failed to create the volume.")
	})
}

// reader is a restore under way: an object a step.
type reader struct {
	c       *cinder
	b       *backup
	v       *volume
	tok     string
	acct    string
	chain   []*backup // the full one first
	at      int       // in chain
	objects []chunkRef
	meta    *string
}

// chunkRef is an entry of _metadata's objects.
type chunkRef struct {
	name        string
	Offset      int64  `json:"offset"`
	Length      int64  `json:"length"`
	Compression string `json:"compression"`
}

// startRestore queues the writing of b over v, which takes the status meanwhile.
func (c *cinder) startRestore(b *backup, v *volume, tok *token, status string) {
	b.status, b.restoreVolume = stRestoring, v.id
	v.status = status
	r := &reader{c: c, b: b, v: v, tok: tok.id, acct: c.backupAccount(tok.project.ID)}
	run := func(j *job) (bool, string) {
		if b.status != stRestoring {
			// Reset meanwhile, which cancels it (BackupRestoreCancel).
			v.status, b.status = stError, stAvailable
			return true, ""
		}
		last, reason := false, ""
		if j.step == 0 {
			j.every = c.pace.Window
			reason = r.prepare()
		} else {
			last, reason = r.next()
		}
		if last && reason == "" {
			r.finish()
		}
		return last, reason
	}
	c.begin(JobRestore, b.id, c.pace.Step, run, func(string) {
		v.status = stErrRestore
		if status == stCreating {
			v.status = stError
		}
		b.status = stAvailable
		v.updated, b.updated = c.now(), c.now()
		c.tell(b.project, "VOLUME_BACKUP", b.id, "015", "restore backup", "026", "Backup driver failed to restore backup.")
	})
}

// prepare finds the chain in the region's own database (I9).
func (r *reader) prepare() string {
	if text(r.b.service) != "" && !strings.HasPrefix(r.c.driver(), text(r.b.service)) {
		return "Invalid backup: Restore backup aborted, the backup service currently configured [" + r.c.driver() +
			"] is not the backup service that was used to create this backup [" + text(r.b.service) + "]."
	}
	for b := r.b; ; {
		r.chain = append(r.chain, b)
		if b.parent == "" {
			break
		}
		p := r.c.backups[b.parent]
		if p == nil || len(r.chain) > len(r.c.backups) {
			return "Backup " + b.parent + " could not be found."
		}
		b = p
	}
	slices.Reverse(r.chain)
	return r.open()
}

// open reads the _metadata of the backup that is next, and compares its list
// with the container's listing: one more or less, and nothing is restored (C13).
func (r *reader) open() string {
	b := r.chain[r.at]
	if b.elsewhere != nil {
		return ""
	}
	prefix := text(b.prefix)
	raw, reason := r.c.get(r.acct, text(b.container), prefix+"_metadata", r.tok)
	if reason != "" {
		return reason
	}
	var m struct {
		Version string                `json:"version"`
		Objects []map[string]chunkRef `json:"objects"`
		Meta    *string               `json:"volume_meta"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return err.Error()
	}
	if m.Version != "1.0.0" {
		return "Invalid backup: No support to restore backup version " + m.Version
	}
	r.objects, r.meta = nil, m.Meta
	var want []string
	for _, o := range m.Objects {
		for name, ref := range o {
			ref.name = name
			r.objects = append(r.objects, ref)
			want = append(want, name)
		}
	}
	have, reason := r.c.list(r.acct, text(b.container), prefix, r.tok)
	if reason != "" {
		return reason
	}
	have = slices.DeleteFunc(have, func(n string) bool { return n == prefix+"_metadata" || n == prefix+"_sha256file" })
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		return "Invalid backup: restore_backup aborted, actual object list does not match object list stored in metadata."
	}
	return ""
}

// next writes an object, or goes on to the next backup of the chain.
func (r *reader) next() (bool, string) {
	b := r.chain[r.at]
	if b.elsewhere != nil {
		r.v.disk = b.elsewhere.clone(r.v.disk.size)
		r.meta = &b.volumeMeta
	} else if len(r.objects) > 0 {
		o := r.objects[0]
		r.objects = r.objects[1:]
		return false, r.write(b, o)
	}
	if r.meta != nil {
		if reason := r.c.applyMeta(r.v, *r.meta); reason != "" {
			return false, reason
		}
	}
	if r.at++; r.at == len(r.chain) {
		return true, ""
	}
	return false, r.open()
}

// write unpacks an object on the volume. Neither md5 nor length is looked at (C13).
func (r *reader) write(b *backup, o chunkRef) string {
	data, reason := r.c.get(r.acct, text(b.container), o.name, r.tok)
	if reason != "" {
		return reason
	}
	switch strings.ToLower(o.Compression) {
	case "none", "off", "no":
	case "zlib", "gzip":
		if n := r.c.blankOf(data); n > 0 {
			if r.v.fresh && !r.c.opts.DenseRestore {
				return "" // skipped, as below
			}
			data = make([]byte, n)
			break
		}
		z, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return "Error -3 while decompressing data: " + err.Error()
		}
		if data, err = io.ReadAll(z); err != nil {
			return "Error -3 while decompressing data: " + err.Error()
		}
	default:
		return "unsupported compression algorithm: " + o.Compression
	}
	if !r.v.fresh || r.c.opts.DenseRestore {
		r.v.disk.writeAt(data, o.Offset)
		return ""
	}
	// On a volume of the restore's own making, MiBs of zeros are skipped for every
	// backup of a chain, so that what the guest zeroed keeps its old bytes (C14).
	const mib = 1 << 20
	for at := 0; at < len(data); at += mib {
		part := data[at:min(at+mib, len(data))]
		if strings.Trim(string(part), "\x00") != "" {
			r.v.disk.writeAt(part, o.Offset+int64(at))
		}
	}
	return ""
}

func (r *reader) finish() {
	c, v, b := r.c, r.v, r.b
	if v.status == stCreating || v.launched.IsZero() {
		v.launched = c.now()
	}
	v.status, v.fresh, v.updated = stAvailable, false, c.now()
	if old := v.meta["src_backup_id"]; b.volume != v.id || old != "" && old != b.id {
		v.meta = maps.Clone(v.meta)
		v.meta["src_backup_id"] = b.id
	}
	b.status, b.updated = stAvailable, c.now()
}

// applyMeta sets what a backup knows of the volume on the restored one (C15).
func (c *cinder) applyMeta(v *volume, raw string) string {
	var m struct {
		Version int                `json:"version"`
		Base    map[string]any     `json:"volume-base-metadata"`
		User    *map[string]string `json:"volume-metadata"`
		Image   *map[string]string `json:"volume-glance-metadata"`
	}
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		return err.Error()
	}
	if m.Version != 1 && m.Version != 2 {
		return fmt.Sprintf("Unsupported backup metadata version (%d)", m.Version)
	}
	if key, _ := m.Base["encryption_key_id"].(string); key != "" && m.Version == 2 {
		if from, _ := m.Base["volume_type_id"].(string); from != v.typ.id {
			return fmt.Sprintf("The source volume type '%s' is different than the destination volume type '%s'.", from, v.typ.id)
		}
		v.key = newUUID() // a clone of the backup's
	}
	name, _ := m.Base["display_name"].(string)
	if name != "" && (text(v.name) == "" || strings.HasPrefix(*v.name, "restore_backup_")) {
		v.name = &name
		v.desc = nil
		if desc, ok := m.Base["display_description"].(string); ok {
			v.desc = &desc
		}
	}
	if m.User != nil {
		v.meta = maps.Clone(*m.User)
	}
	if m.Image != nil {
		v.image, v.bootable = maps.Clone(*m.Image), true
	}
	return ""
}

// list gives the names under a prefix as the container's listing shows them now.
func (c *cinder) list(acct, cont, prefix, tok string) ([]string, string) {
	q, reason := c.allowedTo(acct, cont, "", http.MethodGet, tok)
	if reason != "" {
		return nil, reason
	}
	from := c.rg.account(acct).container(cont)
	if from == nil {
		return nil, fmt.Sprintf("Container GET failed: %s/v1/%s/%s 404 Not Found", c.rg.URL(), acct, cont)
	}
	from.expire(q.now)
	from.settleLag()
	from.mu.RLock()
	defer from.mu.RUnlock()
	var out []string
	from.page(listOptions{prefix: prefix, limit: 1 << 30}, func(name string, _ *object) { out = append(out, name) })
	return out, ""
}

// dropBackup begins to delete a backup with its objects.
func (c *cinder) dropBackup(b *backup, force bool, tok *token) error {
	if !force && b.status != stAvailable && b.status != stError {
		return badRequest("Invalid backup: Backup status must be available or error")
	}
	for _, x := range c.backups {
		if x.parent == b.id && x.project == tok.project.ID {
			return badRequest("Invalid backup: Incremental backups exist for this backup.")
		}
	}
	b.status = stDeleting
	acct, id := c.backupAccount(tok.project.ID), tok.id
	c.begin(JobDeleteBackup, b.id, c.pace.Step, func(*job) (bool, string) {
		if text(b.service) != "" && !strings.HasPrefix(c.driver(), *b.service) {
			return true, "Invalid backup: Delete backup aborted, the backup service currently configured [" + c.driver() +
				"] is not the backup service that was used to create this backup [" + *b.service + "]."
		}
		if b.service != nil && b.container != nil && b.prefix != nil && b.elsewhere == nil {
			if reason := c.erase(acct, *b.container, *b.prefix, id); reason != "" {
				return true, reason
			}
		}
		delete(c.backups, b.id)
		if p := c.backups[b.parent]; p != nil && p.dependents > 0 {
			p.dependents--
		}
		return true, ""
	}, func(reason string) {
		b.status, b.reason = stError, &reason
		c.tell(b.project, "VOLUME_BACKUP", b.id, "014", "delete backup", "025", "Backup driver failed to delete backup.")
	})
	return nil
}

// erase removes what is listed under a prefix; a failed listing is no failure.
func (c *cinder) erase(acct, cont, prefix, tok string) string {
	names, reason := c.list(acct, cont, prefix, tok)
	if reason != "" {
		return ""
	}
	for _, n := range names {
		q, reason := c.allowedTo(acct, cont, n, http.MethodDelete, tok)
		if reason != "" {
			return reason
		}
		a := c.rg.account(acct)
		if from := a.container(cont); from == nil || c.rg.erase(a, from, n, q.now).missing {
			return fmt.Sprintf("Object DELETE failed: %s/v1/%s/%s/%s 404 Not Found", c.rg.URL(), acct, cont, n)
		}
	}
	return ""
}
