package report

import "testing"

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"0 points are":     Count(0, "point") + " " + Are(0),
		"1 point is":       Count(1, "point") + " " + Are(1),
		"1 copy is":        Count(int64(1), "copy") + " " + Are(int64(1)),
		"2 copies are":     Count(2, "copy") + " " + Are(2),
		"1000 regions are": Count(1000, "region") + " " + Are(1000),
		"1 pass differs":   Count(1, "pass") + " " + Differ(1),
		"2 passes differ":  Count(2, "pass") + " " + Differ(2),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
