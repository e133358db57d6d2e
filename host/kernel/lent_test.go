package kernel

import (
	"bytes"
	"testing"
	"time"

	"nethost/registry"
	"nethost/sdk"
)

// TestMalformedPreamble: a peer's stream that does not begin with an open is reset
// and leaves nothing behind.
func TestMalformedPreamble(t *testing.T) {
	l := newLab(t, 2)
	p := l.k[0].peers[l.k[1].self]
	for _, b := range [][]byte{nil, {5}, {0, 0}, {3, 0, 1, 2, 3}, {9, 0, 1}, {0xff, 0xff, 1}} {
		sid, ok := p.mux.Open(idChat, uint8(l.k[0].epoch)&3, sdk.Bulk)
		if !ok {
			t.Fatal("not opened")
		}
		p.mux.Write(sid, b, true)
		l.k[0].touch(p)
		l.step(0, Input{Kind: InTick})
		l.run(time.Second)
		if l.take(1, 0, sdk.EvStreamOpen) != nil {
			t.Errorf("%v reached the module", b)
		}
	}
	l.settled()
}

// TestBorrowed: nobody keeps what is lent for a Step. Every buffer is overwritten
// after it, and everything arrives all the same, over a relay and a new key.
func TestBorrowed(t *testing.T) {
	l := newLoose(t, 3)
	l.poison = true
	lost := 0
	l.cut = func(int, int) bool { lost++; return lost%23 == 0 }
	l.step(0, Input{Kind: InDial, From: addrOf(1)})
	l.step(2, Input{Kind: InDial, From: addrOf(1)})
	l.run(3 * time.Second)
	l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[2].self, ID: idChat, Open: sdk.Open{Method: "copy", Meta: []byte("meta")}})
	l.run(3 * time.Second)
	open := l.one(2, 0, sdk.EvStreamOpen)
	if o, err := sdk.ParseOpen(open.Payload); err != nil || string(o.Meta) != "meta" || o.Method != "copy" || !bytes.Equal(o.Principal, l.k[0].self[:]) {
		t.Fatalf("%+v %v", o, err)
	}
	l.apps[0] = nil
	var sent, got []byte
	for i := range 60 {
		b := bytes.Repeat([]byte{byte(i)}, 3000)
		sent = append(sent, b...)
		l.step(0, Input{Kind: InAppWrite, App: 1, Data: b})
		l.do(2, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(2, 0), ID: idChat, Payload: bytes.Repeat([]byte{byte(i)}, 100)})
		l.run(3 * time.Second) // long enough for a new key on the way
	}
	for _, ev := range l.take(2, 0, sdk.EvStreamData) {
		got = append(got, ev.Payload...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived, %d were sent, or they differ", len(got), len(sent))
	}
	msgs := l.take(0, 0, sdk.EvMessage)
	if len(msgs) < 40 {
		t.Errorf("%d of 60 messages arrived", len(msgs))
	}
	for _, m := range msgs {
		if len(m.Payload) != 100 || bytes.Count(m.Payload, m.Payload[:1]) != 100 || m.Payload[0] >= 60 {
			t.Errorf("message %x", m.Payload)
		}
	}
	if n := l.k[0].Counters().Handshakes; n < 3 {
		t.Errorf("%d handshakes: no new key was made", n)
	}
}

// TestTableSwap: ids come and go on a live session; the other side is told.
func TestTableSwap(t *testing.T) {
	l := newLab(t, 2)
	l.events[1] = nil
	v := sdk.Version{Major: 1}
	l.step(0, Input{Kind: InTable, Table: registry.NewTable().With(registry.Entry{Line: registry.Line{ID: idStore, Version: v, MinPeer: v}, Slot: 1})})
	l.run(time.Second)
	if ev := l.one(1, 0, sdk.EvPeerDown); ev.Arg != uint64(sdk.DownAgreement) {
		t.Errorf("%+v", ev)
	}
	l.do(1, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(1, 0), ID: idChat, Payload: []byte("x")})
	l.one(1, 0, sdk.EvUnsupported)
	l.step(0, Input{Kind: InTable, Table: tableOf(true)})
	l.run(time.Second)
	l.one(1, 0, sdk.EvPeerUp)
}

// An application that asks for a node before it was found at its address starts
// no second handshake with it.
func TestOneHandshakeIsEnough(t *testing.T) {
	l := newLoose(t, 2)
	l.step(1, Input{Kind: InAppOpen, App: 1, Node: l.k[0].self, ID: idChat})
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	l.run(5 * time.Second)
	for i, k := range l.k {
		if n := k.counters.Handshakes; n != 1 {
			t.Errorf("node %d: %d handshakes", i, n)
		}
	}
	if ev := l.apps[1][0]; ev.Kind != AppOpened {
		t.Errorf("the application got %+v", ev)
	}
}
