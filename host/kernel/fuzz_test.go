package kernel

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"nethost/sdk"
)

func dropsOf(k *Kernel) (n uint64) {
	for _, d := range k.counters.Drops {
		n += d
	}
	return n
}

// FuzzStep feeds nodes in the middle of a conversation with datagrams made up, or
// made from genuine ones: no panic, each is dropped for exactly one reason, and the
// sessions live on.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3, 1, 0, 5, 1, 2, 7, 0, 0, 3, 50, 4, 9, 3, 200})
	f.Add([]byte("\x01\x00\x00\x00\x05\x01\x03\x02\x08\x05\x10\x20\x01\x02\x30\x40\x06\x01\x01\x02\x06\x02\x09\x01"))
	f.Add([]byte{0, 0, 0, 1, 1, 0, 2, 1, 17, 6, 10, 6, 11, 6, 12, 6, 13, 6, 40, 6, 60})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 512)]
		l := newLoose(t, 3)
		type capture struct {
			to int
			b  []byte
		}
		var genuine []capture
		l.wire = func(to int, b []byte) { genuine = append(genuine, capture{to, bytes.Clone(b)}) }
		l.step(0, Input{Kind: InDial, From: addrOf(1)})
		l.step(2, Input{Kind: InDial, From: addrOf(1)})
		l.run(time.Second)
		l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[2].self, ID: idChat})
		l.run(time.Second)
		if l.handle(0, 2) == 0 {
			t.Fatal("no session to begin with")
		}
		next := func() int {
			if len(b) == 0 {
				return 0
			}
			x := b[0]
			b = b[1:]
			return int(x)
		}
		for len(b) > 0 {
			op := next() % 7
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(next() % 5)}), 1)
			c := genuine[next()*7%len(genuine)]
			pkt := bytes.Clone(c.b)
			switch op {
			case 0: // made up
				n := min(next(), len(b))
				pkt, b = bytes.Clone(b[:n]), b[n:]
			case 1: // a bit or a byte is wrong
				pkt[next()*257%len(pkt)] ^= byte(next())
			case 2: // the head is wrong
				pkt[next()%min(len(pkt), 48)] = byte(next())
			case 3: // cut short
				pkt = pkt[:next()*5%(len(pkt)+1)]
			case 4:
				l.run(time.Duration(next()) * 10 * time.Millisecond)
				continue
			case 5:
				l.step(c.to, Input{Kind: InLinkError, From: from, Datagram: pkt[:min(len(pkt), next())]})
				continue
			case 6: // a replay, perhaps of two halves
				if d := genuine[next()*13%len(genuine)]; d.to == c.to { // elsewhere a first message may be new
					at := next() % len(pkt)
					pkt = append(pkt[:at], d.b[min(at, len(d.b)):]...)
				}
			}
			k := l.k[c.to]
			before, in, want := dropsOf(k), k.counters.PacketsIn, uint64(1)
			l.step(c.to, Input{Kind: InDatagram, Datagram: pkt, From: from})
			if from == addrOf(c.to) { // whoever forges the node's own address makes it answer itself
				want = k.counters.PacketsIn - in
			}
			if n := dropsOf(k) - before; n != want {
				t.Fatalf("a datagram nobody sent (op %d, %x) was dropped for %d reasons, want %d", op, c.b, n, want)
			}
		}
		l.events[2] = nil
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 2), ID: idChat, Payload: []byte("still here")})
		l.run(time.Second)
		if ev := l.one(2, 0, sdk.EvMessage); string(ev.Payload) != "still here" {
			t.Errorf("%+v", ev)
		}
	})
}

// FuzzHandshakes lets two nodes dial each other over a network that loses, repeats,
// delays, cuts and mangles handshakes. No panic; and when the network is good again,
// they agree, on one session, and nothing half open is left.
func FuzzHandshakes(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	f.Add([]byte{2, 2, 2, 2, 6, 6, 3, 9, 3, 9, 3, 9, 2, 2, 6, 1, 1, 1, 1, 6, 6, 6})
	f.Add([]byte{3, 1, 4, 200, 5, 0, 3, 77, 6, 6, 1, 1, 2, 2, 0, 0, 0, 3, 40, 0, 4, 100})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 128)]
		next := func() int {
			if len(b) == 0 {
				return 0
			}
			x := b[0]
			b = b[1:]
			return int(x)
		}
		l := newLoose(t, 2)
		var late []func()
		l.lose = func(to int, pkt []byte) bool {
			if len(b) == 0 {
				return false
			}
			again := func(pkt []byte) func() {
				pkt = bytes.Clone(pkt)
				return func() { l.step(to, Input{Kind: InDatagram, Datagram: bytes.Clone(pkt), From: addrOf(1 - to)}) }
			}
			switch next() % 7 {
			case 1:
				return true
			case 2:
				late = append(late, again(pkt))
				return true
			case 3:
				l.queue = append(l.queue, again(pkt[:next()*len(pkt)/256]))
			case 4:
				at := next() * len(pkt) / 256
				pkt[at] ^= byte(next() | 1)
			case 5:
				l.queue = append(l.queue, again(pkt), again(pkt))
			case 6:
				for _, f := range late {
					l.queue = append(l.queue, f)
				}
			}
			return false
		}
		l.step(0, Input{Kind: InDial, From: addrOf(1)})
		l.step(1, Input{Kind: InDial, From: addrOf(0)})
		for len(b) > 0 {
			l.run(time.Duration(next()) * 10 * time.Millisecond)
		}
		l.run(40 * time.Second)
		for _, f := range late {
			f()
		}
		l.run(5 * time.Second)
		l.same(0, 1)
		if l.handle(0, 1) == 0 || l.handle(1, 0) == 0 {
			t.Fatal("no agreement over a good network")
		}
		l.talk(0, 1)
		l.talk(1, 0)
		l.run(oldKeyKept + 5*time.Second)
		for i, k := range l.k {
			if n := k.admit.HalfOpen(); n != 0 {
				t.Errorf("node %d keeps %d half open", i, n)
			}
		}
	})
}
