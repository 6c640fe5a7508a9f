package volumes

import (
	"errors"
	"strings"
	"testing"

	"farshore/store"
	"farshore/transport"
)

// What keeps a backup from being deleted is told apart: increments of others, and points of
// Farshore's that another ledger has, which nobody is told to delete by hand.
func TestWhatABackupIsPinnedBy(t *testing.T) {
	for name, x := range map[string]struct {
		spec  transport.BackupSpec
		hint  string
		cause string
	}{
		"others'":       {transport.BackupSpec{Name: "nightly"}, "openstack volume backup delete ", "not farshore's"},
		"by metadata":   {transport.BackupSpec{Name: "x", Metadata: map[string]string{keyPolicy: "other"}}, "farshore ledger rebuild", "points that this ledger does not know"},
		"by its name":   {transport.BackupSpec{Name: madeName("other", "0123456789abcdef")}, "farshore ledger rebuild", "points that this ledger does not know"},
		"scratch of it": {transport.BackupSpec{Name: scratchName("0123456789abcdef")}, "openstack volume backup delete ", "not farshore's"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rigOptions{}, "b")
			g.volume("db", 1)
			g.ship()
			p, b := g.points()[0], g.regions["a"].Blocks
			x.spec.Volume, x.spec.Incremental = p.Volume.ID, true
			y, err := b.CreateBackup(t.Context(), x.spec)
			if err != nil {
				t.Fatal(err)
			}
			g.until(func() bool { y, err = b.Backup(t.Context(), y.ID); return err != nil || y.Status != "creating" })
			if err != nil || y.Status != statusAvailable {
				t.Fatalf("%+v %v", y, err)
			}
			err = g.shipper().removeOurs(t.Context(), b, store.Work{Region: "a"}, expiry{Volume: p.Volume.ID, Backup: p.ID, Container: p.Container})
			var pinned *pinnedError
			if !errors.As(err, &pinned) || !strings.Contains(pinned.Error(), x.cause) || !strings.Contains(pinned.Error(), y.ID) || !strings.Contains(pinned.hint(), x.hint) {
				t.Fatalf("%v", err)
			}
			if x.hint == "farshore ledger rebuild" && strings.Contains(pinned.hint(), "backup delete") {
				t.Errorf("hint %s", pinned.hint())
			}
		})
	}
}
