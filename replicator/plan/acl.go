package plan

import (
	"net/url"
	"slices"
	"strings"
)

// IDs say what the ids in an ACL are called at the destination.
type IDs struct {
	// Same says that both ends belong to one project: every id means there what it means here.
	Same            bool
	Projects, Users map[string]string // id there by id here
}

// ACL is what becomes of a container's access list on its way to another region.
type ACL struct {
	Value  string   // as it is to stand there; "": nothing of it is left
	Mapped []string // "project a → b", once each
	Lost   []string // "project a", "user b": left out, as nobody says who they are there
}

// MapACL carries an X-Container-Read or X-Container-Write over to another region, in
// the syntax of Swift's acl.py, version 1: elements between commas, each percent-encoded,
// in an order that matters for referrers.
//
// What names nobody stays as it is: .r:, .rlistings, *:*. Of project:user, and of *
// on either side, each id is looked up. An id without an entry leaves its element out:
// whoever has that id, or that name, in the other region may be somebody else. A bare
// word is a role of the account's own project (keystoneauth denies others before it
// looks at roles) and stays, unless it is in the tables or looks like an id, as other
// auth systems have them there.
func MapACL(value string, ids IDs) ACL {
	if ids.Same {
		return ACL{Value: value}
	}
	var out ACL
	var kept []string
	for raw := range strings.SplitSeq(value, ",") {
		raw = strings.TrimSpace(raw)
		if raw == "" {
			continue
		}
		if to, ok := out.element(raw, ids); ok {
			kept = append(kept, to)
		}
	}
	out.Value = strings.Join(kept, ",")
	return out
}

func (a *ACL) element(raw string, ids IDs) (string, bool) {
	if strings.HasPrefix(raw, ".") {
		return raw, true
	}
	name, err := url.PathUnescape(raw)
	if err != nil {
		name = raw // Swift's unquote leaves what is no escape
	}
	project, user, pair := strings.Cut(name, ":")
	if !pair {
		for _, table := range []struct {
			what string
			ids  map[string]string
		}{{"project", ids.Projects}, {"user", ids.Users}} {
			if to, ok := table.ids[name]; ok {
				a.mapped(table.what, name, to)
				return escapeACL(to), true
			}
		}
		if looksLikeID(name) {
			a.lost("id " + name)
			return "", false
		}
		return raw, true
	}
	toProject, ok1 := a.lookUp("project", project, ids.Projects)
	toUser, ok2 := a.lookUp("user", user, ids.Users)
	switch {
	case !ok1 || !ok2:
		return "", false
	case toProject == project && toUser == user:
		return raw, true
	}
	return escapeACL(toProject) + ":" + escapeACL(toUser), true
}

func (a *ACL) lookUp(what, id string, table map[string]string) (string, bool) {
	if id == "*" {
		return id, true
	}
	to, ok := table[id]
	if !ok {
		a.lost(what + " " + id)
		return "", false
	}
	a.mapped(what, id, to)
	return to, true
}

func (a *ACL) lost(id string) {
	if !slices.Contains(a.Lost, id) {
		a.Lost = append(a.Lost, id)
	}
}

func (a *ACL) mapped(what, from, to string) {
	if text := what + " " + from + " → " + to; from != to && !slices.Contains(a.Mapped, text) {
		a.Mapped = append(a.Mapped, text)
	}
}

// looksLikeID tells Keystone's ids (32 hex digits, or a UUID) and those of Ceph RGW
// (tenant$user) from the names of roles.
func looksLikeID(s string) bool {
	if strings.Contains(s, "$") {
		return true
	}
	digits := strings.ReplaceAll(s, "-", "")
	return len(digits) == 32 && strings.Trim(strings.ToLower(digits), "0123456789abcdef") == ""
}

// escapeACL writes what would end an element otherwise.
func escapeACL(id string) string {
	if id == "*" {
		return id
	}
	return url.PathEscape(id)
}
