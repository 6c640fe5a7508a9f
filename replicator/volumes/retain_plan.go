package volumes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"farshore/replicator/report"
)

// item is one point at one side: at its source, or as a copy in a destination.
type item struct {
	Point  string // the point's ID
	Volume string
	Backup string // its id at this side
	Parent string // the backup at this side that it is an increment upon; "" of a full one
	Taken  int64  // µs
	State  itemState
	Landed bool   // the side's Cinder has the record
	Hold   string // why it must stay whatever keep says; "": no reason
}

// itemState is what can be made of an item.
type itemState int

const (
	present itemState = iota // complete, by what the ledger knows
	busy                     // being made: nothing is decided about it, and its parents stay
	broken                   // an audit found it missing or damaged
)

// side is one volume's points at one region, and what the policy wants of them there.
type side struct {
	Region string
	Source bool
	Items  []item
	// Choose says of times in ascending order which stay, with the reason; "": it may go.
	Choose func(taken []time.Time) []string
	// MaxChain is how many backups a restore may need; 0: no bound, and nothing is synthesized.
	MaxChain int
	// Gap is how far points usually lie apart; 0: told from the points themselves.
	Gap time.Duration
}

// decide says what becomes of each point of a side: verdicts in an order that can be
// carried out as it stands, with no increment ever without its parent, and then what
// stays. It is a pure function of what the ledger knows: nothing is asked or done.
//
// What stays: whatever keep chooses among the points that can be restored; the newest
// of them, always; what is held or being made; and every parent that one of these needs.
//
// What becomes a synthetic full is always a point that nothing is an increment upon, so
// that no record has to get another parent: the newest one, when its chain is longer
// than MaxChain, and older ones that stay for long but whose parents nobody else needs.
func (s side) decide() []report.Fate {
	items := slices.Clone(s.Items)
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.Taken, b.Taken), cmp.Compare(a.Point, b.Point))
	})
	t := newTree(items)
	d := &decision{side: s, tree: t, why: s.wanted(t), lasts: s.lasting(t), newest: t.newest(), done: make([]bool, len(items)), made: make([]bool, len(items))}
	for {
		d.deletes()
		if !d.synthesize() {
			break
		}
	}
	for i := range items {
		switch need := d.neededBy(i); {
		case d.done[i], d.made[i]:
		case d.why[i] != "":
			d.say(i, report.Keep, d.why[i])
		default:
			d.say(i, report.Keep, "a parent of "+items[need[0]].Point)
		}
	}
	return d.out
}

// decision is a side's tree while verdicts are made.
type decision struct {
	side
	*tree
	why    []string // why an item stays for its own sake; "": it may go
	lasts  []bool
	newest int    // the newest that is landed; -1: none
	done   []bool // deleted
	made   []bool // a full of its own now
	out    []report.Fate
}

func (d *decision) say(i int, act report.Act, why string) {
	x := &d.items[i]
	d.out = append(d.out, report.Fate{Volume: x.Volume, Region: d.Region, Source: d.Source, Point: x.Point, Taken: time.UnixMicro(x.Taken).UTC(), Act: act, Why: why})
}

// neededBy names the items that stay and of whose chain this one is a part, itself not counted.
func (d *decision) neededBy(i int) (out []int) {
	for j := range d.items {
		if j != i && d.why[j] != "" && !d.done[j] && slices.Contains(d.chain(j), i) {
			out = append(out, j)
		}
	}
	return out
}

// deletes lets go of all that nothing needs, from the newest increment to its parents.
func (d *decision) deletes() {
	for i := len(d.items) - 1; i >= 0; {
		if d.done[i] || d.why[i] != "" || len(d.upon(i)) > 0 {
			i--
			continue
		}
		d.say(i, report.Delete, "no rule of keep chooses it")
		d.done[i] = true
		i = len(d.items) - 1 // its parent may be newer, where clocks or chains are odd
	}
}

// upon are the increments upon an item that are still there.
func (d *decision) upon(i int) (out []int) {
	for _, c := range d.children[i] {
		if !d.done[c] && d.parent[c] == i {
			out = append(out, c)
		}
	}
	return out
}

// synthesize makes the next point that should be one a full of its own, if there is any.
func (d *decision) synthesize() bool {
	if d.MaxChain <= 0 || d.newest < 0 {
		return false
	}
	i, why := d.newest, ""
	if n := len(d.chain(i)); n > d.MaxChain && len(d.upon(i)) == 0 {
		why = fmt.Sprintf("a restore needs %d backups, and max_chain is %d", n, d.MaxChain)
	}
	for j := len(d.items) - 1; j >= 0 && why == ""; j-- {
		p := d.parent[j]
		if j == d.newest || d.done[j] || d.why[j] == "" || !d.whole[j] || !d.items[j].Landed || !d.lasts[j] || len(d.upon(j)) > 0 || p < 0 {
			continue
		}
		if d.why[p] == "" && len(d.neededBy(p)) == 1 {
			i, why = j, "it stays ("+d.why[j]+"), and nothing else needs its parents"
		}
	}
	if why == "" {
		return false
	}
	d.say(i, report.Synthesize, why)
	d.made[i], d.parent[i] = true, -1
	return true
}

// tree is a side's chains.
type tree struct {
	items    []item
	at       map[string]int // by backup
	parent   []int          // -1: none, or not there
	children [][]int
	whole    []bool // it and all that it needs are there
}

func newTree(items []item) *tree {
	n := len(items)
	t := &tree{items: items, at: map[string]int{}, parent: make([]int, n), children: make([][]int, n), whole: make([]bool, n)}
	for i := range items {
		t.at[items[i].Backup] = i
	}
	for i := range items {
		t.parent[i] = -1
		if p, ok := t.at[items[i].Parent]; ok && items[i].Parent != "" && p != i {
			t.parent[i] = p
			t.children[p] = append(t.children[p], i)
		}
	}
	for i := range items {
		chain := t.chain(i)
		torn := func(j int) bool { return items[j].State == broken || t.parent[j] < 0 && items[j].Parent != "" }
		t.whole[i] = items[i].State == present && len(chain) <= n && !slices.ContainsFunc(chain, torn)
	}
	return t
}

// chain is an item and what it needs, up to the full; it ends where a record is missing.
func (t *tree) chain(i int) []int {
	var out []int
	for ; i >= 0 && len(out) <= len(t.items); i = t.parent[i] {
		out = append(out, i)
	}
	return out
}

// restorable reports whether the side's own Cinder could restore an item now: it is
// whole, and it and all that it needs are landed.
func (t *tree) restorable(i int) bool {
	return t.whole[i] && !slices.ContainsFunc(t.chain(i), func(j int) bool { return !t.items[j].Landed })
}

// newest is the newest item that the side's own Cinder could restore now; -1: none.
func (t *tree) newest() int {
	for i := len(t.items) - 1; i >= 0; i-- {
		if t.restorable(i) {
			return i
		}
	}
	return -1
}

// wanted says of each item why it stays for its own sake; "": it may go.
func (s side) wanted(t *tree) []string {
	why := make([]string, len(t.items))
	s.choose(t, why, t.restorable, nil)
	// What cannot be restored now is judged as if it could, so that a repair or an import
	// finds it; but it takes nobody's place.
	s.choose(t, why, func(i int) bool { return t.items[i].State != busy }, func(i int) string {
		switch {
		case t.restorable(i):
			return ""
		case t.whole[i]:
			return "not landed yet"
		}
		return "lost; audit --repair sends it again"
	})
	newest := -1
	for i := range t.items {
		x := &t.items[i]
		switch {
		case x.Hold != "":
			why[i] = x.Hold
		case x.State == busy:
			why[i] = "being made"
		}
		if t.whole[i] {
			newest = i
		}
	}
	for _, i := range []int{newest, t.newest()} {
		if i >= 0 && why[i] == "" {
			why[i] = "the newest"
		}
	}
	return why
}

// choose lets keep choose among some items. With instead, what is chosen gets that
// reason, and is left as it is where there is none.
func (s side) choose(t *tree, why []string, among func(i int) bool, instead func(i int) string) {
	var taken []time.Time
	var at []int
	for i := range t.items {
		if among(i) {
			taken, at = append(taken, time.UnixMicro(t.items[i].Taken).UTC()), append(at, i)
		}
	}
	for k, reason := range s.Choose(taken) {
		i := at[k]
		if reason != "" && instead != nil {
			reason = instead(i)
		}
		if reason != "" {
			why[i] = reason
		}
	}
}

// lasting tells which items keep would still choose after a whole chain of later
// points: a synthetic full of one that goes soon would be made for nothing.
func (s side) lasting(t *tree) []bool {
	var taken []time.Time
	var at []int
	for i := range t.items {
		if t.whole[i] {
			taken, at = append(taken, time.UnixMicro(t.items[i].Taken).UTC()), append(at, i)
		}
	}
	out := make([]bool, len(t.items))
	gap := s.Gap
	if gap <= 0 {
		gap = usualGap(taken)
	}
	if gap <= 0 || len(taken) == 0 {
		return out
	}
	last := taken[len(taken)-1]
	for n := 1; n <= s.MaxChain; n++ {
		taken = append(taken, last.Add(time.Duration(n)*gap))
	}
	reasons := s.Choose(taken)
	for k, i := range at {
		out[i] = reasons[k] != ""
	}
	return out
}

// usualGap is the median of the last gaps between points; 0: there are none.
func usualGap(taken []time.Time) time.Duration {
	const enough = 9
	var gaps []time.Duration
	for i := max(1, len(taken)-enough); i < len(taken); i++ {
		gaps = append(gaps, taken[i].Sub(taken[i-1]))
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
