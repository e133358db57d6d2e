package kernel

import (
	"strings"
	"testing"
	"time"

	"nethost/host/identity"
)

// An address where another node answers than the one that must: the listing names
// both, and an address that is no longer wanted is dialled no more.
func TestDialNamesBothKeys(t *testing.T) {
	l := newLoose(t, 2)
	wrong := identity.NewKey([32]byte{77}).ID()
	l.step(1, Input{Kind: InDial, From: addrOf(0), Node: wrong})
	l.run(3 * time.Second)
	d := l.k[1].Dials()
	if len(d) != 1 || !strings.Contains(d[0].Error, wrong.String()) || !strings.Contains(d[0].Error, l.k[0].Self().String()) {
		t.Fatalf("dials: %+v", d)
	}
	if len(l.k[1].Peers(l.now)) != 0 {
		t.Fatal("a session with somebody else stands")
	}
	l.step(1, Input{Kind: InUndial, From: addrOf(0)})
	before := l.k[1].Counters().PacketsOut
	l.run(20 * time.Second)
	if n := l.k[1].Counters().PacketsOut - before; n != 0 || len(l.k[1].Dials()) != 0 {
		t.Fatalf("%d packets after it was given up", n)
	}
}
