package volumes

import (
	"context"
	"slices"
	"testing"

	"farshore/integration/fakecloud"
	"farshore/transport"
)

// lateWrites is an endpoint at which writes that were given up arrive just before the
// container is removed.
type lateWrites struct {
	transport.Sink
	region *fakecloud.Region
	late   []string
}

func (s *lateWrites) DeleteContainer(ctx context.Context, container string) error {
	if len(s.late) > 0 {
		s.region.Put(container, s.late[0], []byte("late"), nil)
		s.late = s.late[1:]
	}
	return s.Sink.DeleteContainer(ctx, container)
}

// A scratch container goes although a write of the run that was killed arrives after it
// was listed; one that fills again and again does not keep anybody for ever.
func TestAContainerThatFillsWhileItIsCleared(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	b := g.cloud.Region("b")
	for _, c := range []struct {
		late []string
		gone bool
	}{{nil, true}, {[]string{"x", "y"}, true}, {[]string{"1", "2", "3", "4", "5", "6"}, false}} {
		b.CreateContainer("scratch")
		b.Put("scratch", "a", []byte("a"), nil)
		s := g.shipper()
		err := s.clearContainer(t.Context(), &lateWrites{Sink: s.o.Regions["b"].Objects, region: b, late: c.late}, "scratch")
		if (err == nil) != c.gone || slices.Contains(b.ContainerNames(), "scratch") == c.gone {
			t.Errorf("after %d late writes: %v, %v", len(c.late), err, b.ContainerNames())
		}
	}
}
