package kernel

import (
	"testing"
	"time"

	"nethost/sdk"
)

// TestWouldBlock: A8.1 and A8.2 of sdk/abi. Who asks for it is told that the queue is
// full, and when it is not; who does not loses messages, and is told why (A8.6).
func TestWouldBlock(t *testing.T) {
	l := newLab(t, 2)
	to := l.handle(0, 1)
	l.cut = func(from, to int) bool { return true }
	const size = 1000
	taken, refused := 0, 0
	for ref := sdk.Ref(1); refused < 100; ref += 2 {
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Ref: ref, Flags: sdk.FlagBulk, Peer: to, ID: idChat, Payload: make([]byte, size)})
		evs := l.take(0, 0, sdk.EvWouldBlock)
		if len(evs) == 0 {
			if taken++; refused > 0 {
				t.Fatal("taken after WouldBlock and before Writable")
			}
			continue
		}
		refused++
		if ev := evs[0]; len(evs) != 1 || ev.Ref != ref || ev.Peer != to || ev.ID != idChat || ev.Flags != sdk.FlagBulk {
			t.Fatalf("told %+v", evs)
		}
	}
	if taken < 1000 {
		t.Errorf("full with %d messages", taken)
	}
	p := l.k[0].peers[l.k[1].self]
	if l.k[0].counters.Drops[DropQueueFull] != 0 || len(p.dropped) > 0 {
		t.Error("what was not taken was counted as dropped")
	}
	// The other class has room, and so has who never asked.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Ref: 1, Peer: to, ID: idChat, Payload: []byte("realtime")})
	if evs := l.take(0, 0, sdk.EvWouldBlock); evs != nil {
		t.Errorf("realtime: %+v", evs)
	}
	for range 2 { // the first may fit into what a large one did not
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Flags: sdk.FlagBulk, Peer: to, ID: idChat, Payload: make([]byte, size)})
	}
	l.run(12 * time.Millisecond)
	told := map[sdk.Drop]uint64{}
	for _, ev := range l.take(0, 0, sdk.EvDropped) {
		d, err := sdk.ParseDrop(ev.Payload)
		if err != nil {
			t.Fatal(err)
		}
		told[d] += ev.Arg
	}
	if n := told[sdk.Drop{Class: sdk.Bulk, Reason: "queue_full"}]; n == 0 || n != l.k[0].counters.Drops[DropQueueFull] {
		t.Errorf("the module heard %v", told)
	}
	// Room again: once, and everything that was taken arrives.
	l.cut = nil
	arrived, writable := 0, 0
	for range 100 {
		l.run(20 * time.Millisecond)
		if evs := l.take(0, 0, sdk.EvWritable); len(evs) > 0 {
			writable += len(evs)
			if ev := evs[0]; ev.Peer != to || ev.Flags != sdk.FlagBulk || !p.mux.Roomy(uint8(sdk.Bulk)<<2) {
				t.Errorf("told %+v", ev)
			}
		}
		arrived += len(l.take(1, 0, sdk.EvMessage))
	}
	if writable != 1 {
		t.Errorf("told %d times that there is room", writable)
	}
	if arrived < taken-200 { // what was under way when the network was cut is lost
		t.Errorf("%d messages arrived of %d", arrived, taken)
	}
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Ref: 1, Flags: sdk.FlagBulk, Peer: to, ID: idChat, Payload: []byte("again")})
	if evs := l.take(0, 0, sdk.EvWouldBlock); evs != nil {
		t.Errorf("after Writable: %+v", evs)
	}
}

// TestBlockedPeerGoes: PeerDown ends it (A8.2): no Writable names the peer afterwards.
func TestBlockedPeerGoes(t *testing.T) {
	l := newLab(t, 2)
	to := l.handle(0, 1)
	l.cut = func(from, to int) bool { return true }
	for range 5000 {
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Ref: 1, Flags: sdk.FlagBulk, Peer: to, ID: idChat, Payload: make([]byte, 500)})
	}
	p := l.k[0].peers[l.k[1].self]
	if len(p.blocked) != 1 {
		t.Fatalf("%d modules wait for room", len(p.blocked))
	}
	l.events[0] = nil
	l.run(20 * time.Second)
	down := false
	for _, d := range l.events[0] {
		down = down || d.Event.Kind == sdk.EvPeerDown
		if down && d.Event.Kind == sdk.EvWritable {
			t.Errorf("%+v after PeerDown", d.Event)
		}
	}
	if !down || len(p.blocked) != 0 {
		t.Errorf("down: %v, %d modules wait for room", down, len(p.blocked))
	}
}

// TestMessageDeadline: A8.4. Messages that a full window held for too long are dropped,
// counted and reported with their reason.
func TestMessageDeadline(t *testing.T) {
	l := newLab(t, 2)
	to := l.handle(0, 1)
	l.cut = func(from, to int) bool { return true }
	for range 200 {
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Flags: sdk.FlagBulk, Arg: uint64(20 * time.Millisecond), Peer: to, ID: idChat, Payload: make([]byte, 1000)})
	}
	l.run(30 * time.Millisecond)
	l.cut = nil
	l.run(time.Second)
	told := uint64(0)
	for _, ev := range l.take(0, 0, sdk.EvDropped) {
		d, err := sdk.ParseDrop(ev.Payload)
		if err != nil || d != (sdk.Drop{Class: sdk.Bulk, Reason: "stale"}) {
			t.Errorf("told %+v, %v", d, err)
		}
		told += ev.Arg
	}
	if n := l.k[0].counters.Drops[DropStale]; n < 100 || n != told {
		t.Errorf("%d messages were stale, the module heard of %d", n, told)
	}
}
