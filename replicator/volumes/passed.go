package volumes

import (
	"encoding/json"
	"fmt"
	"time"

	"farshore/policies"
	"farshore/store"
)

// Passed is the last pass of a policy that came to its end, whatever it found. The engine's records
// of passes are of containers; a pass over volumes may end without any.
type Passed struct {
	Policy string    `json:"policy"`
	Region string    `json:"region"` // the source
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
}

// passedNote begins the keys under which the ledger keeps them.
const passedNote = "volumes-passed/"

func (s *Shipper) notePassed(p policies.Policy, began time.Time) error {
	text, err := json.Marshal(Passed{Policy: p.Name, Region: p.From, Began: began, Ended: s.o.Clock.Now().UTC()})
	if err == nil {
		err = s.o.Ledger.PutNote(passedNote+p.From+"/"+p.Name, text)
	}
	if err != nil {
		return fmt.Errorf("record the pass of policy %s: %w", p.Name, err)
	}
	return nil
}

// Passes are the last passes over volumes that a ledger knows.
func Passes(l *store.Ledger) ([]Passed, error) {
	return notesOf[Passed](l, passedNote)
}

// notesOf reads the ledger's notes whose keys begin so.
func notesOf[T any](l *store.Ledger, prefix string) ([]T, error) {
	keys, notes, err := l.Notes(prefix)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(notes))
	for i, text := range notes {
		if err := json.Unmarshal(text, &out[i]); err != nil {
			return nil, fmt.Errorf("read note %s: %w", keys[i], err)
		}
	}
	return out, nil
}
