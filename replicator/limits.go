package replicator

// Limits of one pair of regions or of one policy that a person changes while passes run.

func pairOrder(key string) string    { return "pair " + key }
func policyOrder(name string) string { return "policy " + name }

// ordered is the limit in force: what a person set, else what the policy file says. b.mu is held.
func (b *budget) ordered(key string, filed int64) int64 {
	if r, ok := b.orders[key]; ok {
		return r
	}
	return filed
}

// set notes a limit that a person set, or, negative, takes it back. b.mu is held.
func (b *budget) set(key string, perSecond int64) {
	if b.orders == nil {
		b.orders = map[string]int64{}
	}
	if b.orders[key] = perSecond; perSecond < 0 {
		delete(b.orders, key)
	}
}

// SetPairLimit changes the limit of what goes from one region to another, by its
// policies.PairKey, as SetTotalLimit does that of everything: bytes a second, 0 for
// none, negative for what the policy file says.
func (e *Engine) SetPairLimit(key string, perSecond int64) {
	b := e.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(pairOrder(key), perSecond)
	if l := b.pairs[key]; l != nil {
		l.Set(b.ordered(pairOrder(key), int64(b.limits.Pairs[key])))
	}
}

// SetPolicyLimit changes the limit of one policy, whose own is filed, in bytes a second,
// in the same way.
func (e *Engine) SetPolicyLimit(name string, perSecond, filed int64) {
	b := e.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(policyOrder(name), perSecond)
	if l := b.policies[name]; l != nil {
		l.Set(b.ordered(policyOrder(name), filed))
	}
}
