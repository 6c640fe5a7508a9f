package replicator

import (
	"context"
	"slices"

	"farshore/store"
	"farshore/transport"
)

// Manifests of static large objects are told apart by what they point to: their ETag is
// made of their segments' ETags alone (S4), so that one over other segments with the
// same bytes has the same.

// sourceManifest reads an object's manifest as it must read at a destination.
func (p *pass) sourceManifest(ctx context.Context, name string, d *dest) (transport.Manifest, error) {
	_, raw, err := p.src.Manifest(ctx, p.job.From.Container, name, "")
	if err != nil {
		return nil, err
	}
	m, err := transport.ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	return p.manifestAt(d, m), nil
}

// sameManifest compares the manifest that stands at a destination with the source's.
func (p *pass) sameManifest(ctx context.Context, it *item, d *dest) (bool, error) {
	want, err := p.sourceManifest(ctx, it.name, d)
	if err != nil {
		return false, err
	}
	there, err := p.manifestThere(ctx, it.name, "", d)
	if err != nil {
		return false, err
	}
	return sameNeeds(needsOf(want), needsOf(there)), nil
}

// manifestThere reads the manifest of a name's version at a destination; "" is the current one.
func (p *pass) manifestThere(ctx context.Context, name, version string, d *dest) (transport.Manifest, error) {
	_, raw, err := d.ep.Manifest(ctx, d.side.Container, p.destName(d, name), version)
	if err != nil {
		return nil, err
	}
	return transport.ParseManifest(raw)
}

// repointed reports whether the source's manifest points to other segments than the one
// that the ledger has of a destination. An adopted one never was the source's.
func (p *pass) repointed(ctx context.Context, it *item, d *dest) (bool, error) {
	if it.record == nil {
		return false, nil
	}
	if r, ok := it.record.Replica(d.info.ID); !ok || r.State != store.Confirmed || r.Adopted {
		return false, nil
	}
	recorded, err := p.e.o.Ledger.Needs(d.info.ID, it.name)
	if err != nil || len(recorded) == 0 {
		return false, err
	}
	want, err := p.sourceManifest(ctx, it.name, d)
	if err != nil {
		return false, err
	}
	return !sameNeeds(needsOf(want), recorded), nil
}

// sameNeeds compares what two manifests point to, whatever their order.
func sameNeeds(a, b []store.Need) bool {
	in := func(all []store.Need) func(store.Need) bool {
		return func(n store.Need) bool { return !slices.Contains(all, n) }
	}
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}

// learnManifest notes what a manifest that stands at a destination already needs there,
// and that the source's segments come along.
func (p *pass) learnManifest(ctx context.Context, it *item, d *dest) error {
	_, raw, err := p.src.Manifest(ctx, p.job.From.Container, it.name, "")
	if err != nil {
		return err
	}
	m, err := transport.ParseManifest(raw)
	if err != nil {
		return err
	}
	for _, c := range m.Containers() {
		if err := p.comesAlong(c, ""); err != nil {
			return err
		}
	}
	if m, err = p.manifestThere(ctx, it.name, "", d); err != nil {
		return err
	}
	it.needs = map[*dest][]store.Need{d: needsOf(m)}
	return nil
}
