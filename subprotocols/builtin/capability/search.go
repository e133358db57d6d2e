package capability

import (
	"slices"
	"sort"
	"strings"
)

// search gives the slots of the nodes that fit, ascending.
func (x *index) search(e *expr) posting {
	switch e.op {
	case 't':
		return x.term(e)
	case 'o':
		var all posting
		for _, k := range e.kids {
			all = append(all, x.search(k)...)
		}
		slices.Sort(all)
		return slices.Compact(all)
	case 'a':
		first := x.cheapest(e)
		if first < 0 {
			break
		}
		found := x.search(e.kids[first])
		out := found[:0:0]
		for _, slot := range found {
			if x.rows[slot].fits(e, first) {
				out = append(out, slot)
			}
		}
		return out
	}
	var out posting
	for slot, r := range x.rows {
		if r != nil && (e.op == '*' || r.matches(e)) {
			out = append(out, uint32(slot))
		}
	}
	return out
}

// cheapest is the part of an "and" with the fewest candidates; -1: all must be
// looked at.
func (x *index) cheapest(e *expr) int {
	best, least := -1, len(x.rows)
	for i, k := range e.kids {
		if n := x.atMost(k); n < least {
			best, least = i, n
		}
	}
	return best
}

// atMost bounds how many nodes fit.
func (x *index) atMost(e *expr) int {
	n := 0
	switch e.op {
	case 't':
		x.parts(e, func(p posting) { n += len(p) })
		return n
	case 'o':
		for _, k := range e.kids {
			n += x.atMost(k)
		}
		return n
	case 'a':
		n = len(x.rows)
		for _, k := range e.kids {
			n = min(n, x.atMost(k))
		}
		return n
	}
	return len(x.rows)
}

// term gives the slots of a term. The posting may be the index's own.
func (x *index) term(e *expr) posting {
	var first, all posting
	n := 0
	x.parts(e, func(p posting) {
		if n++; n == 1 {
			first = p
			return
		}
		if n == 2 {
			all = append(all, first...)
		}
		all = append(all, p...)
	})
	if n < 2 {
		return first
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// parts calls f with the postings that together are a term's answer.
func (x *index) parts(e *expr, f func(posting)) {
	if e.cmp == "" && e.prefix {
		at, _ := slices.BinarySearch(x.names, e.key)
		for ; at < len(x.names) && strings.HasPrefix(x.names[at], e.key); at++ {
			f(x.keys[x.names[at]].all)
		}
		return
	}
	c := x.keys[e.key]
	switch {
	case c == nil:
	case e.cmp == "":
		f(c.all)
	case e.cmp == "=" && !e.prefix:
		if list, at, ok := c.find(e.val); ok {
			f((*list)[at].slots)
		}
	case e.cmp == "=":
		at, _ := slices.BinarySearchFunc(c.text, e.val, func(v *value, s string) int { return strings.Compare(v.text, s) })
		for ; at < len(c.text) && strings.HasPrefix(c.text[at].text, e.val); at++ {
			f(c.text[at].slots)
		}
		for _, v := range c.nums {
			if strings.HasPrefix(v.text, e.val) {
				f(v.slots)
			}
		}
	default:
		for _, v := range c.within(e) {
			f(v.slots)
		}
		for _, v := range c.text {
			if holds(e.key, v.text, e.cmp, e.val) {
				f(v.slots)
			}
		}
	}
}

// within gives the numbers that stand in a relation.
func (c *column) within(e *expr) []*value {
	n, ok := number(e.val)
	if !ok || kindOf(e.key) == kindVersion {
		var out []*value
		for _, v := range c.nums {
			if holds(e.key, v.text, e.cmp, e.val) {
				out = append(out, v)
			}
		}
		return out
	}
	lower := sort.Search(len(c.nums), func(i int) bool { return c.nums[i].num >= n })
	upper := lower + sort.Search(len(c.nums)-lower, func(i int) bool { return c.nums[lower+i].num > n })
	switch e.cmp {
	case "<":
		return c.nums[:lower]
	case "<=":
		return c.nums[:upper]
	case ">":
		return c.nums[upper:]
	}
	return c.nums[lower:]
}

// fits reports whether all parts of an "and" match but the one that was searched.
func (r *row) fits(e *expr, but int) bool {
	for i, k := range e.kids {
		if i != but && !r.matches(k) {
			return false
		}
	}
	return true
}

// matches looks at one node's tags. It is the meaning of a query; the index only
// finds the same nodes faster (C3.4).
func (r *row) matches(e *expr) bool {
	switch e.op {
	case '*':
		return true
	case 'n':
		return !r.matches(e.kids[0])
	case 'a':
		return r.fits(e, -1)
	case 'o':
		for _, k := range e.kids {
			if r.matches(k) {
				return true
			}
		}
		return false
	}
	switch {
	case e.cmp == "" && e.prefix:
		at, _ := slices.BinarySearch(r.tags, e.key)
		return at < len(r.tags) && strings.HasPrefix(r.tags[at], e.key)
	case e.cmp == "":
		return hasKey(r.tags, e.key)
	}
	found := false
	valuesOf(r.tags, e.key, func(val string) bool {
		if e.cmp == "=" && e.prefix {
			found = strings.HasPrefix(val, e.val)
		} else {
			found = holds(e.key, val, e.cmp, e.val)
		}
		return !found
	})
	return found
}
