package fakecloud

import "sort"

// index keeps names in byte order (Swift's SQLite collation) in sorted chunks:
// a lookup is two binary searches, an insert moves at most chunkMax entries.
type index struct {
	chunks [][]entry
	n      int
}

type entry struct {
	name string
	obj  *object // nil: a tombstone over a synthetic entry
}

const chunkMax = 512

// find returns where name is, or where it would be inserted.
func (x *index) find(name string) (ci, i int, ok bool) {
	ci = sort.Search(len(x.chunks), func(k int) bool {
		c := x.chunks[k]
		return c[len(c)-1].name >= name
	})
	if ci == len(x.chunks) {
		return ci, 0, false
	}
	c := x.chunks[ci]
	i = sort.Search(len(c), func(k int) bool { return c[k].name >= name })
	return ci, i, i < len(c) && c[i].name == name
}

func (x *index) get(name string) (*object, bool) {
	ci, i, ok := x.find(name)
	if !ok {
		return nil, false
	}
	return x.chunks[ci][i].obj, true
}

func (x *index) set(name string, o *object) {
	ci, i, ok := x.find(name)
	if ok {
		x.chunks[ci][i].obj = o
		return
	}
	x.n++
	if ci == len(x.chunks) {
		if ci == 0 || len(x.chunks[ci-1]) >= chunkMax {
			c := make([]entry, 1, chunkMax)
			c[0] = entry{name, o}
			x.chunks = append(x.chunks, c)
			return
		}
		// Ascending inserts fill the last chunk instead of splitting it in half.
		x.chunks[ci-1] = append(x.chunks[ci-1], entry{name, o})
		return
	}
	c := x.chunks[ci]
	if len(c) >= chunkMax {
		half := len(c) / 2
		right := make([]entry, len(c)-half, chunkMax)
		copy(right, c[half:])
		clear(c[half:])
		x.chunks = append(x.chunks, nil)
		copy(x.chunks[ci+2:], x.chunks[ci+1:])
		x.chunks[ci], x.chunks[ci+1] = c[:half], right
		if i > half {
			ci, i = ci+1, i-half
		}
		c = x.chunks[ci]
	}
	c = append(c, entry{})
	copy(c[i+1:], c[i:])
	c[i] = entry{name, o}
	x.chunks[ci] = c
}

func (x *index) del(name string) bool {
	ci, i, ok := x.find(name)
	if !ok {
		return false
	}
	x.n--
	c := x.chunks[ci]
	copy(c[i:], c[i+1:])
	c[len(c)-1] = entry{}
	x.chunks[ci] = c[:len(c)-1]
	if len(c) == 1 {
		x.chunks = append(x.chunks[:ci], x.chunks[ci+1:]...)
	}
	return true
}

// clone copies the order, sharing the objects (they never change in place).
func (x *index) clone() *index {
	y := &index{n: x.n, chunks: make([][]entry, len(x.chunks))}
	for i, c := range x.chunks {
		d := make([]entry, len(c), chunkMax)
		copy(d, c)
		y.chunks[i] = d
	}
	return y
}

// cursor walks an index forwards from the first name >= from, or backwards
// from the last name < from (an empty from backwards means the end).
type cursor struct {
	x     *index
	ci, i int
	back  bool
}

func (x *index) seek(from string, back bool) cursor {
	if !back {
		ci, i, _ := x.find(from)
		return cursor{x: x, ci: ci, i: i}
	}
	c := cursor{x: x, back: true}
	if from == "" {
		c.ci = len(x.chunks)
	} else {
		c.ci, c.i, _ = x.find(from)
	}
	c.i--
	c.settle()
	return c
}

func (c *cursor) settle() {
	if c.i < 0 {
		c.ci--
		if c.ci >= 0 {
			c.i = len(c.x.chunks[c.ci]) - 1
		}
	}
}

// peek returns the entry under the cursor.
func (c *cursor) peek() (entry, bool) {
	if c.ci < 0 || c.ci >= len(c.x.chunks) {
		return entry{}, false
	}
	return c.x.chunks[c.ci][c.i], true
}

func (c *cursor) advance() {
	if c.back {
		c.i--
		c.settle()
		return
	}
	if c.i++; c.i >= len(c.x.chunks[c.ci]) {
		c.ci, c.i = c.ci+1, 0
	}
}
