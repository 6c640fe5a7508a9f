package replicator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"farshore/replicator/plan"
	"farshore/replicator/report"
	"farshore/store"
	"farshore/transport"
)

// The properties of containers. A pass looks at the source's container anyway; what
// its copy is to have is a digest in the ledger, so that nothing changed costs the
// destination no request. What both ends had when they last agreed is kept beside it,
// property by property and as digests, shared by the two directions of a pair: it tells
// a change here from an edit there, and a removal from what never was.
//
// Quotas stand at the destination between passes only: the first object that a pass
// writes there lifts those that Farshore has set, and the pass's end sets them again. A
// copy may hold more than its source for a while (deletes wait, an overwrite counts
// twice in Swift), and a quota of the same size would then refuse what the policy wants.

// destProps is what is known of one destination's properties during a pass.
type destProps struct {
	mu      sync.Mutex
	off     bool // the policy does not carry them, or the source is not known
	want    []plan.Property
	policy  string // the storage policy that the container is to be in; "": not said
	digest  [8]byte
	route   store.RouteID // under which the ledger keeps them
	whole   bool          // that is the route of the whole container, of which a part comes along
	pairKey string        // note of what is agreed
	flip    bool          // it is written from the other direction's view
	own     ownProps
	agreed  map[string]plan.Agreed
	both    bool // there is a direction back
	checked bool // the container is known to exist
	blocked bool // strict, and something would be lost
}

// ownProps is what a direction keeps in the ledger for itself.
type ownProps struct {
	Policy  string   `json:"policy,omitempty"`  // the container's storage policy there
	Made    bool     `json:"made,omitempty"`    // Farshore made the container
	Open    bool     `json:"open,omitempty"`    // its quotas are lifted, or not set yet
	Foreign []string `json:"foreign,omitempty"` // what others set there, as far as it was reported
	Blind   bool     `json:"blind,omitempty"`   // the source hides from its login what is for owners
}

// properties finds out, once a pass, what a destination's container is to have. It
// asks the source only where the pass has not done so.
func (p *pass) properties(ctx context.Context, d *dest) (*destProps, error) {
	d.propsMu.Lock() // an audit's passes share their destinations
	defer d.propsMu.Unlock()
	if d.props != nil {
		return d.props, nil
	}
	pr := &destProps{}
	pol := p.job.Policy
	if !pol.Properties.Containers || p.gone {
		pr.off = true
		d.props = pr
		return pr, nil
	}
	p.shapeMu.Lock()
	defer p.shapeMu.Unlock()
	if p.shape == nil {
		info, err := p.src.Container(ctx, p.job.From.Container)
		if err != nil {
			return nil, err
		}
		p.shape = &info
	}
	r := d.info.Route
	keys := p.shape.Keys
	if !pol.Properties.TempURLKeys {
		keys = nil
	}
	pr.want = plan.ContainerProperties(p.shape.Header, keys, plan.IDs{Same: r.From.Project == r.To.Project, Projects: pol.Map.Projects, Users: pol.Map.Users})
	pr.policy = cmp.Or(pol.Map.StoragePolicies[p.shape.Policy], p.shape.Policy)
	pr.digest = propsDigest(pr.want, pr.policy, pol.Takeover)
	if err := p.recall(d, pr); err != nil {
		return nil, err
	}
	if err := p.askBlind(ctx, d, pr); err != nil {
		return nil, err
	}
	d.props = pr
	return pr, nil
}

func ownKey(r store.RouteID) string { return fmt.Sprintf("properties/%d", r) }

// turned is what is agreed, seen from the other end if flip is set.
func turned(in map[string]plan.Agreed, flip bool) map[string]plan.Agreed {
	out := make(map[string]plan.Agreed, len(in))
	for n, a := range in {
		if flip {
			a = a.Flip()
		}
		out[n] = a
	}
	return out
}

func (e *Engine) readNote(key string, to any) error {
	text, ok, err := e.o.Ledger.Note(key)
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("read note %s of the ledger: %w", key, err)
	}
	return nil
}

func (e *Engine) writeNote(key string, of any) error {
	text, err := json.Marshal(of)
	if err != nil {
		return fmt.Errorf("encode note %s: %w", key, err)
	}
	if old, ok, err := e.o.Ledger.Note(key); err != nil || ok && string(old) == string(text) {
		return err
	}
	return e.o.Ledger.PutNote(key, text)
}

// keepProps makes what is known of a destination's properties durable.
func (p *pass) keepProps(pr *destProps) error {
	if err := p.e.writeNote(ownKey(pr.route), pr.own); err != nil {
		return err
	}
	return p.e.writeNote(pr.pairKey, turned(pr.agreed, pr.flip))
}

// propsDigest stands for what is to be carried, and whether over others' changes: a
// policy that begins to allow that has a pass look again.
func propsDigest(want []plan.Property, policy string, takeover bool) [8]byte {
	h := transport.Header{"": policy, "takeover": fmt.Sprint(takeover)}
	for _, w := range want {
		h[w.Name] = plan.PropertyDigest(w.Name, w.Source) + plan.PropertyDigest(w.Name, w.Value)
	}
	return h.Digest()
}

// doubtful reports whether the source looks as if it was lost and made anew: then its
// properties wait, as its deletes do, until a person or its objects have answered.
func (p *pass) doubtful() bool {
	return p.shape != nil && p.shape.Objects == 0 && p.present > 0
}

// carryProperties brings an existing destination container's properties up to the
// source's. What it cannot do there is a finding; its error is the ledger's, the
// context's, or of a region that does not answer.
func (p *pass) carryProperties(ctx context.Context, d *dest) error {
	pr, err := p.properties(ctx, d)
	if err != nil || pr.off || p.doubtful() {
		return err
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	recorded, _, ok, err := p.e.o.Ledger.Properties(pr.route)
	if err != nil {
		return err
	}
	fresh := !ok || recorded != pr.digest
	if p.partial(d) && !pr.own.Made && !(p.o.DryRun && d.absent) {
		return nil
	}
	if fresh && d.seen == nil && !d.absent {
		info, err := d.ep.Container(ctx, d.side.Container)
		if transport.Is(err, transport.NotFound) && !p.o.DryRun {
			if err := p.makeLocked(ctx, d, pr); err != nil {
				return err
			}
			p.lossFindings(d, pr)
			return nil
		}
		if err != nil && !transport.Is(err, transport.NotFound) {
			return err
		}
		d.seen = &info
	}
	if d.seen != nil {
		pr.own.Policy = d.seen.Policy
	}
	p.lossFindings(d, pr)
	if pr.blocked {
		return nil
	}
	p.guardQuotas(d, pr)
	if !fresh {
		return nil
	}
	there := transport.Header{}
	if d.seen != nil {
		there = join(d.seen.Header, d.seen.Keys)
	}
	if p.o.DryRun {
		m := p.merge(pr, there, func(string) bool { return true })
		p.tally.properties.Add(int64(m.Changes()))
		p.mergeFindings(d, pr, m)
		return nil
	}
	m := p.merge(pr, there, func(n string) bool { return !plan.IsQuota(n) })
	done, err := p.apply(ctx, d, pr, there, m)
	if err != nil || !done {
		return err
	}
	pr.own.Open = pr.own.Open || pr.hasQuotas()
	if err := p.keepProps(pr); err != nil || len(m.Conflicts) > 0 {
		return err
	}
	return p.e.o.Ledger.PutProperties(pr.route, pr.digest, micros(p.e.o.Clock.Now()))
}

func (pr *destProps) hasQuotas() bool {
	for n := range pr.agreed {
		if plan.IsQuota(n) {
			return true
		}
	}
	return slices.ContainsFunc(pr.want, func(w plan.Property) bool { return plan.IsQuota(w.Name) })
}

func join(a, b transport.Header) transport.Header {
	out := a.Clone()
	maps.Copy(out, b)
	return out
}

// merge decides the properties that choose takes.
func (p *pass) merge(pr *destProps, there transport.Header, choose func(string) bool) plan.Merged {
	return p.merging(pr, there, choose).Do()
}

// merging is what that decision is made of.
func (p *pass) merging(pr *destProps, there transport.Header, choose func(string) bool) plan.Merge {
	pol := p.job.Policy
	choice := func(n string) bool {
		return choose(n) && plan.CarriesContainer(n) && (pol.Properties.TempURLKeys || !transport.IsKey(n)) && !(pr.own.Blind && forOwners(n))
	}
	m := plan.Merge{There: transport.Header{}, Base: map[string]plan.Agreed{}, Me: pr.route, Both: pr.both, Takeover: pol.Takeover}
	for _, w := range pr.want {
		if choice(w.Name) {
			m.Want = append(m.Want, w)
		}
	}
	for n, v := range there {
		if choice(n) {
			m.There[n] = v
		}
	}
	for n, a := range pr.agreed {
		if choice(n) {
			m.Base[n] = a
		}
	}
	return m
}

// apply carries a decision out. The ledger knows before the request what may stand
// there after it, so that a run that dies in between takes neither for an edit by
// others. done is false if the destination refused it, which is a finding.
func (p *pass) apply(ctx context.Context, d *dest, pr *destProps, there transport.Header, m plan.Merged) (done bool, err error) {
	p.mergeFindings(d, pr, m)
	next := maps.Clone(pr.agreed)
	for n := range pr.agreed {
		if _, stays := m.Next[n]; !stays && slices.Contains(m.Decided, n) {
			delete(next, n)
		}
	}
	maps.Copy(next, m.Next)
	if m.Changes() > 0 {
		pr.agreed = maps.Clone(next)
		for _, n := range m.Touched() {
			was := plan.PropertyDigest(n, there[n])
			a := pr.agreed[n]
			a.By, a.Was = pr.route, &was
			pr.agreed[n] = a
		}
		if err := p.keepProps(pr); err != nil {
			return false, err
		}
		if err := d.ep.PostContainer(ctx, d.side.Container, m.Set, m.Remove); err != nil {
			return false, p.propsFailed(ctx, d, "set "+strings.Join(m.Touched(), ", "), err)
		}
		p.tally.properties.Add(int64(m.Changes()))
		p.e.o.Log.Info("properties carried", "region", d.side.Region, "container", d.side.Container, "set", slices.Sorted(maps.Keys(m.Set)), "removed", m.Remove)
	}
	pr.agreed = next
	return true, p.keepProps(pr)
}

// propsFailed passes on an error that speaks of the region or the run, and makes a
// finding of one that is about these properties only.
func (p *pass) propsFailed(ctx context.Context, d *dest, op string, err error) error {
	c := transport.ClassOf(err)
	if ctx.Err() != nil || !regionTrouble(err) || c == transport.Transient || c == transport.Throttled {
		return err
	}
	p.findings.Add(report.Finding{Kind: report.KindFailed, Level: report.Error, Policy: p.job.Policy.Name, Region: d.side.Region, Container: d.side.Container,
		Op: op, Cause: err.Error(), Hint: cmp.Or(transport.HintOf(err), "the objects are copied all the same; properties: {containers: false} leaves these out")})
	return nil
}

// makeContainer makes a destination's container with its properties.
func (p *pass) makeContainer(ctx context.Context, d *dest) error {
	pr, err := p.properties(ctx, d)
	if err != nil && !transport.Is(err, transport.NotFound) {
		return err
	}
	if err != nil || pr.off {
		return d.ep.CreateContainer(ctx, d.side.Container, nil)
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return p.makeLocked(ctx, d, pr)
}

// ensureDest makes a destination's container if it is missing.
func (p *pass) ensureDest(ctx context.Context, d *dest) error {
	pr, err := p.properties(ctx, d)
	if err != nil {
		return err
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.checked {
		return nil
	}
	_, err = d.ep.Container(ctx, d.side.Container)
	switch {
	case transport.Is(err, transport.NotFound) && pr.off:
		err = d.ep.CreateContainer(ctx, d.side.Container, nil)
	case transport.Is(err, transport.NotFound):
		err = p.makeLocked(ctx, d, pr)
	}
	pr.checked = err == nil
	return err
}

// makeLocked makes the container; pr.mu is held.
func (p *pass) makeLocked(ctx context.Context, d *dest, pr *destProps) error {
	if strict := p.job.Policy.Strict; strict && len(lostOf(pr.want)) > 0 {
		pr.blocked = true
		return p.refused(d, "its ACL names ids without an entry in the policy's map: "+strings.Join(lostOf(pr.want), ", "))
	}
	if p.partial(d) && !pr.own.Made {
		if err := p.lookBlind(ctx, pr); err != nil {
			return err
		}
	}
	if p.job.Policy.Strict && pr.own.Blind {
		pr.blocked = true
		cause, _ := p.hidden()
		return p.refused(d, cause)
	}
	h := transport.Header{}
	agreed := map[string]plan.Agreed{}
	for _, w := range pr.want {
		if w.Value != "" && !plan.IsQuota(w.Name) {
			h[w.Name] = w.Value
			agreed[w.Name] = plan.Agreed{From: plan.PropertyDigest(w.Name, w.Source), To: plan.PropertyDigest(w.Name, w.Value), By: pr.route}
		}
	}
	create := func(policy string, h transport.Header) error {
		h = h.Clone()
		if policy != "" {
			h[transport.PolicyHeader] = policy
		}
		return d.ep.CreateContainer(ctx, d.side.Container, h)
	}
	own, digest := ownProps{Policy: pr.policy, Made: true, Open: pr.hasQuotas(), Blind: pr.own.Blind}, pr.digest
	// as in apply: a run that dies before it can say so does not take them for others'
	nothing := plan.PropertyDigest("", "")
	pr.agreed = maps.Clone(agreed)
	for n, a := range pr.agreed {
		a.Was = &nothing
		pr.agreed[n] = a
	}
	if err := p.keepProps(pr); err != nil {
		return err
	}
	err := create(pr.policy, h)
	if refusal(err) && pr.policy != "" {
		if p.job.Policy.Strict {
			pr.blocked = true
			return p.refused(d, fmt.Sprintf("its storage policy %s is not known there: %v", pr.policy, err))
		}
		if err = create("", h); err == nil {
			var info transport.ContainerInfo
			if info, err = d.ep.Container(ctx, d.side.Container); err != nil {
				return err
			}
			own.Policy = info.Policy
		}
	}
	if refusal(err) && len(h) > 0 { // the container is worth more than its properties, which are tried again
		if err = create("", nil); err == nil {
			own.Policy, agreed, digest = "", map[string]plan.Agreed{}, [8]byte{}
		}
	}
	if err != nil {
		return err
	}
	pr.own, pr.agreed, pr.checked, d.seen = own, agreed, true, nil
	p.tally.properties.Add(int64(len(agreed)))
	if err := p.keepProps(pr); err != nil {
		return err
	}
	return p.e.o.Ledger.PutProperties(pr.route, digest, micros(p.e.o.Clock.Now()))
}

// refusal reports whether a region will not have a container as it was asked for.
func refusal(err error) bool {
	var te *transport.Error
	return errors.As(err, &te) && te.Class == transport.Permanent && (te.Status == http.StatusBadRequest || te.Status == http.StatusConflict)
}

func (p *pass) refused(d *dest, why string) error {
	return &transport.Error{Op: "make container", Region: d.side.Region, Container: d.side.Container, Class: transport.Permanent,
		Err: errors.New("the policy is strict, and " + why), Hint: "complete map: in the policy, or take strict: out"}
}

func lostOf(want []plan.Property) []string {
	var out []string
	for _, w := range want {
		out = append(out, w.Lost...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
