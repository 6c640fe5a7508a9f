// Package volumes keeps Cinder volumes alive in other regions, through public APIs
// only: a snapshot is backed up into the project's object store, the backup's objects
// are carried by the object engine, and the destination's own Cinder is given the
// record, so that it can restore the volume with no Farshore at hand.
package volumes

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"farshore/replicator"
	"farshore/replicator/lag"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// Region is what the work needs of one region.
type Region struct {
	Objects transport.Sink         // with the retry layer around it
	Blocks  transport.BlockStorage // nil: the region has no block storage
	// Import is the login that imports records, where the region's own may not (I12); nil: Blocks.
	Import transport.BlockStorage
}

// Options are what a Shipper needs.
type Options struct {
	Ledger  *store.Ledger
	Engine  *replicator.Engine // carries the backups' objects, within its limits
	Regions map[string]Region  // by the policy's name of the region
	// Down holds the regions whose login failed, with the error.
	Down     map[string]error
	Clock    transport.Clock  // nil: the system's
	Progress *report.Progress // nil: none shown
	Log      *slog.Logger     // nil: silent
	Lag      *lag.Tracker     // is told of points that wait and that land; nil: nobody
	// OnFinding sees each finding as it is made; nil: nobody. Called from many goroutines.
	OnFinding func(report.Finding)
	Poll      time.Duration // between two looks at what a Cinder is doing, once that takes long; 0: 2 s
	// Lost is how long something is looked for whose create had no reply, and how long a
	// listing may lack what was written; 0: 30 s.
	Lost time.Duration
	// Hands is shared by who works on the ledger at the same time; nil: nobody does.
	Hands *Hands
}

// Shipper carries out what policies say of volumes. Its methods may be called
// concurrently for different volumes.
type Shipper struct {
	o Options

	mu     sync.Mutex
	rights map[string]transport.ImportRights // by region, as far as they were asked for
}

// New makes a shipper.
func New(o Options) *Shipper {
	if o.Clock == nil {
		o.Clock = transport.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = report.NewProgress(o.Clock.Now())
	}
	if o.Poll <= 0 {
		o.Poll = 2 * time.Second
	}
	if o.Lost <= 0 {
		o.Lost = 30 * time.Second
	}
	if o.Hands == nil {
		o.Hands = &Hands{}
	}
	return &Shipper{o: o, rights: map[string]transport.ImportRights{}}
}

// region gives a region that answers to its name and has a login.
func (s *Shipper) region(name string) (Region, error) {
	if r, ok := s.o.Regions[name]; ok {
		return r, nil
	}
	if err, ok := s.o.Down[name]; ok {
		return Region{}, err
	}
	return Region{}, &replicator.UsageError{Msg: fmt.Sprintf("region %s is not defined", name), Hint: "name it under regions: in the policy file, or in clouds.yaml"}
}

// cinder gives a region that has block storage.
func (s *Shipper) cinder(name string) (Region, error) {
	r, err := s.region(name)
	if err == nil && r.Blocks == nil {
		err = &transport.Error{Op: "find block storage", Region: name, Class: transport.Permanent, Err: errors.New("the region's catalog names no block storage"),
			Hint: "volumes need Cinder (a catalog entry of type block-storage or volumev3) in every region of the policy"}
	}
	return r, err
}

// importer is the login that imports records in a region (I12).
func (r Region) importer() transport.BlockStorage {
	if r.Import != nil {
		return r.Import
	}
	return r.Blocks
}
