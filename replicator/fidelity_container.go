package replicator

import (
	"context"
	"slices"
	"strings"

	"farshore/policies"
	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/transport"
)

// containers compares the job's container with those at its destinations.
func (x *certJob) containers(ctx context.Context, src transport.ContainerInfo) error {
	for _, d := range x.p.dests {
		if d.dead.Load() {
			continue
		}
		pr, err := x.p.properties(ctx, d)
		if err != nil {
			return err
		}
		at := [2]string{d.side.Region, d.side.Container}
		if pr.off || x.compared[at] {
			continue // the policy does not carry them
		}
		x.compared[at] = true
		r := x.rows(d, itemContainer, "")
		there, err := d.ep.Container(ctx, d.side.Container)
		if err != nil {
			gone, err := x.lost(ctx, d, "", err)
			if err != nil {
				return err
			}
			if gone {
				r.add("container", report.Cannot, "it is not there", "", "")
				if err := x.emit(r); err != nil {
					return err
				}
			}
			continue
		}
		r.add("container", report.Kept, "", "", "")
		x.storagePolicy(r, pr, src, there)
		x.versioning(r, d, src, there)
		keys := src.Keys
		if !x.policy.Properties.TempURLKeys {
			leftOut(r, keys)
			there.Keys, keys = nil, nil
		}
		carries := plan.CarriesContainer
		if pr.own.Blind {
			cause, _ := x.p.hidden()
			r.add("X-Container-Read, X-Container-Write", report.Cannot, cause, "", "")
			carries = func(n string) bool { return plan.CarriesContainer(n) && !forOwners(n) }
		}
		properties(r, pr.want, keys, join(there.Header, there.Keys), carries)
		if x.p.partial(d) && !pr.own.Made {
			othersOwn(r)
		}
		if err := x.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// nowhere deals with a container that others' manifests or links point to and that the
// source does not have: a copy is to have none either.
func (x *certJob) nowhere(ctx context.Context) (bool, error) {
	if !x.p.job.along || !x.s.srcGone {
		return false, nil
	}
	_, err := x.p.src.Container(ctx, x.p.job.From.Container)
	if !transport.Is(err, transport.NotFound) {
		return false, nil // source reports other errors
	}
	for _, d := range x.p.dests {
		if d.dead.Load() {
			x.unseen.Add(1)
			continue
		}
		r := x.rows(d, itemContainer, "")
		if d.absent {
			r.add("container", report.Kept, "what points to it points to nothing, at the source as there", "", "")
		} else {
			r.add("container", report.Cannot, "objects of the source point to a container of this name that is not there: here it is, made by others or before it was lost at the source", "", "")
		}
		if err := x.emit(r); err != nil {
			return false, err
		}
	}
	return true, nil
}

// othersOwn says of a container of which only a part is copied, into one that others made,
// that it keeps the properties that it has there.
func othersOwn(r *rows) {
	for i := range r.list {
		if row := &r.list[i]; row.Verdict == report.Cannot {
			row.Verdict, row.Why = report.Mapped, "left as it is: a part of a container is copied into one that others made there"
		}
	}
}

// leftOut says which keys the policy does not carry.
func leftOut(r *rows, keys transport.Header) {
	for _, n := range names(keys, nil) {
		r.add(n, report.Mapped, "left out: properties: {tempurl_keys: true} would carry it", "", "")
	}
}

func (x *certJob) storagePolicy(r *rows, pr *destProps, src, there transport.ContainerInfo) {
	if src.Policy != "" || there.Policy != "" {
		r.same(transport.PolicyHeader, src.Policy, pr.policy, there.Policy, "map: {storage_policies: …} says so")
	}
}

// versioning compares how both containers keep versions.
func (x *certJob) versioning(r *rows, d *dest, src, there transport.ContainerInfo) {
	for _, n := range []string{"X-Versions-Enabled", "X-Versions-Location", "X-History-Location"} {
		a, b := src.Header[n], there.Header[n]
		if n == "X-Versions-Enabled" && strings.EqualFold(a, "false") && b == "" {
			b = a // never enabled and not enabled any more is the same to what is written next
		}
		want := a
		if n != "X-Versions-Enabled" && a != "" {
			want = x.p.alongName(d, transport.Unquote(a))
			b = transport.Unquote(b)
		}
		if a != "" || b != "" {
			r.same(n, a, want, b, "the name that the container has there")
		}
	}
}

// properties compares what is wanted with what is there, both without what carries refuses.
func properties(r *rows, want []plan.Property, keys, there transport.Header, carries func(string) bool) {
	for _, w := range want {
		value := there[w.Name]
		delete(there, w.Name)
		switch {
		case value == w.Value && len(w.Lost) > 0:
			r.add(w.Name, report.Cannot, "left out, as the policy does not say who they are there: "+strings.Join(w.Lost, ", "), w.Source, value)
		case value == w.Value && len(w.Mapped) > 0:
			r.add(w.Name, report.Mapped, strings.Join(w.Mapped, ", "), w.Source, value)
		default:
			r.same(w.Name, w.Source, w.Value, value, "")
		}
		if keys[w.Name] != "" {
			r.secret()
		}
	}
	for _, n := range names(there, nil) {
		if !carries(n) {
			continue
		}
		r.same(n, "", "", there[n], "")
		if transport.IsKey(n) {
			r.secret()
		}
	}
}

// account compares the properties of the account that the policy chooses.
func (c *certificate) account(ctx context.Context) error {
	metadata, quotas := slices.Contains(c.policy.Properties.Account, policies.AccountMetadata), slices.Contains(c.policy.Properties.Account, policies.AccountQuotas)
	if !metadata && !quotas {
		return nil
	}
	src, err := c.e.region(c.policy.From)
	if err != nil {
		return err
	}
	info, err := src.Account(ctx)
	if err != nil {
		return err
	}
	for _, to := range c.policy.To {
		r := &rows{like: report.FidelityRow{Policy: c.policy.Name, Item: itemAccount, From: c.policy.From, Region: to}}
		ep, err := c.e.region(to)
		var there transport.AccountInfo
		if err == nil {
			there, err = ep.Account(ctx)
		}
		if err != nil {
			if ctx.Err() != nil || !regionTrouble(err) {
				return err
			}
			c.unseen.Add(1)
			c.failed(to, "", "", err)
			continue
		}
		keys := info.Keys
		if !c.policy.Properties.TempURLKeys {
			leftOut(r, keys)
			there.Keys, keys = nil, nil
		}
		properties(r, plan.AccountProperties(info.Header, keys, metadata, quotas), keys, join(there.Header, there.Keys), func(n string) bool {
			return transport.KeepsAccount(n) && (plan.IsQuota(n) && quotas || !plan.IsQuota(n) && metadata)
		})
		if err := c.emit(r); err != nil {
			return err
		}
	}
	return nil
}
