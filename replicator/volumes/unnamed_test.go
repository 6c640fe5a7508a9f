package volumes

import (
	"errors"
	"testing"

	"farshore/replicator"
	"farshore/transport"
)

// Nothing is named by an empty argument: not even a volume without a name.
func TestNothingIsNamedByAnEmptyArgument(t *testing.T) {
	g := newRig(t, rigOptions{}, "b")
	v := g.volume("", 3)
	ctx := t.Context()
	var usage *replicator.UsageError
	if _, err := g.shipper().Migrate(ctx, MigrateRequest{From: "a", To: "b", Passes: 1, Proof: ProofBlocks, Retire: true}); !errors.As(err, &usage) {
		t.Errorf("migrate: %v", err)
	}
	if _, err := namedVolume([]transport.Volume{{ID: v.ID()}}, "", "a"); !transport.Is(err, transport.NotFound) {
		t.Errorf("named: %v", err)
	}
	g.bare("a", 1, 0)
	g.ship()
	if _, _, err := g.shipper().Restore(ctx, RestoreRequest{To: "b"}); !errors.As(err, &usage) {
		t.Errorf("restore: %v", err)
	}
	if _, err := g.shipper().Land(ctx, "", "b"); !errors.As(err, &usage) {
		t.Errorf("land: %v", err)
	}
	g.bare("b", 0, 1)
}
