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
	dead     bool // it stands in dead code
}

type patchKind uint8

const (
	patchCharge patchKind = iota // at a segment's start
	patchBulk                    // before a bulk instruction; arg: shift of its length
	patchReturn                  // a return becomes a branch; arg: label
	patchJump                    // a branch goes to another label; arg: label
	patchTable                   // the table of a dispatch; arg: control entry it stands in
)

type patch struct {
	kind patchKind
	at   int
	end  int // of the instruction replaced, if one is
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

	extra []extraFunc // whole bodies of functions that have a direct one
	next  uint32      // index of the next of them

	// of the function at hand
	params   uint32
	direct   bool // the direct body is being made
	disp     dispatch
	recent   recent
	calls    bool
	control  bool // an instruction that may leave the straight line was seen
	foldInto int  // region of the leading loop, 0 = none
	bulk     bool
	dead     bool // no code comes to the instruction at hand
}

// oddities are what makes a module unfit for a snapshot of memory and globals.
type oddities struct{ tableSet, tableGrow, tableInit, drop bool }

// bodyParts is a function's body, taken apart.
type bodyParts struct {
	body, decls []byte
	groups      uint32 // of declarations
	code        int    // where it starts
	locals      uint32
	typ         funcType
}

// extraFunc is a function that the rewriter adds behind all others.
type extraFunc struct {
	typ  uint32
	body []byte // with its size
}

// function rewrites the body (local declarations, then code) of a function of
// a type and appends it, with its size, to out.
func (f *meter) function(out, body []byte, typeIndex uint32) ([]byte, error) {
	t := f.m.types[typeIndex]
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
	fn := bodyParts{body: body, decls: decls, groups: groups, code: r.p, locals: uint32(locals), typ: t}
	f.params, f.direct = uint32(len(t.params)), false
	if err := f.measure(r, fn); err != nil {
		return nil, err
	}
	if !f.disp.ok {
		return f.emit(out, fn, 0), nil
	}
	whole := f.next + uint32(len(f.extra))
	f.extra = append(f.extra, extraFunc{typ: typeIndex, body: f.emit(nil, fn, 0)})
	f.direct = true
	r = &reader{b: body, p: fn.code}
	if err := f.measure(r, fn); err != nil {
		return nil, err
	}
	f.calls = true // to the whole body
	return f.emit(out, fn, whole), nil
}

// measure scans the code at r and settles what is paid where.
func (f *meter) measure(r *reader, fn bodyParts) error {
	f.scan(r, fn.locals)
	if r.err != nil {
		return r.err
	}
	if !f.calls && len(f.regions) == 1 && fn.locals <= freeLocals && f.total() <= freeLeaf {
		for i := range f.segments { // W4.6: the caller paid
			f.segments[i].pooled = true
		}
		return nil
	}
	f.segments[0].cost += weightEntry + uint64(fn.locals)
	f.pool()
	return nil
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
	f.patches = append(f.patches, patch{kind: patchCharge, at: at, arg: uint32(len(f.segments) - 1)})
}

// scan decodes a body, counts its cost into segments and notes the patches.
func (f *meter) scan(r *reader, locals uint32) {
	f.ctls, f.regions, f.segments, f.patches = f.ctls[:0], f.regions[:0], f.segments[:0], f.patches[:0]
	f.calls, f.control, f.bulk, f.foldInto = false, false, false, 0
	f.regions = append(f.regions, region{})
	f.segment(0, r.p)
	f.ctls = append(f.ctls, ctl{start: r.p})
	f.recent = recent{straight: true}
	f.disp.ok, f.dead = f.direct, false
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
		f.look()
	}
	if r.left() != 0 {
		r.fail(errors.New("goes on after its last end"))
	}
}

// step takes one decoded instruction that stands at body[at:end].
func (f *meter) step(at, end int, locals uint32) error {
	in, top := &f.in, &f.ctls[len(f.ctls)-1]
	cur := &f.regions[top.region]
	if in.op != opLoop && !f.dead {
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
		top.op, f.dead = opElse, top.dead
		f.split(*top, end, false)
	case opEnd:
		c := *top
		f.ctls = f.ctls[:len(f.ctls)-1]
		if c.targeted || c.op == opIf || c.op == opElse {
			f.dead = c.dead && !c.targeted
		}
		if c.op != opLoop && len(f.ctls) > 0 {
			f.split(c, end, c.targeted)
		}
	case opBr:
		f.control = true
		label, short := f.jump(in.idx)
		if short {
			f.patches = append(f.patches, patch{kind: patchJump, at: at, end: end, arg: label})
			f.segments[cur.cur].cost += weightDetour
			in.idx = label
		}
		f.dead = true
		return f.target(in.idx)
	case opBrIf:
		f.control = true
		f.other(in.idx)
		return f.target(in.idx)
	case opBrTable:
		f.control, f.dead = true, true
		f.table(at, end)
		for _, l := range in.labels {
			f.other(l)
			if err := f.target(l); err != nil {
				return err
			}
		}
	case opReturn:
		f.control, f.dead = true, true
		f.patches = append(f.patches, patch{kind: patchReturn, at: at, end: end, arg: uint32(len(f.ctls) - 1)})
	case opUnreachable:
		f.control, f.dead = true, true
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
		f.ctls = append(f.ctls, ctl{op: f.in.op, start: at, region: reg, dead: f.dead})
		return
	}
	f.loops++
	f.regions = append(f.regions, region{loop: true, head: len(f.segments)})
	n := len(f.regions) - 1
	f.segment(n, end)
	if !f.dead {
		f.segments[len(f.segments)-1].cost = f.in.weight()
	}
	if !f.control {
		f.foldInto = n
	}
	f.control = true
	f.ctls = append(f.ctls, ctl{op: opLoop, start: at, region: n, dead: f.dead})
}

// split begins a new segment after the else or end of c, when code can come there
// without having come through the start of the segment before it (W4.3).
func (f *meter) split(c ctl, at int, targeted bool) {
	// The end of a block that no branch goes to is reached from the line before it.
	if targeted || c.op != opBlock && f.segments[f.regions[c.region].cur].start > c.start {
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
		f.patches = append(f.patches, patch{kind: patchBulk, at: at, arg: 3}) // 8 bytes a unit
	case bulkTableInit, bulkTableCopy, bulkTableFill, bulkTableGrow:
		f.bulk = true
		f.patches = append(f.patches, patch{kind: patchBulk, at: at})
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
		if reg.loop && !(f.direct && f.disp.head > 0 && len(f.disp.back) == 0 && s.region == 1) {
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
