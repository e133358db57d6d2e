package wasm

import (
	"errors"
	"fmt"
)

// Section ids in the order the format wants them.
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
)

// sectionRank orders sections: the data count stands before the code.
var sectionRank = [13]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6,
	secExport: 7, secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12}

var sectionNames = [13]string{"custom", "type", "import", "function", "table", "memory", "global", "export",
	"start", "element", "code", "data", "data count"}

const wasiModule = "wasi_snapshot_preview1"

// funcType is a function signature; the slices alias the binary.
type funcType struct{ params, results []byte }

func (t funcType) is(params, results string) bool {
	return string(t.params) == params && string(t.results) == results
}

// Value types as they stand in a binary.
const (
	valI32 = "\x7f"
	valI64 = "\x7e"
)

type importFunc struct {
	name string
	typ  funcType
}

type global struct {
	typ     byte
	mutable bool
}

type export struct {
	name string
	kind byte
	idx  uint32
}

type section struct {
	id   byte
	body []byte
}

// image is a parsed module: what the rewriter needs to know of it.
type image struct {
	sections  []section
	names     []byte // body of the custom section "name", nil if there is none
	types     []funcType
	imports   []importFunc
	funcs     []uint32 // type index of each function defined here
	globals   []global
	exports   []export
	tableMax  []tableType
	memMin    uint32
	memMax    uint32
	hasMem    bool
	memHasMax bool
}

type tableType struct {
	elem     byte
	min, max uint32
}

var errComponent = errors.New("is a component; build a core module (Rust: wasm32-wasip1, not wasip2; do not run `wasm-tools component new`)")

// parse reads all sections but the code, which the meter reads.
func parse(bin []byte) (*image, error) {
	if len(bin) < 8 || string(bin[:4]) != "\x00asm" {
		return nil, errors.New("is not WebAssembly: it does not start with \\0asm")
	}
	switch v := string(bin[4:8]); v {
	case "\x01\x00\x00\x00":
	case "\x0d\x00\x01\x00":
		return nil, errComponent
	default:
		return nil, fmt.Errorf("has WebAssembly version % x; only version 1 is known", v)
	}
	m := &image{}
	r := &reader{b: bin, p: 8}
	rank := 0
	for r.more() {
		id := r.byte()
		body := r.take(r.u32())
		if r.err != nil {
			break
		}
		if id == secCustom {
			c := &reader{b: body}
			if name := c.name(); c.err != nil {
				return nil, fmt.Errorf("has a custom section that %w", c.err)
			} else if name == "name" {
				m.names = body
			}
			continue
		}
		if int(id) >= len(sectionRank) {
			return nil, fmt.Errorf("has a section of kind %d, which this host does not know", id)
		}
		if sectionRank[id] <= rank {
			return nil, fmt.Errorf("has its %s section twice or out of order", sectionNames[id])
		}
		rank = sectionRank[id]
		s := &reader{b: body}
		if err := m.parseSection(id, s); err != nil {
			return nil, fmt.Errorf("has a %s section that %w", sectionNames[id], err)
		}
		m.sections = append(m.sections, section{id, body})
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w", r.err)
	}
	return m, nil
}

func (m *image) parseSection(id byte, r *reader) error {
	switch id {
	case secType:
		m.parseTypes(r)
	case secImport:
		m.parseImports(r)
	case secFunction:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			t := r.u32()
			m.typeAt(r, t)
			m.funcs = append(m.funcs, t)
		}
	case secTable:
		m.parseTables(r)
	case secMemory:
		m.parseMemory(r)
	case secGlobal:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			g := global{typ: r.byte()}
			mut := r.byte()
			if mut > 1 {
				r.fail(errors.New("has a global with unknown flags"))
			}
			g.mutable = mut == 1
			m.constExpr(r)
			m.globals = append(m.globals, g)
		}
	case secExport:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			e := export{r.name(), r.byte(), r.u32()}
			if e.kind == 3 && uint64(e.idx) >= uint64(len(m.globals)) {
				r.fail(fmt.Errorf("exports global %d, which does not exist", e.idx))
			}
			m.exports = append(m.exports, e)
		}
	case secStart, secDataCount:
		r.u32()
	case secElement:
		m.parseElements(r)
	case secData:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			m.parseData(r)
		}
	case secCode:
		return nil
	}
	if r.err == nil && r.left() != 0 {
		return errors.New("is longer than its content")
	}
	return r.err
}

func (m *image) parseTypes(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if r.byte() != 0x60 {
			r.fail(errors.New("has a type that is no function"))
		}
		t := funcType{params: r.take(r.u32())}
		t.results = r.take(r.u32())
		m.types = append(m.types, t)
	}
}

func (m *image) typeAt(r *reader, i uint32) funcType {
	if uint64(i) >= uint64(len(m.types)) {
		r.fail(fmt.Errorf("names type %d, which does not exist", i))
		return funcType{}
	}
	return m.types[i]
}

// parseImports holds guests to W2.3: functions of WASI and nothing else.
func (m *image) parseImports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		mod, name, kind := r.name(), r.name(), r.byte()
		if r.err != nil {
			return
		}
		if mod != wasiModule || kind != 0 {
			r.fail(fmt.Errorf("imports %q.%q; a guest may import only functions of %s, everything else travels in batches", mod, name, wasiModule))
			return
		}
		m.imports = append(m.imports, importFunc{name, m.typeAt(r, r.u32())})
	}
}

func (r *reader) limits() (lo, hi uint32, hasMax bool) {
	flags := r.byte()
	if flags > 1 {
		r.fail(errors.New("uses shared or 64-bit limits, which this host does not know"))
		return
	}
	lo, hi = r.u32(), 1<<32-1
	if flags == 1 {
		hi, hasMax = r.u32(), true
	}
	if lo > hi {
		r.fail(errors.New("has a minimum above its maximum"))
	}
	return lo, hi, hasMax
}

func (m *image) parseTables(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		t := tableType{elem: r.byte()}
		if t.elem != 0x70 && t.elem != 0x6f {
			r.fail(errors.New("has a table of unknown element type"))
		}
		t.min, t.max, _ = r.limits()
		if t.min > maxTable {
			r.fail(fmt.Errorf("has a table of %d entries; the most is %d", t.min, maxTable))
		}
		m.tableMax = append(m.tableMax, t)
	}
	if len(m.tableMax) > maxTables {
		r.fail(fmt.Errorf("has %d tables; the most is %d", len(m.tableMax), maxTables))
	}
}

func (m *image) parseMemory(r *reader) {
	switch n := r.count(); n {
	case 0:
	case 1:
		m.hasMem = true
		m.memMin, m.memMax, m.memHasMax = r.limits()
	default:
		r.fail(errors.New("has several memories; the most is 1"))
	}
}

// constExpr walks an initialiser. W3.4: it can name no global, since the only ones
// allowed there are imported ones.
func (m *image) constExpr(r *reader) {
	switch op := r.byte(); {
	case op == opI32Const:
		r.signed(32)
	case op == opI64Const:
		r.signed(64)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opRefNull:
		r.byte()
	case op == opRefFunc:
		r.u32()
	case op == prefixSIMD && r.u32() == 12:
		r.take(16)
	default:
		r.fail(fmt.Errorf("has an initialiser with instruction 0x%02x; only constants are known there", op))
	}
	if r.byte() != opEnd {
		r.fail(errors.New("has an initialiser of more than one instruction"))
	}
}

func (m *image) parseElements(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		flags := r.u32()
		if flags > 7 {
			r.fail(errors.New("has an element segment of unknown kind"))
			return
		}
		if flags&1 == 0 { // active
			if flags&2 != 0 {
				r.u32()
			}
			m.constExpr(r)
		}
		if flags&3 != 0 {
			r.byte() // element kind or reference type
		}
		for k := r.count(); k > 0 && r.err == nil; k-- {
			if flags&4 != 0 {
				m.constExpr(r)
			} else {
				r.u32()
			}
		}
	}
}

func (m *image) parseData(r *reader) {
	switch flags := r.u32(); flags {
	case 2:
		r.u32()
		fallthrough
	case 0:
		m.constExpr(r)
	case 1:
	default:
		r.fail(errors.New("has a data segment of unknown kind"))
		return
	}
	r.take(r.u32())
}
