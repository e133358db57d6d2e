package wasm

import (
	"strings"
	"testing"
)

// TestRefused: what the rewriter does not take, and what it says. W2.6.
func TestRefused(t *testing.T) {
	zero := []byte{opI64Const, 0}
	with := func(code ...byte) []byte { return handleOnly(cat(code, zero)...).bytes() }
	edit := func(f func(*asm)) []byte { a := handleOnly(zero...); f(&a); return a.bytes() }
	rename := func(old, now string) []byte {
		return []byte(strings.Replace(string(handleOnly(zero...).bytes()), old, now, 1))
	}
	bad := func(name string) []byte {
		return edit(func(a *asm) { a.exports = map[string][2]byte{name: {0, 2}} })
	}
	tests := []struct {
		clause, text string
		bin          []byte
	}{
		{"W2.1", "not WebAssembly", []byte("#!/bin/sh\n")},
		{"W2.1", "version", []byte("\x00asm\x02\x00\x00\x00")},
		{"W2.1", "component", []byte("\x00asm\x0d\x00\x01\x00")},
		{"W2.1", "out of order", append(handleOnly(zero...).bytes(), secType, 1, 0)},
		{"W2.1", "kind 13", append(handleOnly(zero...).bytes(), 13, 1, 0)},
		{"W2.3", "nethost_abi_1", rename("nethost_abi_1", "nethost_xbi_1")},
		{"W2.3", "another ABI", rename("nethost_abi_1", "nethost_abi_2")},
		{"W2.3", "nethost_buffer", rename("nethost_buffer", "nethost_puffer")},
		{"W2.3", "another type", edit(func(a *asm) { a.exports = map[string][2]byte{exportInit: {0, 0}} })},
		{"W2.3", "-buildmode=c-shared", bad("_start")},
		{"W2.3", "belong to the host", bad("__nethost_fuel")},
		{"W2.3", "may import only", edit(func(a *asm) {
			a.imports = [][]byte{append(appendName(appendName(nil, "env"), "f"), 0, 2)}
		})},
		{"W2.3", "may import only", edit(func(a *asm) {
			a.imports = [][]byte{append(appendName(appendName(nil, wasiModule), "g"), 3, 0x7e, 1)}
		})},
		{"W2.5", "needs", edit(func(a *asm) { a.memory = []byte{0, 0xff, 0xff, 3} })},
		{"W2.2", "shared", edit(func(a *asm) { a.memory = []byte{3, 1, 1} })},
		{"W2.2", "64-bit", edit(func(a *asm) { a.memory = []byte{4, 1} })},
		{"W2.4", "entries", edit(func(a *asm) { a.extra = map[byte][]byte{secTable: {1, 0x70, 0, 0xff, 0xff, 0xff, 0x7f}} })},
		{"W2.2", "tail call", with(0x12, 2)},
		{"W2.2", "threads", with(0xfe, 3, 0)},
		{"W2.2", "exception", with(0x08, 0)},
		{"W2.2", "0xff", with(0xff)},
		{"W2.2", "0xfd 256", with(0xfd, 0x80, 2)},
		{"W2.2", "second memory", with(opI32Const, 0, opMemoryGrow, 1, 0x1a)},
		{"W3.3", "global 0", with(opGlobalGet, 0, 0x1a)},
		{"W3.3", "global 1", with(opI32Const, 0, opGlobalSet, 1)},
		{"W3.3", "local 2", with(opLocalGet, 2, 0x1a)},
		{"W3.3", "label 1", with(opBr, 1)},
		{"W3.3", "label 1", with(opBlock, blockEmpty, opEnd, opI32Const, 0, opBrIf, 1)},
		{"W3.3", "type 3", with(opBlock, 3, opEnd)},
		{"W3.3", "global 0", edit(func(a *asm) { a.exports = map[string][2]byte{"g": {3, 0}} })},
		{"W3.4", "initialiser", edit(func(a *asm) { a.extra = map[byte][]byte{secGlobal: {1, 0x7e, 1, opGlobalGet, 1, opEnd}} })},
		{"W2.1", "after its last end", with(opEnd)},
		{"W2.2", "else", with(opElse)},
	}
	for _, test := range tests {
		_, _, err := Rewrite(test.bin, testOptions)
		if err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want %q", test.clause, err, test.text)
		}
	}
}

// TestTruncated: no prefix of a module is a module. W2.1.
func TestTruncated(t *testing.T) {
	bin := generate(7).bytes()
	if _, _, err := Rewrite(bin, testOptions); err != nil {
		t.Fatal(err)
	}
	for n := range bin {
		if _, _, err := Rewrite(bin[:n], testOptions); err == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(bin))
		}
	}
}

// TestReport: globals are exported and pinned modules are told. W6.
func TestReport(t *testing.T) {
	a := handleOnly(opI64Const, 0)
	a.extra = map[byte][]byte{secGlobal: {3, 0x7f, 1, opI32Const, 1, opEnd, 0x7f, 0, opI32Const, 1, opEnd, 0x7e, 1, opI64Const, 9, opEnd}}
	_, rep, err := Rewrite(a.bytes(), testOptions)
	if err != nil || strings.Join(rep.Globals, " ") != "__nethost_g0 __nethost_g2" || len(rep.Pinned) != 0 {
		t.Errorf("%+v %v", rep, err)
	}
	a.extra[secTable] = []byte{1, 0x70, 0, 1}
	a.handle.code = cat(i32const(0), []byte{opRefNull, 0x70, opTableSet, 0, prefixBulk, 9, 0}, a.handle.code)
	_, rep, err = Rewrite(a.bytes(), testOptions)
	if err != nil || len(rep.Pinned) != 2 {
		t.Errorf("%+v %v", rep, err)
	}
}

// TestGoGuestIsDirect: the loader understands what this release of Go writes. W8.2.
func TestGoGuestIsDirect(t *testing.T) {
	_, rep, err := Rewrite(buildGuest(t, echoPkg), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Direct < rep.Functions*9/10 {
		t.Errorf("%d of %d functions have a direct body: did Go change the shape of its code?", rep.Direct, rep.Functions)
	}
}
