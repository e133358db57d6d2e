package route

import (
	"encoding/binary"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// FuzzTable feeds a table with whatever neighbours may say and do: no panic, the
// tables stay consistent and bounded, and its next hops are neighbours.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 9, 1, 1, 1, 1, 2, 1, 9, 3, 2, 9, 1, 7, 7, 7, 4, 1})
	f.Add([]byte("\x05\x02\x00\x01\x09\x01\x01\x01\x01\x06\x01\x01\x02\x09\x05\xff\x03\x02\x01\x09\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		now := time.Second
		tb := New(Config{Self: idOf(0), Incarnation: 1, RelayOff: len(b)%5 == 4}, now)
		next := func() byte {
			if len(b) == 0 {
				return 0
			}
			x := b[0]
			b = b[1:]
			return x
		}
		num := func() uint64 { // small numbers and the extremes
			if x := next(); x < 250 {
				return uint64(x)
			} else if x < 253 {
				return ^uint64(0) - uint64(x)
			}
			var wide [8]byte
			b = b[copy(wide[:], b):]
			return binary.LittleEndian.Uint64(wide[:])
		}
		for len(b) > 0 {
			op, n := next(), Neighbor(next()%4+1)
			switch op % 11 {
			case 0, 1:
				w := wire.Wave{Origin: idOf(int(next() % 12)), Incarnation: num(), Seq: num(), Metric: uint32(num()), Hops: next(), MTU: uint16(num())}
				w.Sig = sign(&w)
				if op&16 != 0 {
					w.Sig[1]++
				}
				if tb.OnWave(n, &w, now) == Verify {
					tb.Verified(n, &w, sign(&w) == w.Sig, now)
				}
			case 2:
				tb.OnSeqRequest(n, wire.SeqRequest{Origin: idOf(int(next() % 12)), Incarnation: num(), Seq: num(), TTL: next()}, now)
			case 3:
				tb.OnRetract(n, wire.Retract{Origin: idOf(int(next() % 12)), Incarnation: num()}, now)
			case 4:
				now += time.Duration(next()) * time.Second / 8
			case 5:
				tb.NeighborUp(n, idOf(int(n)), uint32(num()), uint16(num()), now)
			case 6:
				tb.NeighborDown(n, now)
			case 7:
				tb.NeighborSuspect(n, next()%2 == 0, now)
			case 8:
				tb.NeighborCost(n, uint32(num()), now)
			case 9:
				tb.NoRoute(n, ridOf(int(next()%12)), now)
			case 10:
				tb.NeighborMTU(n, uint16(num()), now)
			}
			for range 50 {
				if tb.Deadline() > now {
					break
				}
				tb.OnTimer(now)
			}
			if tb.Deadline() <= now && !tb.own.want {
				t.Fatal("the timer does not come to rest")
			}
			if w, ok := tb.Sign(); ok {
				w.Sig = sign(&w)
				tb.Signed(&w, now)
			}
			consistent(t, tb)
		}
	})
}

// consistent checks what holds between the parts of a table at any time.
func consistent(t *testing.T, tb *Table) {
	t.Helper()
	if len(tb.origins) > maxOrigins || len(tb.origins) != len(tb.byNode) || len(tb.origins) != len(tb.byRID) {
		t.Fatalf("%d origins, %d and %d in the maps", len(tb.origins), len(tb.byNode), len(tb.byRID))
	}
	var before sdk.NodeID
	for i, o := range tb.origins {
		if i > 0 && before.Compare(o.id) >= 0 || o.id == tb.cfg.Self {
			t.Fatal("origins are out of order, or one is ourselves")
		}
		before = o.id
		if len(o.entries) > len(tb.nbrs) {
			t.Fatal("more offers than neighbours")
		}
		found := o.best == nil
		for _, e := range o.entries {
			found = found || e == o.best
			if tb.find(e.via.n) != e.via {
				t.Fatal("an offer of a neighbour that left")
			}
		}
		if !found {
			t.Fatal("the route in use is not among the offers")
		}
		if sig := sign(&o.newest); o.newest.Seq != 0 && sig != o.newest.Sig {
			t.Fatal("a forged wave was taken")
		}
	}
	if len(tb.pending) > len(tb.origins) || len(tb.retracts) > len(tb.origins) {
		t.Fatal("queues are longer than the table")
	}
	if (tb.mtuAt != Never) != (len(tb.mtuLater) > 0) {
		t.Fatalf("%d changes of MTU wait until %v", len(tb.mtuLater), tb.mtuAt)
	}
	for _, m := range tb.Out() {
		if tb.find(m.To) == nil && tb.cfg.RelayOff {
			t.Fatal("a message for a neighbour that left")
		}
		if w, ok := wire.ParseWave(m.Payload[1:]); ok && m.Payload[0] == wire.MsgWave && w.MTU < wire.BaseMTU {
			t.Fatalf("an MTU of %d was passed on", w.MTU)
		}
	}
	tb.Changes()
}
