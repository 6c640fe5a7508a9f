package swift

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"farshore/transport"
)

// capture takes from a reply what a copy must keep, the values byte for byte,
// and the stamp, without which a lost ledger could not be rebuilt (R15).
func capture(from http.Header) transport.Header {
	h := transport.Header{}
	for name, values := range from {
		if len(values) > 0 && (transport.Keeps(name) || name == transport.OriginHeader) {
			h[name] = values[0]
		}
	}
	return h
}

// wanted turns the headers of a copy into those of a request. A header that
// Swift would not keep is an error rather than a silent loss.
func wanted(h transport.Header) (map[string]string, error) {
	out := make(map[string]string, len(h)+4)
	for name, value := range h {
		if !transport.Keeps(name) && name != transport.OriginHeader {
			return nil, fmt.Errorf("%w: %q is no header that an object keeps", errHeader, name)
		}
		out[name] = value
	}
	return out, nil
}

// writing adds what a PUT of any kind says besides its headers. The content type
// is always said: Swift would otherwise guess it from the name.
func writing(h transport.Header, o transport.PutOptions) (map[string]string, error) {
	out, err := wanted(h)
	if err != nil {
		return nil, err
	}
	if out["Content-Type"] == "" {
		out["Content-Type"] = "application/octet-stream"
	}
	if o.IfAbsent {
		out["If-None-Match"] = "*"
	}
	if o.DeleteAfter > 0 {
		delete(out, "X-Delete-At")
		seconds := (o.DeleteAfter + time.Second - 1) / time.Second
		out["X-Delete-After"] = strconv.FormatInt(int64(seconds), 10)
	}
	return out, nil
}

// kindOf tells what a reply to ?symlink=get describes. versioned means that the
// link is the one Swift itself puts before an object of a versioned container:
// the object is behind it.
func kindOf(h http.Header) (kind transport.Kind, versioned bool) {
	link := h.Get("X-Symlink-Target")
	switch {
	case link != "":
		return transport.Symlink, versionLink(h, link)
	case h.Get("Content-Location") != "": // the server knows no ?symlink=get and followed
		return transport.Symlink, false
	case isTrue(h.Get("X-Static-Large-Object")):
		return transport.SLO, false
	case h.Get("X-Object-Manifest") != "":
		return transport.DLO, false
	}
	return transport.Plain, false
}

// versionLink recognises object_versioning's targets: rewritten, this object with
// ?version-id=; where ?version-id=null was asked for, as they are, in a container
// whose name starts with a NUL.
func versionLink(h http.Header, target string) bool {
	id := h.Get("X-Object-Version-Id")
	return id != "" && id != "null" && strings.HasSuffix(target, "?version-id="+id) || strings.HasPrefix(target, "%00versions%00")
}

func isTrue(v string) bool {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "on", "t", "y":
		return true
	}
	return false
}

// cleanETag gives an ETag or a listing's hash without quotes and parameters; the
// slo_etag and s3_etag parameters, where there are any, are returned apart (R3, S8).
func cleanETag(s string) (etag, slo, s3 string) {
	if strings.IndexByte(s, ';') >= 0 {
		parts := strings.Split(s, ";")
		s = parts[0]
		for _, p := range parts[1:] {
			switch k, v, _ := strings.Cut(strings.TrimSpace(p), "="); k {
			case "slo_etag":
				slo = unquote(v)
			case "s3_etag":
				s3 = unquote(v)
			}
		}
	}
	return unquote(s), slo, s3
}

func unquote(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "W/")
	return strings.ToLower(strings.Trim(s, `"`))
}

// modified is X-Timestamp (decimal seconds, equal to the listing's last_modified
// to the microsecond), else Last-Modified.
func modified(h http.Header) time.Time {
	if t, ok := parseEpoch(h.Get("X-Timestamp")); ok {
		return t
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		return t.UTC()
	}
	return time.Time{}
}

// parseEpoch reads decimal seconds exactly: a float64 has not enough digits left for microseconds.
func parseEpoch(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	fraction, _, _ = strings.Cut(fraction, "_") // Swift's internal offset form
	var micros int64
	for i := 0; i < 6; i++ {
		micros *= 10
		if i < len(fraction) {
			d := fraction[i]
			if d < '0' || d > '9' {
				return time.Time{}, false
			}
			micros += int64(d - '0')
		}
	}
	return time.Unix(sec, micros*1000).UTC(), true
}
