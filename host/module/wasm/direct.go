package wasm

import "slices"

// Go's compiler for WebAssembly knows no structure: a function is a loop around a
// br_table. Each jump writes the number of its target to a local, PC_B, and goes
// back to the head of the loop; and the place behind each call is a target as
// well, because a function whose goroutine waits returns and is called again with
// PC_B set. So to an engine every block may follow every other: it carries all
// locals through all of them, in memory.
//
// But a function that is called with PC_B = 0 comes to the head only by its own
// jumps, whose targets are constants. It gets a body of its own (W8) in which jumps
// ahead leave the block that ends at the target, and the table holds what is jumped
// back to and nothing else. The first body is appended as a function of its own
// for all other values.

// weightDetour is what a jump through head and table costs: loop, local.get and
// br_table. A jump that is shortened is charged as before: what a guest pays does
// not depend on what the loader found (W8.5).
const weightDetour = 1 + 1 + weightTable

// blockVoid is the type of a block without parameters and results, decoded.
const blockVoid = blockEmpty - 0x80

// place names a control entry for as long as it is open.
type place struct{ index, start int }

// dispatch is the loop around a br_table that a function begins with.
type dispatch struct {
	head   int // control entry of the loop
	local  uint32
	places []place  // what the table branches to, the default last
	back   []uint32 // values with which code jumps back
	ok     bool     // found, and all that reaches the head is known
}

// recent is what the instructions read last mean to a dispatch.
type recent struct {
	straight bool   // nothing but blocks and one loop so far
	head     int    // control entry of that loop, 0 = none yet
	get      bool   // the last one was a local.get of local
	consts   uint8  // 1: i32.const value, 2: and local.set of it to local
	value    uint32 //
	local    uint32
}

// look notes what the instruction just taken may begin.
func (f *meter) look() {
	in, l := &f.in, &f.recent
	consts := l.consts
	l.get, l.consts = false, 0
	switch in.op {
	case opBlock, opLoop:
		l.straight = l.straight && in.block == blockVoid && (in.op == opBlock || l.head == 0)
		if in.op == opLoop && l.straight {
			l.head = len(f.ctls) - 1
		}
		return
	case opLocalGet:
		l.get, l.local = true, in.idx
		return
	case opI32Const:
		l.consts, l.value = 1, in.idx
	case opLocalSet:
		if consts == 1 {
			l.consts, l.local = 2, in.idx
		}
		fallthrough
	case opLocalTee:
		// A parameter that is written may be the one the table reads.
		l.straight = l.straight && in.idx >= f.params
	case opIf, opElse, opEnd, opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		l.straight = false
	}
	l.straight = l.straight && l.head == 0
}

// table takes a br_table: the one a function begins with is its dispatch.
func (f *meter) table(at, end int) {
	l, d := &f.recent, &f.disp
	if !l.straight || !l.get || l.local >= f.params {
		return
	}
	d.places, d.head, d.local = d.places[:0], l.head, l.local
	for _, label := range f.in.labels {
		if uint64(label) >= uint64(len(f.ctls)) {
			return // refused later
		}
		i := len(f.ctls) - 1 - int(label)
		d.places = append(d.places, place{i, f.ctls[i].start})
	}
	if !f.direct {
		d.ok, d.back = d.inside(0), d.back[:0]
		return
	}
	f.patches = append(f.patches, patch{kind: patchTable, at: at, end: end, arg: uint32(len(f.ctls) - 1)})
	if d.head != 0 {
		f.foldInto = 1 // only straight code stands before the loop
	}
	// Only these are targets, whatever the labels of the instruction say.
	f.in.labels = f.in.labels[:0]
	if len(d.back) == 0 && d.place(0).index == len(f.ctls)-1 {
		f.dead = false // it just goes on behind the innermost block
		return
	}
	for _, v := range append(d.back, 0) {
		f.in.labels = append(f.in.labels, uint32(len(f.ctls)-1-d.place(v).index))
	}
}

// inside reports that value v selects one of the blocks between head and table.
func (d *dispatch) inside(v uint32) bool { return d.place(v).index > d.head }

func (d *dispatch) place(v uint32) place { return d.places[min(int64(v), int64(len(d.places)-1))] }

// jump takes a br. In a direct body it gives the label that leads to its target
// without the table, where there is one.
func (f *meter) jump(label uint32) (uint32, bool) {
	d := &f.disp
	if !d.ok || d.head == 0 || uint64(label) >= uint64(len(f.ctls)) || len(f.ctls)-1-int(label) != d.head {
		return label, false
	}
	if l := &f.recent; l.consts != 2 || l.local != d.local {
		d.ok = false
		return label, false
	}
	v := f.recent.value
	if !d.inside(v) {
		d.ok = false
		return label, false
	}
	if p := d.place(v); p.index < len(f.ctls) && f.ctls[p.index].start == p.start {
		return uint32(len(f.ctls) - 1 - p.index), f.direct
	}
	if !f.direct && !slices.Contains(d.back, v) {
		d.back = append(d.back, v)
	}
	return label, false
}

// other takes a branch that is no br: one to the head is not understood.
func (f *meter) other(label uint32) {
	if d := &f.disp; d.ok && d.head != 0 && len(f.ctls)-1-int(label) == d.head {
		d.ok = false
	}
}

// appendTable is what stands for the br_table in a direct body; depth is the
// control entry it stands in.
func (d *dispatch) appendTable(b []byte, depth int) []byte {
	label := func(v uint32) uint32 { return uint32(depth - d.place(v).index) }
	switch len(d.back) {
	case 0:
		b = append(b, opDrop)
	case 1:
		b = appendS64(append(b, opI32Const), int64(int32(d.back[0])))
		b = appendU32(append(b, opI32Eq, opBrIf), label(d.back[0]))
	default:
		n := int(slices.Max(d.back)) + 1
		if n > len(d.places) {
			n = len(d.places)
		}
		b = appendU32(append(b, opBrTable), uint32(n))
		for v := range uint32(n) {
			if !slices.Contains(d.back, v) {
				v = 0
			}
			b = appendU32(b, label(v))
		}
		return appendU32(b, label(slices.Max(d.back)))
	}
	return appendU32(append(b, opBr), label(0))
}

// appendGuard sends calls with another value than 0 to the whole body, function
// whole, from inside of the block around the direct one.
func (f *meter) appendGuard(b []byte, whole uint32) []byte {
	b = appendU32(append(b, opLocalGet), f.disp.local)
	b = append(b, opIf, blockEmpty)
	for i := range f.params {
		b = appendU32(append(b, opLocalGet), i)
	}
	return append(appendU32(append(b, opCall), whole), opBr, 1, opEnd)
}
