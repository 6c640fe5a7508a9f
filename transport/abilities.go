package transport

// Learn takes in what a probe found, by the names of Tried.
func (a *Abilities) Learn(found map[string]Answer) {
	for name, field := range a.tried() {
		if v, ok := found[name]; ok && v != "" {
			*field = v
		}
	}
}

// Tried gives the answers that a probe can find, by stable names.
func (a Abilities) Tried() map[string]Answer {
	out := map[string]Answer{}
	for name, field := range a.tried() {
		out[name] = *field
	}
	return out
}

func (a *Abilities) tried() map[string]*Answer {
	return map[string]*Answer{
		"slo": &a.SLO, "if-none-match": &a.IfNoneMatch, "if-match-range": &a.IfMatchRange, "copy-etag": &a.CopyETag,
		"copy-collapses": &a.CopyCollapses, "raw-manifest": &a.RawManifest, "nul-end-marker": &a.NULEndMarker, "delete-after": &a.DeleteAfter,
	}
}
