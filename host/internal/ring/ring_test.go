package ring

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nethost/host/wire"
)

func addr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 1)
}

// Nothing is lost without a count, nothing waits too long, everything to one
// destination of one class keeps its order, and the bound of bytes holds.
func TestQueueProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New(Config{Bytes: 20000, Sojourn: 5 * time.Millisecond})
		now := time.Duration(0)
		type sent struct {
			at   time.Duration
			lane laneKey
		}
		in := map[uint64]sent{}
		last := map[laneKey]uint64{}
		pushed, popped, held := uint64(0), uint64(0), []wire.Train(nil)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 800).Draw(t, "microseconds")) * time.Microsecond
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				key := laneKey{addr(rapid.IntRange(1, 4).Draw(t, "to")), rapid.Bool().Draw(t, "bulk")}
				pushed++
				b := make([]byte, rapid.IntRange(8, 1200).Draw(t, "size"))
				binary.LittleEndian.PutUint64(b, pushed)
				in[pushed] = sent{now, key}
				q.Push(now, wire.Train{Addr: key.addr, Bytes: b}, key.bulk)
				clear(b) // it was copied
			} else if tr, ok := q.Pop(now); ok {
				n := binary.LittleEndian.Uint64(tr.Bytes)
				s, known := in[n]
				if !known || s.lane.addr != tr.Addr {
					t.Fatalf("popped %d, which nobody pushed to %v", n, tr.Addr)
				}
				if now-s.at > q.cfg.Sojourn {
					t.Fatalf("waited %v", now-s.at)
				}
				if n <= last[s.lane] {
					t.Fatalf("%d after %d in one lane", n, last[s.lane])
				}
				last[s.lane] = n
				delete(in, n)
				popped++
				held = append(held, tr)
				if !bytes.Equal(tr.Bytes[8:], make([]byte, len(tr.Bytes)-8)) {
					t.Fatal("another's bytes")
				}
				if rapid.Bool().Draw(t, "done") {
					q.Done(held[0])
					held = held[1:]
				}
			}
			if q.bytes > q.cfg.Bytes {
				t.Fatalf("%d bytes held", q.bytes)
			}
		}
		for {
			if _, ok := q.Pop(now); !ok {
				break
			}
			popped++
		}
		if s := q.Stats(); popped+s.Late+s.Overflow != pushed || s.Bytes != 0 || !q.Empty() || len(q.lanes) != 0 {
			t.Fatalf("%d pushed, %d popped, %+v, %d lanes", pushed, popped, s, len(q.lanes))
		}
	})
}

// Who sends most pays when there is no room, and has no more turns than others.
func TestFairShare(t *testing.T) {
	q := New(Config{Bytes: 1 << 20, Sojourn: time.Second})
	for i := range 2000 {
		q.Push(0, wire.Train{Addr: addr(1), Bytes: make([]byte, 1000)}, true)
		if i%20 == 0 {
			q.Push(0, wire.Train{Addr: addr(2), Bytes: make([]byte, 1000)}, true)
		}
	}
	q.Push(0, wire.Train{Addr: addr(3), Bytes: make([]byte, 1000)}, false)
	if first, _ := q.Pop(0); first.Addr != addr(3) {
		t.Errorf("bulk data went before data in a hurry: %v", first.Addr)
	}
	got := map[netip.AddrPort]int{}
	for range 200 {
		tr, _ := q.Pop(0)
		got[tr.Addr] += len(tr.Bytes)
	}
	if got[addr(2)] < 100*1000-quantum {
		t.Errorf("the modest destination got %d of its 100 000 bytes through in 200 turns: %v", got[addr(2)], got)
	}
	// Data in a hurry does not starve the rest.
	for range 100 {
		q.Push(0, wire.Train{Addr: addr(4), Bytes: make([]byte, 10)}, false)
	}
	bulk := 0
	for range 50 {
		if tr, _ := q.Pop(0); tr.Addr != addr(4) {
			bulk++
		}
	}
	if bulk < 5 || bulk > 7 {
		t.Errorf("%d of 50 turns were of bulk data, want one in nine", bulk)
	}
}

func TestQueueAllocs(t *testing.T) {
	q := New(Config{Sojourn: time.Second})
	b := make([]byte, 1200)
	use := func() {
		for i := range 8 {
			q.Push(0, wire.Train{Addr: addr(1), Bytes: b}, i%2 == 0)
		}
		for {
			tr, ok := q.Pop(0)
			if !ok {
				return
			}
			q.Done(tr)
		}
	}
	use()
	// A lane is made anew when its destination begins to wait: not for each packet.
	if n := testing.AllocsPerRun(100, use); n > 6 {
		t.Errorf("%v allocations for eight trains in two lanes", n)
	}
}
