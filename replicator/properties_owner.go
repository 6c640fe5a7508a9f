package replicator

import (
	"context"
	"fmt"
	"time"

	"farshore/transport"
)

// Swift tells only an account's owner (with Keystone: who has one of its operator roles)
// who may read and write a container, and its keys; anybody else is answered as if there
// were none (swift_owner_headers of the proxy). What is hidden is neither carried nor
// taken away at a destination, and said to be.

// ownerFor is how long an answer about a login's rights is believed.
const ownerFor = 10 * time.Minute

// ownerAnswer is what a region said of our login.
type ownerAnswer struct {
	at    time.Time
	owner bool
}

// owner reports whether a region's login owns its account: others may not look at it.
func (e *Engine) owner(ctx context.Context, region string, ep transport.Sink) (bool, error) {
	now := e.o.Clock.Now()
	e.mu.Lock()
	a, ok := e.owners[region]
	e.mu.Unlock()
	if ok && now.Sub(a.at) < ownerFor {
		return a.owner, nil
	}
	_, err := ep.Account(ctx)
	if err != nil && !transport.Is(err, transport.Denied) {
		return false, err
	}
	e.mu.Lock()
	e.owners[region] = ownerAnswer{now, err == nil}
	e.mu.Unlock()
	return err == nil, nil
}

// forOwners reports whether a property of a container is shown to owners only.
func forOwners(name string) bool {
	return name == "X-Container-Read" || name == "X-Container-Write" || transport.IsKey(name)
}

// askBlind looks where something is to be carried, or was hidden when it was last. What
// makeLocked makes of a part of a container it asks about itself: of others' containers
// nothing is carried, and an unchanged pass over a part asks nobody.
func (p *pass) askBlind(ctx context.Context, d *dest, pr *destProps) error {
	if p.partial(d) && !pr.whole && !pr.own.Made {
		return nil
	}
	recorded, _, ok, err := p.e.o.Ledger.Properties(pr.route)
	if err != nil || ok && recorded == pr.digest && !pr.own.Blind {
		return err
	}
	return p.lookBlind(ctx, pr)
}

// lookBlind finds out whether the source hides properties from its login: where it shows
// some that are for owners, it does not.
func (p *pass) lookBlind(ctx context.Context, pr *destProps) error {
	pr.own.Blind = false
	for _, h := range []transport.Header{p.shape.Header, p.shape.Keys} {
		for n := range h {
			if forOwners(n) {
				return nil
			}
		}
	}
	owner, err := p.e.owner(ctx, p.job.From.Region, p.src)
	if pr.own.Blind = err == nil && !owner; pr.own.Blind { // a login that sees again has a pass look again
		pr.digest = transport.Header{"": string(pr.digest[:]), "blind": "true"}.Digest()
	}
	return err
}

// hidden says what a login is not shown.
func (p *pass) hidden() (cause, hint string) {
	return fmt.Sprintf("the login of region %s may not look at its account, so Swift does not tell it who may read and write the container: what the copy has of that stays as it is", p.job.From.Region),
		"give the login a role that owns the account there (operator_roles of Swift's keystoneauth, such as swiftoperator or member), or set the ACLs of the copy by hand"
}
