package kernel

import (
	"bytes"
	"testing"
	"time"

	"nethost/host/route"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// relayed makes A - R - B with a session between A and B.
func relayed(t *testing.T) *lab {
	l := newLab(t, 3)
	l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[2].self, ID: idChat})
	l.run(time.Second)
	if l.handle(0, 2) == 0 {
		t.Fatal("no session through the relay")
	}
	l.events = make([][]Delivery, 3)
	return l
}

// TestCorrected: a neighbour that missed a retraction hears it again with the first
// packet that cannot be forwarded.
func TestCorrected(t *testing.T) {
	l := relayed(t)
	a, b := l.k[0], l.k[2].self
	l.cut = func(from, to int) bool { return from == 1 && to == 0 } // A hears nothing ...
	l.step(2, Input{Kind: InShutdown})
	l.cut = func(from, to int) bool { return to == 2 || from == 2 }
	if _, ok := a.NextHop(b); !ok {
		t.Fatal("A heard of the loss")
	}
	drops := l.k[1].counters.Drops[DropNoRoute]
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 2), ID: idChat, Payload: []byte("x")})
	l.run(2 * time.Millisecond)
	if _, ok := a.NextHop(b); ok || l.k[1].counters.Drops[DropNoRoute] == drops {
		t.Error("A still sends into the void")
	}
}

// TestForwardRefused: a relay counts each packet it does not forward once.
func TestForwardRefused(t *testing.T) {
	for want, change := range map[Drop]func(l *lab){
		DropNoRelay: func(l *lab) { l.k[1].rules = newRules(&Policy{NoRelay: true}) },
		DropNoRoute: func(l *lab) {
			l.k[1].table = route.New(route.Config{Self: l.k[1].self, Incarnation: 1}, l.now)
		},
		DropLinkUnknown: func(l *lab) { l.k[1].index = indexTable{} },
	} {
		l := relayed(t)
		change(l)
		before := l.k[1].counters
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 2), ID: idChat, Payload: []byte("x")})
		after := l.k[1].counters
		for d := range numDrops {
			if n := after.Drops[d] - before.Drops[d]; (n == 1) != (d == want) || n > 1 {
				t.Errorf("%v: %d drops for %v", want, n, d)
			}
		}
		if after.Forwarded != before.Forwarded {
			t.Errorf("%v: forwarded all the same", want)
		}
	}
}

// TestHopLimit: the last hop does not forward.
func TestHopLimit(t *testing.T) {
	l := relayed(t)
	a, r := l.k[0], l.k[1]
	b := wire.AppendHop(nil, wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 1, Dest: l.k[2].rid})
	b = append(b, make([]byte, 60)...)
	if !a.peers[r.self].cur.SignHop(b) {
		t.Fatal("not signed")
	}
	l.step(1, Input{Kind: InDatagram, Datagram: b, From: addrOf(0)})
	if r.counters.Drops[DropTTL] != 1 {
		t.Errorf("%+v", r.counters.Drops)
	}
}

// TestCongestionMark: a relay whose network is busy says so in what it forwards, and
// nobody after it takes that back (wire W2.5).
func TestCongestionMark(t *testing.T) {
	l := relayed(t)
	a, r, b := l.k[0], l.k[1], l.k[2]
	for _, busy := range []bool{false, true} {
		for _, marked := range []bool{false, true} {
			pkt := wire.AppendHop(nil, wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 9, Dest: b.rid, Congested: marked})
			pkt = append(pkt, make([]byte, 60)...)
			a.peers[r.self].cur.SignHop(pkt)
			var out Output
			r.Step(l.now, &Input{Kind: InDatagram, Datagram: pkt, From: addrOf(0), Busy: busy}, &out)
			h, _, ok := wire.ParseHop(pkt)
			if !ok || h.TTL != 8 || h.Congested != (busy || marked) || b.peers[r.self].cur.CheckHop(pkt, &h) != session.OK {
				t.Errorf("busy %v, marked %v: sent on as %+v", busy, marked, h)
			}
		}
	}
}

// TestWaveWaits: a wave that cannot be signed because all job slots are taken is
// signed later.
func TestWaveWaits(t *testing.T) {
	l := newLab(t, 2)
	k := l.k[0]
	seq := func() uint64 {
		for _, r := range l.k[1].Routes() {
			if r.Dest == k.self {
				return r.Seq
			}
		}
		return 0
	}
	before := seq()
	k.jobs += maxJobs
	l.run(2 * DefaultWaveInterval)
	if seq() != before {
		t.Fatal("signed without a slot")
	}
	k.jobs -= maxJobs
	l.run(DefaultWaveInterval)
	if seq() <= before {
		t.Error("the node never signed a wave again")
	}
}

// TestLateSignature: a wave checked for a neighbour that left and came back
// meanwhile is not taken as said in its new life.
func TestLateSignature(t *testing.T) {
	l := relayed(t)
	k, r := l.k[0], l.k[1]
	p := k.peers[r.self]
	w := wire.Wave{Origin: l.k[2].self, Incarnation: 1, Seq: 9, Metric: 100, Hops: 1, MTU: 1200}
	k.out.reset()
	k.wave(p, &w)
	job := k.out.Jobs[0]
	addr := p.addr
	k.notDirect(p)
	k.direct(p, addr)
	before := k.counters.Drops[DropWave]
	l.step(0, Input{Kind: InJob, Job: job}) // not Run: the signature would be bad
	if k.counters.Drops[DropWave] != before {
		t.Error("judged by a neighbour of another life")
	}
}

// TestStationsAllocate: each station by itself allocates nothing for a message.
func TestStationsAllocate(t *testing.T) {
	p := newPath(t)
	for range 20 {
		var pkts [16][]byte
		for i := range pkts {
			pkts[i] = bytes.Clone(p.message(p.effect, &p.in, p.buf[:]))
		}
		i := 0
		if n := testing.AllocsPerRun(len(pkts)-1, func() { p.forward(pkts[i]); i++ }); n != 0 {
			t.Errorf("forwarding allocates %v times", n)
		}
		i = 0
		if n := testing.AllocsPerRun(len(pkts)-1, func() { p.receive(pkts[i]); i++ }); n != 0 {
			t.Errorf("receiving allocates %v times", n)
		}
		p.answers()
	}
	if n := testing.AllocsPerRun(10, func() { p.message(p.effect, &p.in, p.buf[:]) }); n != 0 {
		t.Errorf("sending allocates %v times", n)
	}
}
