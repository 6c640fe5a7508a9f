package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"farshore/replicator/plan"
	"farshore/transport"
)

// closeProperties sets the quotas that the pass has lifted, or that were still to come.
func (p *pass) closeProperties(ctx context.Context) error {
	for _, d := range p.dests {
		if d.props == nil || p.o.DryRun || d.dead.Load() || ctx.Err() != nil {
			continue
		}
		if err := p.closeQuotas(ctx, d); err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			p.lose(d, err) // the next pass's end does it
		}
	}
	return nil
}

func (p *pass) closeQuotas(ctx context.Context, d *dest) error {
	pr := d.props
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.off || pr.blocked || !pr.own.Open {
		return nil
	}
	info, err := d.ep.Container(ctx, d.side.Container)
	if transport.Is(err, transport.NotFound) {
		return nil // nothing to bound; the pass that makes it again sets them
	}
	if err != nil {
		return err
	}
	m := p.merge(pr, info.Header, plan.IsQuota)
	done, err := p.apply(ctx, d, pr, info.Header, m)
	if err != nil || !done {
		return err
	}
	pr.own.Open = len(m.Conflicts) > 0
	return p.keepProps(pr)
}

// guardQuotas has the first write of the pass lift the quotas that stand there and
// are Farshore's; pr.mu is held.
func (p *pass) guardQuotas(d *dest, pr *destProps) {
	if len(pr.ourQuotas()) == 0 || p.o.DryRun {
		return
	}
	var once sync.Once
	d.ep = &unbounded{Sink: d.ep, container: d.side.Container, lift: func(ctx context.Context) {
		once.Do(func() {
			if err := p.liftQuotas(ctx, d, pr); err != nil { // a copy that is refused for it says so itself
				p.e.o.Log.Warn("quota not lifted", "region", d.side.Region, "container", d.side.Container, "err", err)
			}
		})
	}}
}

func (pr *destProps) ourQuotas() (names []string) {
	for n, a := range pr.agreed {
		if plan.IsQuota(n) && a.By == pr.route && a.To != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

func (p *pass) liftQuotas(ctx context.Context, d *dest, pr *destProps) error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	info, err := d.ep.Container(ctx, d.side.Container)
	if err != nil {
		return err
	}
	var lift []string
	for _, n := range pr.ourQuotas() {
		if a := pr.agreed[n]; plan.PropertyDigest(n, info.Header[n]) == a.To { // else others have changed it
			was := a.To
			pr.agreed[n] = plan.Agreed{From: a.From, By: a.By, Was: &was}
			lift = append(lift, n)
		}
	}
	if len(lift) == 0 {
		return nil
	}
	pr.own.Open = true
	if err := p.keepProps(pr); err != nil {
		return err
	}
	return d.ep.PostContainer(ctx, d.side.Container, nil, lift)
}

// hintAt is what to do about an error. Swift refuses what a container's and what an
// account's quota does not allow in the same words, so after a refusal (413) the account is
// asked, once a pass: its quota is the operator's, and passes do not lift it.
func (p *pass) hintAt(ctx context.Context, d *dest, err error) string {
	var te *transport.Error
	if !transport.Is(err, transport.Quota) || !errors.As(err, &te) || te.Region != d.side.Region {
		return transport.HintOf(err)
	}
	d.full.Do(func() {
		info, aerr := d.ep.Account(ctx)
		if quota, perr := strconv.ParseInt(info.Header[accountQuota], 10, 64); aerr == nil && perr == nil {
			d.fullWhy = fmt.Sprintf("the account in region %s has a quota of %d bytes, of which %d are used: have its operator raise %s, or free space there; the next pass goes on",
				te.Region, quota, info.Bytes, accountQuota)
		}
	})
	return cmp.Or(d.fullWhy, transport.HintOf(err))
}

const accountQuota = "X-Account-Meta-Quota-Bytes"

// unbounded is a destination that calls lift before something is written to its container.
type unbounded struct {
	transport.Sink
	container string
	lift      func(context.Context)
}

func (u *unbounded) before(ctx context.Context, container string) {
	if container == u.container {
		u.lift(ctx)
	}
}

func (u *unbounded) Put(ctx context.Context, container, name string, body transport.Body, o transport.PutOptions) (transport.Receipt, error) {
	u.before(ctx, container)
	return u.Sink.Put(ctx, container, name, body, o)
}

func (u *unbounded) PutManifest(ctx context.Context, container, name string, segments []transport.Segment, o transport.PutOptions) (transport.Receipt, error) {
	u.before(ctx, container)
	return u.Sink.PutManifest(ctx, container, name, segments, o)
}

func (u *unbounded) PutRaw(ctx context.Context, container, name string, manifest []byte, etag string, o transport.PutOptions) (transport.Receipt, error) {
	u.before(ctx, container)
	return u.Sink.PutRaw(ctx, container, name, manifest, etag, o)
}

func (u *unbounded) Collapse(ctx context.Context, fromContainer, fromName, toContainer, toName, md5 string, size int64, h transport.Header) (transport.Receipt, error) {
	u.before(ctx, toContainer)
	return u.Sink.Collapse(ctx, fromContainer, fromName, toContainer, toName, md5, size, h)
}
