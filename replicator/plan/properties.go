package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"farshore/store"
	"farshore/transport"
)

// Property is one header of a container or an account, on its way to another region.
type Property struct {
	Name   string
	Source string   // as it stands at the source
	Value  string   // as it is to stand at the destination; "": nothing
	Mapped []string // how it differs: "project a → b"
	Lost   []string // what is left out of it: "user c"
}

// ContainerProperties says what a copy of a container is to have, by name: metadata
// (quotas, CORS and static web are metadata), ACLs, and the keys given. Which storage
// policy it is in, and how it keeps versions, is decided elsewhere.
func ContainerProperties(h, keys transport.Header, ids IDs) []Property {
	var out []Property
	for _, of := range []transport.Header{h, keys} {
		for name, value := range of {
			p := Property{Name: name, Source: value, Value: value}
			switch {
			case !CarriesContainer(name):
				continue
			case name == "X-Container-Read" || name == "X-Container-Write":
				acl := MapACL(value, ids)
				p.Value, p.Mapped, p.Lost = acl.Value, acl.Mapped, acl.Lost
			}
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// CarriesContainer reports whether a header of a container is carried like metadata.
func CarriesContainer(name string) bool {
	return strings.HasPrefix(name, "X-Container-Meta-") || name == "X-Container-Read" || name == "X-Container-Write"
}

// AccountProperties says what a copy of an account is to have, by name.
func AccountProperties(h, keys transport.Header, metadata, quotas bool) []Property {
	var out []Property
	for _, of := range []transport.Header{h, keys} {
		for name, value := range of {
			if strings.HasPrefix(name, "X-Account-Meta-") && (IsQuota(name) && quotas || !IsQuota(name) && metadata) {
				out = append(out, Property{Name: name, Source: value, Value: value})
			}
		}
	}
	slices.SortFunc(out, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// IsQuota reports whether a header bounds what a container or an account may hold.
func IsQuota(name string) bool {
	return strings.HasPrefix(name, "X-Container-Meta-Quota-") || strings.HasPrefix(name, "X-Account-Meta-Quota-")
}

// Agreed is what a property was at both ends when they last agreed, as digests (""
// is: it was not there). Both directions of a pair share it.
type Agreed struct {
	From string        `json:"from,omitempty"`
	To   string        `json:"to,omitempty"`
	By   store.RouteID `json:"by"` // the direction that carried it
	// Was is what stood at the destination before a write whose end is not known.
	Was *string `json:"was,omitempty"`
}

// Flip shows an agreement from the other end.
func (a Agreed) Flip() Agreed {
	a.From, a.To = a.To, a.From
	return a
}

// PropertyDigest stands for a property's value wherever the value itself must not
// be kept, as those of keys.
func PropertyDigest(name, value string) string {
	if value == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(name + "\x00" + value))
	return hex.EncodeToString(sum[:8])
}

// Merge is how properties are decided.
type Merge struct {
	Want  []Property
	There transport.Header // what stands at the destination, keys included
	Base  map[string]Agreed
	Me    store.RouteID // this direction
	// Both says that there is a direction back, whose changes are not this one's to judge.
	Both     bool
	Takeover bool
}

// Merged is what a destination needs.
type Merged struct {
	Set       transport.Header
	Remove    []string
	Conflicts []string          // changed at both ends: left alone
	Foreign   []string          // set there by others, and never at the source: left alone
	Drifted   []string          // carried there once, and changed there since: left alone
	Decided   []string          // every property that was looked at
	Next      map[string]Agreed // what is agreed when that is done
}

// Changes is how many properties are set or removed.
func (m Merged) Changes() int { return len(m.Set) + len(m.Remove) }

// Touched names the properties that are set or removed, in order.
func (m Merged) Touched() []string {
	return slices.Sorted(maps.Keys(join(m.Set, m.Remove)))
}

func join(set transport.Header, remove []string) transport.Header {
	all := set.Clone()
	for _, n := range remove {
		all[n] = ""
	}
	return all
}

// Do decides. A property changes at the destination only where it changed at the
// source, or the way it is mapped did, since both agreed; and only where nobody else
// changed it there meanwhile (promise 4).
func (m Merge) Do() Merged {
	out := Merged{Set: transport.Header{}, Next: maps.Clone(m.Base)}
	if out.Next == nil {
		out.Next = map[string]Agreed{}
	}
	want := map[string]Property{}
	names := slices.Collect(maps.Keys(m.Base))
	for _, p := range m.Want {
		want[p.Name] = p
		names = append(names, p.Name)
	}
	names = slices.AppendSeq(names, maps.Keys(m.There))
	slices.Sort(names)
	out.Decided = slices.Compact(names)
	for _, n := range out.Decided {
		m.one(want[n], n, &out)
	}
	return out
}

func (m Merge) one(w Property, n string, out *Merged) {
	b, agreed := m.Base[n]
	source, wanted, there := PropertyDigest(n, w.Source), PropertyDigest(n, w.Value), PropertyDigest(n, m.There[n])
	asLeft := there == b.To || b.Was != nil && there == *b.Was
	changed := source != b.From || b.By == m.Me && wanted != b.To || b.Was != nil && there == *b.Was
	switch {
	case !agreed && wanted == "":
		if there != "" && !m.Both {
			out.Foreign = append(out.Foreign, n)
		}
	case !changed && there == b.To:
		out.Next[n] = Agreed{From: b.From, To: b.To, By: b.By}
	case there == wanted:
		out.agree(n, source, wanted, m.Me)
	case changed && asLeft, m.Takeover && (changed || !m.Both):
		if wanted == "" {
			out.Remove = append(out.Remove, n)
		} else {
			out.Set[n] = w.Value
		}
		out.agree(n, source, wanted, m.Me)
	case changed:
		out.Conflicts = append(out.Conflicts, n)
	case !m.Both:
		out.Drifted = append(out.Drifted, n)
	}
}

func (m *Merged) agree(n, source, wanted string, by store.RouteID) {
	if source == "" && wanted == "" {
		delete(m.Next, n)
		return
	}
	m.Next[n] = Agreed{From: source, To: wanted, By: by}
}
