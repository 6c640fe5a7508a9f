package transporttest

import (
	"testing"

	"farshore/transport"
)

func TestMemConforms(t *testing.T) {
	Run(t, func(*testing.T) (transport.Sink, Raw) {
		m := NewMem(MemOptions{PageSize: SuitePage, SplitOver: SuiteSplit})
		return m, m.Raw()
	})
}

func TestFaultyConforms(t *testing.T) {
	Run(t, func(*testing.T) (transport.Sink, Raw) {
		m := NewMem(MemOptions{PageSize: SuitePage, SplitOver: SuiteSplit})
		return Faulty(m, &Faults{}), m.Raw()
	})
}
