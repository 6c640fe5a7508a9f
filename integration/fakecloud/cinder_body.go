package fakecloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is the member of the body that requests wrap what they say in; only
// the allowed keys may be in it (Cinder's schemas, additionalProperties false).
func (bc *blockCall) object(key string, allowed ...string) (map[string]any, error) {
	v, ok := bc.body[key]
	if !ok {
		return nil, badRequest("Invalid input for field/attribute body. '%s' is a required property", key)
	}
	if v == nil {
		return map[string]any{}, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("Invalid input for field/attribute %s. Value: %v. %v is not of type 'object'", key, v, v)
	}
	for k := range m {
		if !slices.Contains(allowed, k) {
			return nil, badRequest("Invalid input for field/attribute %s. Additional properties are not allowed ('%s' was unexpected)", key, k)
		}
	}
	return m, nil
}

// optional reads a string of at most maxText characters, or null.
func optional(m map[string]any, key string) (*string, error) {
	switch v := m[key].(type) {
	case nil:
		return nil, nil
	case string:
		if len([]rune(v)) > maxText {
			return nil, badRequest("Invalid input for field/attribute %s. Value: %s. '%s' is too long", key, v, v)
		}
		v = strings.TrimSpace(v)
		return &v, nil
	default:
		return nil, badRequest("Invalid input for field/attribute %s. Value: %v. %v is not of type 'string', 'null'", key, v, v)
	}
}

// idIn reads an id, or null, which is "".
func idIn(m map[string]any, key string) (string, error) {
	p, err := optional(m, key)
	if err != nil || p == nil {
		return "", err
	}
	if !isUUID(*p) {
		return "", badRequest("Invalid input for field/attribute %s. Value: %s. '%s' is not a 'uuid'", key, *p, *p)
	}
	return *p, nil
}

// requiredID is idIn of a member that has to be there.
func requiredID(m map[string]any, of, key string) (string, error) {
	id, err := idIn(m, key)
	if err == nil && id == "" {
		err = badRequest("Invalid input for field/attribute %s. '%s' is a required property", of, key)
	}
	return id, err
}

func isUUID(s string) bool {
	s = strings.ReplaceAll(s, "-", "")
	if len(s) != 32 {
		return false
	}
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// flag reads a boolean in one of the spellings Cinder takes.
func flag(m map[string]any, key string) (bool, error) {
	switch v := m[key].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true", "1", "on", "yes", "y", "t":
			return true, nil
		case "false", "0", "off", "no", "n", "f":
			return false, nil
		}
	}
	return false, badRequest("Invalid input for field/attribute %s. Value: %v. %v is not of type 'boolean'", key, m[key], m[key])
}

// number reads a positive integer or a string of digits; 0 is null.
func number(m map[string]any, key string) (int, error) {
	n, err := 0, error(nil)
	switch v := m[key].(type) {
	case nil:
		return 0, nil
	case float64:
		n = int(v)
		if float64(n) != v {
			err = strconv.ErrSyntax
		}
	case string:
		n, err = strconv.Atoi(v)
	default:
		err = strconv.ErrSyntax
	}
	if err != nil || n < 1 {
		return 0, badRequest("Invalid input for field/attribute %s. Value: %v. %v is less than the minimum of 1", key, m[key], m[key])
	}
	return n, nil
}

// metaIn reads metadata; a missing or null one is empty.
func metaIn(m map[string]any, key string) (map[string]string, error) {
	out := map[string]string{}
	if m[key] == nil {
		return out, nil
	}
	in, ok := m[key].(map[string]any)
	if !ok {
		return nil, badRequest("Invalid input for field/attribute %s. Value: %v. %v is not of type 'object'", key, m[key], m[key])
	}
	for k, v := range in {
		s, ok := v.(string)
		if !ok || k == "" || len(k) > 255 || len(s) > 255 {
			return nil, badRequest("Invalid input for field/attribute %s. Value: %v. %v is not of type 'string' or too long", k, v, v)
		}
		out[k] = s
	}
	return out, nil
}

// stampOrNull is a time as Cinder's JSON has it.
func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000")
}

// collection filters, sorts and cuts a collection by the request's parameters, and
// renders it. allowed are the filters that one who is no admin may use.
func collection[T interface{ base() *head }](bc *blockCall, name string, all map[string]T, allowed []string,
	match func(T, string, string) bool, view func(T, bool) map[string]any) (done, error) {
	detail := len(bc.path) == 2
	project := bc.tok.project.ID
	everyone := bc.admin && isTrue(bc.query.Get("all_tenants"))
	var rows []T
	for _, x := range all {
		h := x.base()
		if !everyone && h.project != project {
			continue
		}
		fits := true
		for key := range bc.query {
			want := bc.query.Get(key)
			switch key {
			case "limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count":
			case "name", "display_name":
				fits = fits && text(h.name) == want
			case "status":
				fits = fits && h.status == want
			default:
				if slices.Contains(allowed, key) || bc.admin {
					fits = fits && match(x, key, want)
				}
			}
		}
		if fits {
			rows = append(rows, x)
		}
	}
	newestFirst(rows)
	if strings.HasPrefix(bc.query.Get("sort"), "created_at:asc") || bc.query.Get("sort_dir") == "asc" {
		slices.Reverse(rows)
	}
	total := len(rows)
	limit, err := pageLimit(bc)
	if err != nil {
		return done{}, err
	}
	if m := bc.query.Get("marker"); m != "" {
		i := slices.IndexFunc(rows, func(x T) bool { return x.base().id == m })
		if i < 0 {
			return done{}, badRequest("marker %s could not be found.", m)
		}
		rows = rows[i+1:]
	}
	if n, err := strconv.Atoi(bc.query.Get("offset")); err == nil && n > 0 {
		rows = rows[min(n, len(rows)):]
	}
	rows = rows[:min(limit, len(rows))]
	out := []any{}
	for _, x := range rows {
		out = append(out, view(x, detail))
	}
	body := map[string]any{name: out}
	if len(rows) == limit && limit > 0 {
		q := ""
		for part := range strings.SplitSeq(bc.q.r.URL.RawQuery, "&") {
			if part != "" && !strings.HasPrefix(part, "marker=") {
				q += part + "&"
			}
		}
		body[name+"_links"] = []any{map[string]any{"rel": "next", "href": bc.q.rg.URL() + blockRoot + "/v3/" + project + "/" +
			strings.Join(bc.path, "/") + "?" + q + "marker=" + rows[len(rows)-1].base().id}}
	}
	if bc.micro >= 45 && isTrue(bc.query.Get("with_count")) {
		body["count"] = total
	}
	return done{http.StatusOK, body}, nil
}

func pageLimit(bc *blockCall) (int, error) {
	s := bc.query.Get("limit")
	if s == "" {
		return bc.c.opts.PageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, badRequest("limit param must be an integer")
	}
	return min(n, bc.c.opts.PageSize), nil
}

// literal reads what Python would write of a map of strings: {'k': 'v'}.
func literal(s string) (map[string]string, error) {
	var m map[string]string
	if err := json.Unmarshal([]byte(strings.NewReplacer(`"`, `\"`, `'`, `"`).Replace(s)), &m); err != nil {
		return nil, fmt.Errorf("read the filter %s: %w", s, err)
	}
	return m, nil
}

func hasAll(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// own finds a resource of the caller's project; an admin finds all.
func own[T interface{ base() *head }](bc *blockCall, kind string, all map[string]T, id string) (T, error) {
	x, ok := all[id]
	if !ok || !bc.admin && x.base().project != bc.tok.project.ID {
		var none T
		return none, missing(kind, id)
	}
	return x, nil
}
