package kernel

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// What a hostile network or peer may send, and where it is tested that the session
// lives, memory is bounded and each drop has its reason:
//
//	spoofed, replayed, oversize, zero length, wrong link index,
//	wrong hop tag, TTL, counter jump, copied hop header          TestBadInput
//	reordered                                                    TestReordered; session.TestReorderAndReplay
//	a captured first message, replayed a million times           TestReplayedMillion; TestFloodFromOutside
//	forged first messages                                        TestFloodFromInside; session.TestSpoofedFlood
//	fragments that never complete, or overlap                    TestHostileFragments, TestIncompleteMessages; stream.TestReassemblyRules
//	acks for unsent data                                         TestHostilePeer; stream.TestLyingAcks
//	credit overflow                                              TestHostilePeer; stream.TestCreditLimits
//	stream ids without end                                       TestHostilePeer; stream.TestNoMoreIDs, stream.TestFloods
//	random datagrams                                             TestNoise; FuzzStep; the soak of `nethost bench transport`

// grab takes the next packet of a message from node 0 out of the network: for node 1,
// or for node 2 through it.
func grab(l *lab, to int) (pkt []byte) {
	l.t.Helper()
	l.lose = func(at int, b []byte) bool {
		if pkt == nil && at == 1 && len(b) > 300 {
			pkt = bytes.Clone(b)
			return true
		}
		return false
	}
	l.message(0, to, make([]byte, 300))
	l.lose = nil
	if pkt == nil || isForward(pkt) != (to == 2) {
		l.t.Fatal("no packet")
	}
	return pkt
}

// TestBadInput: one datagram after another, from an address of the attacker's or of a
// peer, each dropped for the reason that is its own. Afterwards both sessions carry
// messages, over the same addresses.
func TestBadInput(t *testing.T) {
	stranger := netip.MustParseAddrPort("203.0.113.9:9")
	for _, c := range []struct {
		name   string
		to     int // 1: straight to it, 2: through it
		change func(l *lab, b []byte) [][]byte
		want   map[Drop]int // at node 1
		wantAt map[Drop]int // at node 2
		passes int          // datagrams that node 1 sends on
	}{
		{"spoofed: a body made up", 1, func(l *lab, b []byte) [][]byte {
			for i := range b[wire.LocalSize+wire.SessionSize:] {
				b[wire.LocalSize+wire.SessionSize+i] = byte(i * 7)
			}
			return [][]byte{b}
		}, map[Drop]int{DropBadTag: 1}, nil, 0},
		{"spoofed: a session nobody has", 1, func(l *lab, b []byte) [][]byte {
			binary.LittleEndian.PutUint32(b[wire.LocalSize:], 0xdeadbeef)
			return [][]byte{b}
		}, map[Drop]int{DropNoSession: 1}, nil, 0},
		{"replayed", 1, func(l *lab, b []byte) [][]byte { return [][]byte{b, b, b} }, map[Drop]int{DropReplayed: 2}, nil, 0},
		{"replayed through a relay", 2, func(l *lab, b []byte) [][]byte { return [][]byte{b, b} }, map[Drop]int{DropHopReplayed: 1}, nil, 1},
		{"oversize", 1, func(l *lab, b []byte) [][]byte {
			return [][]byte{append(b, make([]byte, maxMTU-len(b))...)}
		}, map[Drop]int{DropBadTag: 1}, nil, 0},
		{"oversize, to be relayed", 2, func(l *lab, b []byte) [][]byte {
			return [][]byte{append(b, make([]byte, maxMTU-len(b))...)}
		}, map[Drop]int{DropHopTag: 1}, nil, 0}, // its length is in the tag
		{"zero length", 1, func(l *lab, b []byte) [][]byte { return [][]byte{{}, nil} }, map[Drop]int{DropMalformed: 2}, nil, 0},
		{"cut short", 1, func(l *lab, b []byte) [][]byte {
			return [][]byte{b[:1], b[:wire.LocalSize], b[:wire.LocalSize+3], b[:wire.LocalSize+wire.SessionSize+wire.TagSize-1]}
		}, map[Drop]int{DropMalformed: 4}, nil, 0},
		{"wrong link index", 2, func(l *lab, b []byte) [][]byte { b[2] ^= 0x55; return [][]byte{b} }, map[Drop]int{DropLinkUnknown: 1}, nil, 0},
		{"wrong hop tag", 2, func(l *lab, b []byte) [][]byte { b[wire.ForwardSize-1] ^= 1; return [][]byte{b} }, map[Drop]int{DropHopTag: 1}, nil, 0},
		{"another destination", 2, func(l *lab, b []byte) [][]byte { b[12] ^= 1; return [][]byte{b} }, map[Drop]int{DropHopTag: 1}, nil, 0},
		{"TTL 0", 2, func(l *lab, b []byte) [][]byte { return [][]byte{l.again(b, 0)} }, map[Drop]int{DropTTL: 1}, nil, 0},
		{"TTL 1", 2, func(l *lab, b []byte) [][]byte { return [][]byte{l.again(b, 1)} }, map[Drop]int{DropTTL: 1}, nil, 0},
		{"TTL 2", 2, func(l *lab, b []byte) [][]byte { return [][]byte{l.again(b, 2)} }, nil, nil, 1},
		{"TTL 63", 2, func(l *lab, b []byte) [][]byte { return [][]byte{l.again(b, wire.MaxTTL)} }, nil, nil, 1},
		{"TTL changed on the way", 2, func(l *lab, b []byte) [][]byte { wire.SetTTL(b, 7); return [][]byte{b} }, map[Drop]int{DropHopTag: 1}, nil, 0},
		{"counter jump of 2^40", 1, func(l *lab, b []byte) [][]byte {
			jump := bytes.Clone(b)
			counter := jump[wire.LocalSize+4:]
			binary.LittleEndian.PutUint64(counter, binary.LittleEndian.Uint64(counter)+1<<40)
			return [][]byte{jump, b} // the true one is not too old afterwards
		}, map[Drop]int{DropExpired: 1}, nil, 0}, // beyond what any key is used for
		{"counter jump of 2^30", 1, func(l *lab, b []byte) [][]byte {
			jump := bytes.Clone(b)
			jump[wire.LocalSize+4+3] += 1 << 6
			return [][]byte{jump, b}
		}, map[Drop]int{DropBadTag: 1}, nil, 0},
		{"link counter jump of 2^31", 2, func(l *lab, b []byte) [][]byte {
			jump := bytes.Clone(b)
			binary.LittleEndian.PutUint32(jump[6:], binary.LittleEndian.Uint32(jump[6:])+1<<31)
			return [][]byte{jump, b}
		}, map[Drop]int{DropHopTag: 1}, nil, 1},
		// Session S6.5: the copy kills this one packet, and is never delivered.
		{"a copied hop header with another body races the true one", 2, func(l *lab, b []byte) [][]byte {
			copied := bytes.Clone(b)
			for i := range copied[wire.ForwardSize+wire.SessionSize:] {
				copied[wire.ForwardSize+wire.SessionSize+i] ^= 0x5a
			}
			return [][]byte{copied, b}
		}, map[Drop]int{DropHopReplayed: 1}, map[Drop]int{DropBadTag: 1}, 1},
		{"a copied hop header with a longer body", 2, func(l *lab, b []byte) [][]byte {
			return [][]byte{append(bytes.Clone(b), 0), b}
		}, map[Drop]int{DropHopTag: 1}, nil, 1},
	} {
		for _, from := range []netip.AddrPort{stranger, addrOf(0), addrOf(2)} {
			l := relayed(t)
			genuine := grab(l, c.to)
			pkts := c.change(l, bytes.Clone(genuine))
			if last := pkts[len(pkts)-1]; c.to == 1 && from != addrOf(0) && bytes.Equal(last, genuine) {
				continue // it is challenged to prove the new address: TestRoaming
			}
			before, beforeAt := l.k[1].counters, l.k[2].counters
			for _, b := range pkts {
				l.step(1, Input{Kind: InDatagram, Datagram: bytes.Clone(b), From: from})
			}
			wantDrops(t, c.name, l.k[1], before, c.want)
			wantDrops(t, c.name+", at the end", l.k[2], beforeAt, c.wantAt)
			if n := l.k[1].counters.Forwarded - before.Forwarded; int(n) < c.passes || c.passes == 0 && n > 0 {
				t.Errorf("%s: %d packets were sent on", c.name, n)
			}
			l.alive(c.name)
		}
	}
}

// again is a packet to be relayed with another TTL, signed by its sender.
func (l *lab) again(b []byte, ttl uint8) []byte {
	b = bytes.Clone(b)
	wire.SetTTL(b, ttl)
	if !l.k[0].peers[l.k[1].self].cur.SignHop(b) {
		l.t.Fatal("not signed")
	}
	return b
}

// wantDrops compares what a node dropped since before, under which reasons.
func wantDrops(t *testing.T, name string, k *Kernel, before Counters, want map[Drop]int) {
	t.Helper()
	for d := range numDrops {
		if n := k.counters.Drops[d] - before.Drops[d]; int(n) != want[d] {
			t.Errorf("%s: %d dropped as %v, want %d", name, n, d, want[d])
		}
	}
}

// alive wants messages to go from node 0 to the others, and nobody to have moved.
func (l *lab) alive(name string) {
	l.t.Helper()
	for to := 1; to <= 2; to++ {
		l.take(to, 0, sdk.EvMessage)
		l.message(0, to, []byte("still here"))
		l.run(100 * time.Millisecond)
		evs := l.take(to, 0, sdk.EvMessage)
		if len(evs) != 1 || string(evs[0].Payload) != "still here" {
			l.t.Errorf("%s: node %d got %d messages", name, to, len(evs))
		}
	}
	for i := range l.k {
		for j := range l.k {
			if p := l.k[i].peers[l.k[j].self]; p != nil && p.det != nil && p.addr != addrOf(j) {
				l.t.Errorf("%s: node %d sends to %v for node %d", name, i, p.addr, j)
			}
		}
	}
}

// TestReordered: packets that come in the opposite order are all taken, straight and
// through a relay, and nothing is dropped.
func TestReordered(t *testing.T) {
	for to := 1; to <= 2; to++ {
		l := relayed(t)
		var held [][]byte
		l.lose = func(at int, b []byte) bool {
			if at == 1 && len(b) > 300 {
				held = append(held, bytes.Clone(b))
				return true
			}
			return false
		}
		const n = 20
		for range n {
			l.message(0, to, make([]byte, 300))
		}
		l.lose = nil
		before, beforeAt := l.k[1].counters, l.k[2].counters
		for i := len(held) - 1; i >= 0; i-- {
			l.step(1, Input{Kind: InDatagram, Datagram: held[i], From: addrOf(0)})
		}
		wantDrops(t, "reordered", l.k[1], before, nil)
		wantDrops(t, "reordered", l.k[2], beforeAt, nil)
		if got := len(l.take(to, 0, sdk.EvMessage)); got != n || len(held) != n {
			t.Errorf("%d messages of %d packets arrived", got, len(held))
		}
		l.alive("reordered")
	}
}

// heapInUse is what is in use, in bytes.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestReplayedMillion: a captured first message, a million times from as many
// addresses. Nothing is answered, nothing is kept, each is counted.
func TestReplayedMillion(t *testing.T) {
	l := newLoose(t, 3)
	var m1 []byte
	l.wire = func(to int, b []byte) {
		if to == 1 && m1 == nil {
			m1 = bytes.Clone(b)
		}
	}
	l.step(0, Input{Kind: InDial, From: addrOf(1)})
	l.step(2, Input{Kind: InDial, From: addrOf(1)})
	l.run(2 * time.Second)
	l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[2].self, ID: idChat})
	l.run(time.Second)
	const n = 1_000_000
	before, memory := l.k[1].counters, heapInUse()
	var out Output
	in := Input{Kind: InDatagram, Datagram: m1}
	for i := range n {
		in.From = netipFrom([4]byte{30, byte(i >> 16), byte(i >> 8), byte(i)})
		l.k[1].Step(l.now, &in, &out)
		if len(out.Datagrams)+len(out.Jobs) > 0 {
			t.Fatal("a replay is answered")
		}
	}
	wantDrops(t, "replayed", l.k[1], before, map[Drop]int{DropHandshakeSeen: n})
	if grown := heapInUse() - memory; grown > 256<<10 {
		t.Errorf("%d bytes more", grown)
	}
	l.alive("replayed")
}

// TestNoise: random datagrams of all lengths, with a genuine first byte or more now
// and then, from everywhere. Each is dropped for one reason; memory is flat.
func TestNoise(t *testing.T) {
	l := relayed(t)
	dice := rand.New(rand.NewPCG(3, 4))
	local, forward := grab(l, 1), grab(l, 2)
	var buf [1500]byte
	var out Output
	const n = 50_000
	noise := func() {
		b := buf[:dice.IntN(len(buf))]
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], dice.Uint64())
		}
		switch dice.IntN(3) {
		case 0:
			copy(b, local[:dice.IntN(20)])
		case 1:
			copy(b, forward[:dice.IntN(40)])
		}
		l.k[1].Step(l.now, &Input{Kind: InDatagram, Datagram: b, From: netipFrom([4]byte{40, byte(dice.Uint32()), byte(dice.Uint32()), byte(dice.Uint32())})}, &out)
	}
	for range 10_000 { // what is made once is made
		noise()
	}
	before, memory := l.k[1].counters, heapInUse()
	drops := dropsOf(l.k[1])
	for range n {
		noise()
	}
	if grown := heapInUse() - memory; grown > 256<<10 {
		t.Errorf("%d bytes more", grown)
	}
	after := l.k[1].counters
	if in, dropped := after.PacketsIn-before.PacketsIn, dropsOf(l.k[1])-drops; in != n || dropped != n {
		t.Errorf("%d datagrams, %d dropped", in, dropped)
	}
	l.alive("noise")
}

// TestHostilePeer: an authenticated peer that acknowledges what was never sent, gives
// credit without end, and opens streams without end. The first two change nothing; the
// last costs it its session, never the node.
func TestHostilePeer(t *testing.T) {
	l := relayed(t)
	p := l.k[1].peers[l.k[0].self]
	bad := func() uint64 { return p.mux.Stats().BadAcks + p.mux.Stats().Violations }
	say := func(payload []byte) { // as node 0 would
		l.k[0].peers[l.k[1].self].mux.Control(payload)
		l.k[0].touch(l.k[0].peers[l.k[1].self])
		l.step(0, Input{Kind: InTick})
	}
	window := p.mux.Stats().Window
	for i := range uint64(100) {
		a := wire.Ack{Gen: l.k[0].peers[l.k[1].self].cur.LocalIndex(), N: 1}
		a.Ranges[0] = wire.Range{First: 1 << 30, Last: 1<<30 + i}
		say(wire.AppendAck(nil, &a))
	}
	if bad() != 100 || p.mux.Stats().Window != window {
		t.Errorf("%d acks of what was never sent were noted, window %d after %d", bad(), p.mux.Stats().Window, window)
	}
	l.alive("acks")
	// Node 1 opens a stream to node 0, which says that it may write without end.
	l.do(1, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1, Peer: l.handle(1, 0), ID: idChat, Payload: sdk.AppendOpen(nil, sdk.Open{})})
	l.run(50 * time.Millisecond)
	sid := sortedKeys(p.streams)[0]
	for range 3 {
		say(wire.AppendCredit(nil, wire.Credit{Stream: sid, Limit: wire.MaxVarint}))
		say(wire.AppendCredit(nil, wire.Credit{Stream: sid + 2, Limit: wire.MaxVarint})) // one that was never opened
	}
	granted := uint64(sdk.InitialCredit)
	for _, ev := range l.take(1, 0, sdk.EvStreamCredit) {
		granted += ev.Arg
	}
	if granted > maxCredit+sdk.InitialCredit {
		t.Errorf("the module may write %d bytes ahead", granted)
	}
	l.alive("credit")
	memory := heapInUse()
	for range 50_000 {
		q := l.k[0].peers[l.k[1].self]
		if q == nil || q.mux == nil {
			break
		}
		q.mux.Open(idChat, 0, sdk.Realtime)
		l.k[0].touch(q)
		l.step(0, Input{Kind: InTick})
	}
	if grown := heapInUse() - memory; grown > 64<<20 {
		t.Errorf("%d bytes more", grown)
	}
	if n := len(l.k[1].peers[l.k[2].self].streams); n > 1 {
		t.Errorf("%d streams with another peer", n)
	}
	l.message(2, 1, []byte("still here"))
	l.run(100 * time.Millisecond)
	if evs := l.take(1, 0, sdk.EvMessage); len(evs) != 1 {
		t.Errorf("%d messages of another peer arrived", len(evs))
	}
}
