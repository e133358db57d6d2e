package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// fragmentTwin is reassembly as one would write it without thinking of cost: a byte array
// and an array of marks for each message ever seen.
type fragmentTwin struct {
	msgs  map[uint64]*twinMessage
	order []uint64 // under way, oldest first
	over  map[uint64]bool
	top   uint64
}

type twinMessage struct {
	at    time.Duration
	first wire.Frame
	data  []byte
	got   []bool
}

func (w *fragmentTwin) end(n uint64) {
	w.over[n] = true
	w.top = max(w.top, n)
	delete(w.msgs, n)
	for i, x := range w.order {
		if x == n {
			w.order = append(w.order[:i:i], w.order[i+1:]...)
			return
		}
	}
}

func (w *fragmentTwin) add(f *wire.Frame, now time.Duration) ([]byte, FragmentVerdict) {
	for len(w.order) > 0 && now-w.msgs[w.order[0]].at >= 250*time.Millisecond {
		w.end(w.order[0])
	}
	m := w.msgs[f.Stream]
	if m == nil {
		if w.over[f.Stream] || w.top >= 1024 && f.Stream <= w.top-1024 {
			return nil, FragmentLate
		}
		if len(w.order) == 32 {
			w.end(w.order[0])
		}
		m = &twinMessage{at: now, first: *f, data: make([]byte, f.Total), got: make([]bool, f.Total)}
		w.msgs[f.Stream] = m
		w.order = append(w.order, f.Stream)
	}
	if m.first.ID != f.ID || m.first.Flags != f.Flags || m.first.Total != f.Total {
		w.end(f.Stream)
		return nil, FragmentConflict
	}
	known, same := 0, true
	for i, c := range f.Payload {
		if at := int(f.Offset) + i; m.got[at] {
			known++
			same = same && m.data[at] == c
		}
	}
	switch {
	case known == len(f.Payload) && same:
		return nil, FragmentDuplicate
	case known > 0:
		w.end(f.Stream)
		return nil, FragmentConflict
	}
	missing, pieces := 0, 0
	for i, c := range f.Payload {
		m.data[int(f.Offset)+i], m.got[int(f.Offset)+i] = c, true
	}
	for i, got := range m.got {
		if !got {
			missing++
		} else if i == 0 || !m.got[i-1] {
			pieces++
		}
	}
	switch {
	case pieces > 64:
		w.end(f.Stream)
		return nil, FragmentConflict
	case missing == 0:
		w.end(f.Stream)
		return m.data, FragmentCompletes
	}
	return nil, FragmentHeld
}

// both gives a fragment to a Reassembler and to its twin and compares.
type both struct {
	t    *testing.T
	r    *Reassembler
	pool *Buffers
	w    fragmentTwin
	seen map[FragmentVerdict]int
}

func newBoth(t *testing.T) *both {
	pool := new(Buffers)
	return &both{t, NewReassembler(pool), pool, fragmentTwin{msgs: map[uint64]*twinMessage{}, over: map[uint64]bool{}}, map[FragmentVerdict]int{}}
}

func (b *both) add(f *wire.Frame, now time.Duration) {
	b.t.Helper()
	want, wantV := b.w.add(f, now)
	got, v := b.r.Add(f, now)
	if v != wantV || !bytes.Equal(got, want) {
		b.t.Fatalf("message %d, %d bytes at %d of %d at %v: verdict %d and %d bytes, want %d and %d, or they differ",
			f.Stream, len(f.Payload), f.Offset, f.Total, now, v, len(got), wantV, len(want))
	}
	b.seen[v]++
	checkHeld(b.t, b.r, b.pool)
	b.pool.Recycle()
	if len(b.r.parts) != len(b.w.order) {
		b.t.Fatalf("%d messages under way, want %d", len(b.r.parts), len(b.w.order))
	}
}

// checkHeld checks the bounds of S8.5 and that what is counted is what is held.
func checkHeld(t *testing.T, r *Reassembler, pool *Buffers) {
	t.Helper()
	held := 0
	for i, p := range r.parts {
		held += cap(p.buf)
		if i > 0 && p.at < r.parts[i-1].at {
			t.Fatal("not in order of age")
		}
		if limit := bufferSizes[sizeFor(len(p.buf))]; len(p.buf) == 0 || cap(p.buf) != limit {
			t.Fatalf("%d bytes arrived, up to %d, and %d are reserved", p.have, len(p.buf), cap(p.buf))
		}
	}
	if held != r.held || held > maxHeld || len(r.parts) > maxPartial || len(r.spare) > idleRecords {
		t.Fatalf("%d bytes held, %d counted, %d messages, %d spare", held, r.held, len(r.parts), len(r.spare))
	}
	if pool.used != held {
		t.Fatalf("the pool counts %d bytes, %d are held", pool.used, held)
	}
	for i, free := range pool.free {
		if len(free)*bufferSizes[i] > idleBytes {
			t.Fatalf("%d idle buffers of %d bytes", len(free), bufferSizes[i])
		}
	}
}

func fragmentOf(number uint64, msg []byte, from, to int) wire.Frame {
	return wire.Frame{ID: testID, Flags: wire.FlagFragment | 1, Stream: number, Offset: uint64(from), Total: uint32(len(msg)), Payload: msg[from:to]}
}

// cuts cuts a message into fragments at random places.
func cuts(rng *rand.Rand, number uint64, msg []byte, most int) (fs []wire.Frame) {
	for at := 0; at < len(msg); {
		n := min(1+rng.IntN(most), len(msg)-at, len(msg)-1)
		fs = append(fs, fragmentOf(number, msg, at, at+n))
		at += n
	}
	return fs
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestFragmentsTwin: S8.3 to S8.7 under loss, reordering, duplicates and lies,
// against the twin.
func TestFragmentsTwin(t *testing.T) {
	seen := map[FragmentVerdict]int{}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := newBoth(t)
		b.seen = seen
		most, now := 20+rng.IntN(900), time.Duration(0)
		loss, dup, lie, disorder := rng.Float64()*0.2, rng.Float64()*0.2, rng.Float64()*0.05, 1+rng.IntN(300)
		var air []wire.Frame
		for number, sent := uint64(1), 0; sent < 100 || len(air) > 0; number++ {
			if rng.IntN(20) == 0 {
				number += uint64(rng.IntN(1500)) // messages of which nothing arrived
			}
			if sent < 100 && len(air) < disorder {
				sent++
				for _, f := range cuts(rng, number, randomBytes(rng, 2+rng.IntN(2500)), most) {
					if rng.Float64() >= loss {
						air = append(air, f)
					}
					if rng.Float64() < dup {
						air = append(air, f)
					}
					if rng.Float64() < lie {
						air = append(air, lieAbout(rng, f))
					}
				}
			}
			for range 1 + rng.IntN(20) {
				if len(air) == 0 || len(air) < disorder && sent < 100 {
					break
				}
				i := rng.IntN(min(len(air), disorder))
				f := air[i]
				air = append(air[:i], air[i+1:]...)
				now += time.Duration(rng.IntN(int(2 * time.Millisecond)))
				b.add(&f, now)
			}
		}
		b.r.Clear()
		if checkHeld(t, b.r, b.pool); b.pool.used != 0 {
			t.Errorf("%d bytes are still held", b.pool.used)
		}
	}
	for v := FragmentHeld; v <= FragmentConflict; v++ {
		if seen[v] < 100 {
			t.Errorf("verdict %d was given %d times: the test does not reach it", v, seen[v])
		}
	}
}

// lieAbout gives a fragment that contradicts another.
func lieAbout(rng *rand.Rand, f wire.Frame) wire.Frame {
	switch rng.IntN(6) {
	case 0:
		f.ID++
	case 1:
		f.Flags ^= 1 << wire.FrameClassShift
	case 2:
		f.Total++
	case 3:
		f.Payload = bytes.Clone(f.Payload)
		f.Payload[rng.IntN(len(f.Payload))] ^= 1
	case 4:
		if f.Offset > 0 {
			f.Offset--
		}
	case 5: // cut otherwise, the same bytes
		f.Payload = f.Payload[:1+rng.IntN(len(f.Payload))]
	}
	return f
}

// FuzzReassembly reads bytes as fragments and compares with the twin.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{1, 0, 0, 9, 4, 0, 1, 0, 5, 9, 3, 0, 1, 0, 4, 9, 0, 0})
	f.Add([]byte{1, 0, 0, 9, 4, 0, 1, 0, 3, 9, 3, 0, 2, 0, 0, 9, 8, 255, 1, 0, 5, 9, 3, 0})
	f.Add(bytes.Repeat([]byte{3, 7, 128, 255, 1, 1}, 40))
	f.Add(bytes.Repeat([]byte{200, 63, 0, 255, 255, 0}, 40))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBoth(t)
		now := time.Duration(0)
		for ; len(in) >= 6; in = in[6:] {
			total := 2 + int(in[3])*16
			off := int(in[2]) * total / 256
			n := min(1+int(in[4]), total-off, total-1)
			now += time.Duration(in[5]) * time.Millisecond
			b.add(&wire.Frame{ID: sdk.ID(0x1000 + int(in[1]>>7)), Flags: wire.FlagFragment | in[1]>>6&1, Stream: 1 + uint64(in[0]) + uint64(in[1]&63)*300,
				Offset: uint64(off), Total: uint32(total), Payload: bytes.Repeat([]byte{in[4] & 3}, n)}, now)
		}
	})
}

// TestReassemblyRules: each case is one clause, on a message of 20 bytes of which
// the bytes 5 to 9 arrived.
func TestReassemblyRules(t *testing.T) {
	msg := []byte("abcdefghijklmnopqrst")
	with := func(f wire.Frame, change func(f *wire.Frame)) wire.Frame { change(&f); return f }
	for name, c := range map[string]struct {
		f    wire.Frame
		want FragmentVerdict
	}{
		"S8.3 before it":            {fragmentOf(7, msg, 0, 5), FragmentHeld},
		"S8.3 behind it":            {fragmentOf(7, msg, 10, 20), FragmentHeld},
		"S8.3 the same again":       {fragmentOf(7, msg, 5, 10), FragmentDuplicate},
		"S8.3 a part of it":         {fragmentOf(7, msg, 6, 9), FragmentDuplicate},
		"S8.6 over its end":         {fragmentOf(7, msg, 9, 11), FragmentConflict},
		"S8.6 over its beginning":   {fragmentOf(7, msg, 4, 6), FragmentConflict},
		"S8.6 around it":            {fragmentOf(7, msg, 4, 11), FragmentConflict},
		"S8.6 the same, other byte": {with(fragmentOf(7, msg, 5, 10), func(f *wire.Frame) { f.Payload = []byte("fghiX") }), FragmentConflict},
		"S8.6 another total":        {with(fragmentOf(7, msg, 0, 5), func(f *wire.Frame) { f.Total++ }), FragmentConflict},
		"S8.6 another id":           {with(fragmentOf(7, msg, 0, 5), func(f *wire.Frame) { f.ID++ }), FragmentConflict},
		"S8.6 another epoch":        {with(fragmentOf(7, msg, 0, 5), func(f *wire.Frame) { f.Flags ^= 2 }), FragmentConflict},
		"S8.6 another class":        {with(fragmentOf(7, msg, 0, 5), func(f *wire.Frame) { f.Flags ^= 4 }), FragmentConflict},
		"S8.7 a delivered message":  {fragmentOf(6, msg, 0, 5), FragmentLate},
		"S8.7 an unknown number":    {fragmentOf(8, msg, 0, 5), FragmentHeld},
	} {
		pool := new(Buffers)
		r := NewReassembler(pool)
		for _, f := range []wire.Frame{fragmentOf(6, msg, 10, 20), fragmentOf(6, msg, 0, 10), fragmentOf(7, msg, 5, 10)} {
			if got, v := r.Add(&f, 0); (v == FragmentCompletes) != (f.Offset == 0) || v == FragmentCompletes && string(got) != string(msg) {
				t.Fatalf("setup: %d %q", v, got)
			}
		}
		if _, v := r.Add(&c.f, 0); v != c.want {
			t.Errorf("%s: verdict %d, want %d", name, v, c.want)
		}
		if gone := r.find(7) == nil; gone != (c.want == FragmentConflict) {
			t.Errorf("%s: given up: %v", name, gone)
		}
		if f := fragmentOf(7, msg, 12, 15); c.want == FragmentConflict {
			if _, v := r.Add(&f, 0); v != FragmentLate {
				t.Errorf("%s: what came after it got verdict %d", name, v)
			}
		}
		checkHeld(t, r, pool)
	}
}

// TestReassemblyPieces: S8.6, the 65th piece.
func TestReassemblyPieces(t *testing.T) {
	r := NewReassembler(new(Buffers))
	msg := make([]byte, 200)
	for i := range maxPieces + 1 {
		f := fragmentOf(1, msg, 2*i, 2*i+1)
		if _, v := r.Add(&f, 0); (v == FragmentConflict) != (i == maxPieces) {
			t.Fatalf("piece %d: verdict %d", i, v)
		}
	}
}

// TestReassemblyExpires: S8.4.
func TestReassemblyExpires(t *testing.T) {
	pool := new(Buffers)
	r := NewReassembler(pool)
	msg := make([]byte, 100)
	if r.Deadline() != never {
		t.Error("a deadline of nothing")
	}
	a, b, c := fragmentOf(1, msg, 0, 50), fragmentOf(2, msg, 0, 50), fragmentOf(1, msg, 50, 100)
	r.Add(&a, 0)
	r.Add(&b, 100*time.Millisecond)
	if r.Deadline() != fragmentAge {
		t.Errorf("deadline %v", r.Deadline())
	}
	r.Expire(fragmentAge - 1)
	if len(r.parts) != 2 {
		t.Error("given up too early")
	}
	if _, v := r.Add(&c, fragmentAge); v != FragmentLate || r.stats.Expired != 1 || r.Deadline() != 350*time.Millisecond {
		t.Errorf("verdict %d, %+v, deadline %v", v, r.stats, r.Deadline())
	}
	r.Expire(350 * time.Millisecond)
	if r.stats.Expired != 2 || r.held != 0 || r.Deadline() != never {
		t.Errorf("%+v, %d bytes held", r.stats, r.held)
	}
}

// TestReassemblyClaims: S8.5. A byte that claims to be of 64 KiB reserves 4 KiB; a
// peer that sends nothing but beginnings, or ends, holds no more than its share.
func TestReassemblyClaims(t *testing.T) {
	msg := make([]byte, wire.MaxMessage)
	for name, c := range map[string]struct{ at, held, parts int }{
		"beginnings": {0, maxPartial * 4 << 10, maxPartial},
		"middles":    {10000, maxHeld, maxHeld / (16 << 10)},
		"ends":       {len(msg) - 1, maxHeld, maxHeld / len(msg)},
	} {
		pool := new(Buffers)
		r := NewReassembler(pool)
		now := time.Duration(0)
		add := func(number uint64) {
			f := fragmentOf(number, msg, c.at, c.at+1)
			if _, v := r.Add(&f, now); v != FragmentHeld {
				t.Fatalf("%s: verdict %d", name, v)
			}
		}
		add(1)
		if first := bufferSizes[sizeFor(c.at+1)]; r.held != first {
			t.Errorf("%s: one byte holds %d, want %d", name, r.held, first)
		}
		for n := range uint64(100_000) {
			add(n + 2)
			if n%1000 == 0 {
				checkHeld(t, r, pool)
				now += time.Millisecond
			}
		}
		if r.held != c.held || len(r.parts) != c.parts {
			t.Errorf("%s: %d bytes in %d messages, want %d in %d", name, r.held, len(r.parts), c.held, c.parts)
		}
		if r.parts[len(r.parts)-1].number != 100_001 {
			t.Errorf("%s: the newest gave way", name)
		}
		n := uint64(200_000)
		if allocs := testing.AllocsPerRun(1000, func() { add(n); n++ }); allocs != 0 {
			t.Errorf("%s: %v allocations a fragment", name, allocs)
		}
		if r.Expire(now + fragmentAge); r.held != 0 || len(r.spare) > idleRecords {
			t.Errorf("%s: %d bytes stay", name, r.held)
		}
	}
}

// TestBuffersShared: many peers share one bound, and what one returns another gets.
func TestBuffersShared(t *testing.T) {
	pool := &Buffers{Limit: 1 << 20}
	msg := make([]byte, wire.MaxMessage)
	var rs []*Reassembler
	crowded := 0
	for range 64 {
		r := NewReassembler(pool)
		rs = append(rs, r)
		for n := range uint64(3) {
			f := fragmentOf(n+1, msg, len(msg)-1, len(msg))
			if _, v := r.Add(&f, 0); v == FragmentCrowded {
				crowded++
			}
		}
	}
	if pool.used != 1<<20 || crowded != 64*3-16 {
		t.Errorf("%d bytes, %d refused", pool.used, crowded)
	}
	for _, r := range rs {
		r.Clear()
	}
	f := fragmentOf(9, msg, 0, 1)
	if _, v := rs[63].Add(&f, 0); v != FragmentHeld || pool.used != 4<<10 {
		t.Errorf("verdict %d, %d bytes", v, pool.used)
	}
}

// TestBuffersLent: a message that was handed out is not overwritten before Recycle,
// whatever completes in between, and its memory is used again after it.
func TestBuffersLent(t *testing.T) {
	pool := new(Buffers)
	r := NewReassembler(pool)
	rng := rand.New(rand.NewPCG(3, 3))
	var want, got [][]byte
	for n := range uint64(20) {
		msg := randomBytes(rng, 3000+3000*int(n))
		for _, f := range cuts(rng, n+1, msg, 1100) {
			if m, v := r.Add(&f, 0); v == FragmentCompletes {
				want, got = append(want, msg), append(got, m)
			}
		}
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("message %d was overwritten", i)
		}
	}
	if len(got) != 20 || len(pool.lent) != 20 {
		t.Errorf("%d messages, %d lent", len(got), len(pool.lent))
	}
	if pool.Recycle(); len(pool.lent) != 0 || len(pool.free[2]) != idleBytes/wire.MaxMessage {
		t.Errorf("%d lent, %d free", len(pool.lent), len(pool.free[2]))
	}
}

func TestNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var n numbers
	seen := map[uint64]bool{}
	top := uint64(0)
	for i := range 200_000 {
		x := 1 + uint64(i/40)*uint64(1+i/50_000*500) + rng.Uint64N(3000)
		if want := seen[x] || x+numberWindow <= top; n.has(x) != want {
			t.Fatalf("%d with top %d: %v, want %v", x, top, !want, want)
		}
		if rng.IntN(2) == 0 {
			n.add(x)
			seen[x], top = true, max(top, x)
		}
	}
}

func BenchmarkReassembly(b *testing.B) {
	for _, size := range []int{2000, 8000, wire.MaxMessage} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			pool := new(Buffers)
			r := NewReassembler(pool)
			msg := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for number := uint64(1); b.Loop(); number++ {
				for at := 0; at < size; at += 1120 {
					f := fragmentOf(number, msg, at, min(at+1120, size))
					r.Add(&f, 0)
				}
				pool.Recycle()
			}
			if r.stats.Completed == 0 {
				b.Fatal("nothing was completed")
			}
		})
	}
}
