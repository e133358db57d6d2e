package kernel

import (
	"bytes"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// TestStaleMessages: messages that waited longer than 5 ms for a full window are
// dropped, counted, and the module hears how many (host/stream S9.2); fresh ones go.
func TestStaleMessages(t *testing.T) {
	l := newLab(t, 2)
	l.cut = func(from, to int) bool { return true }
	for range 200 {
		l.message(0, 1, make([]byte, 1000))
	}
	l.run(20 * time.Millisecond)
	for range 10 {
		l.message(0, 1, []byte("fresh"))
	}
	l.cut = nil
	l.run(time.Second)
	told := uint64(0)
	for _, ev := range l.take(0, 0, sdk.EvDropped) {
		told += ev.Arg
	}
	stale := l.k[0].counters.Drops[DropStale]
	if stale < 100 || stale > 200 || told != stale {
		t.Errorf("%d messages were stale, the module heard of %d", stale, told)
	}
	fresh := 0
	for _, ev := range l.take(1, 0, sdk.EvMessage) {
		if bytes.Equal(ev.Payload, []byte("fresh")) {
			fresh++
		}
	}
	if fresh != 0 && fresh != 10 {
		t.Errorf("%d of 10 fresh messages arrived", fresh)
	}
}

// TestHeldForConsumer: what a peer sends ahead of a module's credit waits in the
// host, and comes out with the credit, although no packet arrives (host/stream S3.7).
func TestHeldForConsumer(t *testing.T) {
	l := newLab(t, 2)
	near, far := l.k[0].peers[l.k[1].self], l.k[1].peers[l.k[0].self]
	epoch := uint8(l.k[0].epoch) & 3
	sid, _ := near.mux.Open(idChat, epoch, sdk.Bulk)
	open := sdk.AppendOpen(nil, sdk.Open{Method: "take"})
	pre := append([]byte{byte(len(open)), byte(len(open) >> 8)}, open...)
	near.mux.Write(sid, pre, false)
	tick := func(i int, p *peer) {
		l.k[i].touch(p)
		l.step(i, Input{Kind: InTick})
		l.run(20 * time.Millisecond)
	}
	tick(0, near)
	ref := l.one(1, 0, sdk.EvStreamOpen).Ref

	// The peer's bytes, played by hand: behind a hole of 1000, up to the limit, and
	// then as far as the window has grown.
	const size = 2 * sdk.InitialCredit
	body := numbered(1, size)
	put := func(from, to int) {
		t.Helper()
		for ; from < to; from += 1000 {
			f := wire.Frame{ID: idChat, Flags: wire.FlagStream | epoch | uint8(sdk.Bulk)<<wire.FrameClassShift, Stream: sid,
				Offset: uint64(len(pre) + from), Payload: bytes.Clone(body[from:min(from+1000, to)])}
			if !far.mux.OnFrame(&f, l.now) {
				t.Fatalf("the bytes at %d are above the limit", from)
			}
		}
		tick(1, far)
	}
	l.poison = true
	put(1000, sdk.InitialCredit)
	put(sdk.InitialCredit, size)
	if l.take(1, 0, sdk.EvStreamData) != nil {
		t.Fatal("bytes behind a hole were delivered")
	}
	put(0, 1000)
	var got []byte
	data := func() int {
		for _, ev := range l.take(1, 0, sdk.EvStreamData) {
			got = append(got, ev.Payload...)
		}
		return len(got)
	}
	first := data()
	if first < sdk.InitialCredit || first > sdk.InitialCredit+sdk.MaxOpen {
		t.Errorf("the module was handed %d bytes, and has let come %d", first, sdk.InitialCredit)
	}
	for credit := 1000; len(got) < size; credit += 1000 {
		l.do(1, 0, sdk.Effect{Kind: sdk.OpStreamCredit, Ref: ref, Arg: 1000})
		if n := data(); n != min(first+credit, size) {
			t.Fatalf("%d bytes came out with a credit of %d", n-first, credit)
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("the bytes differ")
	}
}

// TestMarksComeBack: the congestion mark of a busy relay reaches the source by the
// acknowledgements, and only then (host/stream S4.7, S5.6).
func TestMarksComeBack(t *testing.T) {
	l := newLab(t, 3)
	l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[2].self, ID: idChat})
	l.run(3 * time.Second)
	marks := func() uint64 {
		for range 20 {
			l.message(0, 2, make([]byte, 1000))
			l.run(50 * time.Millisecond)
		}
		return l.k[0].peers[l.k[2].self].mux.Stats().Marks
	}
	if n := marks(); n != 0 {
		t.Errorf("%d marks without congestion", n)
	}
	l.busy = true
	first := marks()
	if first == 0 {
		t.Error("the source did not hear of marks")
	}
	l.busy = false
	l.run(time.Second)
	before := l.k[0].peers[l.k[2].self].mux.Stats().Marks
	if n := marks(); n != before {
		t.Error("old marks are told as new")
	}
}
