package wasm

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/sdk"
)

func packed(ptr, length uint32) []byte {
	return appendS64([]byte{opI64Const}, int64(uint64(ptr)<<32|uint64(length)))
}

func i32const(v int64) []byte { return appendS64([]byte{opI32Const}, v) }

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// TestHostileGuests: every way to misbehave ends in the right error, soon, and
// leaves the instance dead. W4.1 W4.2 W5.1 W5.2 A6.
func TestHostileGuests(t *testing.T) {
	zero := []byte{opI64Const, 0}
	loop := cat([]byte{opLoop, blockEmpty, opBr, 0, opEnd}, zero)
	// f_k calls f_(k-1) twice: no loop, 2^30 calls.
	var tree []fn
	for k := range byte(30) {
		tree = append(tree, fn{typ: typVoid, code: []byte{opCall, 4 + k, opCall, 4 + k}})
	}
	tree = append(tree, fn{typ: typVoid, code: []byte{0x01}})
	fill := cat([]byte{opLoop, blockEmpty}, i32const(0), i32const(1), i32const(2<<16), []byte{prefixBulk, 11, 0, opBr, 0, opEnd}, zero)
	tests := []struct {
		name string
		a    asm
		want error
		text string
	}{
		{"endless loop", handleOnly(loop...), module.ErrFuel, "cpu_max"},
		{"loop-free explosion", asm{handle: fn{code: []byte{opCall, 3, opI64Const, 0}}, more: tree}, module.ErrFuel, ""},
		{"endless recursion", asm{handle: fn{code: []byte{opCall, 3, opI64Const, 0}}, more: []fn{{typ: typVoid, code: []byte{opCall, 3}}}}, module.ErrTrap, "call stack"},
		{"bulk fill in a loop", handleOnly(fill...), module.ErrFuel, ""},
		{"unreachable", handleOnly(opUnreachable), module.ErrTrap, "unreachable"},
		{"load outside", handleOnly(cat(i32const(-8), []byte{0x29, 3, 0})...), module.ErrTrap, "out of bounds"},
		{"effects outside", handleOnly(packed(0xfffffff0, 64)...), module.ErrProtocol, "outside"},
		{"effects past the end", handleOnly(packed(2<<16-40, 48)...), module.ErrProtocol, "outside"},
		{"endless effects", handleOnly(packed(8, 0xffffffff)...), module.ErrProtocol, "bytes of effects"},
		{"effects too short", handleOnly(packed(8, 39)...), module.ErrProtocol, "bytes of effects"},
		{"buffer outside", asm{handle: fn{code: zero}, buffer: i32const(-8)}, module.ErrProtocol, "nethost_buffer"},
		{"buffer crossing the end", asm{handle: fn{code: zero}, buffer: i32const(2<<16 - 8)}, module.ErrProtocol, "nethost_buffer"},
		{"buffer unaligned", asm{handle: fn{code: zero}, buffer: i32const(9)}, module.ErrProtocol, "8-aligned"},
		{"buffer null", asm{handle: fn{code: zero}, buffer: i32const(0)}, module.ErrProtocol, "nethost_buffer"},
		{"buffer never answers", asm{handle: fn{code: zero}, buffer: cat(loop[:5], i32const(8))}, module.ErrFuel, ""},
	}
	c := newCarrier(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := mustOpen(t, c, test.a.bytes(), module.Spec{Limits: module.Limits{Memory: 1 << 20, CPUMax: 5 * time.Millisecond}})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := i.Deliver(flushBatch(1, 1))
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v with a cpu_max of 5 ms", took)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 80<<20 {
				t.Errorf("cost the host %d MiB", got>>20)
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v, want %v with %q", err, test.want, test.text)
			}
			if over := i.time(i.spent - i.budget); over > 5*time.Millisecond {
				t.Errorf("ran %v past its budget", over)
			}
			if _, again := i.Deliver(flushBatch(2, 2)); again == nil || again.Error() != err.Error() {
				t.Errorf("a dead instance answered %v", again)
			}
		})
	}
}

// TestMemoryLimit: memory.grow past the grant answers -1 and the guest lives. W5.3.
func TestMemoryLimit(t *testing.T) {
	grow := cat(i32const(100), []byte{opMemoryGrow, 0, opI32Const, 1, opI32Add, opIf, blockEmpty, opUnreachable, opEnd, opI64Const, 0})
	c := newCarrier(t)
	small := module.Spec{Limits: module.Limits{Memory: 4 << 16}}
	if _, err := mustOpen(t, c, handleOnly(grow...).bytes(), small).Deliver(flushBatch(1, 1)); err != nil {
		t.Error(err)
	}
	big := handleOnly(opI64Const, 0)
	big.memory = []byte{0, 5}
	if _, err := openBytes(t, c, big.bytes(), small); err == nil || !strings.Contains(err.Error(), "limits.memory is 256 KiB") {
		t.Error(err)
	}
	bounded := handleOnly(opI64Const, 0)
	bounded.memory = []byte{1, 2, 100}
	i := mustOpen(t, c, bounded.bytes(), small)
	if _, max := i.mem.Definition().Max(); !max {
		t.Error("no maximum")
	}
}

// TestStartIsBounded: the start section and _initialize run under the init budget. W4.8.
func TestStartIsBounded(t *testing.T) {
	c := newCarrier(t)
	spin := fn{typ: typVoid, code: []byte{opLoop, blockEmpty, opBr, 0, opEnd}}
	a := asm{handle: fn{code: []byte{opI64Const, 0}}, more: []fn{spin}, start: true}
	if _, err := openBytes(t, c, a.bytes(), module.Spec{}); !errors.Is(err, module.ErrTrap) {
		t.Errorf("start section: %v", err)
	}
	a.start, a.exports = false, map[string][2]byte{exportInit: {0, 3}}
	if _, err := openBytes(t, c, a.bytes(), module.Spec{}); !errors.Is(err, module.ErrFuel) {
		t.Errorf("_initialize: %v", err)
	}
}

// TestWASI: the stubbed world. W7.
func TestWASI(t *testing.T) {
	c := newCarrier(t)
	sig := func(params string, results string) fn {
		return fn{typ: cat(appendName(nil, params), appendName(nil, results)), code: []byte{opUnreachable}}
	}
	i2, i4 := valI32+valI32, valI32+valI32+valI32+valI32
	// Types 3.. belong to functions that only lend their type to the imports.
	lend := []fn{sig(valI32, ""), sig(valI32+valI64+valI32, valI32), sig(i2, valI32), sig(i4, valI32)}
	imports := [][]byte{wasiImport("proc_exit", 3), wasiImport("clock_time_get", 4), wasiImport("random_get", 5),
		wasiImport("fd_write", 6), wasiImport("poll_oneoff", 6), wasiImport("path_unlink_file", 5)}
	run := func(t *testing.T, s module.Spec, code ...[]byte) ([]byte, error) {
		t.Helper()
		i := mustOpen(t, c, asm{handle: fn{code: cat(code...)}, more: lend, imports: imports}.bytes(), s)
		out, err := i.Deliver(flushBatch(1, 1234567))
		return append([]byte(nil), out...), err
	}
	answer := packed(4096, 64)
	store := func(at, v int64) []byte { return cat(i32const(at), i32const(v), []byte{0x36, 2, 0}) }

	if _, err := run(t, module.Spec{}, i32const(3), []byte{opCall, 0}, answer); !errors.Is(err, module.ErrTrap) || !strings.Contains(err.Error(), "proc_exit(3)") {
		t.Errorf("proc_exit: %v", err)
	}
	out, err := run(t, module.Spec{}, i32const(1), []byte{opI64Const, 0}, i32const(4096), []byte{opCall, 1, 0x1a}, answer)
	if err != nil || binary.LittleEndian.Uint64(out) != 1234567 {
		t.Errorf("clock_time_get: %v %x", err, out)
	}
	random := [][]byte{i32const(4096), i32const(64), {opCall, 2, 0x1a}, answer}
	a, _ := run(t, module.Spec{Seed: [32]byte{1}}, random...)
	b, _ := run(t, module.Spec{Seed: [32]byte{1}}, random...)
	d, _ := run(t, module.Spec{Seed: [32]byte{2}}, random...)
	if len(a) != 64 || string(a) != string(b) || string(a) == string(d) {
		t.Errorf("random_get is no function of the seed: %x %x %x", a, b, d)
	}
	out, _ = run(t, module.Spec{}, i32const(4096), i32const(-1), i32const(64), []byte{opCall, 2, 0x36, 2, 0}, answer)
	if binary.LittleEndian.Uint32(out) != errnoFault {
		t.Errorf("random_get outside the memory: %x", out)
	}
	out, _ = run(t, module.Spec{}, i32const(4096), i32const(0), i32const(0), []byte{opCall, 5, 0x36, 2, 0}, answer)
	if binary.LittleEndian.Uint32(out) != errnoNosys {
		t.Errorf("path_unlink_file: %x", out)
	}
	var lines []string
	s := module.Spec{Log: func(l sdk.LogLevel, line string) { lines = append(lines, line) }}
	write := cat(store(0, 64), store(4, 6), store(64, 0x0a6f6c68), store(68, 0x7a79), // "hlo\nyz"
		i32const(4096), i32const(2), i32const(0), i32const(1), i32const(128), []byte{opCall, 3, 0x36, 2, 0})
	i := mustOpen(t, c, asm{handle: fn{code: cat(write, answer)}, more: lend, imports: imports}.bytes(), s)
	if out, err := i.Deliver(flushBatch(1, 1)); err != nil || binary.LittleEndian.Uint32(out) != 0 {
		t.Errorf("fd_write: %v %x", err, out)
	}
	_ = i.Close()
	if strings.Join(lines, "|") != "hlo|yz" {
		t.Errorf("log: %q", lines)
	}
	poll := func(ns int64) [][]byte {
		return [][]byte{i32const(256 + 24), appendS64([]byte{opI64Const}, ns), {0x37, 3, 0},
			i32const(256), i32const(512), i32const(1), i32const(600), {opCall, 4, 0x1a},
			i32const(1), {opI64Const, 0}, i32const(4096), {opCall, 1, 0x1a}, answer}
	}
	if out, err = run(t, module.Spec{}, poll(1000)...); err != nil || binary.LittleEndian.Uint64(out) != 1235567 {
		t.Errorf("a short sleep: %v %x", err, out)
	}
	if _, err = run(t, module.Spec{}, poll(2e6)...); !errors.Is(err, module.ErrTrap) || !strings.Contains(err.Error(), "slept") {
		t.Errorf("a long sleep: %v", err)
	}
}

// TestHostCopiesArePaid: what the host copies and checks for a guest comes out of
// its budget, and above it ends the guest. W4.10.
func TestHostCopiesArePaid(t *testing.T) {
	c := newCarrier(t)
	c.rate = 100
	const records, at, length = 8192, 4096, 40 + 8192*32
	// The records are all zero, which the supervisor would refuse; the carrier counts.
	code := cat(i32const(at+recordsAt), i32const(records), []byte{0x36, 2, 0}, packed(at, length))
	a := handleOnly(code...)
	a.memory = []byte{0, 6}
	i := mustOpen(t, c, a.bytes(), module.Spec{Limits: module.Limits{CPUMax: 10 * time.Millisecond}})
	if out, err := i.Deliver(flushBatch(1, 1)); err != nil || len(out) != length {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	least := int64(length/copyBytes + records*recordFuel)
	if i.spent < least || i.spent > least+100 {
		t.Errorf("spent %d units for copies of %d", i.spent, least)
	}
	i = mustOpen(t, c, a.bytes(), module.Spec{Limits: module.Limits{CPUMax: time.Millisecond}})
	if _, err := i.Deliver(flushBatch(1, 1)); !errors.Is(err, module.ErrFuel) || !strings.Contains(err.Error(), "effects were too many") {
		t.Errorf("with 1 ms of budget: %v", err)
	}
}
