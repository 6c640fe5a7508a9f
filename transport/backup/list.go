package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
)

// ListInfo is what a block list says of itself.
type ListInfo struct {
	Blocks    int64
	BlockSize int  // bytes
	Digest    Hash // SHA-256 over the hashes of all blocks, in order
	Parent    Hash // the Digest of the list that this is a delta on; zero of a whole one
}

// A list is, with uvarints as in Protocol Buffers:
//
//	magic "FSBL", version 01
//	block size, uvarint
//	digest of the parent's list, 32 bytes; zero of a whole list
//	runs, each a uvarint of 4 × count + kind, with a count of at least 1:
//	    0  that many blocks as in the parent's list
//	    1  one hash, which is that of so many blocks
//	    2  so many hashes
//	the end, a uvarint of 4 × blocks in all + 3
//	SHA-256 over the hashes of all blocks
//	CRC-32C of everything before, big-endian
const (
	listMagic   = "FSBL"
	listVersion = 1

	runParent = 0
	runSame   = 1
	runHashes = 2
	runEnd    = 3

	// listRun is how many different hashes are written in one run, which bounds the memory.
	listRun = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteList writes the compact list of a volume's blocks of blockSize bytes: whole, or,
// with a parent, as a delta on the list whose Digest is parentDigest. It reads both to
// their ends.
func WriteList(w io.Writer, blockSize int, blocks, parent Blocks, parentDigest Hash) (ListInfo, error) {
	if blockSize <= 0 || (parent == nil) != (parentDigest == Hash{}) {
		return ListInfo{}, fmt.Errorf("write block list: %w", errors.New("a positive block size, and a parent with its digest or neither, are needed"))
	}
	l := &listWriter{crc: crc32.New(castagnoli), all: sha256.New()}
	l.w = bufio.NewWriter(io.MultiWriter(w, l.crc))
	l.put([]byte(listMagic))
	l.put([]byte{listVersion})
	l.put(binary.AppendUvarint(nil, uint64(blockSize))) //nolint:gosec // positive
	l.put(parentDigest[:])
	info := ListInfo{BlockSize: blockSize, Parent: parentDigest}
	for {
		h, err := blocks.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ListInfo{}, fmt.Errorf("write block list: %w", err)
		}
		same := false
		if parent != nil {
			switch p, err := parent.Next(); {
			case errors.Is(err, io.EOF):
				parent = nil
			case err != nil:
				return ListInfo{}, fmt.Errorf("write block list: read the parent's: %w", err)
			default:
				same = p == h
			}
		}
		l.add(h, same)
		info.Blocks++
	}
	if err := drain(parent); err != nil {
		return ListInfo{}, fmt.Errorf("write block list: read the parent's: %w", err)
	}
	l.flush()
	l.run(info.Blocks, runEnd)
	l.all.Sum(info.Digest[:0])
	l.put(info.Digest[:])
	err := l.w.Flush()
	if err == nil {
		_, err = w.Write(binary.BigEndian.AppendUint32(nil, l.crc.Sum32()))
	}
	if err != nil {
		return ListInfo{}, fmt.Errorf("write block list: %w", err)
	}
	return info, nil
}

// drain reads to the end, where a list tells whether it was whole.
func drain(b Blocks) error {
	for b != nil {
		if _, err := b.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

type listWriter struct {
	w   *bufio.Writer // its first error stays, and comes out at the end
	crc hash.Hash32
	all hash.Hash

	kind   uint64 // of the run at hand
	count  int64
	hashes []byte // of a run of hashes; of one of equal ones, the one
	hash   Hash   // the one at hand, where it costs no allocation
}

// add puts a block into the run at hand or begins another one.
func (l *listWriter) add(h Hash, asParent bool) {
	l.hash = h
	l.all.Write(l.hash[:])
	last := bytes.HasSuffix(l.hashes, l.hash[:])
	switch {
	case asParent && (l.count == 0 || l.kind != runParent):
		l.flush()
		l.kind = runParent
	case asParent:
	case l.kind == runSame && l.count > 0 && last:
	case l.kind == runHashes && l.count > 0 && last:
		// The one before it goes into the new run.
		l.hashes, l.count = l.hashes[:len(l.hashes)-len(h)], l.count-1
		l.flush()
		l.kind, l.count, l.hashes = runSame, 1, append(l.hashes, l.hash[:]...)
	default:
		if l.kind != runHashes || l.count == listRun {
			l.flush()
		}
		l.kind, l.hashes = runHashes, append(l.hashes, l.hash[:]...)
	}
	l.count++
}

func (l *listWriter) flush() {
	if l.count > 0 {
		l.run(l.count, l.kind)
		l.put(l.hashes)
	}
	l.count, l.hashes = 0, l.hashes[:0]
}

func (l *listWriter) run(n int64, kind uint64) {
	l.put(binary.AppendUvarint(nil, uint64(n)<<2|kind)) //nolint:gosec // not negative
}

func (l *listWriter) put(b []byte) { _, _ = l.w.Write(b) }

// List is the Blocks of a compact list.
type List struct {
	from   source
	b      *bufio.Reader
	parent Blocks
	info   ListInfo
	crc    uint32
	all    hash.Hash

	kind uint64
	left int64 // of the run at hand
	same Hash
	hash Hash // the block's at hand, where it costs no allocation
	err  error
}

// OpenList reads the head of a compact list. A delta needs the Blocks of its parent,
// and takes as many of them as it has itself; Info().Parent says which list that must be.
// What is read is known to be whole and right when Next has given io.EOF, and not before.
func OpenList(r io.Reader, parent Blocks) (*List, error) {
	l := &List{from: source{r: r}, parent: parent, all: sha256.New()}
	l.b = bufio.NewReaderSize(&l.from, 32<<10)
	if err := l.open(); err != nil {
		return nil, l.from.failed("block list", err)
	}
	return l, nil
}

// Info is what the list says of itself; Blocks and Digest when Next has given io.EOF.
func (l *List) Info() ListInfo { return l.info }

func (l *List) open() error {
	var head [len(listMagic) + 1]byte
	if err := l.take(head[:]); err != nil {
		return err
	}
	if string(head[:len(listMagic)]) != listMagic {
		return formatError("it does not begin with %s", listMagic)
	}
	if v := head[len(listMagic)]; v != listVersion {
		return formatError("version %d, %d is known", v, listVersion)
	}
	size, err := l.uvarint()
	if err != nil {
		return err
	}
	if size == 0 || size > math.MaxInt32 {
		return formatError("blocks of %d bytes", size)
	}
	l.info.BlockSize = int(size)
	if err := l.take(l.info.Parent[:]); err != nil {
		return err
	}
	if l.parent == nil && l.info.Parent != (Hash{}) {
		l.from.err = errors.New("it is a delta on another list, which is not at hand")
		return l.from.err
	}
	return nil
}

// Next gives the next block's hash.
func (l *List) Next() (Hash, error) {
	if l.err != nil {
		return Hash{}, l.err
	}
	h, err := l.next()
	if err == nil {
		return h, nil
	}
	if l.err = io.EOF; !errors.Is(err, errEnd) {
		l.err = l.from.failed("block list", err)
	}
	return Hash{}, l.err
}

func (l *List) next() (h Hash, err error) {
	for l.left == 0 {
		if err := l.run(); err != nil {
			return h, err
		}
	}
	// The parent's goes along, block by block, whether it is asked for or not.
	var before Hash
	if l.parent != nil {
		if before, err = l.parent.Next(); errors.Is(err, io.EOF) {
			l.parent, err = nil, nil
		} else if err != nil {
			l.from.err = fmt.Errorf("read the parent's list: %w", err) // so that nothing is known of this one
			return h, err
		}
	}
	switch {
	case l.kind == runSame:
		l.hash = l.same
	case l.kind == runHashes:
		err = l.take(l.hash[:])
	case l.parent == nil:
		err = formatError("the parent's list has %d blocks only", l.info.Blocks)
	default:
		l.hash = before
	}
	if err != nil {
		return Hash{}, err
	}
	l.left--
	l.info.Blocks++
	l.all.Write(l.hash[:])
	return l.hash, nil
}

// run reads the head of the next run, or the end, which is errEnd if all is right.
func (l *List) run() error {
	n, err := l.uvarint()
	if err != nil {
		return err
	}
	kind, count := n&3, int64(n>>2) //nolint:gosec // 62 bits
	switch {
	case kind == runEnd:
		return l.end(count)
	case count == 0:
		return formatError("an empty run after block %d", l.info.Blocks)
	case kind == runParent && l.info.Parent == Hash{}:
		return formatError("a whole list speaks of a parent's")
	}
	l.kind, l.left = kind, count
	if kind == runSame {
		return l.take(l.same[:])
	}
	return nil
}

func (l *List) end(blocks int64) error {
	l.all.Sum(l.info.Digest[:0])
	var digest Hash
	if err := l.take(digest[:]); err != nil {
		return err
	}
	want, crc := l.crc, [4]byte{}
	if err := l.take(crc[:]); err != nil {
		return err
	}
	switch _, err := l.b.ReadByte(); {
	case err == nil:
		return formatError("something follows it")
	case !errors.Is(err, io.EOF):
		return err
	case binary.BigEndian.Uint32(crc[:]) != want:
		return formatError("its checksum is wrong")
	case blocks != l.info.Blocks:
		return formatError("it has %d blocks and says %d", l.info.Blocks, blocks)
	case digest != l.info.Digest:
		return formatError("the digest of its blocks is wrong: it is a delta on another list than %x, or damaged", l.info.Parent[:4])
	}
	return errEnd
}

// take reads exactly b and counts it into the checksum.
func (l *List) take(b []byte) error {
	if _, err := io.ReadFull(l.b, b); err != nil {
		return err
	}
	l.crc = crc32.Update(l.crc, castagnoli, b)
	return nil
}

func (l *List) uvarint() (uint64, error) {
	var b [binary.MaxVarintLen64]byte
	for i := range b {
		if err := l.take(b[i : i+1]); err != nil {
			return 0, err
		}
		if b[i] < 0x80 {
			n, ok := binary.Uvarint(b[:i+1])
			if ok <= 0 {
				break
			}
			return n, nil
		}
	}
	return 0, formatError("a number is too large")
}
