package wasm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Limits of the over-charge (W4.4): segments of a region are pooled into the one
// charge at its head, smallest first, up to these weights. Loops get the smaller
// one, because a pooled segment is paid again on every iteration.
const (
	poolLoop = 48
	poolFunc = 256
	foldHead = 32 // a function's head is folded into a leading loop up to this
)

const maxLocals = 50000

// region is the body of a function or of a loop, without the loops inside it.
type region struct {
	head int // its first segment
	cur  int // the segment instructions are counted into
	loop bool
}

// segment is a stretch of a region that begins at a place where a charge can
// stand. Whoever executes an instruction of it came through its start (W4.3).
type segment struct {
	region int
	start  int // offset in the function's body
	cost   uint64
	pooled bool
}

type ctl struct {
	op       byte
	start    int
	region   int // the region of the code inside
	targeted bool
}

type patchKind uint8

const (
	patchCharge patchKind = iota // at a segment's start
	patchBulk                    // before a bulk instruction; arg: shift of its length
	patchReturn                  // a return becomes a branch; arg: label
)

type patch struct {
	kind patchKind
	at   int
	arg  uint32
}

// meter rewrites one function body at a time; its slices are reused.
type meter struct {
	m        *image
	fuel     uint32 // index of the fuel global
	stack    uint32 // index of the stack global
	types    *typeTable
	ctls     []ctl
	regions  []region
	segments []segment
	patches  []patch
	order    []int
	in       instr
	charges  int
	loops    int
	odd      oddities
	buf      []byte

	// of the function at hand
	calls    bool
	control  bool // an instruction that may leave the straight line was seen
	foldInto int  // region of the leading loop, 0 = none
	bulk     bool
}

// oddities are what makes a module unfit for a snapshot of memory and globals.
type oddities struct{ tableSet, tableGrow, tableInit, drop bool }

// function rewrites the body (local declarations, then code) of a function of
// type t and appends it, with its size, to out.
func (f *meter) function(out, body []byte, t funcType) ([]byte, error) {
	r := &reader{b: body}
	groups := r.count()
	locals := uint64(len(t.params))
	declStart := r.p
	for n := groups; n > 0 && r.err == nil; n-- {
		locals += uint64(r.u32())
		r.byte()
		if locals > maxLocals {
			r.fail(fmt.Errorf("has more than %d locals", maxLocals))
		}
	}
	decls := body[declStart:r.p]
	codeStart := r.p
	f.scan(r, uint32(locals))
	if r.err != nil {
		return nil, r.err
	}
	if !f.calls && len(f.regions) == 1 && f.total() <= freeLeaf {
		for i := range f.segments { // W4.6: the caller paid
			f.segments[i].pooled = true
		}
	} else {
		f.segments[0].cost += weightEntry + locals
		f.pool()
	}
	return f.emit(out, body, decls, groups, codeStart, uint32(locals), t), nil
}

func (f *meter) total() (sum uint64) {
	for _, s := range f.segments {
		sum += s.cost
	}
	return sum
}

func (f *meter) segment(region, at int) {
	f.segments = append(f.segments, segment{region: region, start: at})
	f.regions[region].cur = len(f.segments) - 1
	f.patches = append(f.patches, patch{patchCharge, at, uint32(len(f.segments) - 1)})
}

// scan decodes a body, counts its cost into segments and notes the patches.
func (f *meter) scan(r *reader, locals uint32) {
	f.ctls, f.regions, f.segments, f.patches = f.ctls[:0], f.regions[:0], f.segments[:0], f.patches[:0]
	f.calls, f.control, f.bulk, f.foldInto = false, false, false, 0
	f.regions = append(f.regions, region{})
	f.segment(0, r.p)
	f.ctls = append(f.ctls, ctl{start: r.p})
	for len(f.ctls) > 0 {
		at := r.p
		r.next(&f.in)
		if r.err != nil {
			return
		}
		if err := f.step(at, r.p, locals); err != nil {
			r.fail(err)
			return
		}
	}
	if r.left() != 0 {
		r.fail(errors.New("goes on after its last end"))
	}
}

// step takes one decoded instruction that stands at body[at:end].
func (f *meter) step(at, end int, locals uint32) error {
	in, top := &f.in, &f.ctls[len(f.ctls)-1]
	cur := &f.regions[top.region]
	if in.op != opLoop {
		f.segments[cur.cur].cost += in.weight()
	}
	switch in.op {
	case opBlock, opIf, opLoop:
		if in.block >= 0 {
			if uint64(in.block) >= uint64(len(f.m.types)) {
				return fmt.Errorf("names type %d, which does not exist", in.block)
			}
		}
		f.open(at, end, top.region)
	case opElse:
		if top.op != opIf {
			return errors.New("has an else without an if")
		}
		top.op = opElse
		f.split(*top, end, false)
	case opEnd:
		c := *top
		f.ctls = f.ctls[:len(f.ctls)-1]
		if c.op != opLoop && len(f.ctls) > 0 {
			f.split(c, end, c.targeted)
		}
	case opBr, opBrIf:
		f.control = true
		return f.target(in.idx)
	case opBrTable:
		f.control = true
		for _, l := range in.labels {
			if err := f.target(l); err != nil {
				return err
			}
		}
	case opReturn:
		f.control = true
		f.patches = append(f.patches, patch{patchReturn, at, uint32(len(f.ctls) - 1)})
	case opUnreachable:
		f.control = true
	case opCall, opCallIndirect:
		f.calls, f.control = true, true
		if in.op == opCallIndirect && uint64(in.idx) >= uint64(len(f.m.types)) {
			return fmt.Errorf("names type %d, which does not exist", in.idx)
		}
	case opLocalGet, opLocalSet, opLocalTee:
		if in.idx >= locals {
			return fmt.Errorf("names local %d, which does not exist", in.idx)
		}
	case opGlobalGet, opGlobalSet:
		if uint64(in.idx) >= uint64(len(f.m.globals)) {
			return fmt.Errorf("names global %d, which does not exist", in.idx)
		}
	case opTableSet:
		f.odd.tableSet = true
	case prefixBulk:
		f.stepBulk(at)
	}
	return nil
}

func (f *meter) open(at, end, reg int) {
	if f.in.op != opLoop {
		f.control = true
		f.ctls = append(f.ctls, ctl{op: f.in.op, start: at, region: reg})
		return
	}
	f.loops++
	f.regions = append(f.regions, region{loop: true, head: len(f.segments)})
	n := len(f.regions) - 1
	f.segment(n, end)
	f.segments[len(f.segments)-1].cost = f.in.weight()
	if !f.control {
		f.foldInto = n
	}
	f.control = true
	f.ctls = append(f.ctls, ctl{op: opLoop, start: at, region: n})
}

// split begins a new segment after the else or end of c, when code can come there
// without having come through the start of the segment before it (W4.3).
func (f *meter) split(c ctl, at int, targeted bool) {
	if targeted || f.segments[f.regions[c.region].cur].start > c.start {
		f.segment(c.region, at)
	}
}

func (f *meter) target(label uint32) error {
	if uint64(label) >= uint64(len(f.ctls)) {
		return fmt.Errorf("branches to label %d, which does not exist", label)
	}
	f.ctls[len(f.ctls)-1-int(label)].targeted = true
	return nil
}

func (f *meter) stepBulk(at int) {
	switch f.in.sub {
	case bulkMemoryInit, bulkMemoryCopy, bulkMemoryFill:
		f.bulk = true
		f.patches = append(f.patches, patch{patchBulk, at, 3}) // 8 bytes a unit
	case bulkTableInit, bulkTableCopy, bulkTableFill, bulkTableGrow:
		f.bulk = true
		f.patches = append(f.patches, patch{patchBulk, at, 0})
		f.odd.tableSet = true
		f.odd.tableGrow = f.odd.tableGrow || f.in.sub == bulkTableGrow
	case bulkDataDrop, bulkElemDrop:
		f.odd.drop = true
	}
}

// pool decides which segments are charged where they begin and which are paid at
// the head of their region (W4.4).
func (f *meter) pool() {
	f.order = f.order[:0]
	for i := range f.segments {
		if i != f.regions[f.segments[i].region].head {
			f.order = append(f.order, i)
		}
	}
	slices.SortFunc(f.order, func(a, b int) int {
		x, y := &f.segments[a], &f.segments[b]
		return cmp.Or(cmp.Compare(x.region, y.region), cmp.Compare(x.cost, y.cost), cmp.Compare(a, b))
	})
	pooled, last := uint64(0), -1
	for _, i := range f.order {
		s := &f.segments[i]
		if s.region != last {
			pooled, last = 0, s.region
		}
		reg := &f.regions[s.region]
		limit := uint64(poolFunc)
		if reg.loop {
			limit = poolLoop
		}
		if pooled+s.cost <= limit {
			pooled += s.cost
			f.segments[reg.head].cost += s.cost
			s.pooled = true
		}
	}
	// W4.6: a function that runs straight into a loop pays at the loop only.
	if head := &f.segments[0]; f.foldInto != 0 && head.cost <= foldHead {
		f.segments[f.regions[f.foldInto].head].cost += head.cost
		head.pooled = true
	}
}
