package wasm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Names of what the rewriter exports (W6). A guest may not use the prefix.
const (
	exportPrefix = "__nethost_"
	exportFuel   = exportPrefix + "fuel"
	exportStack  = exportPrefix + "stack"
	exportGlobal = exportPrefix + "g"
)

// Bounds of a binary (W2.4).
const (
	maxBinary = 64 << 20
	maxFuncs  = 200_000
	maxTable  = 1 << 20
	maxTables = 16
)

const pageSize = 64 << 10

// Options say what a guest may use.
type Options struct {
	// MemoryPages is the most linear memory, in pages of 64 KiB.
	MemoryPages uint32
	// InitFuel is what the start section may use before the host sets a
	// budget, in units of fuel.
	InitFuel int64
	// StackBytes bounds the guest's call stack, by estimate.
	StackBytes int32
}

// Report says what the rewriter found.
type Report struct {
	Functions int
	Loops     int
	Charges   int // places where fuel is charged
	Direct    int // functions that got a direct body (W8)
	// Globals names the exports of the module's mutable globals, in order.
	Globals []string
	// Pinned says why memory and globals are not the whole of an instance, so
	// that it cannot be snapshotted; empty when it can.
	Pinned []string

	imports []importFunc
}

// Rewrite checks a binary against SPEC.md and returns the metered one. The error
// text completes "the module ...".
func Rewrite(bin []byte, o Options) ([]byte, *Report, error) {
	if len(bin) > maxBinary {
		return nil, nil, fmt.Errorf("is %d bytes long; the most is %d", len(bin), maxBinary)
	}
	m, err := parse(bin)
	if err != nil {
		return nil, nil, err
	}
	if err := m.checkABI(); err != nil {
		return nil, nil, err
	}
	if m.memMin > o.MemoryPages {
		return nil, nil, fmt.Errorf("needs %d KiB of memory to start; limits.memory is %d KiB", uint64(m.memMin)*64, uint64(o.MemoryPages)*64)
	}
	w := &rewriter{m: m, o: o, rep: &Report{Functions: len(m.funcs), imports: m.imports}}
	if err := w.code(); err != nil {
		return nil, nil, err
	}
	return w.assemble(len(bin)), w.rep, nil
}

type rewriter struct {
	m     *image
	o     Options
	rep   *Report
	types typeTable
	body  []byte // of the new code section, without its count
	extra []extraFunc
}

// code meters all functions.
func (w *rewriter) code() error {
	m := w.m
	w.types.known = len(m.types)
	n := uint32(len(m.globals))
	f := &meter{m: m, fuel: n, stack: n + 1, types: &w.types, next: uint32(len(m.imports) + len(m.funcs))}
	i := slices.IndexFunc(m.sections, func(s section) bool { return s.id == secCode })
	var r reader
	if i >= 0 {
		r.b = m.sections[i].body
	}
	count := uint32(0)
	if i >= 0 {
		count = r.count()
	}
	if r.err == nil && int(count) != len(m.funcs) {
		return fmt.Errorf("declares %d functions and has code for %d", len(m.funcs), count)
	}
	w.body = make([]byte, 0, 2*len(r.b))
	for k := range m.funcs {
		body := r.take(r.u32())
		if r.err != nil {
			break
		}
		var err error
		if w.body, err = f.function(w.body, body, m.funcs[k]); err != nil {
			return fmt.Errorf("has a function %d that %w", len(m.imports)+k, err)
		}
	}
	if r.err != nil {
		return fmt.Errorf("has a code section that %w", r.err)
	}
	if r.left() != 0 {
		return fmt.Errorf("has a code section that is longer than its content")
	}
	for i := range f.extra {
		w.body = append(w.body, f.extra[i].body...)
	}
	w.extra, w.rep.Direct = f.extra, len(f.extra)
	w.rep.Loops, w.rep.Charges = f.loops, f.charges
	w.rep.Pinned = f.odd.reasons(m)
	return nil
}

func (o oddities) reasons(m *image) (why []string) {
	if o.tableSet {
		why = append(why, "it changes a table")
	}
	if o.tableGrow {
		why = append(why, "it grows a table")
	}
	if o.drop {
		why = append(why, "it drops data or element segments")
	}
	for _, g := range m.globals {
		if g.mutable && g.typ < 0x7c { // v128 and references
			return append(why, "it has a mutable global that is no number")
		}
	}
	return why
}

// assemble writes the sections again, in order, leaving out custom sections but
// the names (offsets in debug sections would be wrong).
func (w *rewriter) assemble(size int) []byte {
	out := append(make([]byte, 0, size+len(w.body)/2), "\x00asm\x01\x00\x00\x00"...)
	had := [13][]byte{}
	for _, s := range w.m.sections {
		had[s.id] = s.body
	}
	for _, id := range []byte{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart,
		secElement, secDataCount, secCode, secData} {
		body := had[id]
		switch id {
		case secType:
			body = w.typeSection(body)
		case secFunction:
			body = w.functionSection(body)
		case secTable:
			body = w.tableSection(body)
		case secMemory:
			body = w.memorySection()
		case secGlobal:
			body = w.globalSection(body)
		case secExport:
			body = w.exportSection(body)
		case secCode:
			body = w.codeSection()
		}
		if body != nil {
			out = appendSection(out, id, body)
		}
	}
	if w.m.names != nil {
		out = appendSection(out, secCustom, w.m.names)
	}
	return out
}

func appendSection(b []byte, id byte, body []byte) []byte {
	return append(appendU32(append(b, id), uint32(len(body))), body...)
}

// grown gives body with its leading count raised by n, ready for n more items.
func grown(body []byte, n int) []byte {
	r := &reader{b: body}
	count := uint32(0)
	if body != nil {
		count = r.u32()
	}
	return append(appendU32(nil, count+uint32(n)), body[r.p:]...)
}

func (w *rewriter) typeSection(body []byte) []byte {
	if len(w.types.extra) == 0 {
		return body
	}
	b := grown(body, len(w.types.extra))
	for _, results := range w.types.extra {
		b = appendName(append(b, 0x60, 0), results)
	}
	return b
}

// functionSection declares the added functions behind the others.
func (w *rewriter) functionSection(body []byte) []byte {
	if len(w.extra) == 0 {
		return body
	}
	b := grown(body, len(w.extra))
	for i := range w.extra {
		b = appendU32(b, w.extra[i].typ)
	}
	return b
}

func (w *rewriter) codeSection() []byte {
	if w.m.funcs == nil {
		return nil
	}
	return append(appendU32(nil, uint32(len(w.m.funcs)+len(w.extra))), w.body...)
}

// tableSection writes the tables again with a bounded maximum (W5.4).
func (w *rewriter) tableSection(body []byte) []byte {
	if body == nil {
		return nil
	}
	b := appendU32(nil, uint32(len(w.m.tableMax)))
	for _, t := range w.m.tableMax {
		b = appendU32(append(b, t.elem, 1), t.min)
		b = appendU32(b, min(t.max, maxTable))
	}
	return b
}

// memorySection declares the granted memory as the maximum (W5.3).
func (w *rewriter) memorySection() []byte {
	b := appendU32([]byte{1, 1}, w.m.memMin)
	return appendU32(b, min(w.m.memMax, w.o.MemoryPages))
}

func (w *rewriter) globalSection(body []byte) []byte {
	b := append(grown(body, 2), valI64[0], 1, opI64Const)
	b = append(appendS64(b, w.o.InitFuel), opEnd, valI32[0], 1, opI32Const)
	return append(appendS64(b, int64(w.o.StackBytes)), opEnd)
}

func (w *rewriter) exportSection(body []byte) []byte {
	n := len(w.m.globals)
	b := grown(body, 2+w.mutable())
	put := func(name string, idx int) { b = appendU32(append(appendName(b, name), 3), uint32(idx)) }
	put(exportFuel, n)
	put(exportStack, n+1)
	for i, g := range w.m.globals {
		if g.mutable {
			name := exportGlobal + strconv.Itoa(i)
			put(name, i)
			w.rep.Globals = append(w.rep.Globals, name)
		}
	}
	return b
}

func (w *rewriter) mutable() (n int) {
	for _, g := range w.m.globals {
		if g.mutable {
			n++
		}
	}
	return n
}

// Exports of ABI 1.
const (
	exportMarker = "nethost_abi_1"
	exportBuffer = "nethost_buffer"
	exportHandle = "nethost_handle"
	exportInit   = "_initialize"
)

// checkABI holds a binary to W2.3: what it must and must not export.
func (m *image) checkABI() error {
	if len(m.funcs) > maxFuncs {
		return fmt.Errorf("has %d functions; the most is %d", len(m.funcs), maxFuncs)
	}
	found := map[string]funcType{}
	for _, e := range m.exports {
		switch {
		case strings.HasPrefix(e.name, exportPrefix):
			return fmt.Errorf("exports %q; names that start with %s belong to the host", e.name, exportPrefix)
		case e.name == "_start":
			return fmt.Errorf("exports _start, so it is a program that runs once; build a library: Go with -buildmode=c-shared, C with -mexec-model=reactor, Rust as crate-type cdylib")
		case strings.HasPrefix(e.name, "nethost_abi_") && e.name != exportMarker:
			return fmt.Errorf("is built for another ABI (%s); this host speaks %s", e.name, exportMarker)
		}
		if i := int64(e.idx) - int64(len(m.imports)); e.kind == 0 && i >= 0 && i < int64(len(m.funcs)) {
			found[e.name] = m.types[m.funcs[i]]
		}
	}
	for _, want := range []struct{ name, params, results, text string }{
		{exportBuffer, valI32, valI32, "(i32) -> i32"},
		{exportHandle, valI32 + valI32, valI64, "(i32, i32) -> i64"},
	} {
		if t, ok := found[want.name]; ok && !t.is(want.params, want.results) {
			return fmt.Errorf("exports %s with another type than %s", want.name, want.text)
		} else if !ok {
			return fmt.Errorf("does not export the function %s; is it built with a nethost guest SDK?", want.name)
		}
	}
	if _, ok := found[exportMarker]; !ok {
		return fmt.Errorf("does not export %s, so it is no nethost module of ABI 1; is it built with a nethost guest SDK?", exportMarker)
	}
	if t, ok := found[exportInit]; ok && !t.is("", "") {
		return fmt.Errorf("exports %s with another type than () -> ()", exportInit)
	}
	if !m.hasMem {
		return fmt.Errorf("has no memory of its own")
	}
	return nil
}
