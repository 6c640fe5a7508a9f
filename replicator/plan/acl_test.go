package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMapACL(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	ids := IDs{Projects: map[string]string{"p1": "q1", "same": "same", "odd": "o,d%d"}, Users: map[string]string{"u1": "v1", "bare": "b2"}}
	for _, c := range []struct {
		name, in string
		ids      IDs
		want     ACL
	}{
		{"public", ".r:*,.rlistings", ids, ACL{Value: ".r:*,.rlistings"}},
		{"referrers keep their order", ".r:.example.com,.r:-thief.example.com", ids, ACL{Value: ".r:.example.com,.r:-thief.example.com"}},
		{"everybody with a token", "*:*", ids, ACL{Value: "*:*"}},
		{"project and user", "p1:u1", ids, ACL{Value: "q1:v1", Mapped: []string{"project p1 → q1", "user u1 → v1"}}},
		{"whole project", "p1:*", ids, ACL{Value: "q1:*", Mapped: []string{"project p1 → q1"}}},
		{"user of any project", "*:u1", ids, ACL{Value: "*:v1", Mapped: []string{"user u1 → v1"}}},
		{"unknown user", "p1:u9", ids, ACL{Mapped: []string{"project p1 → q1"}, Lost: []string{"user u9"}}},
		{"unknown project", "p9:u1", ids, ACL{Mapped: []string{"user u1 → v1"}, Lost: []string{"project p9"}}},
		{"unknown user of any project", "*:u9", ids, ACL{Lost: []string{"user u9"}}},
		{"an id that is the same there", "same:*", ids, ACL{Value: "same:*"}},
		{"mixed", ".r:*, p9:* ,p1:*,,role", ids, ACL{Value: ".r:*,q1:*,role", Mapped: []string{"project p1 → q1"}, Lost: []string{"project p9"}}},
		{"a role", "reader", ids, ACL{Value: "reader"}},
		{"a bare name in the table", "bare", ids, ACL{Value: "b2", Mapped: []string{"user bare → b2"}}},
		{"a bare project in the table", "p1", ids, ACL{Value: "q1", Mapped: []string{"project p1 → q1"}}},
		{"a bare id", id, ids, ACL{Lost: []string{"id " + id}}},
		{"a bare UUID", "01234567-89AB-cdef-0123-456789abcdef", ids, ACL{Lost: []string{"id 01234567-89AB-cdef-0123-456789abcdef"}}},
		{"a user of RGW", "t$u", ids, ACL{Lost: []string{"id t$u"}}},
		{"an encoded colon is one (Swift decodes before it compares)", "p9%3Au1", ids, ACL{Mapped: []string{"user u1 → v1"}, Lost: []string{"project p9"}}},
		{"what has to be encoded there", "odd:*", ids, ACL{Value: "o%2Cd%25d:*", Mapped: []string{"project odd → o,d%d"}}},
		{"no escape", "100%:*", ids, ACL{Lost: []string{"project 100%"}}},
		{"not of version 1", `{"admin":["p1"]}`, ids, ACL{Lost: []string{`project {"admin"`, `user ["p1"]}`}}},
		{"empty tables", "p1:u1", IDs{}, ACL{Lost: []string{"project p1", "user u1"}}},
		{"one project", "p9:u9, .r:*", IDs{Same: true}, ACL{Value: "p9:u9, .r:*"}},
		{"each id once", "p9:u1,p9:*", ids, ACL{Mapped: []string{"user u1 → v1"}, Lost: []string{"project p9"}}},
	} {
		if diff := cmp.Diff(c.want, MapACL(c.in, c.ids)); diff != "" {
			t.Errorf("%s: %q: %s", c.name, c.in, diff)
		}
	}
}
