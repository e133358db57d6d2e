package kernel

import (
	"testing"
	"time"

	"nethost/sdk"
)

// TestRefusedSize: P1.6 of host/pmtu. That the own machine refuses a size counts at
// once, and for the neighbour at that address only.
func TestRefusedSize(t *testing.T) {
	l := newLooseMTU(t, 3, 8972)
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	l.step(2, Input{Kind: InDial, From: addrOf(1)})
	l.run(2 * time.Second)
	to, other := l.k[1].peers[l.k[0].self], l.k[1].peers[l.k[2].self]
	if to.mtu.Size() != 8972 || other.mtu.Size() != 8972 {
		t.Fatalf("found %d and %d", to.mtu.Size(), other.mtu.Size())
	}
	refuse := func(at, size int) { l.step(1, Input{Kind: InRefused, From: addrOf(at), N: uint64(size)}) }
	refuse(0, 1200) // what every link carries
	refuse(7, 1500) // nobody's
	if to.mtu.Size() != 8972 {
		t.Fatal("it counted")
	}
	l.lose = func(_ int, b []byte) bool { return len(b) > 1472 }
	refuse(0, 8972)
	if to.mtu.Size() != 1200 || other.mtu.Size() != 8972 {
		t.Errorf("in force are %d and %d", to.mtu.Size(), other.mtu.Size())
	}
	if got := l.k[1].Counters().Drops[DropMTU]; got != 2 {
		t.Errorf("%d refusals counted", got)
	}
	for _, size := range []int{8952, 4052} { // each probe is refused, and the next follows at once
		refuse(0, size)
	}
	l.run(20 * time.Millisecond)
	if to.mtu.Size() != 1472 {
		t.Errorf("found %d", to.mtu.Size())
	}
}

// TestTrainsOff: P4.2, and that a lone packet that the system sends for others (a
// relayed one) leaves alone as well. P4.4: what was not acknowledged goes out again.
func TestTrainsOff(t *testing.T) {
	l := newLab(t, 2)
	l.loseTrains = func(from int) bool { return from == 0 }
	l.do(0, 0, sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1, Peer: l.handle(0, 1), ID: idChat, Payload: sdk.AppendOpen(nil, sdk.Open{})},
		sdk.Effect{Kind: sdk.OpStreamWrite, Ref: 1, Payload: make([]byte, 60000)})
	l.run(3 * time.Second)
	got := 0
	for _, ev := range l.take(1, 0, sdk.EvStreamData) {
		got += len(ev.Payload)
	}
	p := l.k[0].peers[l.k[1].self]
	if got != 60000 || p.trains == nil || !p.trains.Off(l.now) {
		t.Fatalf("%d bytes arrived", got)
	}
	if s := l.k[0].Peers(l.now)[0]; s.NoTrains < 9*time.Minute || s.NoTrains > 10*time.Minute {
		t.Errorf("listed as %v", s.NoTrains)
	}
	for _, d := range l.trains[0] {
		if d > 1 {
			return // there were trains, so the test is one
		}
	}
	t.Error("no train was ever made")
}
