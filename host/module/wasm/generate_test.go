package wasm

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// generator writes random functions that always end: each loop head pays a step
// and leaves the function when there are none left. Locals: 0, 1 the parameters
// (i32), 2, 3 i64, 4 steps i32.
type generator struct {
	rng  *rand.Rand
	code []byte
	// labels, outermost first; true = has the type of a loop
	depth int
	size  int
	next  byte // functions from here on may be called
	last  byte
	self  bool
}

// generate makes a module whose handle and further functions are random.
func generate(seed uint64) asm {
	rng := rand.New(rand.NewPCG(seed, 1))
	locals := []byte{2, 2, 0x7e, 1, 0x7f}
	mk := func(i byte) fn {
		g := &generator{rng: rng, size: 10 + rng.IntN(120), next: i + 1, last: 6}
		g.code = append(g.code, cat(i32const(int64(1+rng.IntN(6))), []byte{opLocalSet, 4, opBlock, blockEmpty})...)
		g.depth = 1
		g.statements()
		g.code = append(g.code, opEnd, opLocalGet, 2)
		return fn{typ: typHandle, locals: locals, code: g.code}
	}
	leaf := fn{typ: typHandle, code: []byte{opLocalGet, 0, opI64ExtendU}}
	a := asm{handle: mk(2), more: []fn{mk(3), mk(4), mk(5), leaf}}
	a.exports = map[string][2]byte{"g": {3, 0}}
	a.extra = map[byte][]byte{secTable: {1, 0x70, 0, 8}, secGlobal: {1, 0x7e, 1, opI64Const, 5, opEnd},
		secElement: {1, 0, opI32Const, 0, opEnd, 4, 3, 4, 5, 6}}
	if rng.IntN(2) == 0 {
		// Calls one more, in the shape that Go's compiler gives, from several entries.
		a.more = append(a.more, fn{typ: typHandle, locals: locals, code: dispatched(rng)})
		for range 3 {
			a.handle.code = cat(i32const(int64(rng.IntN(4))), []byte{opLocalGet, 1, opCall, 7, opLocalGet, 3, 0x7c, opLocalSet, 3}, a.handle.code)
		}
	}
	return a
}

// dispatched writes a function that is a loop around a br_table over local 0 (W8).
// Some jump to what they computed, which the loader must notice.
func dispatched(rng *rand.Rand) []byte {
	g := &generator{rng: rng, next: 7, last: 6}
	parts := 2 + rng.IntN(6)
	loop := rng.IntN(5) > 0
	g.emit(cat(i32const(int64(5+rng.IntN(20))), []byte{opLocalSet, 4})...)
	if loop {
		g.emit(opLoop, blockEmpty)
	}
	for range parts + 1 {
		g.emit(opBlock, blockEmpty)
	}
	g.emit(opLocalGet, 0, opBrTable, byte(parts+1))
	for i := range parts + 2 { // two values share the last part but one
		g.emit(byte(min(i, parts)))
	}
	for part := range parts + 1 {
		g.emit(opEnd)
		// To the loop it is parts-part blocks; one more inside of an if.
		jump := func(depth int) {
			if !loop {
				return
			}
			if rng.IntN(40) == 0 {
				g.cond()
				g.emit(opLocalSet, 0)
			} else {
				g.emit(cat(i32const(int64(rng.IntN(parts+3))), []byte{opLocalSet, 0})...)
			}
			g.emit(opBr, byte(parts-part+depth))
		}
		g.emit(opLocalGet, 4, 0x45, opIf, blockEmpty, opLocalGet, 2, opReturn, opEnd)
		g.emit(opLocalGet, 4, opI32Const, 1, opI32Sub, opLocalSet, 4)
		g.emit(opLocalGet, 2, opI64Const, byte(1+rng.IntN(60)), 0x7c, opLocalSet, 2)
		for range rng.IntN(3) {
			g.cond()
			g.emit(opIf, blockEmpty)
			jump(1)
			g.emit(opEnd)
		}
		if rng.IntN(3) == 0 && part < parts {
			jump(0)
		}
	}
	if loop {
		g.emit(opEnd)
	}
	g.emit(opLocalGet, 2)
	return g.code
}

func (g *generator) emit(b ...byte) { g.code = append(g.code, b...) }

func (g *generator) cond() { g.emit(opLocalGet, 2, 0xa7, opI32Const, byte(g.rng.IntN(8)), 0x71) }

// statements fills one block. Every statement leaves the operand stack as it was.
func (g *generator) statements() {
	for n := 1 + g.rng.IntN(6); n > 0 && g.size > 0; n-- {
		g.size--
		switch g.rng.IntN(18) {
		case 0, 1, 2:
			ops := []byte{0x7c, 0x7d, 0x7e, 0x85}
			g.emit(opLocalGet, 2, opLocalGet, 3, ops[g.rng.IntN(4)], opI64Const, byte(g.rng.IntN(60)), 0x7c, opLocalSet, byte(2+g.rng.IntN(2)))
		case 3:
			g.nest(opBlock)
		case 4:
			g.cond()
			g.nest(opIf)
		case 5:
			g.nest(opLoop)
		case 6, 7:
			g.cond()
			g.emit(opBrIf, byte(g.rng.IntN(g.depth)))
		case 8:
			g.cond()
			g.emit(opBrTable, 2, byte(g.rng.IntN(g.depth)), byte(g.rng.IntN(g.depth)), byte(g.rng.IntN(g.depth)))
		case 9:
			g.cond()
			g.emit(opIf, blockEmpty, opLocalGet, 2, opReturn, opEnd)
		case 10:
			if g.next <= g.last {
				g.emit(opLocalGet, 0, opLocalGet, 1, opCall, g.next+byte(g.rng.IntN(int(g.last-g.next)+1)), opLocalSet, 3)
			}
		case 11:
			g.emit(cat(i32const(1024), i32const(int64(g.rng.IntN(256))), i32const(int64(g.rng.IntN(200))), []byte{prefixBulk, 11, 0})...)
			g.emit(cat(i32const(1030), []byte{0x29, 3, 0, opLocalSet, 3})...)
		default:
			g.data()
		}
	}
}

// data writes a statement that works on memory, globals, tables and numbers of all
// kinds. A few trap.
func (g *generator) data() {
	place := cat([]byte{opLocalGet, 2, 0xa7}, i32const(0x3ff8), []byte{0x71})
	if g.rng.IntN(15) == 0 {
		place = cat([]byte{opLocalGet, 2, 0xa7}) // anywhere
	}
	switch g.rng.IntN(10) {
	case 0:
		g.emit(cat(place, []byte{opLocalGet, 3, 0x37, 3, byte(g.rng.IntN(64))})...)
	case 1:
		g.emit(cat(place, []byte{0x29, 3, byte(g.rng.IntN(64)), opLocalSet, 3})...)
	case 2:
		g.emit(opLocalGet, 2, opLocalGet, 3)
		if g.rng.IntN(4) > 0 {
			g.emit(opI64Const, 1, 0x84) // no zero
		}
		g.emit(byte(0x7f+g.rng.IntN(4)), opLocalSet, 2)
	case 3:
		g.emit(opGlobalGet, 0, opLocalGet, 2, 0x7c, opGlobalSet, 0, opGlobalGet, 0, opLocalSet, 3)
	case 4:
		if g.next <= g.last { // table entry i is function 3+i; some entries are not there
			to := int64(g.next) - 3 + int64(g.rng.IntN(int(g.last-g.next)+1))
			if g.rng.IntN(20) == 0 {
				to = 9
			}
			g.emit(cat([]byte{opLocalGet, 1, opLocalGet, 0}, i32const(to), []byte{opCallIndirect, 1, 0, opLocalSet, 3})...)
		}
	case 5:
		g.emit(opI32Const, byte(g.rng.IntN(3)), opMemoryGrow, 0, opI64ExtendU, opLocalGet, 3, 0x7c, opLocalSet, 3)
	case 6:
		g.emit(opLocalGet, 2, prefixSIMD, 18, opLocalGet, 3, prefixSIMD, 18, prefixSIMD, 0xce, 1, prefixSIMD, 29, 0, opLocalSet, 2)
	case 7:
		g.emit(opLocalGet, 2, 0xb9, 0x9f, prefixBulk, 6, opLocalSet, 3)
	case 8:
		g.emit(opLocalGet, 2, opLocalGet, 3)
		g.cond()
		g.emit(0x1b, opLocalSet, 2)
	case 9:
		g.emit(opBlock, valI64[0], opLocalGet, 2)
		g.cond()
		g.emit(opBrIf, 0, opLocalGet, 3, 0x85, opEnd, opLocalSet, 2)
		g.emit(cat(place, i32const(1024), i32const(int64(g.rng.IntN(99))), []byte{prefixBulk, bulkMemoryCopy, 0, 0})...)
	}
}

func (g *generator) nest(op byte) {
	g.emit(op, blockEmpty)
	g.depth++
	if op == opLoop { // steps-- or leave
		g.emit(opLocalGet, 4, 0x45, opBrIf, byte(g.depth-1), opLocalGet, 4, opI32Const, 1, opI32Sub, opLocalSet, 4)
	}
	g.statements()
	if op == opIf && g.rng.IntN(2) == 0 {
		g.emit(opElse)
		g.statements()
	}
	if op == opLoop && g.rng.IntN(2) == 0 {
		g.emit(opBr, 0)
	}
	g.depth--
	g.emit(opEnd)
}

// countExactly is the dumb twin of the meter: it charges every instruction on its
// own, right before it runs, so what is left tells what was executed.
func countExactly(t testing.TB, bin []byte) []byte {
	t.Helper()
	m, err := parse(bin)
	if err != nil {
		t.Fatal(err)
	}
	w := &rewriter{m: m, o: testOptions, rep: &Report{}}
	fuel := uint32(len(m.globals))
	for _, s := range m.sections {
		if s.id != secCode {
			continue
		}
		r := &reader{b: s.body}
		r.count()
		for k := range m.funcs {
			body := r.take(r.u32())
			f := &reader{b: body}
			locals := uint32(len(m.types[m.funcs[k]].params))
			groups := f.count()
			from := f.p
			for range groups {
				locals += f.u32()
				f.byte()
			}
			b := append(append(appendU32(nil, groups+1), body[from:f.p]...), 1, valI64[0])
			for in := (instr{}); f.more(); {
				at := f.p
				f.next(&in)
				cost := in.weight()
				if in.op == opCall {
					cost = weightCall - freeLeaf // the rest pays for a leaf that is not charged
				}
				if in.op != opElse && in.op != opEnd && in.op != opLoop {
					b = appendCharge(b, fuel, locals, int64(cost))
				}
				b = append(b, body[at:f.p]...)
				if in.op == opLoop {
					b = appendCharge(b, fuel, locals, int64(cost))
				}
			}
			w.body = append(appendU32(w.body, uint32(len(b))), b...)
		}
	}
	return w.assemble(len(bin))
}

type outcome struct {
	result uint64
	trap   bool
	spent  int64
	depth  int32
	memory uint64 // a digest
	global uint64
}

// digest is FNV-1a over 64-bit words.
func digest(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 1099511628211
	}
	return h
}

// execute runs nethost_handle(3, 5) of a module; fuel is given when it has any.
func execute(t testing.TB, bin []byte, cfg wazero.RuntimeConfig, fuel int64) outcome {
	t.Helper()
	cfg = cfg.WithMemoryLimitPages(testOptions.MemoryPages)
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	defer rt.Close(ctx)
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	g, _ := mod.ExportedGlobal(exportFuel).(api.MutableGlobal)
	if g != nil {
		g.Set(uint64(fuel))
	}
	stack := []uint64{3, 5}
	if err := mod.ExportedFunction(exportHandle).CallWithStack(ctx, stack); err != nil {
		o.trap = true
	} else {
		o.result = stack[0]
	}
	view, _ := mod.Memory().Read(0, mod.Memory().Size())
	o.memory = digest(view)
	if g, exported := mod.ExportedGlobal("g").(api.MutableGlobal); exported {
		o.global = g.Get()
	}
	if g != nil {
		o.spent = fuel - int64(g.Get())
		o.depth = int32(mod.ExportedGlobal(exportStack).Get())
	}
	return o
}

// checkSeed: metering changes no result (W4.9), charges at least what runs (W4.3),
// gives the stack back (W5.1), and stops a run that has less fuel than it needs.
func checkSeed(t testing.TB, seed uint64) (charged, exact int64, trapped bool) {
	t.Helper()
	bin := generate(seed).bytes()
	metered, _, err := Rewrite(bin, testOptions)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	const plenty = 1 << 40
	cfg := wazero.NewRuntimeConfigInterpreter()
	plain, twin := execute(t, bin, cfg, 0), execute(t, countExactly(t, bin), cfg, plenty)
	got, fast := execute(t, metered, cfg, plenty), execute(t, metered, wazero.NewRuntimeConfig(), plenty)
	if got != fast {
		t.Errorf("seed %d: interpreter %+v, compiler %+v", seed, got, fast)
	}
	same := func(a, b outcome) bool {
		return a.result == b.result && a.trap == b.trap && a.memory == b.memory && a.global == b.global
	}
	if native := execute(t, bin, wazero.NewRuntimeConfig(), 0); !same(native, plain) {
		t.Errorf("seed %d: the engines differ: compiler %+v, interpreter %+v", seed, native, plain)
	}
	if !same(got, plain) || twin.result != plain.result || twin.trap != plain.trap {
		t.Errorf("seed %d: plain %+v, metered %+v, twin %+v", seed, plain, got, twin)
	}
	// The host's own call may be to a leaf that is not charged.
	if got.spent+freeLeaf < twin.spent {
		t.Errorf("seed %d: charged %d, executed %d", seed, got.spent, twin.spent)
	}
	if !got.trap && got.depth != stackBytes {
		t.Errorf("seed %d: %d bytes of stack were not given back", seed, stackBytes-got.depth)
	}
	if got.spent > 0 && !got.trap && !execute(t, metered, cfg, got.spent-1).trap {
		t.Errorf("seed %d: ran with %d units and needs %d", seed, got.spent-1, got.spent)
	}
	return got.spent, twin.spent, got.trap
}

// TestMeterAgainstTwin: checkSeed on modules of which some have functions with a
// dispatch, understood or not. W8.
func TestMeterAgainstTwin(t *testing.T) {
	var charged, exact int64
	direct, traps := 0, 0
	for seed := range uint64(300) {
		c, e, trapped := checkSeed(t, seed)
		if trapped {
			traps++
		}
		charged, exact = charged+c, exact+e
		_, rep, err := Rewrite(generate(seed).bytes(), testOptions)
		if err != nil {
			t.Fatal(err)
		}
		direct += rep.Direct
	}
	if direct < 50 || direct > 145 {
		t.Errorf("%d direct bodies in 300 modules: about half have one to find, and some of these jump to what they computed", direct)
	}
	if traps < 5 || traps > 150 {
		t.Errorf("%d of 300 modules trap: a few should, and most should not", traps)
	}
	t.Logf("charged %d for %d executed (%.2f), %d trap", charged, exact, float64(charged)/float64(exact), traps)
}

// TestSeveralResults: a function of several results returns through the added
// block type. W5.1.
func TestSeveralResults(t *testing.T) {
	two := fn{typ: []byte{0, 2, 0x7e, 0x7e}, code: []byte{opCall, 2, opI64Const, 40, opI64Const, 2, opReturn, opUnreachable}}
	bin := asm{handle: fn{code: []byte{opCall, 3, 0x7c}}, more: []fn{two}}.bytes()
	metered, _, err := Rewrite(bin, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if o := execute(t, metered, wazero.NewRuntimeConfig(), 1000); o.result != 42 || o.depth != stackBytes {
		t.Errorf("%+v", o)
	}
}

func FuzzMeter(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed * 1000)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkSeed(t, seed) })
}

// FuzzRewrite: no panic on any bytes, and rewriting makes no invalid module valid
// and no valid one invalid. W3.5.
func FuzzRewrite(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(generate(seed).bytes())
	}
	f.Add(calibrationGuest())
	o := Options{MemoryPages: 64, InitFuel: 1000, StackBytes: stackBytes}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(64))
	compiles := func(bin []byte) error {
		code, err := rt.CompileModule(ctx, bin)
		if err == nil {
			_ = code.Close(ctx)
		}
		return err
	}
	f.Fuzz(func(t *testing.T, bin []byte) {
		out, _, err := Rewrite(bin, o)
		if err != nil {
			return
		}
		before, after := compiles(bin), compiles(out)
		if (before == nil) != (after == nil) {
			t.Errorf("before: %v\nafter: %v", before, after)
		}
	})
}
