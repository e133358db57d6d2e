package registry

import (
	"slices"

	"nethost/sdk"
)

// Entry says which module slot answers to a line.
type Entry struct {
	Line
	Slot int
}

// Table is an immutable map from id and major to module slots. A change makes a
// new Table, so that whoever holds one sees one state of the world.
type Table struct {
	entries []Entry // sorted as lines are
	slots   int
}

// NewTable gives the empty table: a node that relays and nothing else.
func NewTable() *Table { return &Table{} }

// With gives a table with e, which replaces an entry of the same id and major.
func (t *Table) With(e Entry) *Table {
	n := &Table{entries: slices.Clone(t.entries), slots: max(t.slots, e.Slot+1)}
	i, found := n.find(e.ID, e.Version.Major)
	if found {
		n.entries[i] = e
	} else {
		n.entries = slices.Insert(n.entries, i, e)
	}
	return n
}

// Without gives a table without the entries of a slot.
func (t *Table) Without(slot int) *Table {
	return &Table{entries: slices.DeleteFunc(slices.Clone(t.entries), func(e Entry) bool { return e.Slot == slot }), slots: t.slots}
}

// Slots is one more than the highest slot the table ever held.
func (t *Table) Slots() int { return t.slots }

// Lookup finds the slot that answers to an id at a major version.
func (t *Table) Lookup(id sdk.ID, major uint8) (slot int, ok bool) {
	i, ok := t.find(id, major)
	if !ok {
		return 0, false
	}
	return t.entries[i].Slot, true
}

// Newest finds the highest version of an id and its slot.
func (t *Table) Newest(id sdk.ID) (v sdk.Version, slot int, ok bool) {
	i, _ := t.find(id, 255)
	if i < len(t.entries) && t.entries[i].ID == id {
		return t.entries[i].Version, t.entries[i].Slot, true
	}
	if i > 0 && t.entries[i-1].ID == id {
		return t.entries[i-1].Version, t.entries[i-1].Slot, true
	}
	return v, 0, false
}

// Manifest gives the table as the manifest of an epoch.
func (t *Table) Manifest(epoch uint32) Manifest {
	m := Manifest{Epoch: epoch}
	for _, e := range t.entries {
		m.Lines = append(m.Lines, e.Line)
	}
	return m
}

func (t *Table) find(id sdk.ID, major uint8) (int, bool) {
	return slices.BinarySearchFunc(t.entries, Line{ID: id, Version: sdk.Version{Major: major}}, func(e Entry, l Line) int { return compare(e.Line, l) })
}
