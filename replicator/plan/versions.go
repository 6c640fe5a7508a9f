package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"farshore/store"
	"farshore/transport"
)

// NullVersion is Swift's id of what was written while versioning was off (S7).
const NullVersion = "null"

// pastNull begins the id that a "null" version has in the ledger once it is gone, so
// that the next one can have its own.
const pastNull = NullVersion + "@"

// IsPastNull reports whether an id of the ledger's is that of a "null" version which
// the source does not have any more.
func IsPastNull(id string) bool { return strings.HasPrefix(id, pastNull) }

// Stamp is a time (µs) as Swift writes it in a version id.
func Stamp(us int64) string { return fmt.Sprintf("%010d.%05d", us/1e6, us%1e6/10) }

// place orders versions by age: ids are times, and "null" is what stands now.
func place(id string) string {
	if id == NullVersion {
		return "~"
	}
	if at, ok := strings.CutPrefix(id, pastNull); ok {
		return at + "@"
	}
	return id
}

// Track brings a history up to what the source lists of the name, newest first. A
// version that is not listed any more is marked missing at now (µs) as long as a
// destination has it, and forgotten otherwise. A "null" version that a later write
// has given an id stays the same version: the id is the time it was written (S7).
// s is not changed.
func Track(s store.Series, rows []transport.VersionEntry, now int64) store.Series {
	old := make(map[string]store.SeriesVersion, len(s.Versions))
	for _, v := range s.Versions {
		v.Replicas = slices.Clone(v.Replicas)
		old[v.ID] = v
	}
	rename := func(from, to string) {
		v := old[from]
		delete(old, from)
		v.ID = to
		old[to] = v
	}
	if was, ok := old[NullVersion]; ok {
		id := Stamp(was.Version.Modified)
		i := slices.IndexFunc(rows, func(r transport.VersionEntry) bool { return r.ID == NullVersion })
		if _, known := old[id]; !known && slices.ContainsFunc(rows, func(r transport.VersionEntry) bool { return r.ID == id && r.ETag == was.Version.ETag }) {
			rename(NullVersion, id)
		} else if i < 0 || rows[i].ETag != was.Version.ETag || rows[i].Size != was.Size ||
			// A write after it would have given it an id: it was removed since, and written again with the same bytes.
			slices.ContainsFunc(rows, func(r transport.VersionEntry) bool { return r.ID != NullVersion && r.ID > id }) {
			past := pastNull + id
			for _, taken := old[past]; taken; _, taken = old[past] {
				past += "'"
			}
			rename(NullVersion, past)
		}
	}
	out := store.Series{Name: s.Name}
	for _, r := range rows {
		v, known := old[r.ID]
		delete(old, r.ID)
		modified := r.Modified.UnixMicro()
		switch {
		case !known:
			v = store.SeriesVersion{ID: r.ID, Version: store.Version{ETag: r.ETag, Modified: modified}, Size: r.Size, Marker: r.Marker}
		case modified > v.Version.Modified: // renamed: when Swift copied it, or a client posted to it after that
			v.Version.Modified = modified
			for i := range v.Replicas {
				v.Replicas[i].Touched = !v.Marker && v.Replicas[i].State == store.Confirmed
			}
		}
		v.Latest, v.Missing = r.Latest, 0
		out.Versions = append(out.Versions, v)
	}
	for _, v := range old {
		if len(v.Replicas) == 0 {
			continue
		}
		if v.Latest = false; v.Missing == 0 {
			v.Missing = now
		}
		out.Versions = append(out.Versions, v)
	}
	slices.SortFunc(out.Versions, func(a, b store.SeriesVersion) int {
		return cmp.Or(strings.Compare(place(a.ID), place(b.ID)), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Seed is the history of an object that was copied before its container kept versions,
// or that a rebuilt ledger knows of. What ids its copies have, their listings tell.
func Seed(o *store.Object) store.Series {
	v := store.SeriesVersion{ID: NullVersion, Version: o.Version, Size: o.Size, Meta: o.Meta, Missing: o.Missing}
	for _, r := range o.Replicas {
		if r.State != store.Confirmed || r.Version.ETag != o.Version.ETag {
			continue
		}
		v.SetReplica(store.SeriesReplica{Route: r.Route, ETag: r.ETag, Written: r.Written, Confirmed: r.Confirmed, State: r.State,
			Current: true, Touched: r.Version != o.Version, Adopted: r.Adopted})
	}
	if len(v.Replicas) == 0 {
		return store.Series{Name: o.Name}
	}
	return store.Series{Name: o.Name, Versions: []store.SeriesVersion{v}}
}

// Latest is the version that the source gives to a request without a version id, be
// it a marker; nil if there is none.
func Latest(s *store.Series) *store.SeriesVersion {
	for i := range s.Versions {
		if s.Versions[i].Latest {
			return &s.Versions[i]
		}
	}
	return nil
}

// Settled reports whether, by the ledger alone, a route needs nothing: every listed
// version is there or cannot be, and the right one is current.
func Settled(s *store.Series, r store.RouteID) bool {
	cannot := false // the latest version cannot be there, so that another is current
	if l := Latest(s); l != nil {
		rep, _ := l.Replica(r)
		cannot = rep.State == store.Cannot
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		rep, ok := v.Replica(r)
		if ok && rep.State == store.Confirmed && rep.ID == "" {
			return false
		}
		if v.Missing != 0 {
			continue
		}
		if !ok || rep.Touched || rep.State != store.Confirmed && rep.State != store.Cannot {
			return false
		}
		if !cannot && rep.Current != (v.Latest && !v.Marker) && rep.State == store.Confirmed {
			return false
		}
	}
	return true
}

// Present is the object that a history shows at the source, with the replicas of it
// that destinations show; ok is false if it shows none.
func Present(s *store.Series) (o store.Object, ok bool) {
	v := Latest(s)
	if v == nil || v.Marker {
		return o, false
	}
	o = store.Object{Name: s.Name, Size: v.Size, Version: v.Version, Meta: v.Meta}
	for i := range s.Versions {
		x := &s.Versions[i]
		for _, r := range x.Replicas {
			is := r.State == store.Confirmed && r.Current
			if x != v && !is || x == v && r.State == store.Confirmed && !is {
				continue
			}
			y := store.Replica{Route: r.Route, State: r.State, Version: x.Version, ETag: r.ETag, Written: r.Written, Confirmed: r.Confirmed, Adopted: r.Adopted, Note: r.Note}
			if r.Touched {
				y.Version.Modified-- // an older state of these very bytes
			}
			o.SetReplica(y)
		}
	}
	return o, true
}

// There is what is known of a name at one destination of its history.
type There struct {
	Route store.RouteID
	Rows  []transport.VersionEntry // as listed, newest first
	Begun bool                     // a run before this one wrote there and may not have recorded it
	// Stamped holds the ids of rows that bear our stamp, of those that Weigh put in
	// Doubt; nil: nobody looked yet.
	Stamped map[string]bool
	// Other holds the ids of rows that are something else than the versions they look
	// like in listings.
	Other map[string]bool
	// Back is the destination's own history as the source of the opposite route
	// BackRoute; nil and 0 where there is no such route.
	Back      *store.Series
	BackRoute store.RouteID
}

// Adoption says that a row of a destination is a version of the source.
type Adoption struct {
	ID   string // the source's
	Row  transport.VersionEntry
	Ours bool // we wrote it, or the opposite direction has it from there
}

// Deeds are what one destination needs for one name, in the order in which they have
// to be done.
type Deeds struct {
	// Doubt are rows that may be ours or not, which only their stamps tell: nothing
	// else is decided before.
	Doubt   []transport.VersionEntry
	Foreign []transport.VersionEntry // not ours: nothing is done
	Adopt   []Adoption
	Lost    []string // the source's ids of versions that are recorded there and do not stand there
	Post    []string // the source's ids of versions whose headers were touched
	Append  []string // the source's ids of versions to write, oldest first
	Drop    []string // the destination's ids of what an interrupted run left, to be deleted at the end
	Skip    []string // the source's ids of versions that the opposite direction deleted there
	Current string   // the source's id of the version to be current; "": none
	Keep    bool     // whatever is current there may stay: its own version is to be deleted later
}

// Idle reports whether the destination is as it should be but for which version is current.
func (d *Deeds) Idle() bool {
	return len(d.Adopt)+len(d.Lost)+len(d.Post)+len(d.Append)+len(d.Drop) == 0
}

// Weigh decides what a destination needs for a history that Track has brought up to
// date. Rows that the ledger knows hold their places; in between, unknown rows are
// the next versions of the source that are the same (marker or not, ETag, size). All
// others are foreign, unless they are left from an interrupted run. As Swift only
// appends, a version that lacks has all younger ones written again after it.
func Weigh(s *store.Series, t There, o Options) Deeds {
	var d Deeds
	rows := slices.Clone(t.Rows)
	slices.Reverse(rows)
	at := make([]int, len(s.Versions)) // position of each version's row, -1: none
	known := make([]int, len(rows))    // version of each row, -1: unknown
	for i := range known {
		known[i] = -1
	}
	byID := map[string]int{}
	for i, r := range rows {
		byID[r.ID] = i
	}
	dropped := map[string]bool{}
	for i := range s.Versions {
		at[i] = -1
		rep, ok := s.Versions[i].Replica(t.Route)
		j, there := byID[rep.ID]
		switch {
		case !ok || rep.ID == "" || !there || known[j] >= 0:
		case rep.State == store.Lost:
			dropped[rep.ID] = true
		case rep.State == store.Confirmed:
			at[i], known[j] = j, i
		}
	}
	back := backOf(s, t)
	for j, r := range rows {
		if i, ok := back.here[r.ID]; ok && known[j] < 0 && at[i] < 0 {
			at[i], known[j] = j, i
			d.Adopt = append(d.Adopt, Adoption{ID: s.Versions[i].ID, Row: r, Ours: true})
		}
	}
	last := -1 // version of the row before
	var unknown []int
	for j, r := range rows {
		if known[j] >= 0 {
			last = max(last, known[j])
			continue
		}
		if dropped[r.ID] {
			d.Drop = append(d.Drop, r.ID)
			continue
		}
		end := len(s.Versions)
		for _, i := range known[j+1:] {
			if i >= 0 {
				end = min(end, i)
			}
		}
		if i := sameIn(s, at, r, last+1, end, t.Route); i >= 0 && !t.Other[r.ID] {
			at[i], known[j], last = j, i, i
			d.Adopt = append(d.Adopt, Adoption{ID: s.Versions[i].ID, Row: r, Ours: t.Begun})
			continue
		}
		unknown = append(unknown, j)
	}
	for _, j := range unknown {
		r := rows[j]
		switch {
		case t.Begun && r.Marker, t.Begun && t.Stamped[r.ID]:
			d.Drop = append(d.Drop, r.ID)
		case t.Stamped[r.ID]: // an old copy of ours, of what the source has no more
		case !r.Marker && t.Stamped == nil:
			d.Doubt = append(d.Doubt, r)
		case !o.Takeover:
			d.Foreign = append(d.Foreign, r)
		}
	}
	if len(d.Doubt) > 0 {
		return Deeds{Doubt: d.Doubt}
	}
	if len(d.Foreign) > 0 {
		return Deeds{Foreign: d.Foreign}
	}
	d.order(s, t, o, rows, at, back)
	d.current(s, t, rows, known)
	return d
}

// order decides what is to be written.
func (d *Deeds) order(s *store.Series, t There, o Options, rows []transport.VersionEntry, at []int, back backward) {
	theirs := map[string]bool{}
	for _, a := range d.Adopt {
		theirs[a.ID] = !a.Ours
	}
	highest := -1
	for i := range s.Versions {
		v := &s.Versions[i]
		rep, has := v.Replica(t.Route)
		if at[i] < 0 && has && rep.State == store.Confirmed {
			d.Lost = append(d.Lost, v.ID)
		}
		switch {
		case v.Missing != 0:
		case at[i] < 0 && has && rep.State == store.Cannot:
		case at[i] < 0 && back.gone[v.ID]:
			d.Skip = append(d.Skip, v.ID)
		case at[i] > highest && len(d.Append) == 0:
			highest = at[i]
			if has && rep.Touched {
				d.Post = append(d.Post, v.ID)
			}
		default:
			if at[i] >= 0 { // it stands there, at the wrong place
				if (theirs[v.ID] || rep.Adopted) && !o.Takeover {
					d.Foreign = append(d.Foreign, rows[at[i]])
				}
				d.Drop = append(d.Drop, rows[at[i]].ID)
			}
			d.Append = append(d.Append, v.ID)
		}
	}
	if len(d.Foreign) > 0 {
		*d = Deeds{Foreign: d.Foreign}
	}
}

// current decides which version is to be the current one.
func (d *Deeds) current(s *store.Series, t There, rows []transport.VersionEntry, known []int) {
	if len(d.Foreign) > 0 {
		return
	}
	if l := Latest(s); l != nil && !l.Marker {
		d.Current = l.ID
		if rep, ok := l.Replica(t.Route); ok && rep.State == store.Cannot || slices.Contains(d.Skip, l.ID) {
			d.Keep = true
		}
		return
	}
	for j, r := range rows {
		if r.Latest && !r.Marker && len(d.Append) == 0 {
			d.Keep = known[j] < 0 || s.Versions[known[j]].Missing != 0
		}
	}
}

// sameIn finds the first version from i on that has no row and is the same as r.
func sameIn(s *store.Series, at []int, r transport.VersionEntry, i, end int, route store.RouteID) int {
	for ; i < end; i++ {
		v := &s.Versions[i]
		rep, has := v.Replica(route)
		if at[i] >= 0 || v.Marker != r.Marker || has && rep.State == store.Lost {
			continue
		}
		if v.Marker || v.Version.ETag == r.ETag && v.Size == r.Size {
			return i
		}
	}
	return -1
}

// backward is what the opposite direction knows: versions of s by the destination's
// id, and those that it wrote here and deleted over there since.
type backward struct {
	here map[string]int
	gone map[string]bool
}

func backOf(s *store.Series, t There) (b backward) {
	b.here, b.gone = map[string]int{}, map[string]bool{}
	if t.Back == nil || t.BackRoute == 0 {
		return b
	}
	index := map[string]int{}
	for i := range s.Versions {
		index[s.Versions[i].ID] = i
	}
	listed := map[string]bool{}
	for _, r := range t.Rows {
		listed[r.ID] = true
	}
	for i := range t.Back.Versions {
		v := &t.Back.Versions[i]
		rep, ok := v.Replica(t.BackRoute)
		if !ok || rep.State != store.Confirmed || rep.ID == "" {
			continue
		}
		if i, ok := index[rep.ID]; ok {
			b.here[v.ID] = i
			if !listed[v.ID] {
				b.gone[rep.ID] = true
			}
		}
	}
	return b
}

// Undone reports whether all that a route lacks of a history is what the opposite
// direction wrote here and deleted over there: then there is nothing to do.
func Undone(s *store.Series, t There) bool {
	if t.Back == nil {
		return false
	}
	missing := map[string]bool{}
	for i := range t.Back.Versions {
		v := &t.Back.Versions[i]
		if rep, ok := v.Replica(t.BackRoute); ok && v.Missing != 0 {
			missing[rep.ID] = true
		}
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		rep, ok := v.Replica(t.Route)
		if v.Missing == 0 && !missing[v.ID] && (!ok || rep.Touched || rep.State != store.Confirmed && rep.State != store.Cannot) {
			return false
		}
	}
	l := Latest(s)
	return l != nil && missing[l.ID]
}
