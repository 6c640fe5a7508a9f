package fakecloud

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// BlockOptions describe a region's Cinder. The zero value is Cinder 21.3 with
// the defaults of its Swift backup driver.
type BlockOptions struct {
	// Off leaves Cinder out of the region and of its catalog.
	Off bool
	// ObjectSize and BlockSize are the driver's, in bytes: what it reads at a time
	// and puts in an object, and what it compares (C4). Default 50 MiB and 32 KiB.
	ObjectSize, BlockSize int64
	// GiB is how many bytes the API's GiB has; default 1<<30. A smaller one makes
	// volumes, and the lists of their blocks, small.
	GiB int64
	// Types are the volume types; the first is the default. Default standard, fast
	// and luks, which is encrypted.
	Types []BlockType
	// Zones are the availability zones; the first is the default. Default nova.
	Zones []string
	// Placement is where backups go (C2, R20); default PerUser.
	Placement BlockPlacement
	// Container is the driver's default container; default volumebackups (C1).
	Container string
	// DenseRestore writes zeros too when a restore makes its volume itself, as
	// Cinder did before 23.0; later ones skip them, for increments as well (C14).
	DenseRestore bool
	// PageSize is osapi_max_limit, the most that a list holds; default 1000.
	PageSize int
	// Quota limits new projects; a missing one has Cinder's default (10, and 1000
	// for gigabytes). Keys: volumes, gigabytes, snapshots, backups,
	// backup_gigabytes, per_volume_gigabytes. -1 is no limit.
	Quota map[string]int
	// Pace is how long work takes; by default none.
	Pace BlockPace
}

// BlockType is a volume type. Its id is made of the region's name and its own,
// so that two regions' differ.
type BlockType struct {
	Name      string
	Encrypted bool
	Private   bool // seen by admins only
	id        string
}

// BlockPlacement is where a region's cinder-backup keeps what it writes (R20).
type BlockPlacement string

// The placements.
const (
	PerUser    BlockPlacement = "per_user"    // the caller's project's Swift account
	SingleUser BlockPlacement = "single_user" // an account of the operator
	Elsewhere  BlockPlacement = "other"       // no Swift at all: an NFS share
)

const (
	swiftDriver = "cinder.backup.drivers.swift.SwiftBackupDriver"
	nfsDriver   = "cinder.backup.drivers.nfs.NFSBackupDriver"
)

// cinder is the block storage of a region. mu guards all of it but what says
// otherwise; Swift's locks are taken under it, never the other way round.
type cinder struct {
	rg    *Region
	opts  BlockOptions
	types []*BlockType

	hook atomic.Pointer[func(BlockStep)]
	due  atomic.Int64 // jobs that may go on, so that a region without any pays nothing

	mu          sync.Mutex
	volumes     map[string]*volume
	snapshots   map[string]*snapshot
	backups     map[string]*backup
	attachments map[string]*attachment
	messages    []*message
	limits      map[string]map[string]int // project, resource
	rules       map[string]string         // policy rule -> role that it asks for
	jobs        []*job
	jobSeq      int
	pace        BlockPace
	faults      []*armedBlock
	faultSeq    int
	placement   BlockPlacement
	blanks      map[int64]blankChunk
	zero        string // SHA-256 of a block of zeros
	window      []byte // what a backup reads into
}

func newCinder(r *Region, o BlockOptions) (*cinder, error) {
	if o.ObjectSize == 0 {
		o.ObjectSize = 52_428_800
	}
	if o.BlockSize == 0 {
		o.BlockSize = 32_768
	}
	if o.GiB == 0 {
		o.GiB = 1 << 30
	}
	if o.ObjectSize < 0 || o.BlockSize < 0 || o.GiB < 0 || o.ObjectSize%o.BlockSize != 0 || o.GiB%o.BlockSize != 0 {
		return nil, fmt.Errorf("block options of %s: object size %d and GiB %d must be multiples of block size %d",
			r.opts.Name, o.ObjectSize, o.GiB, o.BlockSize)
	}
	if len(o.Types) == 0 {
		o.Types = []BlockType{{Name: "standard"}, {Name: "fast"}, {Name: "luks", Encrypted: true}}
	}
	if len(o.Zones) == 0 {
		o.Zones = []string{"nova"}
	}
	if o.Container == "" {
		o.Container = "volumebackups"
	}
	if o.PageSize == 0 {
		o.PageSize = 1000
	}
	if o.Placement == "" {
		o.Placement = PerUser
	}
	if o.Placement != PerUser && o.Placement != SingleUser && o.Placement != Elsewhere {
		return nil, fmt.Errorf("block options of %s: unknown placement %q", r.opts.Name, o.Placement)
	}
	c := &cinder{rg: r, opts: o, pace: o.Pace, placement: o.Placement, volumes: map[string]*volume{}, snapshots: map[string]*snapshot{},
		backups: map[string]*backup{}, attachments: map[string]*attachment{}, limits: map[string]map[string]int{},
		rules: map[string]string{}, blanks: map[int64]blankChunk{}}
	for _, t := range o.Types {
		t.id = uuidOf("type/" + r.opts.Name + "/" + t.Name)
		c.types = append(c.types, &t)
	}
	return c, nil
}

// driver is the backup_service that records name (I1).
func (c *cinder) driver() string {
	if c.placement == Elsewhere {
		return nfsDriver
	}
	return swiftDriver
}

// now is the clock as Cinder's database keeps it: UTC, whole seconds.
func (c *cinder) now() time.Time { return c.rg.cloud.opts.Clock().UTC().Truncate(time.Second) }

// uuidOf makes a name-based id, and newUUID a random one, in the usual form.
func uuidOf(name string) string { return dashed(md5Hex([]byte(name))) }

func dashed(hex string) string {
	return hex[:8] + "-" + hex[8:12] + "-4" + hex[13:16] + "-a" + hex[17:20] + "-" + hex[20:32]
}

// VolumeURL is the block storage endpoint of Project; "" if the region has none.
func (r *Region) VolumeURL() string {
	if r.block == nil {
		return ""
	}
	return r.URL() + blockRoot + "/v3/" + r.ks.project(Project).ID
}
