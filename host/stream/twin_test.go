package stream

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"nethost/host/wire"
	"nethost/sdk"
)

// TestReassemblyTwin compares a stream's receiving side with a byte map.
func TestReassemblyTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 40000
		m := New(Config{})
		want := make([]byte, size)
		for i := range want {
			want[i] = pattern(1, uint64(i))
		}
		have := make([]bool, size)
		var got []byte
		fin := false
		pieces := rapid.IntRange(1, 200).Draw(t, "pieces")
		for n := range pieces + size/1000 {
			off := rapid.IntRange(0, size).Draw(t, "off")
			end := min(size, off+rapid.SampledFrom([]int{0, 1, 63, 64, 65, 1000, 4095, 4096, 4097, 9000}).Draw(t, "len"))
			if n >= pieces { // at last fill all holes
				off, end = (n-pieces)*1000, min(size, (n-pieces+1)*1000)
			}
			payload := bytes.Clone(want[off:end])
			f := wire.Frame{ID: testID, Flags: wire.FlagStream, Stream: 1, Offset: uint64(off), Payload: payload}
			if end == size {
				f.Flags |= wire.FlagFIN
			}
			if !m.OnFrame(&f, 0) {
				t.Fatalf("violation at [%d, %d)", off, end)
			}
			for i := off; i < end; i++ {
				have[i] = true
			}
			for _, ev := range m.Events() {
				if ev.Kind == Data {
					got = append(got, ev.Data...)
					fin = fin || ev.FIN
				}
			}
			clear(payload) // a borrowed buffer
			prefix := 0
			for prefix < size && have[prefix] {
				prefix++
			}
			if len(got) != prefix {
				t.Fatalf("delivered %d bytes, the twin %d", len(got), prefix)
			}
			if held := m.recvPool.used * chunkSize; held > size+2*chunkSize {
				t.Fatalf("%d bytes held for a window of %d", held, size)
			}
		}
		if !bytes.Equal(got, want) || !fin || m.recvPool.used != 0 {
			t.Fatalf("%d bytes, fin %v, %d chunks kept", len(got), fin, m.recvPool.used)
		}
	})
}

// TestSendBufTwin compares acknowledgements in any order with a bool map.
func TestSendBufTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pool
		var s sendBuf
		var acked, data []byte
		for range rapid.IntRange(1, 200).Draw(t, "ops") {
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				b := make([]byte, rapid.IntRange(0, 5000).Draw(t, "write"))
				for i := range b {
					b[i] = pattern(1, uint64(len(data)+i))
				}
				s.write(b, &p)
				data = append(data, b...)
				acked = append(acked, make([]byte, len(b))...)
			case 1:
				s.next = min(s.end, s.next+uint64(rapid.IntRange(0, 3000).Draw(t, "send")))
			case 2:
				off := rapid.Uint64Range(0, s.next).Draw(t, "off")
				n := min(s.next-off, rapid.Uint64Range(0, 3000).Draw(t, "n"))
				s.ack(off, n, &p)
				for i := off; i < off+n; i++ {
					acked[i] = 1
				}
			}
			base := bytes.IndexByte(acked, 0)
			if base < 0 {
				base = len(acked)
			}
			if s.base != uint64(base) {
				t.Fatalf("base %d, the twin %d", s.base, base)
			}
			if got := s.appendTo(nil, s.base, s.end-s.base); !bytes.Equal(got, data[base:]) {
				t.Fatal("unacknowledged bytes differ")
			}
			if off := rapid.Uint64Range(0, s.next).Draw(t, "query"); s.next > off {
				want := bytes.IndexByte(acked[off:s.next], 0)
				if want < 0 {
					want = int(s.next - off)
				}
				if off < s.base {
					want = min(want, int(s.base-off))
				}
				if got := s.acked(off, s.next-off); got != uint64(want) {
					t.Fatalf("acked(%d) = %d, the twin %d", off, got, want)
				}
			}
			if most := (len(data)-base)/chunkSize + 2; p.used > most || base == len(data) && p.used != 0 {
				t.Fatalf("%d chunks for %d bytes", p.used, len(data)-base)
			}
		}
	})
}

// TestRangesTwin compares the ranges of received counters with a set.
func TestRangesTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g heardGen
		set := map[uint64]bool{}
		floor := uint64(0) // nothing is said of counters below
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			c := rapid.Uint64Range(0, 200).Draw(t, "c")
			if rapid.IntRange(0, 20).Draw(t, "op") == 0 {
				g.prune(c)
				floor = max(floor, c+1)
			} else {
				if n := len(g.ranges); n == wire.MaxRanges && c+1 < g.ranges[n-1].First {
					floor = max(floor, g.ranges[n-1].Last+1) // it makes room
				}
				g.insert(c)
				set[c] = true
				if r := g.ranges[len(g.ranges)-1]; c < r.First {
					t.Fatalf("%d is not acknowledged even once", c)
				}
			}
			a := wire.Ack{N: len(g.ranges)}
			copy(a.Ranges[:], g.ranges)
			if len(g.ranges) > 0 && !wellFormed(&a) {
				t.Fatalf("ranges %v", g.ranges)
			}
			for i := 1; i < len(g.ranges); i++ {
				if g.ranges[i].Last+1 >= g.ranges[i-1].First {
					t.Fatalf("ranges touch: %v", g.ranges)
				}
			}
			low := floor
			if len(g.ranges) == wire.MaxRanges {
				low = max(low, g.ranges[len(g.ranges)-1].First)
				floor = max(floor, low)
			}
			for c := uint64(0); c <= 201; c++ {
				in := false
				for _, r := range g.ranges {
					in = in || r.First <= c && c <= r.Last
				}
				if in && !set[c] {
					t.Fatalf("acknowledges %d, which never came", c)
				}
				if set[c] && !in && c >= low {
					t.Fatalf("does not acknowledge %d: %v", c, g.ranges)
				}
			}
		}
	})
}

// TestQueueTwin compares the ring of messages with a slice of slices.
func TestQueueTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{maxN: 40, maxB: 9000}
		var twin [][]byte
		total := 0
		for i := range rapid.IntRange(1, 400).Draw(t, "ops") {
			if rapid.Bool().Draw(t, "push") {
				b := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 700).Draw(t, "len"))
				fits := len(twin) < 40 && total+len(b) <= 9000
				if q.push(sdk.ID(i), uint8(len(b)), b, 0, never) != fits {
					t.Fatalf("push of %d bytes with %d held", len(b), total)
				}
				if fits {
					twin, total = append(twin, b), total+len(b)
				}
			} else if len(twin) > 0 {
				if q.front().flags != uint8(len(twin[0])) || !bytes.Equal(q.pop(nil), twin[0]) {
					t.Fatal("popped something else")
				}
				total -= len(twin[0])
				twin = twin[1:]
			}
			if q.n != len(twin) || q.used != total || q.empty() != (len(twin) == 0) {
				t.Fatalf("holds %d messages of %d bytes, the twin %d of %d", q.n, q.used, len(twin), total)
			}
		}
	})
}

// TestPeerIDsTwin compares the compact memory of used ids with a set (S2.4).
func TestPeerIDsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(1, 2).Draw(t, "first")
		p := peerIDs{first: first, skipped: map[uint64]struct{}{}}
		used := map[uint64]bool{}
		const budget = 20
		for range rapid.IntRange(1, 100).Draw(t, "n") {
			sid := first + 2*rapid.Uint64Range(0, 60).Draw(t, "sid")
			highest := p.highest
			if highest == 0 {
				highest = first - 2 // wraps for first 1: the next id is first
			}
			want := idFresh
			switch {
			case used[sid]:
				want = idUsed
			case sid > p.highest && (sid-highest)/2 > budget:
				want = idBeyond
			}
			if got := p.state(sid, budget); got != want {
				t.Fatalf("id %d after %d: %d, want %d", sid, p.highest, got, want)
			}
			if want == idFresh {
				p.use(sid)
				used[sid] = true
			}
		}
	})
}
