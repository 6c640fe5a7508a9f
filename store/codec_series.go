package store

import (
	"encoding/binary"
	"math"
)

// Flags of a version in a series' record.
const (
	serMarker  = 1 << 0
	serLatest  = 1 << 1
	serMeta    = 1 << 2
	serMissing = 1 << 3
	serFlags   = 1<<4 - 1
)

// Flags of a version's replica, above the three bits of its state; those of an
// object's replica have the same meaning where they have the same name.
const (
	serRepID      = 1 << 5
	serRepETag    = 1 << 6
	serRepNote    = 1 << 7
	serRepCurrent = 1 << 8
	serRepTouched = 1 << 9
	serRepAdopted = 1 << 10
	serRepFlags   = 1<<11 - 1
)

// Swift's version ids are times with ten digits before the point and five after it.
const (
	stampLen = 16
	stampDot = 10
	stampEnd = 1_000_000_000_000_000 // above the last one, in units of 10 µs
)

// parseStamp reads a version id that is a time, in units of 10 µs.
func parseStamp(id string) (at int64, ok bool) {
	if len(id) != stampLen || id[stampDot] != '.' {
		return 0, false
	}
	for i := range stampLen {
		if i == stampDot {
			continue
		}
		c := id[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		at = at*10 + int64(c-'0')
	}
	return at, true
}

// appendID writes a version id: 0 and its distance to the time near it (µs) when
// it is a time, else its length + 1 and its bytes.
func appendID(b []byte, id string, near int64) []byte {
	if at, ok := parseStamp(id); ok {
		return binary.AppendVarint(append(b, 0), at-near/10)
	}
	b = binary.AppendUvarint(b, uint64(len(id))+1)
	return append(b, id...)
}

func (d *decoder) id(near int64) string {
	n := d.uvarint()
	if n > 0 || d.err != nil {
		return string(d.take(max(n, 1) - 1))
	}
	at := near/10 + d.varint()
	if at < 0 || at >= stampEnd {
		d.fail("bad version id")
		return ""
	}
	var id [stampLen]byte // fmt would take most of the time that a long history needs
	for i := stampLen - 1; i >= 0; i-- {
		if i == stampDot {
			id[i] = '.'
			continue
		}
		id[i], at = byte('0'+at%10), at/10
	}
	return string(id[:])
}

// appendSeries appends the record of s under its key (s.Name at place p);
// docs/ledger.md has the layout. Ids that are times are kept by their distance to
// the time of the version or of its replica, which is next to nothing.
func appendSeries(b []byte, p PlaceID, key []byte, s *Series) ([]byte, error) {
	if err := s.Valid(); err != nil {
		return b, err
	}
	from := len(b)
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(len(s.Versions)))
	var modified int64
	for i := range s.Versions {
		v := &s.Versions[i]
		var flags byte
		if v.Marker {
			flags |= serMarker
		}
		if v.Latest {
			flags |= serLatest
		}
		if v.Meta != [8]byte{} {
			flags |= serMeta
		}
		if v.Missing != 0 {
			flags |= serMissing
		}
		b = append(b, flags)
		b = appendTag(b, v.Version.ETag)
		b = binary.AppendVarint(b, v.Version.Modified-modified)
		modified = v.Version.Modified
		b = appendID(b, v.ID, modified)
		b = binary.AppendUvarint(b, uint64(v.Size)) //nolint:gosec // the bits come back as they were
		if flags&serMeta != 0 {
			b = append(b, v.Meta[:]...)
		}
		if flags&serMissing != 0 {
			b = binary.AppendVarint(b, v.Missing-modified)
		}
		b = binary.AppendUvarint(b, uint64(len(v.Replicas)))
		base, last := modified, RouteID(0)
		for j := range v.Replicas {
			b = binary.AppendUvarint(b, uint64(v.Replicas[j].Route-last))
			last = v.Replicas[j].Route
			b, base = appendSeriesReplica(b, &v.Replicas[j], base)
		}
	}
	return seal(kindSeries, uint32(p), key, b, from), nil
}

func appendSeriesReplica(b []byte, r *SeriesReplica, base int64) ([]byte, int64) {
	flags := uint64(r.State)
	for _, f := range []struct {
		set bool
		bit uint64
	}{
		{r.Written != 0, repWritten}, {r.Confirmed != 0, repConfirmed},
		{r.ID != "", serRepID}, {r.ETag != "", serRepETag}, {r.Note != "", serRepNote},
		{r.Current, serRepCurrent}, {r.Touched, serRepTouched}, {r.Adopted, serRepAdopted},
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
	if r.ID != "" {
		b = appendID(b, r.ID, base)
	}
	if r.Confirmed != 0 {
		b = binary.AppendVarint(b, r.Confirmed-base)
		base = r.Confirmed
	}
	if r.ETag != "" {
		b = appendTag(b, r.ETag)
	}
	if r.Note != "" {
		b = appendString(b, r.Note)
	}
	return b, base
}

// decodeSeries reads a series' record; everything is copied out of v.
func decodeSeries(p PlaceID, key, v []byte) (Series, error) {
	body, err := unseal(kindSeries, uint32(p), key, v)
	if err != nil {
		return Series{}, err
	}
	return decodeSeriesBody(key, body)
}

func decodeSeriesBody(key, body []byte) (Series, error) {
	d := decoder{b: body}
	s := Series{Name: string(key)}
	n := d.count()
	if n == 0 {
		d.fail("no versions")
	}
	s.Versions = make([]SeriesVersion, n)
	var modified int64
	for i := range s.Versions {
		modified = d.seriesVersion(&s.Versions[i], modified)
	}
	if err := d.done(); err != nil {
		return Series{}, err
	}
	return s, nil
}

func (d *decoder) seriesVersion(v *SeriesVersion, modified int64) int64 {
	flags := d.byte()
	if flags&^serFlags != 0 {
		d.fail("unknown flags")
	}
	v.Marker, v.Latest = flags&serMarker != 0, flags&serLatest != 0
	v.Version = Version{ETag: d.tag(), Modified: modified + d.varint()}
	v.ID = d.id(v.Version.Modified)
	v.Size = int64(d.uvarint()) //nolint:gosec // see appendSeries
	if flags&serMeta != 0 {
		copy(v.Meta[:], d.take(8))
	}
	if flags&serMissing != 0 {
		v.Missing = v.Version.Modified + d.varint()
	}
	n := d.count()
	if n == 0 {
		return v.Version.Modified
	}
	v.Replicas = make([]SeriesReplica, n)
	base, last := v.Version.Modified, RouteID(0)
	for i := range v.Replicas {
		step := d.uvarint()
		if d.err == nil && (step == 0 || step > uint64(math.MaxUint32-last)) {
			d.fail("bad route")
		}
		last += RouteID(step) //nolint:gosec // checked above
		v.Replicas[i].Route = last
		base = d.seriesReplica(&v.Replicas[i], base)
	}
	return v.Version.Modified
}

func (d *decoder) seriesReplica(r *SeriesReplica, base int64) int64 {
	flags := d.uvarint()
	r.State = ReplicaState(flags & repState)
	if d.err == nil && (flags&^uint64(serRepFlags) != 0 || r.State < Confirmed || r.State > Lost) {
		d.fail("unknown replica flags")
	}
	r.Current, r.Touched, r.Adopted = flags&serRepCurrent != 0, flags&serRepTouched != 0, flags&serRepAdopted != 0
	if flags&repWritten != 0 {
		base += d.varint()
		r.Written = base
	}
	if flags&serRepID != 0 {
		r.ID = d.id(base)
	}
	if flags&repConfirmed != 0 {
		base += d.varint()
		r.Confirmed = base
	}
	if flags&serRepETag != 0 {
		r.ETag = d.tag()
	}
	if flags&serRepNote != 0 {
		r.Note = d.string()
	}
	return base
}
