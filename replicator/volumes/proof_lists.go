package volumes

import (
	"context"
	"errors"
	"fmt"

	"farshore/store"
	"farshore/transport"
	"farshore/transport/backup"
)

// hashList is a volume's block hashes from somewhere, to be read once.
type hashList struct {
	backup.Blocks
	blockSize int
	close     func()
}

// openHashes opens a backup's _sha256file, which Cinder wrote (C8).
func (s *Shipper) openHashes(ctx context.Context, sink transport.Sink, at store.PointCopy) (hashList, error) {
	name := backup.HashesPart.Name(at.Prefix)
	_, body, err := sink.Open(ctx, at.Container, name, transport.OpenOptions{Length: -1})
	if err != nil {
		return hashList{}, err
	}
	h, err := backup.OpenHashes(body)
	if err != nil {
		body.Close()
		return hashList{}, fmt.Errorf("read %s/%s: %w", transport.PrintName(at.Container), transport.PrintName(name), err)
	}
	return hashList{Blocks: h, blockSize: h.Head().BlockSize, close: func() { body.Close() }}, nil
}

// errNoList says that there is no list to compare with there.
var errNoList = errors.New("there is no block list")

// openSource opens the source's own list, where the source is at hand.
func (j *restoring) openSource(ctx context.Context) (hashList, error) {
	src, ok := j.s.o.Regions[j.point.Region]
	if !ok || j.point.Gone != 0 || j.point.Prefix == "" {
		return hashList{}, errNoList
	}
	list, err := j.s.openHashes(ctx, src.Objects, store.PointCopy{Container: j.point.Container, Prefix: j.point.Prefix})
	if err != nil && !errors.Is(err, backup.ErrFormat) {
		j.s.o.Log.Info("the source's block list cannot be read", "point", j.point.ID, "err", err)
		err = errNoList
	}
	return list, err
}

// openObjects hashes what the region's copies of the chain's objects make.
func (j *restoring) openObjects(ctx context.Context, blockSize int) (hashList, error) {
	var layers []layer
	for _, l := range j.chain {
		m, err := j.s.readMetadata(ctx, j.r.Objects, l.at)
		if err != nil {
			return hashList{}, err
		}
		layers = append(layers, layer{l.at.Container, l.at.Prefix, m})
	}
	h := hashLayers(ctx, openIn(j.r.Objects), layers, blockSize)
	return hashList{Blocks: h, blockSize: blockSize, close: h.close}, nil
}

// openBlocks opens the block list that stands beside the last of the chain's backups: a
// whole one, or one that says only what is new against the list of the backup before it.
func (j *restoring) openBlocks(ctx context.Context) (hashList, error) {
	var open []func()
	out := hashList{close: func() {
		for _, f := range open {
			f()
		}
	}}
	fail := func(err error) (hashList, error) {
		out.close()
		return hashList{}, err
	}
	var list *backup.List
	for i, l := range j.chain {
		name := blocksName(j.point.Volume.ID, l.at.Backup)
		_, body, err := j.r.Objects.Open(ctx, PointsContainer, name, transport.OpenOptions{Length: -1})
		if transport.Is(err, transport.NotFound) {
			if i == len(j.chain)-1 {
				return fail(errNoList)
			}
			list = nil // the next one may be whole
			continue
		}
		if err != nil {
			return fail(err)
		}
		open = append(open, func() { body.Close() })
		var parent backup.Blocks
		if list != nil {
			parent = list
		}
		if list, err = backup.OpenList(body, parent); err != nil {
			if i == len(j.chain)-1 {
				return fail(fmt.Errorf("read %s/%s: %w", PointsContainer, name, err))
			}
			list = nil
		}
	}
	out.Blocks, out.blockSize = list, list.Info().BlockSize
	return out, nil
}
