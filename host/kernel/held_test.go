package kernel

import (
	"net/netip"
	"testing"
	"time"

	"nethost/sdk"
)

// TestHeldWrites: small writes one after the other leave together, but only while
// packets are under way, and only until the next Step.
func TestHeldWrites(t *testing.T) {
	l := newLab(t, 2)
	l.step(1, Input{Kind: InAppOpen, App: 1, Node: l.k[0].self, ID: idChat})
	l.run(time.Second)
	if len(l.apps[1]) == 0 || l.apps[1][0].Kind != AppOpened {
		t.Fatalf("%+v", l.apps[1])
	}
	var out Output
	k := l.k[1]
	// write gives how many datagrams left, and whether bytes were left behind.
	write := func(n int, fin bool) (sent int, lazy bool) {
		k.Step(l.now, &Input{Kind: InAppWrite, App: 1, Data: make([]byte, n), FIN: fin, Lazy: true}, &out)
		each(&out, func(netip.AddrPort, []byte) { sent++ })
		return sent, out.Lazy
	}
	tick := func() (sent int) {
		k.Step(l.now, &Input{Kind: InTick}, &out)
		each(&out, func(netip.AddrPort, []byte) { sent++ })
		return sent
	}
	// Nobody answers: what is sent stays under way.
	for i := range holdFlight {
		if sent, lazy := write(100, false); sent != 1 || lazy {
			t.Fatalf("write %d: %d datagrams, held %v", i, sent, lazy)
		}
	}
	for range 20 {
		if sent, lazy := write(100, false); sent != 0 || !lazy {
			t.Fatalf("with %d packets under way: %d datagrams, held %v", holdFlight, sent, lazy)
		}
	}
	if d := k.NextDeadline(); d > l.now+time.Millisecond {
		t.Errorf("what is held waits %v", d-l.now)
	}
	if sent := tick(); sent != 2 { // 2000 bytes
		t.Errorf("20 writes of 100 bytes left in %d datagrams", sent)
	}
	if sent := tick(); sent != 0 {
		t.Error("sent twice")
	}
	if sent, lazy := write(holdBytes, false); sent == 0 || lazy {
		t.Errorf("a train: %d datagrams, held %v", sent, lazy)
	}
	write(10, false)
	if _, lazy := write(10, true); lazy {
		t.Error("the last bytes are held")
	}
	l.step(1, Input{Kind: InAppReset, App: 1, Code: sdk.Cancelled})
}
