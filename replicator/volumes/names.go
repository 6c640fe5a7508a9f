package volumes

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"farshore/store"
	"farshore/transport"
)

// Keys of the metadata that everything Farshore makes in a Cinder carries.
const (
	keyPolicy = "farshore"      // the policy's name
	keyWork   = "farshore_work" // the work's id: a restart finds what it made by it (R6)
)

// PointsContainer holds, at a destination, what a restore needs of every point when
// neither its source nor a ledger is left: two small objects a point.
const PointsContainer = ".farshore-points"

// What begins the names of resources that Farshore makes; those of scratch ones, which live
// no longer than the work they are for.
const (
	madePrefix             = "farshore-" // of snapshots and backups, too, that stay
	scratchPrefix          = madePrefix + "scratch-"
	scratchContainerPrefix = "." + scratchPrefix
)

// scratchName is what the scratch volume or backup of a work is called.
func scratchName(work string) string { return scratchPrefix + work }

// scratchContainer is what the scratch container of a work is called.
func scratchContainer(work string) string { return scratchContainerPrefix + work }

// madeName is what the snapshot or backup of a work is called.
func madeName(policy, work string) string {
	const most = 255 - len("farshore--") - 2*workBytes // Cinder's limit of a name
	if len(policy) > most {
		policy = strings.ToValidUTF8(policy[:most], "")
	}
	return madePrefix + policy + "-" + work
}

// madeMetadata is the metadata of what a work makes.
func madeMetadata(policy, work string) map[string]string {
	return map[string]string{keyPolicy: policy, keyWork: work}
}

// descriptorName and blocksName name a point's two objects in PointsContainer; backup
// is its id in that region.
func descriptorName(volume, backup string) string { return volume + "/" + backup + descriptorSuffix }
func blocksName(volume, backup string) string     { return volume + "/" + backup + blocksSuffix }

const (
	descriptorSuffix = ".json"
	blocksSuffix     = ".blocks"
)

// volumeOf is what people call a point's volume, with its id.
func volumeOf(p store.Point) string {
	if p.Volume.Name == "" {
		return p.Volume.ID
	}
	return transport.PrintName(p.Volume.Name) + " (" + p.Volume.ID + ")"
}

const workBytes = 8

// newWorkID makes a name that nothing else has.
func newWorkID() (string, error) {
	var b [workBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a work's id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
