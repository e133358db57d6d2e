package session

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// S4.2: whoever answers for somebody else is found before m3 tells who we are.
func TestDialledSomebodyElse(t *testing.T) {
	want := identity.NewKey(seed(3)).ID()
	x := start(t, config(1), config(2), want, 0)
	m3, s, err := x.ha.ReceiveM2(x.m2, 0)
	if !errors.Is(err, ErrIdentity) || m3 != nil || s != nil {
		t.Fatalf("got %v", err)
	}
	for _, id := range []sdk.NodeID{want, x.b.ID()} {
		if !strings.Contains(err.Error(), id.String()) {
			t.Errorf("%q does not name %s", err, id)
		}
	}
	// With a RID the wrong node does not even get that far.
	_, m1, _ := x.a.Initiate(&entropy{}, indexA, want, identity.RIDOf(want))
	if _, _, err := x.b.Respond(&entropy{}, indexB, m1); !errors.Is(err, ErrAuth) {
		t.Errorf("m1 for another RID: %v", err)
	}
}

// S4.1, S4.3: a member of the network cannot speak for another node.
func TestForgedIdentity(t *testing.T) {
	victim := config(5)
	mallory := func(c LocalConfig, change func(*Local)) *Local {
		l := local(t, c)
		change(l)
		return l
	}
	for name, m := range map[string]*Local{
		"another's id": mallory(config(2), func(l *Local) { l.id = victim.Key.ID() }),
		"another's id and signature": mallory(config(2), func(l *Local) {
			l.id, l.static = victim.Key.ID(), &identity.Static{Private: l.static.Private, Public: l.static.Public, Incarnation: 5, Sig: victim.Static.Sig}
		}),
		"another incarnation": mallory(config(2), func(l *Local) { s := *l.static; s.Incarnation++; l.static = &s }),
		"small order":         mallory(config(2), func(l *Local) { l.id = sdk.NodeID{1} }),
	} {
		a := local(t, config(1))
		ha, m1, _ := a.Initiate(&entropy{seed: 1}, indexA, sdk.NodeID{}, 0)
		_, m2, err := m.Respond(&entropy{seed: 2}, indexB, m1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ha.ReceiveM2(m2, 0); !errors.Is(err, ErrAuth) {
			t.Errorf("%s, as responder: %v", name, err)
		}
		hm, m1, _ := m.Initiate(&entropy{seed: 3}, indexB, sdk.NodeID{}, 0)
		ha, m2, err = a.Respond(&entropy{seed: 4}, indexA, m1)
		if err != nil {
			t.Fatal(err)
		}
		m3, _, err := hm.ReceiveM2(m2, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ha.ReceiveM3(m3, 0); !errors.Is(err, ErrAuth) {
			t.Errorf("%s, as initiator: %v", name, err)
		}
	}
}

// S4.3: the claim of m1 and the proof of m3 must be of one node and one range.
func TestClaimAndProofDiffer(t *testing.T) {
	for name, change := range map[string]struct{ before, after func(*Local) }{
		"rid":     {func(l *Local) { l.rid++; l.macOwn = l.macKey(l.rid) }, func(*Local) {}},
		"maximum": {func(l *Local) { l.max = 9 }, func(l *Local) { l.max = 1 }},
	} {
		m, b := local(t, config(1)), local(t, config(2))
		change.before(m)
		hm, m1, _ := m.Initiate(&entropy{seed: 1}, indexA, sdk.NodeID{}, 0)
		hb, m2, err := b.Respond(&entropy{seed: 2}, indexB, m1)
		if err != nil {
			t.Fatal(err)
		}
		change.after(m)
		m3, _, err := hm.ReceiveM2(m2, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hb.ReceiveM3(m3, 0); !errors.Is(err, ErrAuth) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// S4.1: a node does not talk to itself, whatever the network reflects.
func TestSelf(t *testing.T) {
	a := local(t, config(1))
	h, m1, _ := a.Initiate(&entropy{}, indexA, sdk.NodeID{}, 0)
	if _, _, err := a.Respond(&entropy{}, indexB, m1); !errors.Is(err, ErrIdentity) {
		t.Errorf("own m1: %v", err)
	}
	if _, _, err := h.ReceiveM2(m1, 0); err == nil {
		t.Error("own m1 is accepted as m2")
	}
	twin := config(1) // the same node, started twice
	k := identity.NewKey(seed(1))
	twin.Static = identity.NewStatic(k, seed(42), 2)
	tw := local(t, twin)
	tw.rid++ // or it would not answer
	tw.macAny = a.macAny
	_, m2, err := tw.Respond(&entropy{}, indexB, m1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.ReceiveM2(m2, 0); !errors.Is(err, ErrIdentity) {
		t.Errorf("a twin: %v", err)
	}
}

// S4.4
func TestStaleIncarnation(t *testing.T) {
	floor := func(sdk.NodeID) uint64 { return 2 }
	ca, cb := config(1), config(2)
	ca.MinIncarnation = floor
	start(t, ca, cb, sdk.NodeID{}, 0).finish(t) // node 2 is of start 2
	cb.MinIncarnation = floor                   // node 1 of start 1
	x := start(t, config(1), cb, sdk.NodeID{}, 0)
	m3, _, err := x.ha.ReceiveM2(x.m2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.hb.ReceiveM3(m3, 0); !errors.Is(err, ErrStale) {
		t.Errorf("as responder: %v", err)
	}
	cb.MinIncarnation = nil
	ca.MinIncarnation = func(sdk.NodeID) uint64 { return 3 }
	x = start(t, ca, cb, sdk.NodeID{}, 0)
	if _, _, err := x.ha.ReceiveM2(x.m2, 0); !errors.Is(err, ErrStale) {
		t.Errorf("as initiator: %v", err)
	}
}

// S4.5
func TestVersions(t *testing.T) {
	for _, c := range []struct{ minA, maxA, minB, maxB, want uint8 }{
		{1, 1, 1, 1, 1}, {1, 3, 1, 2, 2}, {1, 2, 2, 5, 2}, {1, 5, 2, 3, 3}, {1, 1, 2, 3, 0}, {4, 5, 1, 3, 0},
	} {
		ca, cb := config(1), config(2)
		ca.MinVersion, ca.MaxVersion, cb.MinVersion, cb.MaxVersion = c.minA, c.maxA, c.minB, c.maxB
		a, b := local(t, ca), local(t, cb)
		ha, m1, _ := a.Initiate(&entropy{seed: 1}, indexA, sdk.NodeID{}, 0)
		hb, m2, err := b.Respond(&entropy{seed: 2}, indexB, m1)
		if c.want == 0 {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		x := (&exchange{a: a, b: b, ha: ha, hb: hb, m1: m1, m2: m2}).finish(t)
		if x.sa.Version() != c.want || x.sb.Version() != c.want {
			t.Errorf("%+v: %d and %d", c, x.sa.Version(), x.sb.Version())
		}
	}
	a, b := local(t, config(1)), local(t, config(2))
	m := a.seal(wire.Envelope{Kind: wire.KindM1, Version: 2, Sender: 1, Noise: make([]byte, m1Size)})
	if _, _, err := b.Respond(&entropy{}, indexB, m); !errors.Is(err, ErrVersion) {
		t.Errorf("an envelope of version 2: %v", err)
	}
}

// S3.5: forged messages, even by a member of the network, do not end a handshake.
func TestForgedMessagesDoNotKill(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	insider := func(l *Local, m []byte, change func(noise []byte)) []byte {
		e, _ := wire.ParseEnvelope(m)
		e.Noise = bytes.Clone(e.Noise)
		change(e.Noise)
		e.Mac1 = [16]byte{}
		return l.seal(e)
	}
	forge := func(m []byte) [][]byte {
		n := len(m) - wire.EnvelopeMin
		return [][]byte{
			m[:len(m)-1],
			insider(x.a, m, func(b []byte) { b[0] ^= 1 }),
			insider(x.a, m, func(b []byte) { clear(b[:32]) }), // small order, in m2
			insider(x.a, m, func(b []byte) { b[40] ^= 1 }),
			insider(x.a, m, func(b []byte) { b[n-1] ^= 1 }), // the static key is good, the payload is not
			insider(x.a, m, func(b []byte) { b[n-20] ^= 1 }),
		}
	}
	for i, bad := range forge(x.m2) {
		if _, _, err := x.ha.ReceiveM2(bad, 0); !errors.Is(err, ErrAuth) {
			t.Errorf("m2 %d: %v", i, err)
		}
	}
	var err error
	if x.m3, x.sa, err = x.ha.ReceiveM2(x.m2, 0); err != nil {
		t.Fatalf("the good m2 after the bad ones: %v", err)
	}
	for i, bad := range forge(x.m3) {
		if _, err := x.hb.ReceiveM3(bad, 0); !errors.Is(err, ErrAuth) {
			t.Errorf("m3 %d: %v", i, err)
		}
	}
	if x.sb, err = x.hb.ReceiveM3(x.m3, 0); err != nil {
		t.Fatalf("the good m3 after the bad ones: %v", err)
	}
	carries(t, x.sa, x.sb)

	x = start(t, config(1), config(2), sdk.NodeID{}, 0)
	for range maxForged {
		if x.ha.Over() {
			t.Fatal("over too early")
		}
		_, _, _ = x.ha.ReceiveM2(insider(x.a, x.m2, func(b []byte) { b[0] ^= 1 }), 0)
	}
	if _, _, err := x.ha.ReceiveM2(x.m2, 0); !errors.Is(err, ErrDone) {
		t.Errorf("after %d forgeries: %v", maxForged, err)
	}
}

// Every message, cut at every byte and with every bit flipped, is refused.
func TestMangled(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0).finish(t)
	receive := map[string]func([]byte) error{
		"m1": func(m []byte) error { _, _, err := x.b.Respond(&entropy{}, indexB, m); return err },
		"m2": func(m []byte) error {
			h, _, _ := x.a.Initiate(&entropy{seed: 1}, indexA, sdk.NodeID{}, 0)
			_, _, err := h.ReceiveM2(m, 0)
			return err
		},
		"m3": func(m []byte) error {
			h, _, _ := x.b.Respond(&entropy{seed: 2}, indexB, x.m1)
			_, err := h.ReceiveM3(m, 0)
			return err
		},
	}
	for name, m := range map[string][]byte{"m1": x.m1, "m2": x.m2, "m3": x.m3} {
		if err := receive[name](m); err != nil {
			t.Fatalf("%s as sent: %v", name, err)
		}
		for n := range m {
			if receive[name](m[:n]) == nil {
				t.Errorf("%s accepted when cut to %d bytes", name, n)
			}
		}
		for i := range 8 * (len(m) - wire.MacSize) { // mac2 is not used yet
			bad := bytes.Clone(m)
			bad[i/8] ^= 1 << (i % 8)
			if receive[name](bad) == nil {
				t.Errorf("%s accepted with bit %d flipped", name, i)
			}
		}
	}
}

// S2.5 and the binding of indices: an insider cannot redirect a session.
func TestIndices(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	e, _ := wire.ParseEnvelope(x.m2)
	for name, change := range map[string]func(*wire.Envelope){
		"sender":         func(e *wire.Envelope) { e.Sender++ },
		"sender 0":       func(e *wire.Envelope) { e.Sender = 0 },
		"receiver":       func(e *wire.Envelope) { e.Receiver++ },
		"another kind":   func(e *wire.Envelope) { e.Kind = wire.KindM3 },
		"another psk id": func(e *wire.Envelope) { e.PSK = 1 },
	} {
		bad := e
		bad.Mac1 = [16]byte{}
		change(&bad)
		if _, _, err := x.ha.ReceiveM2(x.a.seal(bad), 0); err == nil {
			t.Errorf("m2 with another %s is accepted", name)
		}
	}
	x.finish(t)
	e, _ = wire.ParseEnvelope(x.m3)
	e.Sender++
	e.Mac1 = [16]byte{}
	h, _, _ := x.b.Respond(&entropy{seed: 2}, indexB, x.m1)
	if _, err := h.ReceiveM3(x.a.seal(e), 0); !errors.Is(err, ErrMalformed) {
		t.Errorf("m3 with another sender: %v", err)
	}
}

// S3.4: what a later minor puts behind the fields is skipped, what is missing
// from them is not made up.
func TestPayloadsGrow(t *testing.T) {
	l := local(t, config(1))
	b := l.appendProof(nil, indexA)
	p, ok := parseProof(append(bytes.Clone(b), "more"...))
	if !ok || p.id != l.ID() || p.index != indexA || p.incarnation != 1 || p.max != 1 {
		t.Errorf("proof: %+v %v", p, ok)
	}
	h, ok := parseHello(append(appendHello(nil, hello{5, 1, 2}), "more"...))
	if !ok || h != (hello{5, 1, 2}) {
		t.Errorf("hello: %+v %v", h, ok)
	}
	for n := range b {
		if _, ok := parseProof(b[:n]); ok {
			t.Errorf("a proof of %d bytes is accepted", n)
		}
	}
	if _, ok := parseHello(make([]byte, helloSize)); ok {
		t.Error("a hello without a return address is accepted")
	}
}
