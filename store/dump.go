package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"
)

// Dump writes the whole ledger as JSON lines, in the order meta, places, routes,
// objects, intents, chunks, passes, notes, series, needs, companions, properties,
// restore points, works and drills, and by key within each; docs/ledger.md has the
// fields. What was enqueued before is in it. It reads page by page, so that a slow w
// holds nothing up; what others write meanwhile may or may not be in it.
func (l *Ledger) Dump(ctx context.Context, w io.Writer) error {
	if l.queue != nil {
		if err := l.Flush(ctx); err != nil {
			return err
		}
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	d := &dumper{l: l, ctx: ctx, w: buf, enc: json.NewEncoder(buf)}
	d.enc.SetEscapeHTML(false)
	for _, part := range []func() error{d.meta, d.places, d.routes, d.objects, d.intents, d.chunks, d.passes, d.notes,
		d.series, d.needs, d.along, d.properties, d.points, d.works, d.drills} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}

type dumper struct {
	l   *Ledger
	ctx context.Context //nolint:containedctx // lives as long as one Dump
	w   *bufio.Writer
	enc *json.Encoder
}

func (d *dumper) line(v any) error {
	if d.ctx.Err() != nil {
		return fmt.Errorf("dump: %w", context.Cause(d.ctx))
	}
	if err := d.enc.Encode(v); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}

// text is a string that need not be UTF-8: if not, it goes into the second field.
type text struct {
	Name       string `json:"name,omitempty"`
	NameBase64 string `json:"name_base64,omitempty"`
}

func textOf(s string) text {
	if utf8.ValidString(s) {
		return text{Name: s}
	}
	return text{NameBase64: base64.StdEncoding.EncodeToString([]byte(s))}
}

func stamp(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000Z")
}

type dumpVersion struct {
	ETag     string `json:"etag"`
	Modified string `json:"modified,omitempty"`
}

func versionOf(v Version) dumpVersion { return dumpVersion{v.ETag, stamp(v.Modified)} }

func (d *dumper) meta() error {
	var line struct {
		Type    string `json:"type"`
		Schema  uint32 `json:"schema"`
		Created string `json:"created"`
		UUID    string `json:"uuid"`
	}
	err := d.l.view("dump", func(tx *bbolt.Tx) error {
		m := tx.Bucket([]byte(bucketMeta))
		created, n := binary.Varint(m.Get([]byte(metaCreated)))
		id, schema := m.Get([]byte(metaUUID)), m.Get([]byte(metaSchema))
		if n <= 0 || len(id) != 16 || len(schema) != 4 {
			return corrupt(d.l.path, nil, "bucket meta")
		}
		line.Type, line.Schema, line.Created = "meta", binary.BigEndian.Uint32(schema), stamp(created)
		line.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		return nil
	})
	if err != nil {
		return err
	}
	return d.line(line)
}

func (d *dumper) places() error {
	all, err := d.l.Places()
	if err != nil {
		return err
	}
	for _, p := range all {
		err := d.line(struct {
			Type      string  `json:"type"`
			ID        PlaceID `json:"id"`
			Region    string  `json:"region"`
			Project   string  `json:"project"`
			Container string  `json:"container"`
			Objects   int64   `json:"objects"`
			Present   int64   `json:"present"`
		}{"place", p.ID, p.Region, p.Project, p.Container, p.Objects, p.Present})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) routes() error {
	all, err := d.l.Routes()
	if err != nil {
		return err
	}
	for _, r := range all {
		listed := ""
		if !r.Listed.IsZero() {
			listed = stamp(r.Listed.UnixMicro())
		}
		err := d.line(struct {
			Type       string  `json:"type"`
			ID         RouteID `json:"id"`
			From       PlaceID `json:"from"`
			FromPrefix string  `json:"from_prefix,omitempty"`
			To         PlaceID `json:"to"`
			ToPrefix   string  `json:"to_prefix,omitempty"`
			Listed     string  `json:"listed,omitempty"`
			Confirmed  int64   `json:"confirmed"`
		}{"route", r.ID, r.From, r.FromPrefix, r.To, r.ToPrefix, listed, r.Confirmed})
		if err != nil {
			return err
		}
	}
	return nil
}

type dumpReplica struct {
	Route     RouteID      `json:"route"`
	State     string       `json:"state"`
	Version   *dumpVersion `json:"version,omitempty"`
	ETag      string       `json:"etag,omitempty"`
	Written   string       `json:"written,omitempty"`
	Confirmed string       `json:"confirmed,omitempty"`
	Adopted   bool         `json:"adopted,omitempty"`
	Note      string       `json:"note,omitempty"`
}

// String names a state the way dumps and reports do.
func (s ReplicaState) String() string {
	switch s {
	case Confirmed:
		return "confirmed"
	case Conflict:
		return "conflict"
	case Cannot:
		return "cannot"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

func (d *dumper) objects() error {
	places, err := d.l.Places()
	if err != nil {
		return err
	}
	for _, p := range places {
		for after := ""; ; {
			page, err := d.l.Page(p.ID, after, "", "", MaxPage)
			if err != nil {
				return err
			}
			for i := range page {
				if err := d.object(p.ID, &page[i]); err != nil {
					return err
				}
			}
			if len(page) < MaxPage {
				break
			}
			after = page[len(page)-1].Name
		}
	}
	return nil
}

func (d *dumper) object(p PlaceID, o *Object) error {
	line := struct {
		Type  string  `json:"type"`
		Place PlaceID `json:"place"`
		text
		Size int64 `json:"size"`
		dumpVersion
		SHA256   string        `json:"sha256,omitempty"`
		Meta     string        `json:"meta,omitempty"`
		Missing  string        `json:"missing,omitempty"`
		Replicas []dumpReplica `json:"replicas,omitempty"`
	}{Type: "object", Place: p, text: textOf(o.Name), Size: o.Size, dumpVersion: versionOf(o.Version), Missing: stamp(o.Missing)}
	if o.SHA256 != [32]byte{} {
		line.SHA256 = hex.EncodeToString(o.SHA256[:])
	}
	if o.Meta != [8]byte{} {
		line.Meta = hex.EncodeToString(o.Meta[:])
	}
	for _, r := range o.Replicas {
		x := dumpReplica{Route: r.Route, State: r.State.String(), ETag: r.ETag, Written: stamp(r.Written), Confirmed: stamp(r.Confirmed), Adopted: r.Adopted, Note: r.Note}
		if r.Version != o.Version {
			v := versionOf(r.Version)
			x.Version = &v
		}
		line.Replicas = append(line.Replicas, x)
	}
	return d.line(line)
}

func (d *dumper) intents() error {
	routes, err := d.l.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		for after := ""; ; {
			page, err := d.l.Intents(r.ID, after, MaxPage)
			if err != nil {
				return err
			}
			for _, in := range page {
				err := d.line(struct {
					Type  string  `json:"type"`
					Route RouteID `json:"route"`
					text
					Size int64 `json:"size"`
					dumpVersion
					Expect string `json:"expect,omitempty"`
					Chunk  int64  `json:"chunk,omitempty"`
					Began  string `json:"began,omitempty"`
				}{"intent", r.ID, textOf(in.Name), in.Size, versionOf(in.Version), in.ETag, in.Layout.Chunk, stamp(in.Began)})
				if err != nil {
					return err
				}
			}
			if len(page) < MaxPage {
				break
			}
			after = page[len(page)-1].Name
		}
	}
	return nil
}

// chunks goes by key: the names' lengths, then the names, then the indexes.
func (d *dumper) chunks() error {
	routes, err := d.l.Routes()
	if err != nil {
		return err
	}
	type line struct {
		Type  string  `json:"type"`
		Route RouteID `json:"route"`
		text
		Index  *int   `json:"index,omitempty"`
		MD5    string `json:"md5,omitempty"`
		Hashed int    `json:"hashed_chunks,omitempty"`
	}
	for _, r := range routes {
		for pos := []byte(nil); ; {
			var lines []line
			err := d.l.view("dump chunks", func(tx *bbolt.Tx) error {
				b := owned(tx, bucketChunks, uint32(r.ID))
				if b == nil {
					return nil
				}
				c := b.Cursor()
				k, v := c.Seek(pos)
				if pos != nil && bytes.Equal(k, pos) {
					k, v = c.Next()
				}
				for ; k != nil && len(lines) < MaxPage; k, v = c.Next() {
					name, index, hash, err := splitChunkKey(k)
					x := line{Type: "chunk", Route: r.ID, text: textOf(name)}
					if err == nil && hash {
						var h HashState
						h, err = decodeHash(r.ID, k, v)
						x.Type, x.Hashed = "digests", h.Chunks
					} else if err == nil {
						var one ChunkRecord
						one, err = decodeChunk(r.ID, k, v, index)
						x.Index, x.MD5 = &index, hex.EncodeToString(one.MD5[:])
					}
					if err != nil {
						return corrupt(d.l.path, err, "chunk %q of route %d", k, r.ID)
					}
					lines, pos = append(lines, x), bytes.Clone(k)
				}
				return nil
			})
			if err != nil {
				return err
			}
			for _, x := range lines {
				if err := d.line(x); err != nil {
					return err
				}
			}
			if len(lines) < MaxPage {
				break
			}
		}
	}
	return nil
}

func (d *dumper) passes() error {
	all, err := d.l.Passes()
	if err != nil {
		return err
	}
	type span struct {
		Lo   string `json:"lo"`
		Hi   string `json:"hi"`
		Pos  string `json:"pos"`
		Done bool   `json:"done"`
	}
	for _, p := range all {
		spans := make([]span, len(p.Ranges))
		for i, r := range p.Ranges {
			spans[i] = span(r)
		}
		err := d.line(struct {
			Type    string `json:"type"`
			Key     string `json:"key"`
			Began   string `json:"began"`
			Ended   string `json:"ended,omitempty"`
			Resumed int    `json:"resumed"`
			Ranges  []span `json:"ranges"`
		}{"pass", p.Key, stamp(p.Began), stamp(p.Ended), p.Resumed, spans})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) notes() error {
	type line struct {
		Type  string `json:"type"`
		Key   string `json:"key"`
		Value []byte `json:"value"` // base64
	}
	var all []line
	err := d.l.view("dump notes", func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketNotes)).ForEach(func(k, v []byte) error {
			value, err := decodeNote(k, v)
			if err != nil {
				return corrupt(d.l.path, err, "note %q", k)
			}
			all = append(all, line{"note", string(k), value})
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, x := range all {
		if err := d.line(x); err != nil {
			return err
		}
	}
	return nil
}
