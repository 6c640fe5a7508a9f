package fakecloud

import (
	"fmt"
	"net/http"
	"strings"
)

// serveInfo answers /info and /healthcheck. /info has what the emulation does,
// in a stock Swift 2.30's numbers; RGW tells less.
func (q *request) serveInfo() {
	if strings.HasPrefix(q.r.URL.Path, "/healthcheck") {
		q.send(http.StatusOK, "text/plain", "OK")
		return
	}
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		q.fail(http.StatusMethodNotAllowed)
		return
	}
	b := []byte(`{"swift": {"version": "2.30.1", "strict_cors_mode": true, "policies": [`)
	for i, p := range q.rg.opts.Policies {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = jsonString(append(b, `{"name": `...), p)
		b = jsonString(append(b, `, "aliases": `...), p)
		if i == 0 {
			b = append(b, `, "default": true`...)
		}
		b = append(b, '}')
	}
	b = append(b, `], "allow_account_management": true, "account_autocreate": true, "max_file_size": 5368709122, `+
		`"max_meta_name_length": 128, "max_meta_value_length": 256, "max_meta_count": 90, "max_meta_overall_size": 4096, `+
		`"max_header_size": 8192, "max_object_name_length": 1024, "container_listing_limit": 10000, `+
		`"account_listing_limit": 10000, "max_account_name_length": 256, "max_container_name_length": 256, `+
		`"extra_header_count": 0}, `...)
	if q.rg.opts.Profile == RGW {
		b = append(b, `"slo": {"max_manifest_segments": 1000}, "bulk_delete": {}}`...)
	} else {
		b = fmt.Appendf(b, `"symlink": {"symloop_max": 2, "static_links": true}, `+
			`"versioned_writes": {"allowed_flags": ["x-versions-location", "x-history-location"]}, "object_versioning": {}, `+
			`"slo": {"max_manifest_segments": %d, "max_manifest_size": %d, "yield_frequency": 10, `+
			`"min_segment_size": 1, "allow_async_delete": %t}, "dlo": {"max_segments": %d}, "account_quotas": {}, `+
			`"container_quotas": {}, "bulk_delete": {"max_deletes_per_request": 10000, "max_failed_deletes": 1000}`,
			maxManifestSegments, maxManifestSize, q.rg.opts.AsyncDelete, maxListing)
		if q.rg.opts.StaticWeb {
			b = append(b, `, "staticweb": {}`...)
		}
		b = append(b, '}')
	}
	q.send(http.StatusOK, "application/json; charset=UTF-8", string(b))
}
