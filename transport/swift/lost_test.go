package swift_test

import (
	"errors"
	"net/http"
	"testing"

	ncw "github.com/ncw/swift/v2"

	"farshore/transport"
	"farshore/transport/swift"
)

type lost string

func (l lost) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New(string(l)) }

// A connection that the server closed is a passing trouble, though net/http's error
// for it has no type of its own.
func TestAClosedConnectionPasses(t *testing.T) {
	for _, text := range []string{"http: server closed idle connection", "http2: client connection lost", "net/http: HTTP/1.x transport connection broken: x"} {
		ep := swift.New(&ncw.Connection{Auth: &static{url: "http://h/v1/AUTH_x"}, Transport: lost(text)}, swift.Options{Region: "scripted"})
		_, err := ep.Head(t.Context(), "c", "o")
		if !transport.Is(err, transport.Transient) || transport.HintOf(err) == "" {
			t.Errorf("%v is of class %v, with the hint %q", err, transport.ClassOf(err), transport.HintOf(err))
		}
	}
}
