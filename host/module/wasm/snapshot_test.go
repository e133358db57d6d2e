package wasm

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
)

// rememberer is a guest whose answers depend on all it ever did: memory that
// grows, a global, random bytes and the clock. _initialize draws a number too.
func rememberer() []byte {
	random := []byte{opI32Const, 0x80, 0x20, opI32Const, 8, opCall, 0, opDrop} // 8 bytes to 4096
	clock := []byte{opI32Const, 1, opI64Const, 0, opI32Const, 0x88, 0x20, opCall, 1, opDrop}
	mix := func(b []byte) []byte { // g = g*k + b
		return cat([]byte{opGlobalGet, 0}, appendS64([]byte{opI64Const}, 0x5851f42d4c957f2d), []byte{0x7e}, b, []byte{0x7c, opGlobalSet, 0})
	}
	loaded := func(at int64) []byte { return cat(i32const(at), []byte{0x29, 3, 0}) }
	place := cat([]byte{opGlobalGet, 0, opI64Const, 32, opI64ShrU, 0xa7}, i32const(0x7ff8), []byte{0x71})
	code := cat(random, clock, mix(loaded(4096)), mix(loaded(4104)), mix([]byte{opLocalGet, 0, 0x29, 3, 16}),
		place, []byte{opGlobalGet, 0, 0x37, 3}, appendU32(nil, 1<<15), // remember it somewhere
		mix(cat(place, []byte{0x29, 3}, appendU32(nil, 1<<15))), // and recall something
		[]byte{opGlobalGet, 0, 0xa7, opI32Const, 15, 0x71, 0x45, opIf, blockEmpty, opI32Const, 1, opMemoryGrow, 0, opDrop, opEnd},
		mix([]byte{0x3f, 0, opI64ExtendU}), i32const(8192), []byte{opGlobalGet, 0, 0x37, 3, 0})
	// A batch with a wall clock kills it.
	code = cat([]byte{opLocalGet, 0, 0x29, 3, 32, 0x50, 0x45, opIf, blockEmpty, opUnreachable, opEnd}, code, packed(8192, 64))
	lend := []fn{{typ: cat(appendName(nil, valI32+valI32), appendName(nil, valI32)), code: []byte{opUnreachable}},
		{typ: cat(appendName(nil, valI32+valI64+valI32), appendName(nil, valI32)), code: []byte{opUnreachable}},
		{typ: typVoid, code: cat(random, mix(loaded(4096)))}}
	a := asm{handle: fn{code: code}, more: lend, imports: [][]byte{wasiImport("random_get", 3), wasiImport("clock_time_get", 4)},
		exports: map[string][2]byte{exportInit: {0, 7}},
		extra:   map[byte][]byte{secGlobal: {1, 0x7e, 1, opI64Const, 1, opEnd}, secData: cat([]byte{1}, dataAt(1<<15+512, []byte("some data")))}}
	return a.bytes()
}

func asFile(t testing.TB, bin []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, bin, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func deliver(t *testing.T, i module.Instance, batch []byte) []byte {
	t.Helper()
	out, err := i.Deliver(batch)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(out)
}

// moved gives an instance that goes on where i is, and closes i.
func moved(t *testing.T, c *Carrier, s module.Spec, i module.Instance) module.Instance {
	t.Helper()
	image, err := i.(module.Snapshotter).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	s.Seed = [32]byte{0xff} // what was drawn before is in the image, and what follows
	next, err := c.Restore(context.Background(), s, image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Close() })
	return next
}

// TestSnapshotChangesNothing is checkMoves for a guest of which every answer
// depends on all that went before. W9.1.
func TestSnapshotChangesNothing(t *testing.T) {
	c := newCarrier(t)
	checkMoves(t, c, module.Spec{Name: "test", Artifact: asFile(t, rememberer()), Seed: [32]byte{3}}, 20, 4)
}

// checkMoves: a guest that is snapshotted and restored between random batches, one
// in so many, answers as one that is not.
func checkMoves(t *testing.T, c *Carrier, spec module.Spec, runs, oneIn int) {
	for run := range runs {
		rng := rand.New(rand.NewPCG(uint64(run), 5))
		stays, err := c.Open(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		moves, err := c.Open(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for seq := range uint64(60) {
			batch := scripted(rng, seq+1, 0x1001)
			if a, b := deliver(t, stays, batch), deliver(t, moves, batch); !bytes.Equal(a, b) {
				t.Fatalf("run %d, batch %d after %d moves:\n%x\n%x", run, seq+1, n, a, b)
			}
			if rng.IntN(oneIn) == 0 {
				moves = moved(t, c, spec, moves)
				n++
			}
		}
		if n == 0 {
			t.Errorf("run %d: nothing was moved", run)
		}
		if err := errors.Join(stays.Close(), moves.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestGoldenImage: the instance after one that failed begins with the golden image,
// without _initialize, and does what it would have done otherwise. W9.5.
func TestGoldenImage(t *testing.T) {
	c := newCarrier(t)
	spec := module.Spec{Name: "test", Artifact: asFile(t, rememberer()), Seed: [32]byte{7}}
	open := func(s module.Spec) *instance {
		t.Helper()
		i, err := c.Open(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		return i.(*instance)
	}
	first := open(spec)
	var want [][]byte
	for seq := range uint64(20) {
		want = append(want, deliver(t, first, flushBatch(seq+1, time.Duration(seq))))
	}
	for range 3 {
		prog := first.prog
		batch := flushBatch(21, 1)
		batch[32] = 1 // the wall clock
		if _, err := first.Deliver(batch); !errors.Is(err, module.ErrTrap) {
			t.Fatal(err)
		}
		if _, err := first.Snapshot(); !errors.Is(err, module.ErrTrap) {
			t.Errorf("a snapshot of a dead instance: %v", err)
		}
		if err := errors.Join(first.Close(), first.Close()); err != nil {
			t.Fatal(err)
		}
		other := spec
		other.Seed = [32]byte{8}
		if i := open(other); i.prog == prog {
			t.Error("another seed got the same program")
		} else if err := i.Close(); err != nil {
			t.Error(err)
		}
		first = open(spec)
		if first.prog != prog || len(c.kept) != 0 {
			t.Error("the program was not used again")
		}
		if got := int64(first.fuel.Get()); got != startFuel {
			t.Errorf("_initialize ran again: %d of %d units are left", got, startFuel)
		}
		for seq, w := range want {
			if got := deliver(t, first, flushBatch(uint64(seq)+1, time.Duration(seq))); !bytes.Equal(got, w) {
				t.Fatalf("batch %d:\n%x\n%x", seq+1, got, w)
			}
		}
	}
	// A clean end keeps nothing.
	if err := first.Close(); err != nil || len(c.kept) != 0 {
		t.Errorf("%v, %d kept", err, len(c.kept))
	}
	// No more than maxKept stay, and Close ends them.
	for n := range maxKept + 3 {
		spec.Seed = [32]byte{9, byte(n)}
		i := open(spec)
		batch := flushBatch(1, 1)
		batch[32] = 1
		if _, err := i.Deliver(batch); err == nil {
			t.Fatal("it lives")
		}
		_ = i.Close()
	}
	if len(c.kept) != maxKept {
		t.Errorf("%d programs are kept", len(c.kept))
	}
}

// TestPinned: what the rewriter says cannot be snapshotted is not. W9.2.
func TestPinned(t *testing.T) {
	a := handleOnly(cat(i32const(0), []byte{opRefNull, 0x70, opTableSet, 0}, []byte{opI64Const, 0})...)
	a.extra = map[byte][]byte{secTable: {1, 0x70, 0, 1}}
	c := newCarrier(t)
	i := mustOpen(t, c, a.bytes(), module.Spec{})
	if _, err := i.Snapshot(); !errors.Is(err, module.ErrPinned) || !strings.Contains(err.Error(), "changes a table") {
		t.Error(err)
	}
	image := i.capture(nil).encode()
	if _, err := c.Restore(context.Background(), module.Spec{Name: "test", Artifact: asFile(t, a.bytes())}, image); !errors.Is(err, module.ErrPinned) {
		t.Errorf("restored: %v", err)
	}
}

// TestSnapshotRefused: of another artifact, above the grant, cut or changed. W9.3 W9.4.
func TestSnapshotRefused(t *testing.T) {
	c := newCarrier(t)
	spec := module.Spec{Name: "test", Artifact: asFile(t, rememberer()), Limits: module.Limits{Memory: 16 << 16}}
	i, err := c.Open(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); i.(*instance).mem.Size() < 4<<16; seq++ {
		deliver(t, i, flushBatch(seq, 1))
	}
	image, err := i.(module.Snapshotter).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	refused := func(s module.Spec, b []byte, text string) {
		t.Helper()
		if _, err := c.Restore(context.Background(), s, b); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	small := spec
	small.Limits.Memory = 3 << 16
	refused(small, image, "limits.memory is 192 KiB")
	other := spec
	other.Artifact = asFile(t, handleOnly(opI64Const, 0).bytes())
	refused(other, image, "another artifact")
	refused(spec, []byte("NHS2"), "host's kind")
	for n := range image {
		if _, err := parseSnapshot(image[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are taken", n, len(image))
		}
	}
	if _, err := parseSnapshot(append(image, 0)); err == nil {
		t.Error("a byte too many is taken")
	}
	_ = i.Close()
}

// FuzzSnapshot: no panic, and what is taken is written back byte for byte. W9.3.
func FuzzSnapshot(f *testing.F) {
	s := &snapshot{pages: 2, ptr: 8, size: 4096, now: 5, random: []byte("state"), lines: [2][]byte{[]byte("a"), nil}, globals: []uint64{1, 2},
		chunks: []chunk{{0, make([]byte, block)}, {3 * block, make([]byte, 2*block)}}}
	f.Add(s.encode())
	f.Add((&snapshot{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSnapshot(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("%x was written back as %x", b, s.encode())
		}
	})
}
