package transport

import "testing"

func TestQuoting(t *testing.T) {
	for plain, quoted := range map[string]string{"a-Z_0.9~": "a-Z_0.9~", "a+b&c=d:@$!": "a%2Bb%26c%3Dd%3A%40%24%21", "%41 é/": "%2541%20%C3%A9%2F", "": ""} {
		if got := Quote(plain); got != quoted {
			t.Errorf("Quote(%q) is %q, not %q", plain, got, quoted)
		}
		if got := Unquote(quoted); got != plain {
			t.Errorf("Unquote(%q) is %q, not %q", quoted, got, plain)
		}
	}
	for _, same := range []string{"100%", "%zz", "%4", "a+b"} { // what is no encoding stays
		if got := Unquote(same); got != same {
			t.Errorf("Unquote(%q) is %q", same, got)
		}
	}
	one, other := Header{ManifestHeader: "a+b/c d"}, Header{ManifestHeader: "a%2Bb/c%20d", OriginHeader: "x"}
	if one.Digest() != other.Digest() {
		t.Error("the spelling of a manifest's header makes a difference")
	}
	if (Header{ManifestHeader: "a+b/c"}).Digest() == one.Digest() || (Header{"X-Object-Meta-A": "%41"}).Digest() == (Header{"X-Object-Meta-A": "A"}).Digest() {
		t.Error("other headers have the same digest")
	}
}
