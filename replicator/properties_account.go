package replicator

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// accountPair is what the ledger keeps of the properties that two accounts share.
type accountPair struct {
	Digests map[string]string      `json:"digests"` // of what was last carried, by direction
	Agreed  map[string]plan.Agreed `json:"agreed"`  // in the view from the account whose name comes first
}

// accountCarrier carries the account's own properties to one destination.
type accountCarrier struct {
	e        *Engine
	p        policies.Policy
	f        *report.Findings
	to       string
	ep       transport.Sink
	key      string
	me       store.RouteID // 1: from the account whose name comes first, 2: to it
	pair     accountPair
	want     []plan.Property
	seen     transport.Header // what stands there
	metadata bool
	quotas   bool
}

// accounts carries the properties of the account that the policy chooses, after the
// containers have come: a quota then bounds what comes later. It costs a HEAD of the
// source's account, and the destinations nothing where nothing changed.
func (e *Engine) accounts(ctx context.Context, p policies.Policy, f *report.Findings, t *tally, dry bool) error {
	if len(p.Properties.Account) == 0 {
		return nil
	}
	src, err := e.region(p.From)
	if err != nil {
		return err
	}
	info, err := src.Account(ctx)
	if err != nil {
		return err
	}
	from, err := e.identity(ctx, p.From)
	if err != nil {
		return err
	}
	keys := info.Keys
	if !p.Properties.TempURLKeys {
		keys = nil
	}
	metadata, quotas := slices.Contains(p.Properties.Account, policies.AccountMetadata), slices.Contains(p.Properties.Account, policies.AccountQuotas)
	for _, to := range p.To {
		if e.breaker(to).isOpen() {
			continue
		}
		a := &accountCarrier{e: e, p: p, f: f, to: to, metadata: metadata, quotas: quotas, want: plan.AccountProperties(info.Header, keys, metadata, quotas)}
		n, err := a.carry(ctx, from, dry)
		t.properties.Add(n)
		switch c := transport.ClassOf(err); {
		case err == nil:
		case ctx.Err() != nil || !regionTrouble(err):
			return err
		case c == transport.Transient || c == transport.Throttled:
			e.blame(to, err)
		default:
			a.finding(report.KindFailed, report.Error, err.Error(), cmp.Or(transport.HintOf(err), "leave the account out: properties: {account: []}"))
		}
	}
	return nil
}

func (a *accountCarrier) finding(kind string, level report.Level, cause, hint string) {
	a.f.Add(report.Finding{Kind: kind, Level: level, Policy: a.p.Name, Region: a.to, Op: "carry properties of the account", Cause: cause, Hint: hint})
}

func (a *accountCarrier) carry(ctx context.Context, from transport.Identity, dry bool) (changed int64, err error) {
	if a.ep, err = a.e.region(a.to); err != nil {
		return 0, err
	}
	to, err := a.e.identity(ctx, a.to)
	if err != nil || from.URL == to.URL {
		return 0, err
	}
	here, there := from.Region+"/"+from.Project, to.Region+"/"+to.Project
	a.me = 1
	a.key = "account/" + here + "/" + there
	if there < here {
		a.me, a.key = 2, "account/"+there+"/"+here
	}
	if err := a.e.readNote(a.key, &a.pair); err != nil {
		return 0, err
	}
	digest, way := fmt.Sprintf("%x", propsDigest(a.want, "", a.p.Takeover)), fmt.Sprint(a.me)
	if a.pair.Digests[way] == digest {
		return 0, nil
	}
	info, err := a.ep.Account(ctx)
	if err != nil {
		return 0, err
	}
	a.seen = join(info.Header, info.Keys)
	whole := true
	// A quota is the operator's to set: it must not keep the rest from being set.
	for _, choose := range []func(string) bool{func(n string) bool { return !plan.IsQuota(n) && a.metadata }, func(n string) bool { return plan.IsQuota(n) && a.quotas }} {
		n, done, err := a.part(ctx, choose, dry)
		if err != nil {
			return changed, err
		}
		changed += n
		whole = whole && done
	}
	if dry || !whole {
		return changed, nil
	}
	if a.pair.Digests == nil {
		a.pair.Digests = map[string]string{}
	}
	a.pair.Digests[way] = digest
	return changed, a.e.writeNote(a.key, a.pair)
}

// part decides and carries the properties that choose takes; done is false if some
// are to be looked at again.
func (a *accountCarrier) part(ctx context.Context, choose func(string) bool, dry bool) (n int64, done bool, err error) {
	m := plan.Merge{There: transport.Header{}, Base: map[string]plan.Agreed{}, Me: a.me, Both: a.other(), Takeover: a.p.Takeover}
	choice := func(n string) bool { return choose(n) && (a.p.Properties.TempURLKeys || !transport.IsKey(n)) }
	for _, w := range a.want {
		if choice(w.Name) {
			m.Want = append(m.Want, w)
		}
	}
	for name, v := range a.seen {
		if choice(name) {
			m.There[name] = v
		}
	}
	for name, x := range a.agreed() {
		if choice(name) {
			m.Base[name] = x
		}
	}
	out := m.Do()
	for _, name := range out.Conflicts {
		a.finding(report.KindConflict, report.Error, name+" was changed there by others, and at the source too; it was left alone",
			"give both the same value, or set takeover: true in the policy to overwrite it")
	}
	for _, name := range out.Drifted {
		a.finding(report.KindDegraded, report.Warn, name+" was changed there by others since it was carried; it was left alone", "set it again there")
	}
	for _, name := range out.Foreign {
		a.finding(report.KindForeignProperty, report.Info, name+" was set there by others, and the source has none; it was left alone", "nothing has to be done")
	}
	if dry {
		return int64(out.Changes()), true, nil
	}
	if out.Changes() > 0 {
		pending := map[string]plan.Agreed{}
		for _, name := range out.Touched() {
			was := plan.PropertyDigest(name, a.seen[name])
			x := out.Next[name]
			x.By, x.Was = a.me, &was
			pending[name] = x
		}
		if err := a.keep(out.Decided, out.Next, pending); err != nil {
			return 0, false, err
		}
		err := a.ep.PostAccount(ctx, out.Set, out.Remove)
		if transport.Is(err, transport.Denied) && ctx.Err() == nil {
			hint := "the login at the destination may not change the account: it needs an operator's role of the project, such as swiftoperator"
			if plan.IsQuota(out.Touched()[0]) {
				hint = "an account's quota is the operator's to set (ResellerAdmin): ask for it, or leave quotas out of properties: {account: …}"
			}
			level := report.Warn
			if a.p.Strict {
				level = report.Error
			}
			a.finding(report.KindCannot, level, fmt.Sprintf("%v refused there: %v", out.Touched(), err), hint)
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
	}
	return int64(out.Changes()), len(out.Conflicts) == 0, a.keep(out.Decided, out.Next, nil)
}

// other reports whether the opposite direction has carried something.
func (a *accountCarrier) other() bool { return a.pair.Digests[fmt.Sprint(3-a.me)] != "" }

func (a *accountCarrier) agreed() map[string]plan.Agreed {
	return turned(a.pair.Agreed, a.me == 2)
}

// keep makes durable what is agreed of the properties decided, over it what is pending.
func (a *accountCarrier) keep(decided []string, next, pending map[string]plan.Agreed) error {
	all := a.agreed()
	for _, name := range decided {
		delete(all, name)
		if x, ok := next[name]; ok {
			all[name] = x
		}
		if x, ok := pending[name]; ok {
			all[name] = x
		}
	}
	a.pair.Agreed = turned(all, a.me == 2)
	return a.e.writeNote(a.key, a.pair)
}
