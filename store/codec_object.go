package store

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Flags of an object's record.
const (
	objSHA256  = 1 << 0
	objMeta    = 1 << 1
	objMissing = 1 << 2
	objFlags   = 1<<3 - 1
)

// Flags of a replica, above the three bits of its state.
const (
	repState     = 7
	repWritten   = 1 << 3
	repConfirmed = 1 << 4
	repAdopted   = 1 << 5
	repETag      = 1 << 6
	repVersion   = 1 << 7
	repNote      = 1 << 8
	repFlags     = 1<<9 - 1
)

// appendObject appends the record of o under its key (o.Name at place p).
// docs/ledger.md has the layout. Times are differences to the time before them,
// because they lie close together and small numbers are short.
func appendObject(b []byte, p PlaceID, key []byte, o *Object) ([]byte, error) {
	from := len(b)
	var flags byte
	if o.SHA256 != [32]byte{} {
		flags |= objSHA256
	}
	if o.Meta != [8]byte{} {
		flags |= objMeta
	}
	if o.Missing != 0 {
		flags |= objMissing
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendUvarint(b, uint64(o.Size)) //nolint:gosec // the bits come back as they were
	b = appendTag(b, o.Version.ETag)
	b = binary.AppendVarint(b, o.Version.Modified)
	if flags&objSHA256 != 0 {
		b = append(b, o.SHA256[:]...)
	}
	if flags&objMeta != 0 {
		b = append(b, o.Meta[:]...)
	}
	base := o.Version.Modified
	if flags&objMissing != 0 {
		b = binary.AppendVarint(b, o.Missing-base)
	}
	b = binary.AppendUvarint(b, uint64(len(o.Replicas)))
	var last RouteID
	for i := range o.Replicas {
		r := &o.Replicas[i]
		if r.Route <= last {
			return b[:from], fmt.Errorf("%w: object %q: replicas not ascending by route", ErrInvalid, o.Name)
		}
		if r.State < Confirmed || r.State > Lost {
			return b[:from], fmt.Errorf("%w: object %q: replica state %d", ErrInvalid, o.Name, r.State)
		}
		b = binary.AppendUvarint(b, uint64(r.Route-last))
		last = r.Route
		b, base = appendReplica(b, r, &o.Version, base)
	}
	return seal(kindObject, uint32(p), key, b, from), nil
}

func appendReplica(b []byte, r *Replica, v *Version, base int64) ([]byte, int64) {
	flags := uint64(r.State)
	for _, f := range []struct {
		set bool
		bit uint64
	}{
		{r.Written != 0, repWritten}, {r.Confirmed != 0, repConfirmed}, {r.Adopted, repAdopted},
		{r.ETag != "", repETag}, {r.Version != *v, repVersion}, {r.Note != "", repNote},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	b = binary.AppendUvarint(b, flags)
	if r.Written != 0 {
		b = binary.AppendVarint(b, r.Written-base)
		base = r.Written
	}
	if r.Confirmed != 0 {
		b = binary.AppendVarint(b, r.Confirmed-base)
		base = r.Confirmed
	}
	if r.ETag != "" {
		b = appendTag(b, r.ETag)
	}
	if flags&repVersion != 0 {
		b = appendTag(b, r.Version.ETag)
		b = binary.AppendVarint(b, r.Version.Modified-v.Modified)
	}
	if r.Note != "" {
		b = appendString(b, r.Note)
	}
	return b, base
}

// decodeObject reads an object's record; everything is copied out of v.
func decodeObject(p PlaceID, key, v []byte) (Object, error) {
	body, err := unseal(kindObject, uint32(p), key, v)
	if err != nil {
		return Object{}, err
	}
	return decodeObjectBody(key, body)
}

func decodeObjectBody(key, body []byte) (Object, error) {
	d := decoder{b: body}
	flags := d.byte()
	if flags&^objFlags != 0 {
		d.fail("unknown flags")
	}
	o := Object{Name: string(key), Size: int64(d.uvarint())} //nolint:gosec // see appendObject
	o.Version = Version{ETag: d.tag(), Modified: d.varint()}
	if flags&objSHA256 != 0 {
		copy(o.SHA256[:], d.take(32))
	}
	if flags&objMeta != 0 {
		copy(o.Meta[:], d.take(8))
	}
	base := o.Version.Modified
	if flags&objMissing != 0 {
		o.Missing = base + d.varint()
	}
	if n := d.count(); n > 0 {
		o.Replicas = make([]Replica, n)
		var last RouteID
		for i := range o.Replicas {
			step := d.uvarint()
			if d.err == nil && (step == 0 || step > uint64(math.MaxUint32-last)) {
				d.fail("bad route")
			}
			last += RouteID(step) //nolint:gosec // checked above
			o.Replicas[i].Route = last
			base = d.replica(&o.Replicas[i], &o.Version, base)
		}
	}
	if err := d.done(); err != nil {
		return Object{}, err
	}
	return o, nil
}

func (d *decoder) replica(r *Replica, v *Version, base int64) int64 {
	flags := d.uvarint()
	r.State = ReplicaState(flags & repState)
	if d.err == nil && (flags&^uint64(repFlags) != 0 || r.State < Confirmed || r.State > Lost) {
		d.fail("unknown replica flags")
	}
	if flags&repWritten != 0 {
		base += d.varint()
		r.Written = base
	}
	if flags&repConfirmed != 0 {
		base += d.varint()
		r.Confirmed = base
	}
	r.Adopted = flags&repAdopted != 0
	if flags&repETag != 0 {
		r.ETag = d.tag()
	}
	r.Version = *v
	if flags&repVersion != 0 {
		r.Version = Version{ETag: d.tag(), Modified: v.Modified + d.varint()}
	}
	if flags&repNote != 0 {
		r.Note = d.string()
	}
	return base
}
