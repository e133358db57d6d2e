package capability

import (
	"cmp"
	"slices"
	"strings"

	"nethost/sdk"
)

// posting is slots of the index, ascending.
type posting []uint32

func (p posting) with(slot uint32) posting {
	if n := len(p); n == 0 || p[n-1] < slot {
		return append(p, slot)
	}
	at, _ := slices.BinarySearch(p, slot)
	return slices.Insert(p, at, slot)
}

func (p posting) without(slot uint32) posting {
	if at, ok := slices.BinarySearch(p, slot); ok {
		return slices.Delete(p, at, at+1)
	}
	return p
}

// row is a node in the index.
type row struct {
	id   sdk.NodeID
	slot uint32
	tags []string // ascending
}

// value is one value that a key has somewhere.
type value struct {
	text  string
	num   float64
	slots posting
}

// column is one key: who has it, and with which values. Numbers are in the order of
// their size, other values in the order of their bytes.
type column struct {
	all  posting
	nums []*value
	text []*value
}

// index finds nodes by tags. What a search costs follows what it finds.
type index struct {
	rows  []*row // by slot; nil: free
	free  []uint32
	byID  map[sdk.NodeID]*row
	keys  map[string]*column
	names []string // of keys, ascending
}

func newIndex() *index { return &index{byID: map[sdk.NodeID]*row{}, keys: map[string]*column{}} }

// put gives a node its tags, which are ascending and stay as they are.
func (x *index) put(id sdk.NodeID, tags []string) {
	r := x.byID[id]
	var old []string
	if r == nil {
		r = &row{id: id}
		if n := len(x.free); n > 0 {
			r.slot, x.free = x.free[n-1], x.free[:n-1]
			x.rows[r.slot] = r
		} else {
			r.slot = uint32(len(x.rows))
			x.rows = append(x.rows, r)
		}
		x.byID[id] = r
	} else {
		old = r.tags
	}
	r.tags = tags
	each(old, tags, func(t string) { x.unset(r.slot, t) })
	each(tags, old, func(t string) { x.set(r.slot, t) })
}

func (x *index) remove(id sdk.NodeID) {
	r := x.byID[id]
	if r == nil {
		return
	}
	for _, t := range r.tags {
		x.unset(r.slot, t)
	}
	delete(x.byID, id)
	x.rows[r.slot] = nil
	x.free = append(x.free, r.slot)
}

// each calls f for what is in a and not in b, both ascending.
func each(a, b []string, f func(string)) {
	for _, t := range a {
		for len(b) > 0 && b[0] < t {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != t {
			f(t)
		}
	}
}

func (x *index) set(slot uint32, tag string) {
	key, val, has := splitTag(tag)
	c := x.keys[key]
	if c == nil {
		key = strings.Clone(key) // the announcement it stands in may go
		c = &column{}
		x.keys[key] = c
		at, _ := slices.BinarySearch(x.names, key)
		x.names = slices.Insert(x.names, at, key)
	}
	if at, ok := slices.BinarySearch(c.all, slot); !ok {
		c.all = slices.Insert(c.all, at, slot)
	}
	if !has {
		return
	}
	list, at, ok := c.find(val)
	if !ok {
		v := &value{text: strings.Clone(val)}
		v.num, _ = number(val)
		*list = slices.Insert(*list, at, v)
	}
	v := (*list)[at]
	v.slots = v.slots.with(slot)
}

func (x *index) unset(slot uint32, tag string) {
	key, val, has := splitTag(tag)
	c := x.keys[key]
	if c == nil {
		return // another value of the key took the column along
	}
	if has {
		if list, at, ok := c.find(val); ok {
			v := (*list)[at]
			if v.slots = v.slots.without(slot); len(v.slots) == 0 {
				*list = slices.Delete(*list, at, at+1)
			}
		}
	}
	// Another value of the same key may be left.
	if r := x.rows[slot]; r != nil && x.byID[r.id] == r && hasKey(r.tags, key) && !slices.Contains(r.tags, tag) {
		return
	}
	if c.all = c.all.without(slot); len(c.all) == 0 {
		delete(x.keys, key)
		at, _ := slices.BinarySearch(x.names, key)
		x.names = slices.Delete(x.names, at, at+1)
	}
}

// find gives the list a value belongs into, and where.
func (c *column) find(text string) (list *[]*value, at int, ok bool) {
	if n, isNumber := number(text); isNumber {
		at, ok = slices.BinarySearchFunc(c.nums, n, func(v *value, n float64) int {
			return cmp.Or(cmp.Compare(v.num, n), strings.Compare(v.text, text))
		})
		return &c.nums, at, ok
	}
	at, ok = slices.BinarySearchFunc(c.text, text, func(v *value, s string) int { return strings.Compare(v.text, s) })
	return &c.text, at, ok
}

// hasKey reports whether tags hold a key, with or without a value.
func hasKey(tags []string, key string) bool {
	if _, ok := slices.BinarySearch(tags, key); ok {
		return true
	}
	i := firstValue(tags, key)
	return i < len(tags) && valueOf(tags[i], key) >= 0
}

// firstValue is where tags of the form "key=..." begin.
func firstValue(tags []string, key string) int {
	i, _ := slices.BinarySearchFunc(tags, key, func(t, key string) int {
		n := min(len(t), len(key))
		if c := strings.Compare(t[:n], key[:n]); c != 0 || len(t) <= len(key) {
			return cmp.Or(c, -1)
		}
		if t[len(key)] < '=' {
			return -1
		}
		return 1
	})
	return i
}

// valueOf is where the value of key begins in a tag, -1 when it is another key's.
func valueOf(tag, key string) int {
	if len(tag) > len(key) && tag[len(key)] == '=' && tag[:len(key)] == key {
		return len(key) + 1
	}
	return -1
}

// valuesOf calls f with each value of a key until it says stop.
func valuesOf(tags []string, key string, f func(val string) bool) {
	for i := firstValue(tags, key); i < len(tags); i++ {
		at := valueOf(tags[i], key)
		if at < 0 || !f(tags[i][at:]) {
			return
		}
	}
}
