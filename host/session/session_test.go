package session

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nethost/host/wire"
	"nethost/sdk"
)

func TestPackets(t *testing.T) {
	a, b := pair(t)
	carries(t, a, b)
	for _, hop := range []int{wire.LocalSize, wire.ForwardSize} {
		for _, size := range []int{0, 1, 1100} {
			plain := bytes.Repeat([]byte{'x'}, size)
			got, _, v := b.Open(seal(t, a, hop, string(plain)), hop)
			if v != OK || !bytes.Equal(got, plain) {
				t.Errorf("hop %d, %d bytes: %v", hop, size, v)
			}
		}
	}
	// Without room for the tag it allocates and is right all the same.
	small := bytes.Clone(packet(wire.LocalSize, "tight"))
	sealed, _, ok := a.Seal(small[:len(small):len(small)], wire.LocalSize)
	if plain, _, v := b.Open(sealed, wire.LocalSize); !ok || v != OK || string(plain) != "tight" {
		t.Errorf("tight buffer: %v %q", v, plain)
	}
}

// S5.2: AES-256-GCM where both ends are fast at it, and then all of the above too.
func TestCiphers(t *testing.T) {
	for i, want := range []string{"ChaCha20-Poly1305", "ChaCha20-Poly1305", "ChaCha20-Poly1305", "AES-256-GCM"} {
		ca, cb := config(1), config(2)
		ca.AES, cb.AES = i&1 != 0, i&2 != 0
		x := start(t, ca, cb, sdk.NodeID{}, 0).finish(t)
		if x.sa.Cipher() != want || x.sb.Cipher() != want {
			t.Errorf("AES %v and %v: %s and %s, want %s", ca.AES, cb.AES, x.sa.Cipher(), x.sb.Cipher(), want)
		}
		carries(t, x.sa, x.sb)
		carries(t, x.sb, x.sa)
		pkt := seal(t, x.sa, wire.LocalSize, "hello")
		for i := range 8 * len(pkt) {
			bad := bytes.Clone(pkt)
			bad[i/8] ^= 1 << (i % 8)
			if _, _, v := x.sb.Open(bad, wire.LocalSize); v == OK {
				t.Fatalf("%s: accepted with bit %d flipped", want, i)
			}
		}
	}
}

// S5.3: every bit of a packet is covered, but for a forward frame, which has a
// tag of its own.
func TestPacketMangled(t *testing.T) {
	a, b := pair(t)
	for _, hop := range []int{wire.LocalSize, wire.ForwardSize} {
		pkt := seal(t, a, hop, "hello")
		from := 0
		if hop == wire.ForwardSize {
			from = hop
		}
		for i := 8 * from; i < 8*len(pkt); i++ {
			bad := bytes.Clone(pkt)
			bad[i/8] ^= 1 << (i % 8)
			if _, _, v := b.Open(bad, hop); v == OK || v == Replayed {
				t.Fatalf("hop %d: %v with bit %d flipped", hop, v, i)
			}
		}
		for n := range pkt {
			if _, _, v := b.Open(bytes.Clone(pkt[:n]), hop); v != BadTag {
				t.Fatalf("hop %d: %v when cut to %d", hop, v, n)
			}
		}
		if _, _, v := b.Open(bytes.Clone(pkt), hop); v != OK {
			t.Fatalf("hop %d: the true packet after all that: %v", hop, v)
		}
		if _, _, v := a.Open(bytes.Clone(pkt), hop); v != BadTag {
			t.Errorf("hop %d: reflected: %v", hop, v)
		}
	}
	// A packet for one type of frame is not good behind the other.
	local := seal(t, a, wire.LocalSize, "hello")
	forward := append(bytes.Clone(packet(wire.ForwardSize, "")[:wire.ForwardSize]), local[wire.LocalSize:]...)
	if _, _, v := b.Open(forward, wire.ForwardSize); v != BadTag {
		t.Errorf("local as forward: %v", v)
	}
	forward = seal(t, a, wire.ForwardSize, "hello")
	local = append([]byte{1 << 6, 0}, forward[wire.ForwardSize:]...)
	if _, _, v := b.Open(local, wire.LocalSize); v != BadTag {
		t.Errorf("forward as local: %v", v)
	}
	for _, hop := range []int{-1, 0, 3, 23} {
		if _, _, ok := a.Seal(make([]byte, 100), hop); ok {
			t.Errorf("Seal with a hop frame of %d bytes", hop)
		}
		if _, _, v := b.Open(make([]byte, 100), hop); v != BadTag {
			t.Errorf("Open with a hop frame of %d bytes: %v", hop, v)
		}
	}
	if _, _, ok := a.Seal(make([]byte, 13), wire.LocalSize); ok {
		t.Error("Seal without room for index and counter")
	}
}

// S5.4: each packet once, in any order.
func TestReorderAndReplay(t *testing.T) {
	a, b := pair(t)
	var sent [][]byte
	for range 500 {
		sent = append(sent, seal(t, a, wire.LocalSize, "p"))
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	for round, want := range []Verdict{OK, Replayed} {
		for i, pkt := range sent {
			if _, _, v := b.Open(bytes.Clone(pkt), wire.LocalSize); v != want {
				t.Fatalf("round %d, packet %d: %v", round, i, v)
			}
		}
	}
}

// S5.4: the window is exactly 16384, and there is no limit ahead.
func TestReplayWindowEdges(t *testing.T) {
	a, b := pair(t)
	at := func(n uint64) []byte { a.nextPacket = n; return seal(t, a, wire.LocalSize, "p") }
	for _, c := range []struct {
		n    uint64
		want Verdict
	}{
		{ReplayWindow, OK}, {1, OK}, {0, Replayed}, {ReplayWindow, Replayed}, {HardPackets - 1, OK},
		{HardPackets - ReplayWindow, OK}, {HardPackets - ReplayWindow - 1, Replayed}, {2, Replayed},
	} {
		if _, _, v := b.Open(at(c.n), wire.LocalSize); v != c.want {
			t.Errorf("counter %d: %v, want %v", c.n, v, c.want)
		}
	}
}

// The window against a dumb twin: a set of all counters ever.
func TestWindowProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]uint64{64, 128, 4096, 16384}).Draw(t, "size")
		w := newWindow(size)
		seen := map[uint64]bool{}
		var highest uint64
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			n := rapid.OneOf(
				rapid.Uint64Range(0, 3*size),
				rapid.Uint64Range(max(highest, size+70)-size-70, highest+3),
				rapid.Uint64Range(highest, highest+2*size+200),
			).Draw(t, "n")
			want := !seen[n] && (len(seen) == 0 || n+size > highest)
			if got := w.take(n); got != want {
				t.Fatalf("take(%d) = %v with highest %d", n, got, highest)
			}
			if want {
				seen[n], highest = true, max(highest, n)
			}
		}
	})
}

// S6
func TestHop(t *testing.T) {
	a, b := pair(t)
	fresh := func() []byte { return append(packet(wire.ForwardSize, ""), "body of some length"...) }
	pkt := fresh()
	if !a.SignHop(pkt) {
		t.Fatal("refused")
	}
	h, rest, ok := wire.ParseHop(pkt)
	if !ok || h.LinkIndex != b.LocalIndex() || h.LinkCounter != 0 || h.Dest != 12345 || h.TTL != 63 || len(rest) != len(pkt)-24 {
		t.Fatalf("wrote %+v", h)
	}
	check := func(pkt []byte) Verdict {
		h, _, ok := wire.ParseHop(pkt)
		if !ok {
			return BadTag
		}
		return b.CheckHop(pkt, &h)
	}
	for i := range 8 * wire.ForwardSize {
		bad := bytes.Clone(pkt)
		bad[i/8] ^= 1 << (i % 8)
		if v := check(bad); v == OK {
			t.Errorf("accepted with bit %d flipped", i)
		}
	}
	if v := check(append(bytes.Clone(pkt), 0)); v != BadTag {
		t.Errorf("another length: %v", v)
	}
	if v := check(pkt); v != OK {
		t.Errorf("as sent: %v", v)
	}
	if v := check(pkt); v != Replayed { // S6.4
		t.Errorf("again: %v", v)
	}
	at := func(n uint64) []byte { p := fresh(); a.nextLink = n; a.SignHop(p); return p }
	for _, c := range []struct {
		n    uint64
		want Verdict
	}{{LinkWindow, OK}, {1, OK}, {0, Replayed}, {HardPackets - 1, OK}, {HardPackets - 1 - LinkWindow, Replayed}, {HardPackets - LinkWindow, OK}} {
		if v := check(at(c.n)); v != c.want {
			t.Errorf("link counter %d: %v, want %v", c.n, v, c.want)
		}
	}
	for name, pkt := range map[string][]byte{"local": {1 << 6, 0}, "short": pkt[:23], "long": append(bytes.Clone(pkt), bytes.Repeat([]byte{0}, 1<<16)...),
		"local of 24": append([]byte{1 << 6}, pkt[1:]...), "version 2": append([]byte{2<<6 | 1<<3}, pkt[1:]...)} {
		if a.SignHop(pkt) {
			t.Errorf("%s: signed", name)
		}
	}
	if v := b.CheckHop(pkt[:10], &h); v != BadTag {
		t.Errorf("a short datagram: %v", v)
	}
}

// S7.2: silence rather than reuse.
func TestHardStopByCount(t *testing.T) {
	a, b := pair(t)
	a.nextPacket, a.nextLink = HardPackets-1, HardPackets-1
	last := seal(t, a, wire.LocalSize, "last")
	hop := packet(wire.ForwardSize, "")
	if !a.SignHop(hop) {
		t.Error("the last hop tag is refused")
	}
	if _, _, ok := a.Seal(packet(wire.LocalSize, "one more"), wire.LocalSize); ok {
		t.Error("a packet above the limit is sealed")
	}
	if a.SignHop(packet(wire.ForwardSize, "")) {
		t.Error("a hop tag above the limit is made")
	}
	if !a.Dead(0) || b.Dead(0) {
		t.Error("Dead")
	}
	if _, _, v := b.Open(last, wire.LocalSize); v != OK {
		t.Errorf("the last packet: %v", v)
	}
	last[wire.LocalSize+4+4] = 1 // above 2^32
	if _, _, v := b.Open(last, wire.LocalSize); v != Expired {
		t.Errorf("a counter above the limit: %v", v)
	}
	a, _ = pair(t)
	a.nextPacket = RekeyPackets - 1
	if a.NeedsRekey(a.born) {
		t.Error("rekey too early")
	}
	seal(t, a, wire.LocalSize, "")
	if !a.NeedsRekey(a.born) { // S7.1
		t.Error("no rekey after 2^31 packets")
	}
	a, _ = pair(t)
	a.nextLink = RekeyPackets
	if !a.NeedsRekey(a.born) {
		t.Error("no rekey after 2^31 link packets")
	}
}

// S7.1, S7.2
func TestHardStopByAge(t *testing.T) {
	a, b := pair(t)
	born := a.Born()
	for _, c := range []struct {
		age         time.Duration
		rekey, dead bool
		next        time.Duration
	}{{0, false, false, born + RekeyAfter}, {RekeyAfter - 1, false, false, born + RekeyAfter}, {RekeyAfter, true, false, born + HardAfter},
		{HardAfter - 1, true, false, born + HardAfter}, {HardAfter, true, true, never}} {
		now := born + c.age
		if a.NeedsRekey(now) != c.rekey || a.Dead(now) != c.dead || a.NextDeadline(now) != c.next {
			t.Errorf("at %v: rekey %v, dead %v, next %v", c.age, a.NeedsRekey(now), a.Dead(now), a.NextDeadline(now))
		}
	}
	if a.Dead(born) != true {
		t.Error("a dead key came back to life")
	}
	pkt, hop := seal(t, b, wire.LocalSize, "late"), packet(wire.ForwardSize, "")
	b.SignHop(hop)
	h, _, _ := wire.ParseHop(hop)
	_, _, sealed := a.Seal(packet(wire.LocalSize, ""), wire.LocalSize)
	_, _, v := a.Open(pkt, wire.LocalSize)
	if sealed || a.SignHop(packet(wire.ForwardSize, "")) || v != Expired || a.CheckHop(hop, &h) != Expired {
		t.Error("an old key is used")
	}
}

func TestNoAllocations(t *testing.T) {
	a, b := pair(t)
	buf := packet(wire.ForwardSize, "")
	n := testing.AllocsPerRun(1000, func() {
		for _, hop := range []int{wire.LocalSize, wire.ForwardSize} {
			pkt := append(buf[:0], buf[:hop+wire.SessionSize]...)
			pkt[0] = wire.Version<<6 | byte(hop/wire.ForwardSize)<<3
			pkt, _, _ = a.Seal(pkt[:hop+wire.SessionSize+1000], hop)
			if hop == wire.ForwardSize {
				a.SignHop(pkt)
				h, _, _ := wire.ParseHop(pkt)
				if b.CheckHop(pkt, &h) != OK {
					t.Fatal("hop refused")
				}
			}
			if _, _, v := b.Open(pkt, hop); v != OK {
				t.Fatal(v)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVerdictText(t *testing.T) {
	for v, want := range map[Verdict]string{OK: "ok", BadTag: "bad tag", Replayed: "replayed", Expired: "expired", 9: "unknown verdict"} {
		if v.String() != want {
			t.Errorf("%d: %s", v, v)
		}
	}
}

func BenchmarkSealOpen1K(b *testing.B) {
	for _, aes := range []bool{false, true} {
		ca, cb := config(1), config(2)
		ca.AES, cb.AES = aes, aes
		x := start(b, ca, cb, sdk.NodeID{}, 0).finish(b)
		b.Run(x.sa.Cipher(), func(b *testing.B) {
			pkt := make([]byte, 2+12+1024, 2048)
			pkt[0] = 1 << 6
			b.SetBytes(1024)
			b.ReportAllocs()
			for b.Loop() {
				sealed, _, _ := x.sa.Seal(pkt, wire.LocalSize)
				if _, _, v := x.sb.Open(sealed, wire.LocalSize); v != OK {
					b.Fatal(v)
				}
			}
		})
	}
}

// S6.1: whatever was made ahead, in whatever order, a tag is what the clause says.
func TestHopTagProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), hopKeySize, hopKeySize).Draw(t, "key")
		h, at := newHopKey(key), uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "packets") {
			at = rapid.OneOf(rapid.Just(at+1), rapid.Uint64Range(at, at+hopAhead+2), rapid.Uint64Range(max(at, 300)-300, at+300),
				rapid.Uint64Range(0, HardPackets-1)).Draw(t, "counter")
			hop := rapid.SliceOfN(rapid.Byte(), wire.ForwardSize, 40).Draw(t, "hop")
			binary.LittleEndian.PutUint32(hop[6:], uint32(at))
			tag, cached := h.tag(hopWord(hop), at, binary.LittleEndian.Uint64(hop[10:]))
			if !cached && rapid.Bool().Draw(t, "authentic") {
				h.advance(at + 1)
			}
			binary.LittleEndian.PutUint32(hop[18:], uint32(tag))
			binary.LittleEndian.PutUint16(hop[22:], uint16(tag>>32))
			if !signs(key, hop) {
				t.Fatalf("counter %d, cached %v: another tag than S6.1", at, cached)
			}
		}
	})
}

func BenchmarkHop(b *testing.B) {
	s, r := pair(b)
	pkt := make([]byte, 1100)
	pkt[0] = 1<<6 | 1<<3
	for b.Loop() {
		s.SignHop(pkt)
		h, _, _ := wire.ParseHop(pkt)
		if v := r.CheckHop(pkt, &h); v != OK {
			b.Fatal(v)
		}
	}
}
