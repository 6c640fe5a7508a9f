// Package backup is the documented format of Cinder's chunked backups, as its Swift
// driver writes it: what the objects of a backup are called (C3, C4), the list of them
// (C5, C6), the hashes of all blocks (C8), the record that makes a backup known to
// another Cinder (I2), and Farshore's own compact list of a volume's blocks, which is
// what a restored volume is compared with.
//
// It is pure: it talks to nobody, and reads and writes streams only. What grows with
// a volume is never all in memory, but for a backup's extents (56 bytes each).
// Nothing here may be used by two goroutines at once, except functions.
package backup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Service is what records call the driver whose format this is.
const Service = "cinder.backup.drivers.swift.SwiftBackupDriver"

// Version is the version of _metadata and _sha256file that is known here.
const Version = "1.0.0"

// ErrFormat is the root of every error about what was read: it is not what the format says.
var ErrFormat = errors.New("not in the form of a Cinder backup")

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
}

// Prefix is what the names of a backup's objects begin with (C3).
type Prefix struct {
	Volume string    // its id
	At     time.Time // when the backup began, UTC, whole seconds
	Zone   string    // the availability zone of the service that made it
	Backup string    // its id
}

const prefixTime = "20060102150405"

// String is the prefix itself, as a record's service_metadata has it.
func (p Prefix) String() string {
	return "volume_" + p.Volume + "/" + p.At.UTC().Format(prefixTime) + "/az_" + p.Zone + "_backup_" + p.Backup
}

// ParsePrefix is the reverse of String; anything else is ErrFormat.
func ParsePrefix(s string) (Prefix, error) {
	bad := func() (Prefix, error) {
		return Prefix{}, formatError("prefix %q is not volume_ID/YYYYmmddHHMMSS/az_ZONE_backup_ID", s)
	}
	parts := strings.SplitN(s, "/", 3)
	if len(parts) != 3 {
		return bad()
	}
	volume, ok1 := strings.CutPrefix(parts[0], "volume_")
	rest, ok2 := strings.CutPrefix(parts[2], "az_")
	// A zone may be called anything; an id has no underscore.
	at := strings.LastIndex(rest, "_backup_")
	if !ok1 || !ok2 || at < 0 {
		return bad()
	}
	began, err := time.Parse(prefixTime, parts[1])
	p := Prefix{Volume: volume, At: began, Zone: rest[:at], Backup: rest[at+len("_backup_"):]}
	if err != nil || p.Volume == "" || p.Backup == "" || strings.Contains(p.Backup, "/") || p.String() != s {
		return bad()
	}
	return p, nil
}

// Part says which of a backup's objects an object is: a positive number is that data
// object.
type Part int

// The two objects beside the data.
const (
	MetadataPart Part = -1 // _metadata: the list of the data objects (C5)
	HashesPart   Part = -2 // _sha256file: the hashes of all blocks, which need not travel (L4)
)

const (
	metadataSuffix = "_metadata"
	hashesSuffix   = "_sha256file"
)

// Name is what the object of a part is called.
func (p Part) Name(prefix string) string {
	switch p {
	case MetadataPart:
		return prefix + metadataSuffix
	case HashesPart:
		return prefix + hashesSuffix
	}
	return fmt.Sprintf("%s-%05d", prefix, int(p))
}

// SplitName says which backup's object this is, and which one; ok is false of an object
// that belongs to none.
func SplitName(object string) (prefix string, part Part, ok bool) {
	if p, is := strings.CutSuffix(object, metadataSuffix); is {
		prefix, part = p, MetadataPart
	} else if p, is := strings.CutSuffix(object, hashesSuffix); is {
		prefix, part = p, HashesPart
	} else if prefix, part, ok = splitData(object); !ok {
		return "", 0, false
	}
	if _, err := ParsePrefix(prefix); err != nil {
		return "", 0, false
	}
	return prefix, part, true
}

// splitData takes the number off a data object's name, whatever is before it.
func splitData(object string) (prefix string, part Part, ok bool) {
	at := strings.LastIndexByte(object, '-')
	if at < 0 {
		return "", 0, false
	}
	digits := object[at+1:]
	n, err := strconv.ParseInt(digits, 10, 32)
	part = Part(n)
	if err != nil || n < 1 || part.Name(object[:at]) != object {
		return "", 0, false
	}
	return object[:at], part, true
}
