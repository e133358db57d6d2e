package kernel

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// envelope gives the handshake envelope in a datagram, nil if it holds none.
func envelope(b []byte) []byte {
	if _, rest, ok := wire.ParseHop(b); ok && wire.IsHandshake(rest) {
		return rest
	}
	return nil
}

// cur is node i's session with node j, nil without one.
func (l *lab) cur(i, j int) *session.Session {
	if p := l.k[i].peers[l.k[j].self]; p != nil {
		return p.cur
	}
	return nil
}

// same checks that two nodes send under the two ends of one session.
func (l *lab) same(i, j int) {
	l.t.Helper()
	a, b := l.cur(i, j), l.cur(j, i)
	if a == nil || b == nil || a.LocalIndex() != b.PeerIndex() || a.PeerIndex() != b.LocalIndex() || a.Initiator() == b.Initiator() {
		l.t.Errorf("nodes %d and %d send under different sessions: %v, %v", i, j, a, b)
	}
}

// talk checks that a message gets from i to j.
func (l *lab) talk(i, j int) {
	l.t.Helper()
	l.events[j] = nil
	l.do(i, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(i, j), ID: idChat, Payload: []byte("hear me")})
	l.run(20 * time.Millisecond)
	if ev := l.one(j, 0, sdk.EvMessage); string(ev.Payload) != "hear me" {
		l.t.Errorf("%+v", ev)
	}
}

// restart replaces a node by its next start, which knows nothing.
func (l *lab) restart(i int, inc uint64) {
	l.t.Helper()
	cfg := l.k[i].cfg
	cfg.Static = identity.NewStatic(cfg.Key, [32]byte{byte(i + 50), byte(inc)}, inc)
	k, err := New(cfg, l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	l.k[i], l.out[i] = k, Output{}
	for slot := range k.mods {
		l.step(i, Input{Kind: InModuleUp, Slot: slot})
	}
}

// S7.1: neighbours renew their keys at 120 s, under the old ones, and nobody
// notices; the old key goes 30 s later.
func TestRekeyByAge(t *testing.T) {
	l := newLab(t, 2)
	first, handle := l.cur(0, 1), l.handle(0, 1)
	local, forward := 0, 0
	l.wire = func(_ int, b []byte) {
		if e := envelope(b); e != nil && e[4] == wire.KindM1 {
			if isForward(b) {
				forward++
			} else {
				local++
			}
		}
	}
	l.run(session.RekeyAfter - 10*time.Second)
	if l.cur(0, 1) != first {
		t.Error("rekeyed early")
	}
	l.run(15 * time.Second)
	l.same(0, 1)
	if l.cur(0, 1) == first || l.handle(0, 1) != handle || len(l.take(0, 0, sdk.EvPeerDown)) > 0 {
		t.Error("not rekeyed, or noticed")
	}
	if forward != 1 || local != 0 {
		t.Errorf("%d first messages under the old keys, %d bare", forward, local)
	}
	if p := l.k[0].peers[l.k[1].self]; p.old != first || p.addr != addrOf(1) || p.det == nil {
		t.Error("the old key does not receive, or the neighbour is none any more")
	}
	l.talk(0, 1)
	l.talk(1, 0)
	l.run(oldKeyKept)
	if l.k[0].index.get(first.LocalIndex()) != nil {
		t.Error("the old key is kept")
	}
}

// When the first message under the old keys gets no answer, the next one is bare.
func TestRekeyFallsBack(t *testing.T) {
	l := newLab(t, 2)
	first := l.cur(0, 1)
	l.lose = func(_ int, b []byte) bool { return isForward(b) }
	l.run(session.RekeyAfter + 5*time.Second)
	if l.cur(0, 1) == first {
		t.Error("not rekeyed")
	}
	l.same(0, 1)
}

// S7.2: when no handshake succeeds, the session goes on until 180 s and not a
// second longer, and what was sealed before is not accepted after.
func TestHardAge(t *testing.T) {
	l := newLab(t, 2)
	l.lose = func(_ int, b []byte) bool { return envelope(b) != nil }
	born := l.cur(0, 1).Born()
	l.run(born + session.HardAfter - time.Second - l.now)
	l.talk(0, 1)
	l.talk(1, 0)
	stash := l.cur(1, 0)
	l.cut = func(int, int) bool { return true }
	var late [][]byte
	for range 2 { // sealed in time, on the way for too long
		pkt := wire.AppendHop(nil, wire.Hop{Version: wire.Version})
		pkt = append(pkt, make([]byte, wire.SessionSize)...)
		pkt, _, ok := stash.Seal(wire.AppendFrame(pkt, wire.Frame{ID: coreID, Payload: wire.AppendPing(nil, wire.Ping{})}), wire.LocalSize)
		if !ok {
			t.Fatal("refused too early")
		}
		late = append(late, pkt)
	}
	before := l.k[0].counters.Drops
	l.now = born + session.HardAfter + time.Second // the timer is as late as the packet
	l.step(0, Input{Kind: InDatagram, Datagram: late[0], From: addrOf(1)})
	if l.drops(0, DropExpired) != before[DropExpired]+1 {
		t.Errorf("a packet under a key of 181 s: drops %v, before %v", l.k[0].counters.Drops, before)
	}
	if l.cur(0, 1) != nil {
		t.Error("the session lives on")
	}
	if evs := l.take(0, 0, sdk.EvPeerDown); len(evs) != 1 || sdk.DownReason(evs[0].Arg) != sdk.DownDead {
		t.Errorf("%+v", evs)
	}
	l.step(0, Input{Kind: InDatagram, Datagram: late[1], From: addrOf(1)})
	if l.drops(0, DropNoSession) != before[DropNoSession]+1 {
		t.Error("a packet after the end of the session is not counted")
	}
}

// S7.2: a key that was renewed late receives until it is 180 s old, not 30 s longer.
func TestOldKeyEndsAtHardAge(t *testing.T) {
	l := newLab(t, 2)
	first := l.cur(0, 1)
	l.lose = func(_ int, b []byte) bool { return envelope(b) != nil }
	l.run(first.Born() + session.HardAfter - 15*time.Second - l.now)
	l.lose = func(to int, b []byte) bool { // one handshake is enough: two would push the old key out
		e := envelope(b)
		return to == 1 && e != nil && e[4] == wire.KindM1
	}
	l.run(14 * time.Second)
	if l.cur(0, 1) == first || l.k[0].index.get(first.LocalIndex()) == nil {
		t.Fatal("not rekeyed, or the old key went early")
	}
	l.run(2 * time.Second)
	if l.k[0].index.get(first.LocalIndex()) != nil {
		t.Error("the old key is kept past its age")
	}
	l.same(0, 1)
}

// A relayed session that carries nothing is not worth new keys: it ends.
func TestIdleRelayedIsNotRekeyed(t *testing.T) {
	l := newLab(t, 3)
	l.do(2, 0, sdk.Effect{Kind: sdk.OpConnect, Ref: 1, Payload: l.k[0].self[:]})
	l.run(time.Second)
	if l.cur(2, 0) == nil || l.cur(2, 0).Born() == 0 {
		t.Fatal("no relayed session")
	}
	first := l.cur(2, 0)
	l.run(session.RekeyAfter + 30*time.Second)
	if s := l.cur(2, 0); s != nil && s != first {
		t.Error("an idle relayed session was rekeyed")
	}
	l.run(40 * time.Second)
	if l.cur(2, 0) != nil || l.cur(0, 2) != nil {
		t.Error("it never ends")
	}
	if l.cur(2, 1) == nil || l.cur(1, 2) == nil {
		t.Error("the neighbours' session ended")
	}
}

// A relayed session that carries something is rekeyed.
func TestBusyRelayedIsRekeyed(t *testing.T) {
	l := newLab(t, 3)
	l.do(2, 0, sdk.Effect{Kind: sdk.OpConnect, Ref: 1, Payload: l.k[0].self[:]})
	l.run(time.Second)
	first := l.cur(2, 0)
	for range 14 {
		l.run(10 * time.Second)
		l.talk(2, 0)
	}
	if s := l.cur(2, 0); s == nil || s == first {
		t.Error("not rekeyed")
	}
	l.same(0, 2)
}

// A restart is noticed at once: by a neighbour, from the handshake; far away, from
// the higher incarnation of the wave, without a packet sent into the void.
func TestRestartIsNoticed(t *testing.T) {
	l := newLab(t, 3)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpConnect, Ref: 1, Payload: l.k[2].self[:]})
	l.run(time.Second)
	far, near := l.cur(0, 2), l.cur(1, 2)
	if far == nil || near == nil {
		t.Fatal("no sessions")
	}
	for i := range l.events {
		l.events[i] = nil
	}
	l.restart(2, 2)
	l.step(2, Input{Kind: InDial, From: addrOf(1)})
	l.run(200 * time.Millisecond)
	for _, i := range []int{0, 1} {
		l.same(i, 2)
		if s := l.cur(i, 2); s == nil || s.Incarnation() != 2 {
			t.Errorf("node %d: %v", i, s)
			continue
		}
		var kinds []sdk.EventKind
		for _, d := range l.events[i] {
			if d.Slot == 0 && (d.Event.Kind == sdk.EvPeerUp || d.Event.Kind == sdk.EvPeerDown) {
				kinds = append(kinds, d.Event.Kind)
				if d.Event.Kind == sdk.EvPeerDown && sdk.DownReason(d.Event.Arg) != sdk.DownReplaced {
					t.Errorf("node %d is told %v", i, sdk.DownReason(d.Event.Arg))
				}
			}
		}
		if fmt.Sprint(kinds) != fmt.Sprint([]sdk.EventKind{sdk.EvPeerDown, sdk.EvPeerUp}) {
			t.Errorf("node %d is told %v", i, kinds)
		}
		l.talk(i, 2)
	}
	// S4.4: the start before is not let in again.
	l.restart(2, 1)
	l.step(2, Input{Kind: InDial, From: addrOf(1)})
	l.run(5 * time.Second)
	if s := l.cur(1, 2); s != nil && s.Incarnation() < 2 {
		t.Error("an older start replaced a newer one")
	}
}

// Two nodes that dial each other at the same time end up on one session, whatever
// is lost: in the end that of the node with the lower id, when both succeed.
func TestSimultaneousOpen(t *testing.T) {
	for lost := range 9 { // which envelope is lost; the last one does not exist
		for _, first := range []int{0, 1} {
			l := newLoose(t, 2)
			n := 0
			l.lose = func(_ int, b []byte) bool {
				if envelope(b) == nil {
					return false
				}
				n++
				return n == lost
			}
			// Both m1s are under way before either arrives: jobs and datagrams wait.
			start := func(i int) {
				l.k[i].Step(l.now, &Input{Kind: InDial, From: addrOf(1 - i)}, &l.out[i])
				for _, j := range l.out[i].Jobs {
					l.queue = append(l.queue, func() {
						j.Run()
						l.step(i, Input{Kind: InJob, Job: j})
					})
				}
			}
			start(first)
			start(1 - first)
			l.step(0, Input{Kind: InTick})
			l.run(5 * time.Second)
			l.same(0, 1)
			if l.handle(0, 1) == 0 || l.handle(1, 0) == 0 {
				t.Fatalf("lost %d, first %d: no agreement", lost, first)
			}
			if lost == 0 {
				lower := 0
				if l.k[1].self.Compare(l.k[0].self) < 0 {
					lower = 1
				}
				if !l.cur(lower, 1-lower).Initiator() {
					t.Errorf("first %d: they send on the session that the higher id opened", first)
				}
			}
			l.talk(0, 1)
			l.talk(1, 0)
			l.run(oldKeyKept + time.Second)
			for i, k := range l.k {
				live := 0
				for j := range k.index.e {
					if k.index.e[j].used && k.index.e[j].sess != nil {
						live++
					}
				}
				if live != 1 || k.admit.HalfOpen() != 0 {
					t.Errorf("lost %d: node %d keeps %d sessions, %d half open", lost, i, live, k.admit.HalfOpen())
				}
			}
		}
	}
}

// Roaming: an authentic packet from a new address starts a challenge to that
// address; the path moves when it is answered, never before, and a copied packet
// that nobody answers for moves nothing.
func TestRoaming(t *testing.T) {
	l := newLab(t, 2)
	p := l.k[0].peers[l.k[1].self]
	var sealed []byte
	l.cut = func(from, to int) bool { return from == 1 }
	catch := func() []byte { // a packet of node 1 that has not arrived
		l.k[1].Step(l.now, &Input{Kind: InEffects, Slot: 0, Effects: []sdk.Effect{{Kind: sdk.OpSend, Peer: l.handle(1, 0),
			ID: idChat, Payload: []byte("x")}}}, &l.out[1])
		return bytes.Clone(l.out[1].Datagrams[0].Bytes)
	}
	sealed = catch()
	thief := addrOf(99)
	l.k[0].Step(l.now, &Input{Kind: InDatagram, Datagram: sealed, From: thief}, &l.out[0])
	var challenge []byte
	for _, d := range l.out[0].Datagrams {
		if d.Addr == thief {
			challenge = bytes.Clone(d.Bytes)
		}
	}
	if challenge == nil || p.addr != addrOf(1) {
		t.Fatalf("challenge of %d bytes; the path is %v", len(challenge), p.addr)
	}
	// A replay is not authentic, and challenges nobody.
	l.k[0].Step(l.now, &Input{Kind: InDatagram, Datagram: bytes.Clone(sealed), From: addrOf(98)}, &l.out[0])
	for _, d := range l.out[0].Datagrams {
		if d.Addr == addrOf(98) {
			t.Error("a replay is challenged")
		}
	}
	l.cut = nil
	l.run(challengeFor + time.Second)
	if p.addr != addrOf(1) {
		t.Fatalf("the path moved to %v without an answer", p.addr)
	}
	// Too late an answer moves nothing either.
	l.step(1, Input{Kind: InDatagram, Datagram: challenge, From: addrOf(0)})
	l.run(100 * time.Millisecond)
	if p.addr != addrOf(1) {
		t.Error("the path moved by an answer that came too late")
	}

	// The genuine move: node 1 has another address from now on.
	l.cut = func(from, to int) bool { return from == 1 }
	sealed = catch()
	l.cut = nil
	l.k[0].Step(l.now, &Input{Kind: InDatagram, Datagram: sealed, From: addrOf(77)}, &l.out[0])
	for _, d := range l.out[0].Datagrams {
		if d.Addr == addrOf(77) {
			challenge = bytes.Clone(d.Bytes)
		}
	}
	l.step(1, Input{Kind: InDatagram, Datagram: challenge, From: addrOf(0)})
	if p.addr != addrOf(77) || p.det == nil || len(l.take(0, 0, sdk.EvPeerDown)) > 0 {
		t.Errorf("the path is %v", p.addr)
	}
}

// W6.10.1: what a goodbye says, and that nothing it says can claim more.
func TestGoodbyeReason(t *testing.T) {
	for reason, want := range map[uint8]sdk.DownReason{0: sdk.DownGoodbye, 1: sdk.DownGoodbye, 2: sdk.DownGoodbye, 3: sdk.DownGoodbye,
		4: sdk.DownAgreement, 5: sdk.DownGoodbye, 200: sdk.DownGoodbye} {
		l := newLab(t, 2)
		l.events[0] = nil
		p := l.k[1].peers[l.k[0].self]
		p.mux.Control(wire.AppendGoodbye(nil, wire.Goodbye{Reason: reason}))
		l.k[1].touch(p)
		l.step(1, Input{Kind: InTick})
		if l.cur(0, 1) != nil {
			t.Errorf("reason %d does not end the session", reason)
		}
		if ev := l.one(0, 0, sdk.EvPeerDown); sdk.DownReason(ev.Arg) != want {
			t.Errorf("reason %d: %v, want %v", reason, sdk.DownReason(ev.Arg), want)
		}
	}
}
