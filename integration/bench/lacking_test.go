package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A row that the copy's listing lacks is told from an object that is not there.
func TestWhatALackingCopyIsSaidToLack(t *testing.T) {
	server := func(objects map[string]bool) *account {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
			if !objects[name] {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("X-Timestamp", "7.5")
			w.Header().Set("Content-Length", "3")
		}))
		t.Cleanup(s.Close)
		return &account{url: s.URL, client: s.Client()}
	}
	from, to := map[string]bool{}, map[string]bool{"o001": true}
	var want []entry
	for i := range namedAtMost + 5 {
		n := fmt.Sprintf("o%03d", i)
		from[n] = true
		want = append(want, entry{Name: n})
	}
	got := []entry{{Name: "o000"}}
	text := lacking(t.Context(), server(from), server(to), "c", "copy", want, got).Error()
	for _, part := range []string{
		fmt.Sprintf("the copy has 1 objects, that of the source %d", len(want)),
		`"o001" is not in it: HEAD there 200, 3 bytes, X-Timestamp 7.5, at the source 200, 3 bytes, X-Timestamp 7.5`,
		`"o002" is not in it: HEAD there 404, at the source 200`, "and 4 more",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %s", part, text)
		}
	}
	if strings.Contains(text, `"o000"`) {
		t.Errorf("an object that is there is called lacking: %s", text)
	}
}
