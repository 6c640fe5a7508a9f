package backup

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	testVolume    = "5be1c6c8-6d5f-4d3b-a0a3-0a8ad8b0d6f7"
	testFull      = "4f2b2a3e-9b1c-4d52-8a70-0d5f6f6f3b11"
	testIncrement = "9d0c6f0a-51a5-4b61-b0f5-2f9c7a1f4c22"
	fullPrefix    = "volume_" + testVolume + "/20260921141320/az_nova_backup_" + testFull
)

func TestPrefixes(t *testing.T) {
	p, err := ParsePrefix(fullPrefix)
	want := Prefix{Volume: testVolume, At: time.Date(2026, 9, 21, 14, 13, 20, 0, time.UTC), Zone: "nova", Backup: testFull}
	if err != nil || p != want || p.String() != fullPrefix {
		t.Errorf("%+v, %v", p, err)
	}
	// A zone may be called anything.
	for _, zone := range []string{"", "a_backup_b", "eu/1", "é"} {
		p := Prefix{Volume: "v", At: want.At, Zone: zone, Backup: "b"}
		if got, err := ParsePrefix(p.String()); err != nil || got != p {
			t.Errorf("zone %q: %+v, %v", zone, got, err)
		}
	}
	for _, bad := range []string{"", "volume_v", "volume_v/20260921141320", "volume_v/20260921141320/az_nova", "volume_/20260921141320/az_nova_backup_b",
		"volume_v/20260921141320/az_nova_backup_", "volume_v/2026092114132/az_nova_backup_b", "volume_v/20261321141320/az_nova_backup_b", "volume_v/20260921141320.5/az_nova_backup_b",
		"x/20260921141320/az_nova_backup_b", "volume_v/20260921141320/nova_backup_b", "volume_v/20260921141320/az_nova_backup_b/c", " " + fullPrefix} {
		if p, err := ParsePrefix(bad); !errors.Is(err, ErrFormat) || p != (Prefix{}) {
			t.Errorf("%q: %+v, %v", bad, p, err)
		}
	}
}

func TestNamesOfObjects(t *testing.T) {
	for name, want := range map[string]Part{fullPrefix + "-00001": 1, fullPrefix + "-99999": 99999, fullPrefix + "-100000": 100000,
		fullPrefix + "_metadata": MetadataPart, fullPrefix + "_sha256file": HashesPart} {
		prefix, part, ok := SplitName(name)
		if prefix != fullPrefix || part != want || !ok || part.Name(prefix) != name {
			t.Errorf("%s: %q, %d, %v", name, prefix, part, ok)
		}
	}
	for _, bad := range []string{"", fullPrefix, fullPrefix + "-", fullPrefix + "-1", fullPrefix + "-00000", fullPrefix + "-000001", fullPrefix + "--0001", fullPrefix + "-+0001",
		fullPrefix + "-0000a", fullPrefix + "-99999999999", "backup-00001", "x_metadata", "_sha256file", fullPrefix + "_metadata-", fullPrefix + "_volume"} {
		if prefix, part, ok := SplitName(bad); ok || prefix != "" || part != 0 {
			t.Errorf("%s: %q, %d", bad, prefix, part)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	f.Add(fullPrefix)
	f.Add(fullPrefix + "-00001")
	f.Add(strings.ReplaceAll(fullPrefix, "nova", "a_backup_b") + "_metadata")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePrefix(s); err == nil && p.String() != s {
			t.Errorf("%q comes back as %q", s, p.String())
		}
		if prefix, part, ok := SplitName(s); ok && part.Name(prefix) != s {
			t.Errorf("%q comes back as %q", s, part.Name(prefix))
		}
	})
}
