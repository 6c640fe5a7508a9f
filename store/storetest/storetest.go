// Package storetest has what other packages' tests need of the ledger.
package storetest

import (
	"context"
	"testing"

	"farshore/store"
)

// MustCheck fails the test when the closed ledger at path has any problem: every
// test that wrote a ledger ends with it.
func MustCheck(tb testing.TB, path string) {
	tb.Helper()
	err := store.Check(context.Background(), path, func(p store.Problem) error {
		tb.Errorf("ledger %s: %s", path, p)
		return nil
	})
	if err != nil {
		tb.Errorf("check ledger: %v", err)
	}
}
