package kernel

import (
	"strings"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// TestQuota: whatever the sizes and pauses, a bucket lets its rate through and what
// it holds at first, and no more (O1.7).
func TestQuota(t *testing.T) {
	for _, rate := range []uint64{1000, 400_000, 1 << 30} {
		var b bucket
		passed, now := 0, time.Second
		for i := range 100_000 {
			n := 40 + i*7919%1400
			if b.take(n, rate, now) {
				passed += n
			}
			now += time.Duration(i%5) * 50 * time.Microsecond
		}
		span := (now - time.Second).Seconds()
		most := span*float64(rate) + max(float64(rate)/4, chunkSize)
		if float64(passed) > most {
			t.Errorf("%d bytes at %d a second in %vs: want at most %.0f", passed, rate, span, most)
		}
		if rate == 400_000 && float64(passed) < most-2000 {
			t.Errorf("%d bytes at %d a second in %vs: want about %.0f", passed, rate, span, most)
		}
	}
}

// TestLimits: the narrower bound of a node counts, as a neighbour and as a peer.
func TestLimits(t *testing.T) {
	a, b := sdk.NodeID{1}, sdk.NodeID{2}
	r := newRules(&Policy{NeighborRate: 500, Limits: []Limit{{a, 100}, {b, 900}}})
	for id, want := range map[sdk.NodeID][2]uint64{a: {100, 100}, b: {500, 900}, {3}: {500, 0}} {
		if l := r.limitsOf(id); l.relay != want[0] || l.serve != want[1] {
			t.Errorf("%d: relay %d, serve %d, want %v", id[0], l.relay, l.serve, want)
		}
	}
}

// TestQuotaAllocates: the rules cost no allocation for a packet that is forwarded.
func TestQuotaAllocates(t *testing.T) {
	l := relayed(t)
	l.step(1, Input{Kind: InPolicy, Policy: &Policy{RelayRate: 1 << 40, NeighborRate: 1 << 40, Deny: []sdk.NodeID{{7}}}})
	from, dest := l.k[1].peers[l.k[0].self], l.k[2].rid
	if n := testing.AllocsPerRun(100, func() {
		if l.k[1].rules.deniesRID(dest) || !l.k[1].mayRelay(from, 1000) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestDeniedWhileDialling: a rule ends a handshake under way and the opens that wait
// for it (O1.2).
func TestDeniedWhileDialling(t *testing.T) {
	l := newLab(t, 2)
	l.cut = func(int, int) bool { return true }
	stranger := identity.NewKey([32]byte{99}).ID()
	l.step(0, Input{Kind: InAppOpen, App: 1, Node: stranger, ID: idChat})
	l.run(time.Second)
	l.step(0, Input{Kind: InPolicy, Policy: &Policy{Deny: []sdk.NodeID{stranger}}})
	if ev := l.app(0); ev.Kind != AppReset || ev.Code != sdk.PermissionDenied || !strings.Contains(ev.Text, "denied by a rule of this node") {
		t.Errorf("%+v", ev)
	}
	if l.k[0].peers[stranger] != nil {
		t.Error("the peer is still there")
	}
	l.step(0, Input{Kind: InDial, From: addrOf(9), Node: stranger})
	l.run(time.Minute)
	if d := l.k[0].Dials(); !strings.Contains(d[len(d)-1].Error, "denied by a rule of this node") {
		t.Errorf("%+v", d)
	}
	l.settled()
}

// TestRejectedMessages: messages of a rejected subprotocol are counted, and the sender
// hears of it (O1.4).
func TestRejectedMessages(t *testing.T) {
	for want, p := range map[Drop]*Policy{DropRejected: {Reject: []sdk.ID{idChat}}, DropKilled: {Killed: true}} {
		l := newLab(t, 2)
		l.step(1, Input{Kind: InPolicy, Policy: p})
		l.events = make([][]Delivery, 2)
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 1), ID: idChat, Payload: []byte("x")})
		l.run(100 * time.Millisecond)
		if n := l.k[1].counters.Drops[want]; n != 1 {
			t.Errorf("%v: %d drops", want, n)
		}
		if ev := l.one(0, 0, sdk.EvUnsupported); ev.ID != idChat {
			t.Errorf("%v: %+v", want, ev)
		}
		if evs := l.take(1, 0, sdk.EvMessage); len(evs) > 0 {
			t.Errorf("%v: %+v", want, evs)
		}
	}
}

// TestTraceRate: a peer that asks too often is not answered (O3.1).
func TestTraceRate(t *testing.T) {
	l := newLab(t, 2)
	answers := 0
	for range 100 {
		l.step(0, Input{Kind: InTrace, Node: l.k[1].self, Dest: l.k[1].self, N: 7})
		l.run(10 * time.Millisecond)
	}
	answers = 100 - int(l.k[1].counters.Drops[DropTrace])
	if answers < traceBurst || answers > traceBurst+traceRate+1 {
		t.Errorf("%d answers in a second", answers)
	}
}

// TestBadKeys: keys that cannot be are refused, and what is in force stays (O2.1).
func TestBadKeys(t *testing.T) {
	l := newLab(t, 2)
	before := l.k[0].local
	l.step(0, Input{Kind: InKeys})
	if l.k[0].local != before {
		t.Error("a key of zeros is in force")
	}
	if first, second, gone := l.k[0].KeyUse(); first != 1 || second+gone != 0 {
		t.Error(first, second, gone)
	}
}

// TestKeyGoneTold: who has only the key that went hears why its session ends (O2.2).
func TestKeyGoneTold(t *testing.T) {
	l := newLab(t, 2)
	l.step(0, Input{Kind: InKeys, Keys: [2]identity.NetworkKey{{6}}})
	l.run(keyGoneDown - time.Second)
	if l.handle(0, 1) == 0 {
		t.Fatal("the session ended early")
	}
	told := false
	l.wire = func(to int, b []byte) { told = told || to == 1 && b[0]>>3&7 == wire.TypeLocal }
	l.run(3 * time.Second)
	if l.handle(0, 1) != 0 || l.handle(1, 0) != 0 || !told {
		t.Error("the session goes on under a key that went")
	}
	if d := l.k[1].Dials(); !strings.Contains(d[0].Error, "not current there") {
		t.Errorf("%+v", d)
	}
}
