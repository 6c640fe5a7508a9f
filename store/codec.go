package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
)

// recordVersion is the first byte of every record of this schema.
const recordVersion = 1

// crcSize is the length of the CRC-32C at the end of every record.
const crcSize = 4

// MaxName is the longest name a record may have, in bytes (Swift's own limit is
// 1,024 unless an operator raised it).
const MaxName = 16 << 10

// The kinds of record; the kind is part of the checksum, so that a record which
// turns up in a wrong bucket does not pass.
const (
	kindPlace  = 'p'
	kindRoute  = 'r'
	kindObject = 'o'
	kindIntent = 'i'
	kindChunk  = 'c'
	kindHash   = 'h'
	kindPass   = 'w'
	kindNote   = 'n'
	kindSeries = 's'
	kindNeeds  = 'm'
	kindAlong  = 'a'

	kindProperties = 'q'
	kindPoint      = 'v'
	kindWork       = 'k'
	kindDrill      = 'd'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDecode is the root of everything that can be wrong inside a record.
var errDecode = errors.New("record does not decode")

// checksum covers kind, owner (place or route number; 0 elsewhere), key and body.
func checksum(kind byte, owner uint32, key, body []byte) uint32 {
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], owner)
	c := crc32.Update(0, castagnoli, head[:])
	c = crc32.Update(c, castagnoli, key)
	return crc32.Update(c, castagnoli, body)
}

// seal appends the checksum of b[from:].
func seal(kind byte, owner uint32, key, b []byte, from int) []byte {
	return binary.BigEndian.AppendUint32(b, checksum(kind, owner, key, b[from:]))
}

// unseal verifies checksum and version, and gives what lies between them.
func unseal(kind byte, owner uint32, key, v []byte) ([]byte, error) {
	if len(v) < 1+crcSize {
		return nil, fmt.Errorf("%w: %d bytes are too few", errDecode, len(v))
	}
	body := v[:len(v)-crcSize]
	if got, want := checksum(kind, owner, key, body), binary.BigEndian.Uint32(v[len(body):]); got != want {
		return nil, fmt.Errorf("%w: checksum is %08x, should be %08x", errDecode, got, want)
	}
	if body[0] != recordVersion {
		return nil, fmt.Errorf("%w: record version %d is not known", errDecode, body[0])
	}
	return body[1:], nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendTag writes an ETag: 0 and 16 raw bytes when it is an MD5 in lower-case
// hex, else its length + 1 and its bytes.
func appendTag(b []byte, s string) []byte {
	if len(s) == 32 {
		at := len(b)
		b = append(b, 0)
		for i := 0; i < 32; i += 2 {
			hi, lo := nibble(s[i]), nibble(s[i+1])
			if hi > 15 || lo > 15 {
				b = b[:at]
				break
			}
			b = append(b, hi<<4|lo)
		}
		if len(b) > at {
			return b
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s))+1)
	return append(b, s...)
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// decoder reads a record's body; the first mistake sticks and everything after
// it reads as zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errDecode, what)
	}
	d.b = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("ends early")
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// take gives the next n bytes of the record itself, not a copy.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("ends early")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(d.uvarint())) }

func (d *decoder) bytes() []byte {
	v := d.take(d.uvarint())
	if len(v) == 0 {
		return nil
	}
	return append([]byte(nil), v...)
}

func (d *decoder) tag() string {
	n := d.uvarint()
	if d.err != nil {
		return ""
	}
	if n == 0 {
		return hex.EncodeToString(d.take(16))
	}
	return string(d.take(n - 1))
}

// count reads a number of things of which each takes at least one byte, so that
// a damaged count cannot ask for memory.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail("bad count")
		return 0
	}
	return int(n) //nolint:gosec // bounded by the record's length
}

// done says what went wrong, bytes left over included.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail("bytes left over")
	}
	return d.err
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
