package transport_test

import (
	"testing"

	"farshore/transport"
	"farshore/transport/transporttest"
)

// The retry layer is an endpoint like those behind it, even through one slot only:
// a slot that is held while another is asked for would stop the suite.
func TestRetryConforms(t *testing.T) {
	transporttest.Run(t, func(*testing.T) (transport.Sink, transporttest.Raw) {
		m := transporttest.NewMem(transporttest.MemOptions{PageSize: transporttest.SuitePage, SplitOver: transporttest.SuiteSplit})
		return transport.Retry(m, transport.NewLink(transport.LinkOptions{Start: 1, Max: 1}), transport.RetryPolicy{Clock: new(transporttest.Quick)}), m.Raw()
	})
}
