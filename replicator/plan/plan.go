// Package plan decides what brings destinations up to a policy. Diff is a pure
// function of what is known of one name: the source's listing, the ledger, the
// destination's listing where it was read, and what the ledger knows of the
// opposite direction. It does no I/O and has no clock.
package plan

import (
	"farshore/store"
	"farshore/transport"
	"slices"
)

// Subject is everything known of one name.
type Subject struct {
	Name   string           // at the source
	Entry  *transport.Entry // the source's listing; nil: not listed
	Record *store.Object    // the ledger; nil: never seen
	Dests  []Dest           // one a route
}

// Dest is what is known of the name at one destination.
type Dest struct {
	Route  store.RouteID
	Listed bool             // the destination's listing was read for this name
	Entry  *transport.Entry // its row; nil while Listed: nothing stands there
	// Head is what a HEAD said of it, where one was made; Diff does not look at it.
	Head   *transport.Object
	Intent *store.Intent // a copy was begun and not confirmed
	Known  []string      // ETags that other routes of ours wrote under this name
	// Back is the ledger's record of the destination's object as a source of the
	// opposite route BackRoute; nil and 0 where there is no such route.
	Back      *store.Object
	BackRoute store.RouteID
}

// Options are the parts of a policy that decide.
type Options struct {
	Now      int64 // µs since 1970 UTC
	Takeover bool  // overwrite what is not ours
	Deletes  bool  // deletes travel
}

// Action is what a destination needs.
type Action uint8

// The actions.
const (
	None     Action = iota
	Copy            // send the content
	Meta            // the content is there; the headers may differ: ask the source, POST if they do
	Adopt           // identical content stands there: record it, send nothing
	Conflict        // something not ours stands there
	Recheck         // it was a conflict, or cannot be told from one: ask for it by name
)

func (a Action) String() string {
	return [...]string{"none", "copy", "meta", "adopt", "conflict", "recheck"}[a]
}

// RouteStep is what one destination needs.
type RouteStep struct {
	Route    store.RouteID
	Action   Action
	IfAbsent bool   // Copy: nothing is known to stand there, so the write must fail if something does
	ETag     string // Adopt: the destination's ETag; Conflict: the foreign object's
	Written  int64  // Adopt: the destination's time of it, µs
	Ours     bool   // Adopt: it is where our own write here came from
	Why      string // for people and tests
}

// Step is what one name needs.
type Step struct {
	Subject Subject
	Routes  []RouteStep // destinations that need something
	Gone    bool        // the source no longer lists the name: mark it missing
	// Inherit holds the replicas that a name deleted here has at destinations that
	// once sent it here (the way back): the delete may travel.
	Inherit []store.Replica
}

// Idle reports whether the step needs no work at all.
func (s Step) Idle() bool { return len(s.Routes) == 0 && !s.Gone && len(s.Inherit) == 0 }

// staleFor is how long a listing may lag behind what a GET said (R2), in µs. An
// older row that persists is believed: its object was put back with an old timestamp.
const staleFor = 24 * 3600 * 1e6

// lagSlack is how much earlier than Replica.Written (a whole second, rounded up:
// L1b) the region's own time of our write can be, in µs. A row older than that is
// of a listing that lags behind the write.
const lagSlack = 1e6

// VersionOf is the version a listing row stands for.
func VersionOf(e *transport.Entry) store.Version {
	return store.Version{ETag: e.ETag, Modified: e.Modified.UnixMicro()}
}

// Diff decides. It neither keeps nor changes what it is given.
func Diff(s Subject, o Options) Step {
	step := Step{Subject: s}
	if s.Entry == nil {
		return diffGone(step, o)
	}
	if r := s.Record; r != nil && s.Entry.Modified.UnixMicro() < r.Version.Modified && o.Now-r.Version.Modified < staleFor {
		return step // the listing lags behind what the ledger already saw (R2)
	}
	for _, d := range s.Dests {
		if rs := diffRoute(s, d, o); rs.Action != None {
			rs.Route = d.Route
			step.Routes = append(step.Routes, rs)
		}
	}
	return step
}

func diffGone(step Step, o Options) Step {
	s := step.Subject
	if s.Record != nil {
		step.Gone = s.Record.Missing == 0
		return step
	}
	if !o.Deletes {
		return step
	}
	for _, d := range s.Dests {
		// What an audit missed here was lost here, not deleted: that does not travel.
		br, ok := backReplica(d)
		if ok && br.State == store.Confirmed && d.Listed && d.Entry != nil && d.Back.Missing == 0 && VersionOf(d.Entry) == d.Back.Version && br.Version == d.Back.Version {
			step.Inherit = append(step.Inherit, store.Replica{Route: d.Route, State: store.Confirmed, Adopted: true,
				Version:   store.Version{ETag: destETag(br), Modified: br.Written},
				ETag:      d.Back.Version.ETag,
				Written:   d.Back.Version.Modified,
				Confirmed: o.Now})
		}
	}
	return step
}

// backReplica is what we once wrote here from the destination, also where an audit saw
// that it is not here as it was: an edit of what we wrote is what travels back.
func backReplica(d Dest) (store.Replica, bool) {
	if d.Back == nil || d.BackRoute == 0 {
		return store.Replica{}, false
	}
	br, ok := d.Back.Replica(d.BackRoute)
	return br, ok && (br.State == store.Confirmed || br.State == store.Lost)
}

// destETag is the ETag a confirmed replica has at its destination.
func destETag(r store.Replica) string {
	if r.ETag != "" {
		return r.ETag
	}
	return r.Version.ETag
}

func diffRoute(s Subject, d Dest, o Options) RouteStep {
	e, v := s.Entry, VersionOf(s.Entry)
	var rep store.Replica
	has := false
	if s.Record != nil {
		rep, has = s.Record.Replica(d.Route)
	}
	if has && rep.State == store.Confirmed && rep.Version == v {
		return RouteStep{}
	}
	same := has && rep.State == store.Confirmed && rep.Version.ETag == e.ETag
	lost := has && rep.State == store.Lost

	// An object that our own write made here is not news (R15): loops end here. But
	// what an audit found lost is to be sent, whoever made it first.
	if br, ok := backReplica(d); ok && !lost {
		switch {
		case e.ETag != destETag(br):
			if v.Modified <= br.Written-lagSlack && o.Now-br.Written < staleFor {
				return RouteStep{} // the listing lags behind our own write here (R2)
			}
		case d.Listed && d.Entry == nil && d.Intent != nil:
			// it was being sent back to a place that had lost it
		case d.Listed && d.Entry == nil, d.Listed && d.Entry.ETag != br.Version.ETag:
			if v.Modified <= br.Written {
				return RouteStep{} // changed or deleted over there: the opposite direction carries it
			}
		case v.Modified <= br.Written:
			return RouteStep{Action: Adopt, ETag: br.Version.ETag, Written: d.Back.Version.Modified, Ours: true, Why: "written here by us"}
		default:
			same = true // touched since, with the same content: perhaps new headers
		}
	}
	if has && rep.State == store.Cannot && rep.Version == v && !carriedSince(rep.Note) {
		return RouteStep{}
	}

	headers := has && headersOnly(rep, e) || headersDisputed(d)
	switch there, entry := stands(d, e, rep, has), d.Entry; there {
	case nothing:
		return RouteStep{Action: Copy, IfAbsent: true, Why: "new"}
	case unknown:
		if headers && !d.Listed {
			return RouteStep{Action: Meta, Why: "headers in conflict"}
		}
		if o.Takeover { // it is looked at before it is overwritten
			return RouteStep{Action: Copy, Why: "takeover"}
		}
		return RouteStep{Action: Recheck, Why: "conflict or not"}
	case interrupted:
		return RouteStep{Action: Copy, IfAbsent: true, Why: "interrupted"}
	case foreign:
		if o.Takeover {
			return RouteStep{Action: Copy, Why: "takeover"}
		}
		return RouteStep{Action: Conflict, ETag: entry.ETag, Why: "not ours"}
	case identical:
		if lost {
			return RouteStep{Action: Copy, Why: "damaged"}
		}
		if same || headers {
			return RouteStep{Action: Meta, Why: "touched"}
		}
		return RouteStep{Action: Adopt, ETag: entry.ETag, Written: entry.Modified.UnixMicro(), Why: "identical"}
	default: // ours
		if same || headers {
			return RouteStep{Action: Meta, Why: "touched"}
		}
		return RouteStep{Action: Copy, Why: "changed"}
	}
}

// headersOnly reports whether a conflict is about the headers alone: what stands
// there is the copy of these bytes that we made or adopted, so its time is known.
func headersOnly(r store.Replica, e *transport.Entry) bool {
	return r.State == store.Conflict && r.Written != 0 && r.Version.ETag == e.ETag
}

// carriedSince reports whether what a ledger says cannot be kept is a kind that
// versions before this one did not carry.
func carriedSince(note string) bool {
	switch transport.Kind(note) {
	case transport.SLO, transport.DLO, transport.Symlink:
		return true
	}
	return false
}

// headersDisputed reports whether the opposite direction found that the headers were
// changed on both sides: then equal bytes are not enough to adopt.
func headersDisputed(d Dest) bool {
	if d.Back == nil || d.BackRoute == 0 {
		return false
	}
	br, ok := d.Back.Replica(d.BackRoute)
	return ok && br.State == store.Conflict && br.Written != 0
}

// standing says what is at the destination, as far as is known.
type standing uint8

const (
	nothing     standing = iota
	ours                 // what we wrote, or a version of the source that we know
	identical            // the very content
	interrupted          // perhaps what an earlier run wrote and could not record any more
	foreign
	unknown // not ours as far as is known, but a HEAD may know better
)

func stands(d Dest, e *transport.Entry, rep store.Replica, has bool) standing {
	if !d.Listed {
		switch {
		case has && (rep.State == store.Confirmed || rep.State == store.Lost || rep.State == store.Cannot && rep.ETag != ""):
			return ours
		case has && rep.State == store.Conflict:
			return unknown
		}
		return nothing
	}
	there := d.Entry
	if there == nil {
		return nothing
	}
	confirmed, modified := has && rep.State == store.Confirmed, there.Modified.UnixMicro()
	switch {
	case confirmed && modified <= rep.Written-lagSlack:
		// The destination's listing lags behind our own write. Whatever it shows, even
		// this very content, no longer stands there.
		return ours
	case there.ETag == e.ETag && there.Size == e.Size && there.Kind == e.Kind && e.Kind != transport.Symlink:
		return identical
	case there.Kind == transport.Symlink && e.Kind == transport.Symlink && !has:
		return unknown // every link has the ETag of no bytes: where it points, a HEAD tells
	case has && (rep.State != store.Conflict || headersOnly(rep, e)) && there.ETag == destETag(rep):
		return ours
	case d.Intent != nil && d.Intent.ETag != "" && there.ETag == d.Intent.ETag:
		return ours
	case d.Intent != nil && d.Intent.Layout.Count() > 0 && there.Kind == transport.SLO && there.Size == d.Intent.Size:
		return interrupted // a manifest's ETag is not known beforehand; the copier compares it
	case slices.Contains(d.Known, there.ETag):
		return ours
	}
	if br, ok := backReplica(d); ok && br.Version == d.Back.Version && VersionOf(there) == d.Back.Version {
		return ours // unedited since it was the source of what is here
	}
	if confirmed && modified <= rep.Written {
		return unknown // an edit in the second of our write, or a listing that lags by less
	}
	return foreign
}
