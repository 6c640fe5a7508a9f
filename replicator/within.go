package replicator

// Within has an engine that has not begun anything work within another's limits: what it
// carries counts against the streams, the memory and the byte limits of both, and follows
// a limit that is changed while it runs. It is for what people have a daemon do besides.
func (e *Engine) Within(other *Engine) { e.budget = other.budget }
