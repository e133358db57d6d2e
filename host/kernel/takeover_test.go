package kernel

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"nethost/registry"
	"nethost/sdk"
)

// with gives a table in which slots answer to versions of idChat.
func with(slots map[int]sdk.Version) *registry.Table {
	t := registry.NewTable()
	for _, slot := range sortedKeys(map[uint16]bool{0: true, 1: true, 2: true, 3: true, 4: true}) {
		if v, ok := slots[int(slot)]; ok {
			t = t.With(registry.Entry{Line: registry.Line{ID: idChat, Version: v, MinPeer: sdk.Version{Major: v.Major}}, Slot: int(slot)})
		}
	}
	return t
}

// TestNewMajorTakesOver (host/module L3.3, L3.4, L3.9, host/wire W5.2): until a peer
// has heard of the new manifest its packets go to the version they were written for.
func TestNewMajorTakesOver(t *testing.T) {
	one, two := sdk.Version{Major: 1}, sdk.Version{Major: 2}
	l := newLab(t, 2)
	l.step(0, Input{Kind: InTable, Table: with(map[int]sdk.Version{0: one, 3: two})})
	l.step(0, Input{Kind: InModuleUp, Slot: 3})
	l.run(time.Second)
	if v, _ := l.k[1].peers[l.k[0].self].agreed.Lookup(idChat); v != one {
		t.Fatalf("agreed on %v", v)
	}
	l.events = make([][]Delivery, 2)
	// A stream that the old version has seen, one that it has not, and a swap that
	// the peer does not hear of.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Peer: l.handle(0, 1), ID: idChat, Ref: 1, Payload: sdk.AppendOpen(nil, sdk.Open{})})
	l.run(50 * time.Millisecond)
	seen := l.one(1, 0, sdk.EvStreamOpen).Ref
	l.cut = func(from, _ int) bool { return from == 1 }
	l.step(1, Input{Kind: InModuleSwap, Other: 0, Slot: 4, Text: "chat2", Table: with(map[int]sdk.Version{4: two})})
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 1), ID: idChat, Payload: []byte("old")})
	l.run(20 * time.Millisecond)
	if n := len(l.events[1]); n != 1 {
		t.Errorf("%d events, and the peer has not heard of anything", n)
	}
	if ev := l.one(1, 0, sdk.EvMessage); ev.Version != one || string(ev.Payload) != "old" {
		t.Errorf("written under the former agreement: %+v", ev)
	}
	l.cut = nil
	l.run(time.Second)
	if ev := l.one(1, 0, sdk.EvPeerDown); ev.ID != idChat {
		t.Errorf("%+v", ev)
	}
	if ev := l.one(0, 3, sdk.EvPeerUp); ev.Version != two {
		t.Errorf("the peer hears of %+v", ev)
	}
	l.events[1] = nil
	l.do(0, 3, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 1), ID: idChat, Payload: []byte("new")})
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Payload: []byte("on")})
	l.run(20 * time.Millisecond)
	var got []string
	for _, d := range l.events[1] {
		if d.Event.Kind == sdk.EvMessage || d.Event.Kind == sdk.EvStreamData {
			got = append(got, fmt.Sprint(d.Slot, d.Event.Kind, d.Event.Version.Major, string(d.Event.Payload)))
		}
	}
	slices.Sort(got)
	if want := []string{"0 StreamData 0on", "4 Message 2new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// It ends: its stream is cut, the node knows nothing of it any more.
	l.events[1] = nil
	l.step(1, Input{Kind: InModuleDown, Slot: 0})
	l.run(50 * time.Millisecond)
	l.wantReset(0, 0, 1, sdk.Draining)
	if n := l.k[1].Streams(0); n != 0 || len(l.k[1].leaving) != 0 || seen%2 != 0 {
		t.Errorf("%d streams, leaving %v", n, l.k[1].leaving)
	}
}

// TestAdopt (host/module L3.3): a stream that the old version has not seen becomes
// the new one's, under the same reference, and its later bytes with it.
func TestAdopt(t *testing.T) {
	v := sdk.Version{Major: 1}
	l := newLab(t, 2)
	open := sdk.Effect{Kind: sdk.OpStreamOpen, Peer: l.handle(0, 1), ID: idChat, Payload: sdk.AppendOpen(nil, sdk.Open{})}
	open.Ref = 1
	l.do(0, 0, open)
	l.run(20 * time.Millisecond)
	ref := l.one(1, 0, sdk.EvStreamOpen).Ref
	l.step(1, Input{Kind: InModuleSwap, Other: 0, Slot: 3, Table: with(map[int]sdk.Version{3: v})})
	if up := l.one(1, 3, sdk.EvPeerUp); up.Peer != l.handle(1, 0) {
		t.Errorf("%+v", up)
	}
	l.step(1, Input{Kind: InModuleAdopt, Other: 0, Slot: 3, Refs: []sdk.Ref{ref, 1000}})
	open.Ref = 3
	l.do(0, 0, open)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Flags: sdk.FlagFIN, Payload: []byte("x")})
	l.run(50 * time.Millisecond)
	events := slices.Clone(l.events[1])
	if ev := l.one(1, 3, sdk.EvStreamData); ev.Ref != ref || string(ev.Payload) != "x" || !ev.FIN() {
		t.Errorf("%+v", ev)
	}
	for _, d := range events {
		if d.Event.Kind == sdk.EvStreamOpen && (d.Slot != 3 || d.Event.Ref == ref) {
			t.Errorf("a stream after the swap: %+v", d)
		}
	}
	if l.k[1].Streams(0) != 0 || l.k[1].Streams(3) != 2 {
		t.Errorf("%d and %d streams", l.k[1].Streams(0), l.k[1].Streams(3))
	}
}

// TestOpeningTimesOut: a peer that begins opens and never ends them gets its places
// back, and is told.
func TestOpeningTimesOut(t *testing.T) {
	l := newLab(t, 2)
	near, far := l.k[0].peers[l.k[1].self], l.k[1].peers[l.k[0].self]
	for range maxOpening {
		sid, _ := near.mux.Open(idChat, l.k[0].tag(near), sdk.Bulk)
		near.mux.Write(sid, []byte{200}, false)
	}
	l.k[0].touch(near)
	l.step(0, Input{Kind: InTick})
	l.run(openingTimeout - time.Second)
	if n := len(far.opening); n != maxOpening {
		t.Fatalf("%d are being opened", n)
	}
	l.run(2 * time.Second)
	if n := len(far.opening) + near.mux.Stats().Streams + far.mux.Stats().Streams; n != 0 {
		t.Errorf("%d are left", n)
	}
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Peer: l.handle(0, 1), ID: idChat, Ref: 1, Payload: sdk.AppendOpen(nil, sdk.Open{})})
	l.run(50 * time.Millisecond)
	l.one(1, 0, sdk.EvStreamOpen)
}

// TestManifestsConverge: whatever modules come and go on both sides, and whatever is
// lost on the way, both ends come to agree on what their newest manifests say: a peer
// cannot be held at an older version by what is withheld (registry R3.3, R3.5). What
// was written for one major never reaches a module of another (K4.2, K4.3).
func TestManifestsConverge(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newLab(t, 2)
		draw := func() map[int]sdk.Version {
			slots := map[int]sdk.Version{}
			for slot := range 3 {
				if r.IntN(3) > 0 {
					slots[slot] = sdk.Version{Major: uint8(slot), Minor: uint8(r.IntN(3))}
				}
			}
			return slots
		}
		for i := range l.k { // in a lab they begin with other slots
			l.step(i, Input{Kind: InTable, Table: with(map[int]sdk.Version{0: {}, 1: {Major: 1}, 2: {Major: 2}})})
			for slot := range 3 {
				l.step(i, Input{Kind: InModuleUp, Slot: slot})
			}
		}
		l.run(2 * time.Second)
		l.events = make([][]Delivery, 2)
		lossy := rand.New(rand.NewPCG(seed, 2))
		l.cut = func(int, int) bool { return lossy.IntN(100) < 20 }
		for range 15 {
			i := r.IntN(2)
			l.step(i, Input{Kind: InTable, Table: with(draw())})
			for range r.IntN(40) {
				l.chatter()
				l.run(10 * time.Millisecond)
			}
		}
		l.cut = nil
		l.run(3 * time.Second)
		heard := 0
		for i := range l.events {
			for _, d := range l.events[i] {
				if d.Event.Kind != sdk.EvMessage {
					continue
				}
				if heard++; d.Event.Version.Major != d.Event.Payload[0] || d.Slot != int(d.Event.Payload[0]) {
					t.Errorf("seed %d: what major %d wrote came to major %d in slot %d", seed, d.Event.Payload[0], d.Event.Version.Major, d.Slot)
				}
			}
		}
		if heard < 50 {
			t.Errorf("seed %d: only %d messages came", seed, heard)
		}
		a, b := l.k[0].peers[l.k[1].self], l.k[1].peers[l.k[0].self]
		if a == nil || b == nil || !a.hasAgreed || !b.hasAgreed {
			t.Fatalf("seed %d: no agreement", seed)
		}
		want := registry.Negotiate(l.k[0].ours, l.k[1].ours)
		if !reflect.DeepEqual(a.theirs.Lines, l.k[1].ours.Lines) || !reflect.DeepEqual(b.theirs.Lines, l.k[0].ours.Lines) ||
			!reflect.DeepEqual(a.agreed, want) || !reflect.DeepEqual(b.agreed, want) {
			t.Errorf("seed %d: %+v and %+v, want %+v", seed, a.agreed, b.agreed, want)
		}
	}
}

// chatter lets the module of every major on both ends send what only its like can
// read. Slots and majors are the same numbers.
func (l *lab) chatter() {
	for i := range l.k {
		p := l.k[i].peers[l.k[1-i].self]
		if p == nil || !p.hasAgreed {
			continue
		}
		for slot := range 3 {
			l.do(i, slot, sdk.Effect{Kind: sdk.OpSend, Peer: p.handle, ID: idChat, Payload: []byte{byte(slot)}})
		}
	}
}

// TestOneChangeAtATime (K4.2, K4.3): several changes within a round trip reach the peer
// as one, and a peer with our newest manifest is told nothing.
func TestOneChangeAtATime(t *testing.T) {
	l := newLab(t, 2)
	p, q := l.k[0].peers[l.k[1].self], l.k[1].peers[l.k[0].self]
	first := q.theirs.Epoch
	l.cut = func(int, int) bool { return true }
	for minor := range uint8(6) {
		l.step(0, Input{Kind: InTable, Table: with(map[int]sdk.Version{0: {Major: 1, Minor: minor}})})
	}
	if p.heard.Epoch != first || p.said.Epoch != first+1 {
		t.Errorf("said %d and heard %d, and it had %d", p.said.Epoch, p.heard.Epoch, first)
	}
	l.cut = nil
	l.run(3 * time.Second)
	if q.theirs.Epoch != first+2 || q.theirs.Lines[0].Version.Minor != 5 || p.heard.Epoch != first+2 {
		t.Errorf("it has %+v, and had epoch %d", q.theirs, first)
	}
	l.step(0, Input{Kind: InTable, Table: with(map[int]sdk.Version{0: {Major: 1, Minor: 5}})})
	l.run(time.Second)
	if q.theirs.Epoch != first+2 {
		t.Error("nothing changed, and it was told")
	}
}

// TestComingUp (K4.2): while modules come one after the other, nothing rests.
func TestComingUp(t *testing.T) {
	l := newLab(t, 2)
	q := l.k[1].peers[l.k[0].self]
	for slot := range 5 {
		table := registry.NewTable()
		for s := range slot + 1 {
			table = table.With(registry.Entry{Line: registry.Line{ID: 0xf000 + sdk.ID(s), Version: sdk.Version{Major: 1}, MinPeer: sdk.Version{Major: 1}}, Slot: s})
		}
		l.step(0, Input{Kind: InTable, Table: table})
		l.run(50 * time.Millisecond)
		if len(q.theirs.Lines) != slot+1 {
			t.Fatalf("with %d modules the peer knows %+v", slot+1, q.theirs)
		}
	}
}
