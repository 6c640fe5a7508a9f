package volumes

import (
	"fmt"

	"farshore/policies"
)

// How many backups of a volume a quota must have room for: docs/policy.md has the rule.
// Keep alone does not say, since a parent stays as long as an increment upon it does.

// sourceChain is how long the source's chains become; 0: no bound.
func sourceChain(p policies.Policy) (n int, why string) {
	n, why = p.MaxChain.Source, fmt.Sprintf("max_chain.source %d", p.MaxChain.Source)
	if p.Snapshot != nil && p.FullEvery > 0 {
		if full := int((p.FullEvery + p.Snapshot.Every - 1) / p.Snapshot.Every); n == 0 || full < n {
			n, why = full, fmt.Sprintf("%d in each full_every", full)
		}
	}
	return n, why
}

// sourceBackups is how many backups of a volume the source comes to while its points land;
// 0: no bound.
func sourceBackups(p policies.Policy) int {
	chain, _ := sourceChain(p)
	if k := p.KeepSource; k != nil && chain > 0 {
		return chain + max(k.Last, 1) + olderPoints(k)*chain
	}
	return 0
}

// destinationBackups is the same for a destination.
func destinationBackups(p policies.Policy) int {
	if k := p.Keep; k != nil && p.MaxChain.Destination > 0 {
		return max(k.Last, 1) + olderPoints(k) + p.MaxChain.Destination
	}
	return 0
}

// olderPoints is how many points a keep chooses beside the last.
func olderPoints(k *policies.Keep) int {
	return k.Hourly + k.Daily + k.Weekly + k.Monthly + k.Yearly
}

// sourceRoom says what to do where the source has no room for one more backup.
func sourceRoom(p policies.Policy) string {
	n := sourceBackups(p)
	if n == 0 {
		return "the backups of a volume have no bound here: set keep_source and max_chain: {source: …} (docs/policy.md, Backups of quota)"
	}
	_, chain := sourceChain(p)
	older := ""
	if olderPoints(p.KeepSource) > 0 {
		older = ", and a chain for each older point that it keeps"
	}
	return fmt.Sprintf("a volume comes to as many as %d here: a chain (%s) and keep_source.last %d%s, as what an increment is upon stays as long as it does. "+
		"So raise the quota to that, for each volume; or lower max_chain: {source: …} or full_every, which counts from the next full backup on, and that needs room for %d beside the chain there is", n, chain, p.KeepSource.Last, older, max(p.KeepSource.Last, 1))
}

// destinationRoom says what to do where a destination has none.
func destinationRoom(p policies.Policy) string {
	n := destinationBackups(p)
	if n == 0 {
		return "the backups of a volume have no bound there: set keep and max_chain: {destination: …} (docs/policy.md, Backups of quota)"
	}
	return fmt.Sprintf("a volume comes to as many as %d there: %d points of keep and a chain (max_chain.destination %d). So raise the quota to that, for each volume; or keep fewer points, or lower max_chain: {destination: …}", n, max(p.Keep.Last, 1)+olderPoints(p.Keep), p.MaxChain.Destination)
}
