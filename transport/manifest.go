package transport

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Part is one element of a static large object's manifest: a stretch of another
// object, or a few bytes of its own.
type Part struct {
	// Container and Name are of the object in the same account; exact bytes: a manifest
	// knows no percent-encoding (a segment called "a%41" is written "a%41").
	Container, Name string
	ETag            string // of the object: an MD5, or of a nested SLO that SLO's ETag; "": not said
	Size            int64  // of the whole object; -1: not said
	Range           string // "first-last", "first-" or "-count": only these bytes of it; "": all
	Data            []byte // the part's own bytes: then all else is empty
}

// Manifest is what an SLO consists of, in order (S3).
type Manifest []Part

// partJSON is a part in the form that a PUT takes and format=raw gives, and in the
// one that GET gives by itself (name, bytes, hash).
type partJSON struct {
	Path  string          `json:"path,omitempty"`
	ETag  *string         `json:"etag,omitempty"`
	Size  json.RawMessage `json:"size_bytes,omitempty"` // a number, or by some clients a string of one
	Range *string         `json:"range,omitempty"`
	Data  string          `json:"data,omitempty"`
	Name  string          `json:"name,omitempty"`
	Hash  *string         `json:"hash,omitempty"`
	Bytes json.RawMessage `json:"bytes,omitempty"`
}

// ParseManifest reads a manifest, as a client sent it or as a region gives it.
func ParseManifest(raw []byte) (Manifest, error) {
	var list []partJSON
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	m := make(Manifest, len(list))
	for i, j := range list {
		var err error
		if m[i], err = j.part(); err != nil {
			return nil, fmt.Errorf("read manifest: part %d: %w", i, err)
		}
	}
	return m, nil
}

func (j partJSON) part() (Part, error) {
	if j.Data != "" {
		data, err := base64.StdEncoding.DecodeString(j.Data)
		if err != nil {
			return Part{}, fmt.Errorf("its data: %w", err)
		}
		return Part{Data: data, Size: -1}, nil
	}
	if j.Path == "" {
		j.Path, j.ETag, j.Size = j.Name, j.Hash, j.Bytes
	}
	p := Part{Size: -1}
	var ok bool
	// Swift strips leading slashes, all of them.
	if p.Container, p.Name, ok = strings.Cut(strings.TrimLeft(j.Path, "/"), "/"); !ok || p.Name == "" {
		return Part{}, fmt.Errorf("%q is no path to an object", j.Path)
	}
	if j.ETag != nil {
		p.ETag = strings.ToLower(strings.Trim(*j.ETag, `"`))
	}
	if j.Range != nil {
		p.Range = *j.Range
	}
	if text := strings.Trim(string(j.Size), `"`); text != "" && text != "null" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return Part{}, fmt.Errorf("its size %s", j.Size)
		}
		p.Size = n
	}
	return p, nil
}

// Encode writes the manifest as a PUT takes it. Equal manifests give equal bytes.
func (m Manifest) Encode() []byte {
	list := make([]partJSON, len(m))
	for i, p := range m {
		if p.Data != nil {
			list[i].Data = base64.StdEncoding.EncodeToString(p.Data)
			continue
		}
		list[i].Path = "/" + p.Container + "/" + p.Name
		if p.ETag != "" {
			list[i].ETag = &p.ETag
		}
		if p.Size >= 0 {
			list[i].Size = strconv.AppendInt(nil, p.Size, 10)
		}
		if p.Range != "" {
			list[i].Range = &p.Range
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(list) // strings and numbers only: cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

var errNotSaid = errors.New("the manifest does not say a segment's ETag or size")

// ETag computes the ETag that a region gives to the SLO (S3): the MD5 of the
// segments' ETags in a row, "etag:first-last;" for a part of a segment, and the
// MD5 of data. It fails if the manifest does not say enough.
func (m Manifest) ETag() (string, error) {
	sum := md5.New()
	for i, p := range m {
		_, span, err := p.extent()
		switch {
		case err != nil:
			return "", fmt.Errorf("part %d: %w", i, err)
		case p.Data != nil:
			fmt.Fprintf(sum, "%x", md5.Sum(p.Data))
		case p.ETag == "":
			return "", fmt.Errorf("part %d: %w", i, errNotSaid)
		case span != "":
			fmt.Fprintf(sum, "%s:%s;", p.ETag, span)
		default:
			sum.Write([]byte(p.ETag))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Size computes the number of bytes of the content.
func (m Manifest) Size() (n int64, err error) {
	for i, p := range m {
		length, _, err := p.extent()
		if err == nil && length < 0 {
			err = errNotSaid
		}
		if err != nil {
			return 0, fmt.Errorf("part %d: %w", i, err)
		}
		n += length
	}
	return n, nil
}

// extent gives the part's bytes (-1: unknown) and its range in the form that Swift
// stores: "first-last", and none if that is the whole object.
func (p Part) extent() (length int64, span string, err error) {
	if p.Data != nil {
		return int64(len(p.Data)), "", nil
	}
	if p.Range == "" {
		return p.Size, "", nil
	}
	a, b, ok := strings.Cut(p.Range, "-")
	if !ok || a == "" && b == "" {
		return 0, "", fmt.Errorf("range %q", p.Range)
	}
	var first, last int64
	if a != "" {
		if first, err = strconv.ParseInt(a, 10, 64); err != nil {
			return 0, "", fmt.Errorf("range %q", p.Range)
		}
	}
	if b != "" {
		if last, err = strconv.ParseInt(b, 10, 64); err != nil {
			return 0, "", fmt.Errorf("range %q", p.Range)
		}
	}
	switch {
	case p.Size < 0 && (a == "" || b == ""):
		return 0, "", fmt.Errorf("range %q of unknown size: %w", p.Range, errNotSaid)
	case a == "":
		first, last = max(p.Size-last, 0), p.Size-1
	case b == "", p.Size >= 0 && last >= p.Size:
		last = p.Size - 1
	}
	if first > last {
		return 0, "", fmt.Errorf("range %q of %d bytes", p.Range, p.Size)
	}
	if first == 0 && last == p.Size-1 {
		return p.Size, "", nil
	}
	return last - first + 1, fmt.Sprintf("%d-%d", first, last), nil
}

// Span gives the part's range as "first-last", and "" if that is all of it. It fails
// for a range that the object does not have.
func (p Part) Span() (string, error) {
	_, span, err := p.extent()
	return span, err
}

// Containers gives the containers that hold the segments, in order, each once.
func (m Manifest) Containers() []string {
	in := map[string]bool{}
	for _, p := range m {
		if p.Data == nil {
			in[p.Container] = true
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// In gives the manifest with the segments' containers renamed; one that is not
// among the names stays. The SLO's ETag is the same: it does not know where its
// segments are.
func (m Manifest) In(names map[string]string) Manifest {
	out := slices.Clone(m)
	for i, p := range out {
		if to, ok := names[p.Container]; ok && p.Data == nil {
			out[i].Container = to
		}
	}
	return out
}
