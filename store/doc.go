// Package store is the ledger: what has been copied, to where, and what was
// about to be, durably, in one file (bbolt). It imports nothing of the project
// but the values of transport/chunk, and nobody else imports bbolt.
//
// The ledger has verbs, not buckets. Places and routes get short numbers; an
// object's record carries its replicas; intents are written before the first
// byte of a copy goes out and are removed in the same transaction that records
// the replica; passes remember how far a walk got. A name in a versioned container
// has a series, which maps the source's version ids to the destinations'; the needs
// of a manifest say which segments must not be deleted while it stands. The layout
// on disk and the encoding of each record are in docs/ledger.md.
//
// One goroutine writes. Asynchronous verbs (Update, UpdateSeries, SetNeeds, Confirm,
// DropIntent) are collected for at most FlushEvery or FlushCount changes; a verb
// that promises durability has everything queued before it committed together with it. When
// a commit fails, the ledger stops writing for good and says so to everybody
// who waits: nothing is dropped in silence.
//
// Reads see what is committed, never what is queued. A page is copied out and
// its transaction ended before it is returned, so that no reader keeps the file
// from reusing its pages (R5).
//
// Limits: one process writes at a time (the file is locked); names are at most
// MaxName bytes; nothing here ever repairs or truncates a damaged file.
package store
