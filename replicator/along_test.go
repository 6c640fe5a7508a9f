package replicator

import (
	"testing"

	"farshore/transport"
)

// A manifest may point to a container that does not exist; what else there is travels.
func TestAManifestOfNowhereHoldsNothingUp(t *testing.T) {
	w := newWorld(t, "b")
	w.putAt("a", "c", "dlo", "own", transport.Header{transport.ManifestHeader: "nowhere/x"})
	w.putAt("a", "c", "plain", "p", nil)
	for range 2 {
		w.sync()
		w.alike("c", "c")
	}
}
