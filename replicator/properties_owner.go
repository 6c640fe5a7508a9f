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

// blind finds out whether the source hides properties from its login: where it shows some
// that are for owners, it does not, and where nothing changed since it was asked, and
// nothing was hidden then, it is not asked again.
func (p *pass) blind(ctx context.Context, pr *destProps) (bool, error) {
	for _, h := range []transport.Header{p.shape.Header, p.shape.Keys} {
		for n := range h {
			if forOwners(n) {
				return false, nil
			}
		}
	}
	recorded, _, ok, err := p.e.o.Ledger.Properties(pr.route)
	if err != nil {
		return false, err
	}
	if ok && recorded == pr.digest && !pr.own.Blind {
		return false, nil
	}
	owner, err := p.e.owner(ctx, p.job.From.Region, p.src)
	return err == nil && !owner, err
}

// hidden says what a login is not shown.
func (p *pass) hidden() (cause, hint string) {
	return fmt.Sprintf("the login of region %s may not look at its account, so Swift does not tell it who may read and write the container: what the copy has of that stays as it is", p.job.From.Region),
		"give the login a role that owns the account there (operator_roles of Swift's keystoneauth, such as swiftoperator or member), or set the ACLs of the copy by hand"
}
