package swift

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"farshore/transport"
)

// row is one element of a JSON listing of an account or a container.
type row struct {
	name, hash, contentType string
	sloETag, symlinkPath    string
	modified                time.Time
	bytes, count            int64
}

// rowError is a listing that is no listing.
type rowError struct{ text string }

func (e *rowError) Error() string { return e.text }

// decodeRows reads a page row by row; rows that are a subdir are left out.
func decodeRows(r io.Reader) ([]row, error) {
	d := json.NewDecoder(bufio.NewReaderSize(r, 64<<10))
	if t, err := d.Token(); err != nil {
		return nil, syntax(err)
	} else if t != json.Delim('[') {
		return nil, &rowError{fmt.Sprintf("it starts with %v", t)}
	}
	var rows []row
	for d.More() {
		var j struct {
			Name         json.RawMessage `json:"name"`
			Hash         string          `json:"hash"`
			Bytes        int64           `json:"bytes"`
			Count        int64           `json:"count"`
			ContentType  string          `json:"content_type"`
			LastModified string          `json:"last_modified"`
			SLOETag      string          `json:"slo_etag"`
			SymlinkPath  string          `json:"symlink_path"`
			Subdir       json.RawMessage `json:"subdir"`
		}
		if err := d.Decode(&j); err != nil {
			return nil, syntax(err)
		}
		if len(j.Name) == 0 {
			if len(j.Subdir) != 0 {
				continue
			}
			return nil, &rowError{"a row without a name"}
		}
		if !utf8.Valid(j.Name) {
			return nil, &rowError{"a name that is not UTF-8"}
		}
		w := row{hash: j.Hash, bytes: j.Bytes, count: j.Count, contentType: j.ContentType, sloETag: j.SLOETag, symlinkPath: j.SymlinkPath}
		if err := json.Unmarshal(j.Name, &w.name); err != nil {
			return nil, syntax(err)
		}
		if j.LastModified != "" {
			t, err := time.Parse("2006-01-02T15:04:05", j.LastModified)
			if err != nil {
				t, err = time.Parse(time.RFC3339, j.LastModified)
			}
			if err != nil {
				return nil, &rowError{fmt.Sprintf("last_modified %q", j.LastModified)}
			}
			w.modified = t.UTC()
		}
		rows = append(rows, w)
	}
	if _, err := d.Token(); err != nil {
		return nil, syntax(err)
	}
	return rows, nil
}

// syntax tells a listing that makes no sense from one that did not arrive.
func syntax(err error) error {
	var s *json.SyntaxError
	var u *json.UnmarshalTypeError
	if errors.As(err, &s) || errors.As(err, &u) {
		return &rowError{err.Error()}
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// entry gives the row its meaning (R3, S6): an SLO's identity is its slo_etag,
// because the hash is that of its manifest (L1b).
func (w row) entry() transport.Entry {
	hash, slo := cleanETag(w.hash)
	if w.sloETag != "" {
		slo = unquote(w.sloETag)
	}
	e := transport.Entry{Name: w.name, Size: w.bytes, ETag: hash, Modified: w.modified, ContentType: w.contentType, Kind: transport.Plain}
	switch {
	case w.symlinkPath != "":
		e.Kind = transport.Symlink
	case slo != "":
		e.Kind, e.ETag = transport.SLO, slo
	}
	return e
}
