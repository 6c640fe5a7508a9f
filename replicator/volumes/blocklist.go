package volumes

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Swift's checksum
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// blockList is the compact list of a point's blocks, on its way to the destinations. The
// zero value is of a point whose hashes could not be read.
type blockList struct {
	blocks    int64
	blockSize int
	digest    store.Sum
	text      *spool
}

// lists makes a trip's list once, for all destinations.
type lists struct {
	mu   sync.Mutex
	list *blockList
}

// blocks makes the point's block list of what Cinder wrote at the source: whole, or as a
// delta on the parent's. It is streamed: the source's text has 72 bytes a block.
func (t *trip) blocks(ctx context.Context) (*blockList, error) {
	t.lists.mu.Lock()
	defer t.lists.mu.Unlock()
	if t.lists.list != nil {
		return t.lists.list, nil
	}
	t.s.o.Progress.Phase("listing the blocks of " + t.volumeName())
	var parent store.Point
	if t.pt.Parent != "" {
		var err error
		if parent, _, err = t.s.o.Ledger.Point(t.pt.Parent); err != nil {
			return nil, err
		}
	}
	list, err := t.writeList(ctx, parent)
	if err != nil && parent.BlocksDigest != (store.Sum{}) && ctx.Err() == nil { // then without the parent's
		list, err = t.writeList(ctx, store.Point{})
	}
	t.lists.list = list
	return list, err
}

// writeList reads the hashes at the source into a spool; of a parent whose list is known,
// only what differs.
func (t *trip) writeList(ctx context.Context, parent store.Point) (*blockList, error) {
	mine, done, err := t.openHashes(ctx, t.pt)
	if err != nil {
		return nil, err
	}
	defer done()
	var theirs backup.Blocks
	if parent.BlocksDigest != (store.Sum{}) && parent.BlockSize == mine.Head().BlockSize {
		h, done, err := t.openHashes(ctx, parent)
		if err != nil {
			return nil, err
		}
		defer done()
		theirs = h
	} else {
		parent.BlocksDigest = store.Sum{}
	}
	out := newSpool()
	info, err := backup.WriteList(out, mine.Head().BlockSize, mine, theirs, backup.Hash(parent.BlocksDigest))
	if err == nil && mine.Head().BackupID != t.pt.ID {
		err = fmt.Errorf("%w: the hashes are of backup %s", backup.ErrFormat, mine.Head().BackupID)
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("list the blocks of backup %s: %w", t.pt.ID, err)
	}
	return &blockList{blocks: info.Blocks, blockSize: info.BlockSize, digest: store.Sum(info.Digest), text: out}, nil
}

// openHashes opens the hashes of a point's blocks at the source.
func (t *trip) openHashes(ctx context.Context, pt store.Point) (h *backup.HashReader, done func(), err error) {
	_, body, err := t.from.Objects.Open(ctx, pt.Container, backup.HashesPart.Name(pt.Prefix), transport.OpenOptions{Length: -1})
	if err != nil {
		return nil, nil, err
	}
	if h, err = backup.OpenHashes(body); err != nil {
		body.Close()
		return nil, nil, err
	}
	return h, func() { body.Close() }, nil
}

// putBlocks writes the point's block list at a destination, if there is one.
func (t *trip) putBlocks(ctx context.Context, region, id string) error {
	if t.pt.BlocksDigest == (store.Sum{}) {
		return nil
	}
	list, err := t.blocks(ctx)
	if err != nil {
		return err
	}
	if list.digest != t.pt.BlocksDigest {
		return &transport.Error{Op: "list the blocks of backup " + t.pt.ID, Region: t.p.From, Container: t.pt.Container, Name: t.pt.Prefix, Class: transport.Corrupt,
			Err: errors.New("the hashes of its blocks are not those that were read before"), Hint: "the source's _sha256file was changed: delete the backup, and a new one is made"}
	}
	r, err := t.s.region(region)
	if err != nil {
		return err
	}
	return putOwn(ctx, r.Objects, blocksName(t.pt.Volume.ID, id), list.text.body(), "application/octet-stream")
}

// close frees what the trip holds.
func (t *trip) close() {
	if t.lists.list != nil && t.lists.list.text != nil {
		t.lists.list.text.Close()
	}
}

// spool holds bytes until they are sent: few in memory, more in a file that goes when
// it is closed. It is written first and read afterwards, by any number at once.
type spool struct {
	memory bytes.Buffer
	file   *os.File
	size   int64
	md5    interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// spoolMemory is what a spool keeps in memory: the list of 4 GiB without a parent.
const spoolMemory = 4 << 20

func newSpool() *spool { return &spool{md5: md5.New()} } //nolint:gosec // Swift's checksum

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) > spoolMemory {
		f, err := os.CreateTemp("", "farshore-blocks-*")
		if err != nil {
			return 0, fmt.Errorf("make a file for a block list: %w", err)
		}
		_ = os.Remove(f.Name()) // it lives as long as it is open; where that is refused, Close tries again
		s.file = f
		if _, err := f.Write(s.memory.Bytes()); err != nil {
			return 0, fmt.Errorf("write a block list: %w", err)
		}
		s.memory = bytes.Buffer{}
	}
	var n int
	var err error
	if s.file != nil {
		n, err = s.file.Write(p)
	} else {
		n, err = s.memory.Write(p)
	}
	s.size += int64(n)
	_, _ = s.md5.Write(p[:n])
	return n, err
}

// body is the payload of a PUT of it.
func (s *spool) body() transport.Body {
	return transport.Body{Size: s.size, MD5: hex.EncodeToString(s.md5.Sum(nil)), Open: func() (io.Reader, error) {
		if s.file != nil {
			return io.NewSectionReader(s.file, 0, s.size), nil
		}
		return bytes.NewReader(s.memory.Bytes()), nil
	}}
}

// Close frees it.
func (s *spool) Close() {
	if s.file != nil {
		_ = s.file.Close() // it was only read from
		_ = os.Remove(s.file.Name())
	}
}
