package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"farshore/transport/chunk"
)

// chunkKey gives the keys of an intent's chunks: the name's length, the name,
// the index. The length in front keeps a name that ends in anything at all (NUL
// included) from looking like another name's chunk.
func chunkKey(name string, index int) []byte {
	return binary.BigEndian.AppendUint32(hashKey(name), uint32(index)) //nolint:gosec // checked by ChunkDone
}

// hashKey is the key of the digest states, and the prefix of the chunks' keys.
func hashKey(name string) []byte {
	b := make([]byte, 0, len(name)+6)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name))) //nolint:gosec // names are at most MaxName
	return append(b, name...)
}

// splitChunkKey is the reverse; hash says that it is the digest states' key.
func splitChunkKey(k []byte) (name string, index int, hash bool, err error) {
	if len(k) < 2 {
		return "", 0, false, fmt.Errorf("%w: chunk key of %d bytes", errDecode, len(k))
	}
	n := int(binary.BigEndian.Uint16(k))
	switch rest := k[2:]; len(rest) {
	case n:
		return string(rest), 0, true, nil
	case n + 4:
		return string(rest[:n]), int(binary.BigEndian.Uint32(rest[n:])), false, nil
	}
	return "", 0, false, fmt.Errorf("%w: chunk key's length", errDecode)
}

func appendChunk(b []byte, r RouteID, key []byte, c ChunkRecord) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = append(b, c.MD5[:]...)
	return seal(kindChunk, uint32(r), key, b, from)
}

func decodeChunk(r RouteID, key, v []byte, index int) (ChunkRecord, error) {
	body, err := unseal(kindChunk, uint32(r), key, v)
	if err != nil {
		return ChunkRecord{}, err
	}
	d := decoder{b: body}
	c := ChunkRecord{Index: index}
	copy(c.MD5[:], d.take(16))
	return c, d.done()
}

func appendHash(b []byte, r RouteID, key []byte, h *HashState) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(h.Chunks)) //nolint:gosec // the bits come back as they were
	b = appendBytes(b, h.MD5)
	b = appendBytes(b, h.SHA256)
	return seal(kindHash, uint32(r), key, b, from)
}

func decodeHash(r RouteID, key, v []byte) (HashState, error) {
	body, err := unseal(kindHash, uint32(r), key, v)
	if err != nil {
		return HashState{}, err
	}
	d := decoder{b: body}
	h := HashState{Chunks: int(d.uvarint()), MD5: d.bytes(), SHA256: d.bytes()} //nolint:gosec // see appendHash
	return h, d.done()
}

// Flags of an intent's record.
const (
	intentSameETag = 1 << 0 // the destination's ETag is the version's
	intentETag     = 1 << 1
	intentLayout   = 1 << 2
	intentFlags    = 1<<3 - 1
)

func appendIntent(b []byte, key []byte, in *Intent) []byte {
	from := len(b)
	var flags byte
	switch in.ETag {
	case "":
	case in.Version.ETag:
		flags |= intentSameETag
	default:
		flags |= intentETag
	}
	if in.Layout != (chunk.Layout{}) {
		flags |= intentLayout
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendUvarint(b, uint64(in.Size)) //nolint:gosec // the bits come back as they were
	b = appendTag(b, in.Version.ETag)
	b = binary.AppendVarint(b, in.Version.Modified)
	b = binary.AppendVarint(b, in.Began)
	if flags&intentETag != 0 {
		b = appendTag(b, in.ETag)
	}
	if flags&intentLayout != 0 {
		b = binary.AppendVarint(b, in.Layout.Size)
		b = binary.AppendVarint(b, in.Layout.Chunk)
	}
	return seal(kindIntent, uint32(in.Route), key, b, from)
}

func decodeIntent(r RouteID, key, v []byte) (Intent, error) {
	body, err := unseal(kindIntent, uint32(r), key, v)
	if err != nil {
		return Intent{}, err
	}
	d := decoder{b: body}
	flags := d.byte()
	if flags&^intentFlags != 0 {
		d.fail("unknown flags")
	}
	in := Intent{Route: r, Name: string(key), Size: int64(d.uvarint())} //nolint:gosec // see appendIntent
	in.Version = Version{ETag: d.tag(), Modified: d.varint()}
	in.Began = d.varint()
	if flags&intentSameETag != 0 {
		in.ETag = in.Version.ETag
	}
	if flags&intentETag != 0 {
		in.ETag = d.tag()
	}
	if flags&intentLayout != 0 {
		in.Layout = chunk.Layout{Size: d.varint(), Chunk: d.varint()}
	}
	return in, d.done()
}

func appendPlace(b []byte, key []byte, p *PlaceInfo) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = appendString(b, p.Region)
	b = appendString(b, p.Project)
	b = appendString(b, p.Container)
	b = binary.AppendVarint(b, p.Objects)
	b = binary.AppendVarint(b, p.Present)
	return seal(kindPlace, 0, key, b, from)
}

func decodePlace(id PlaceID, key, v []byte) (PlaceInfo, error) {
	body, err := unseal(kindPlace, 0, key, v)
	if err != nil {
		return PlaceInfo{}, err
	}
	d := decoder{b: body}
	p := PlaceInfo{ID: id, Place: Place{Region: d.string(), Project: d.string(), Container: d.string()}}
	p.Objects, p.Present = d.varint(), d.varint()
	return p, d.done()
}

func appendRoute(b []byte, key []byte, r *RouteInfo) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(r.From))
	b = binary.AppendUvarint(b, uint64(r.To))
	b = appendString(b, r.FromPrefix)
	b = appendString(b, r.ToPrefix)
	var listed int64
	if !r.Listed.IsZero() {
		listed = r.Listed.UnixMicro()
	}
	b = binary.AppendVarint(b, listed)
	b = binary.AppendVarint(b, r.Confirmed)
	return seal(kindRoute, 0, key, b, from)
}

// decodeRoute leaves the two places' names to the catalog.
func decodeRoute(id RouteID, key, v []byte) (RouteInfo, error) {
	body, err := unseal(kindRoute, 0, key, v)
	if err != nil {
		return RouteInfo{}, err
	}
	d := decoder{b: body}
	r := RouteInfo{ID: id, From: PlaceID(d.uvarint()), To: PlaceID(d.uvarint())} //nolint:gosec // looked up by the catalog
	r.FromPrefix, r.ToPrefix = d.string(), d.string()
	if listed := d.varint(); listed != 0 {
		r.Listed = time.UnixMicro(listed).UTC()
	}
	r.Confirmed = d.varint()
	return r, d.done()
}

func appendPass(b []byte, key []byte, p *Pass) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = binary.AppendVarint(b, p.Began)
	b = binary.AppendVarint(b, p.Ended)
	b = binary.AppendVarint(b, int64(p.Resumed))
	b = binary.AppendUvarint(b, uint64(len(p.Ranges)))
	for _, r := range p.Ranges {
		b = appendString(b, r.Lo)
		b = appendString(b, r.Hi)
		b = appendString(b, r.Pos)
		var done byte
		if r.Done {
			done = 1
		}
		b = append(b, done)
	}
	return seal(kindPass, 0, key, b, from)
}

func decodePass(key, v []byte) (Pass, error) {
	body, err := unseal(kindPass, 0, key, v)
	if err != nil {
		return Pass{}, err
	}
	d := decoder{b: body}
	p := Pass{Key: string(key), Began: d.varint(), Ended: d.varint(), Resumed: int(d.varint())}
	if n := d.count(); n > 0 {
		p.Ranges = make([]PassRange, n)
		for i := range p.Ranges {
			p.Ranges[i] = PassRange{Lo: d.string(), Hi: d.string(), Pos: d.string()}
			switch d.byte() {
			case 0:
			case 1:
				p.Ranges[i].Done = true
			default:
				d.fail("bad flag")
			}
		}
	}
	return p, d.done()
}

func appendNote(b []byte, key, value []byte) []byte {
	from := len(b)
	b = append(b, recordVersion)
	b = append(b, value...)
	return seal(kindNote, 0, key, b, from)
}

func decodeNote(key, v []byte) ([]byte, error) {
	body, err := unseal(kindNote, 0, key, v)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, body...), nil
}
