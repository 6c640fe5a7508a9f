package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// sealJSON makes a record whose body is JSON: of what is few, and has fields that come
// and go. The owner is 0.
func sealJSON(kind byte, key []byte, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return seal(kind, 0, key, append([]byte{recordVersion}, body...), 0), nil
}

// decodeJSON reads a record of sealJSON. A field that is not known makes it invalid,
// as unknown flags do in the others: writing it back would lose it.
func decodeJSON(kind byte, key, v []byte, into any) error {
	body, err := unseal(kind, 0, key, v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errDecode, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes left over", errDecode)
	}
	return nil
}

func decodePoint(key, v []byte) (Point, error) {
	var p Point
	err := decodeJSON(kindPoint, key, v, &p)
	if err == nil {
		err = decoded(key, p.ID, p.Valid())
	}
	if err != nil {
		return Point{}, err
	}
	return p, nil
}

func decodeWork(key, v []byte) (Work, error) {
	var w Work
	err := decodeJSON(kindWork, key, v, &w)
	if err == nil {
		err = decoded(key, w.ID, w.valid())
	}
	if err != nil {
		return Work{}, err
	}
	return w, nil
}

func decodeDrill(key, v []byte) (Drill, error) {
	var x Drill
	err := decodeJSON(kindDrill, key, v, &x)
	if err == nil {
		err = decoded(key, x.ID, x.valid())
	}
	if err != nil {
		return Drill{}, err
	}
	return x, nil
}

// decoded refuses what could not have been written.
func decoded(key []byte, id string, invalid error) error {
	if id != string(key) {
		return fmt.Errorf("%w: it says that it is %q", errDecode, id)
	}
	if invalid != nil {
		return fmt.Errorf("%w: %w", errDecode, invalid)
	}
	return nil
}
