package replicator

import (
	"strconv"
	"strings"

	"farshore/store"
)

// PassOf reads the key of a pass in the ledger: whose it is, and over what. ok is
// false for a key that no engine made.
func PassOf(key string) (policy string, place store.PlaceID, prefix string, ok bool) {
	parts := strings.SplitN(key, "\x00", 3)
	if len(parts) != 3 {
		return "", 0, "", false
	}
	n, err := strconv.ParseUint(parts[1], 10, 32)
	return parts[0], store.PlaceID(n), parts[2], err == nil
}
