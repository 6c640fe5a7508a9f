package replicator

import "context"

// Accounts gives the storage URL of the account behind each region, by the region's
// name, as far as it is known: from the logins or, for a region that this run does not
// use or that does not answer, from the ledger. Equal URLs are one place (R16).
func (e *Engine) Accounts(ctx context.Context, regions []string) map[string]string {
	out := map[string]string{}
	for _, name := range regions {
		if id, err := e.identity(ctx, name); err == nil && id.URL != "" {
			out[name] = id.URL
		}
	}
	return out
}
