package fakecloud

import (
	"net/http"
	"strings"
)

// imageRoot is where Glance lives on the region's port.
const imageRoot = "/image"

// serveImages is a Glance without images: openstackclient wants one in the
// catalog before it makes a volume of nothing.
func (q *request) serveImages(raw string) {
	path := strings.Trim(strings.TrimPrefix(raw, imageRoot), "/")
	switch {
	case q.r.Method != http.MethodGet:
		q.fail(http.StatusForbidden)
	case path == "" || path == "versions":
		q.sendJSON(http.StatusMultipleChoices, map[string]any{"versions": []any{map[string]any{"id": "v2.16", "status": "CURRENT",
			"links": []any{map[string]any{"rel": "self", "href": q.rg.URL() + imageRoot + "/v2/"}}}}})
	case q.rg.ks.check(q.r.Header.Get("X-Auth-Token")) == nil:
		q.w.Header()["Www-Authenticate"] = []string{q.keystoneURI()}
		q.fail(http.StatusUnauthorized)
	case path == "v2/images":
		q.sendJSON(http.StatusOK, map[string]any{"images": []any{}, "schema": "/v2/schemas/images", "first": "/v2/images"})
	default:
		q.fail(http.StatusNotFound)
	}
}
