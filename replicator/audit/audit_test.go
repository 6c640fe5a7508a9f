package audit

import (
	"crypto/md5" //nolint:gosec // Swift's checksum
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"farshore/store"
	"farshore/transport"
)

func TestSampleIsUniformAndCoversAllInTime(t *testing.T) {
	const n = 20000
	for _, share := range []float64{0, 0.01, 0.25, 0.9, 1} {
		got := 0
		for i := range n {
			if Sampled(7, fmt.Sprintf("obj-%08d", i), share) {
				got++
			}
		}
		if want := share * n; float64(got) < want*0.9-10 && share > 0 || float64(got) > want*1.1+10 || share == 0 && got > 0 || share == 1 && got != n {
			t.Errorf("share %g took %d of %d", share, got, n)
		}
	}
	left := map[int]bool{}
	for i := range 200 {
		left[i] = true
	}
	rounds := int64(0)
	for ; len(left) > 0 && rounds < 200; rounds++ {
		for i := range left {
			if Sampled(rounds, fmt.Sprint(i), 0.1) {
				delete(left, i)
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("%d of 200 objects were never taken by %d samples of a tenth", len(left), rounds)
	}
}

func TestExpectedAgainstListingAndBytes(t *testing.T) {
	data := []byte("hello")
	sum := md5.Sum(data) //nolint:gosec // Swift's checksum
	tag := hex.EncodeToString(sum[:])
	o := &store.Object{Size: 5, Version: store.Version{ETag: tag, Modified: 9}, SHA256: sha256.Sum256(data)}
	x := Expect(o, store.Replica{Version: o.Version, Written: 10e6})
	digest := func(s string) *Digest {
		d := NewDigest()
		_, _ = d.Write([]byte(s))
		return d
	}
	if got := x.Differs(tag, 5); got != "" {
		t.Errorf("equal: %s", got)
	}
	if got := x.Differs(tag, 6); !strings.Contains(got, "6 bytes, not 5") {
		t.Errorf("size: %q", got)
	}
	if got := x.Differs("zz", 5); !strings.Contains(got, "zz, not "+tag) {
		t.Errorf("ETag: %q", got)
	}
	if got := x.Differ(digest("hello")); got != "" {
		t.Errorf("right bytes: %s", got)
	}
	if got := x.Differ(digest("hellO")); !strings.Contains(got, "MD5") {
		t.Errorf("wrong bytes: %q", got)
	}
	if got := x.Differ(digest("hell")); !strings.Contains(got, "4 bytes were read, not 5") {
		t.Errorf("few bytes: %q", got)
	}
	x.SHA256[0]++
	if got := x.Differ(digest("hello")); !strings.Contains(got, "SHA-256") {
		t.Errorf("another SHA-256: %q", got)
	}
	older := Expect(o, store.Replica{Version: store.Version{ETag: "older", Modified: 1}, ETag: "slo"})
	if older.Size != -1 || older.SHA256 != [32]byte{} || !older.Segmented() || older.Differs("slo", 77) != "" {
		t.Errorf("an older version's size and digest are not in the record: %+v", older)
	}
	for at, want := range map[int64]bool{8e6: true, 9e6: true, 9e6 + 1: false, 11e6: false} {
		if got := x.Older(time.UnixMicro(at)); got != want {
			t.Errorf("written in the second up to 10 s, at %d µs: older %v", at, got)
		}
	}
}

func TestReadOrigin(t *testing.T) {
	tag := strings.Repeat("a", 32)
	for stamp, want := range map[string]string{
		"paris 17 " + tag:        "paris 17",
		"left bank 17 " + tag:    "left bank 17",
		"":                       "",
		"paris 17 abc":           "",
		"paris " + tag:           "",
		"paris x " + tag:         "",
		"paris 0 " + tag:         "",
		"paris 17 " + tag + " z": "",
	} {
		x, ok := ReadOrigin(transport.Header{transport.OriginHeader: stamp})
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d", x.Region, x.Version.Modified)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", stamp, got, want)
		}
	}
}
