package policies

import "strconv"

// Share is a part of a whole, 0 to 1; Off (any negative value) means no bound.
type Share float64

// Off is the share that nothing exceeds.
const Off Share = -1

// String writes the share as the policy file does: "5%", "off".
func (s Share) String() string {
	if s < 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(s)*100, 'f', -1, 64) + "%"
}

// Brake bounds what one pass over one container may take away (promise 5).
type Brake struct {
	Deletes    Share // of the ledger's objects of that container
	Overwrites Share
	AtLeast    int // fewer changes than this never trip it
}

// TripsDeletes tells whether count deletes of total known objects are too many.
func (b Brake) TripsDeletes(count, total int64) bool { return b.trips(b.Deletes, count, total) }

// TripsOverwrites tells whether count overwrites of total known objects are too many.
func (b Brake) TripsOverwrites(count, total int64) bool { return b.trips(b.Overwrites, count, total) }

// TripsEmpty tells whether a source that lists nothing (or answers 404) while
// known objects are in the ledger must stop the pass. It always does, whatever
// the shares and AtLeast say: an empty listing is more often a fault than a wish.
func (b Brake) TripsEmpty(listed, known int64) bool { return listed == 0 && known > 0 }

func (b Brake) trips(bound Share, count, total int64) bool {
	if bound < 0 || count <= 0 || count < int64(b.AtLeast) {
		return false
	}
	return total <= 0 || float64(count) > float64(bound)*float64(total)
}

// ReplicaCounts says how well some objects are held.
type ReplicaCounts struct {
	Objects   int64         // objects the source has
	ByRegions map[int]int64 // by number of confirmed replicas: how many objects have exactly so many; those not counted have none
}

// Verdict is the answer of Judge.
type Verdict struct {
	Satisfied bool  // every object has enough confirmed replicas
	Short     int64 // objects that have too few
	Needed    int   // replicas each object must have
}

// Judge says whether objects have the confirmed replicas the policy asks for, by their
// counts; a Judging says which do not.
// No objects at all satisfy every policy.
func Judge(p Policy, counts ReplicaCounts) Verdict {
	enough := int64(0)
	for k, n := range counts.ByRegions {
		if k >= p.Replicas {
			enough += n
		}
	}
	if p.Replicas <= 0 {
		enough = counts.Objects
	}
	short := max(counts.Objects-enough, 0)
	return Verdict{Satisfied: short == 0, Short: short, Needed: p.Replicas}
}
