package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Hash is the SHA-256 of one block of a volume.
type Hash = [sha256.Size]byte

// Blocks are the hashes of all blocks of a volume, in order. Next gives io.EOF after the
// last one, and any other error for good.
type Blocks interface{ Next() (Hash, error) }

// HashHead is what a _sha256file says beside the hashes (C8).
type HashHead struct {
	Version, BackupID, VolumeID  string
	Name, Description, CreatedAt string // "" may have been null
	BlockSize                    int    // bytes: chunk_size
}

// HashReader is the Blocks of a _sha256file: 72 bytes a block, read in bounded memory.
type HashReader struct {
	from  *source
	b     *bufio.Reader
	head  HashHead
	seen  map[string]bool
	begun bool // a hash was read
	err   error
}

const (
	hashesBuffer = 64 << 10
	// maxHead bounds what stands before the hashes: a few texts.
	maxHead = 1 << 20
)

// OpenHashes reads a _sha256file up to its hashes. The fields that come after them,
// version and volume_id in Cinder's order, are in Head when Next has given io.EOF, and
// are checked there.
func OpenHashes(r io.Reader) (*HashReader, error) {
	h := &HashReader{seen: map[string]bool{}, from: &source{r: r}}
	limited := &io.LimitedReader{R: h.from, N: maxHead}
	d := json.NewDecoder(limited)
	found := errors.New("the hashes begin")
	err := eachField(d, func(key string) error {
		if key != "sha256s" {
			return h.field(d, key)
		}
		h.seen[key] = true
		if t, err := d.Token(); err != nil {
			return err
		} else if t != json.Delim('[') {
			return formatError("it is no list")
		}
		return found
	})
	switch {
	case err == nil:
		err = formatError("sha256s is missing")
	case errors.Is(err, found) && h.head.BlockSize == 0:
		err = formatError("chunk_size does not come before the hashes")
	case errors.Is(err, found):
		h.b = bufio.NewReaderSize(io.MultiReader(d.Buffered(), h.from), hashesBuffer)
		return h, nil
	case limited.N == 0:
		err = formatError("no hashes within %d bytes", maxHead)
	}
	return nil, h.from.failed("_sha256file", err)
}

// Head is what is known by now.
func (h *HashReader) Head() HashHead { return h.head }

// field reads one field that is not the list.
func (h *HashReader) field(d *json.Decoder, key string) error {
	h.seen[key] = true
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return err
	}
	if key == "chunk_size" {
		if err := json.Unmarshal(raw, &h.head.BlockSize); err != nil || h.head.BlockSize <= 0 {
			return formatError("it is %s, no number of bytes", raw)
		}
		return nil
	}
	to := map[string]*string{"version": &h.head.Version, "backup_id": &h.head.BackupID, "volume_id": &h.head.VolumeID, "backup_name": &h.head.Name,
		"backup_description": &h.head.Description, "created_at": &h.head.CreatedAt}[key]
	if to == nil {
		return nil
	}
	text, err := nullable(raw)
	if err != nil {
		return formatError("it %w", err)
	}
	*to = text
	return nil
}

// Next gives the next block's hash.
func (h *HashReader) Next() (Hash, error) {
	if h.err != nil {
		return Hash{}, h.err
	}
	var hash Hash
	done, err := h.element(&hash)
	if err == nil && done {
		err = h.tail()
	}
	if err == nil {
		return hash, nil
	}
	if h.err = io.EOF; !errors.Is(err, errEnd) {
		h.err = h.from.failed("_sha256file", err)
	}
	return Hash{}, h.err
}

// element reads a hash with what stands before it; done says that the list is at its end.
func (h *HashReader) element(hash *Hash) (done bool, err error) {
	c, err := h.skipSpace()
	if err != nil {
		return false, err
	}
	switch {
	case c == ']':
		return true, nil
	case h.begun && c == ',':
		if c, err = h.skipSpace(); err != nil {
			return false, err
		}
	case h.begun:
		return false, formatError("sha256s: %q where a comma should be", c)
	}
	if c != '"' {
		return false, formatError("sha256s: %q where a hash should begin", c)
	}
	text, err := h.b.Peek(2*len(hash) + 1)
	if err != nil {
		return false, err
	}
	bad := text[2*len(hash)] != '"'
	for i := range hash {
		hi, lo := nibble(text[2*i]), nibble(text[2*i+1])
		bad = bad || hi > 15 || lo > 15
		hash[i] = hi<<4 | lo
	}
	if bad {
		return false, formatError("sha256s: %q is no hash", text)
	}
	h.begun = true
	_, err = h.b.Discard(len(text))
	return false, err
}

// skipSpace gives the next byte that is not white space.
func (h *HashReader) skipSpace() (byte, error) {
	for {
		c, err := h.b.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c, nil
		}
	}
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

// errEnd is the proper end: an io.EOF may also come in the middle.
var errEnd = errors.New("the end")

// tail reads what follows the list, as an object of which it is the first field; at the
// proper end it gives errEnd.
func (h *HashReader) tail() error {
	limited := &io.LimitedReader{R: h.b, N: maxHead}
	d := json.NewDecoder(io.MultiReader(bytes.NewReader([]byte(`{"":0`)), limited))
	err := eachField(d, func(key string) error {
		if key != "" && h.seen[key] {
			return formatError("it is there twice")
		}
		return h.field(d, key)
	})
	if err == nil {
		err = atEnd(d)
	}
	switch {
	case err != nil && limited.N == 0:
		return formatError("more than %d bytes follow the hashes", maxHead)
	case err != nil:
		return err
	case h.head.Version != Version:
		return formatError("version is %q, %q is known", h.head.Version, Version)
	case h.head.BackupID == "" || h.head.VolumeID == "":
		return formatError("backup_id or volume_id is missing")
	}
	return errEnd
}

// HashBlocks reads r to its end and gives the hash of each block of blockSize bytes; the
// last one may be shorter.
func HashBlocks(r io.Reader, blockSize int, yield func(Hash) error) error {
	buf := make([]byte, blockSize)
	for {
		n, err := fill(r, buf)
		if err != nil {
			return fmt.Errorf("hash blocks: %w", err)
		}
		if n > 0 {
			if err := yield(sha256.Sum256(buf[:n])); err != nil {
				return err
			}
		}
		if n < len(buf) {
			return nil
		}
	}
}

// fill reads until buf is full or r at its end. io.ReadFull calls that end an unexpected
// one, as a connection does which broke.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// SliceBlocks are hashes that are in memory.
func SliceBlocks(hashes []Hash) Blocks { return &sliceBlocks{hashes} }

type sliceBlocks struct{ left []Hash }

func (s *sliceBlocks) Next() (Hash, error) {
	if len(s.left) == 0 {
		return Hash{}, io.EOF
	}
	h := s.left[0]
	s.left = s.left[1:]
	return h, nil
}
