package stream

import (
	"bytes"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// TestFirstBytesCount: S1.2. Frames that contradict one another corrupt nothing:
// the bytes that came first are delivered.
func TestFirstBytesCount(t *testing.T) {
	fill := func(off, n int, c byte) *wire.Frame {
		f := frame(1, uint64(off), n, false)
		for i := range f.Payload {
			f.Payload[i] = c
		}
		return f
	}
	m := New(Config{})
	for _, f := range []*wire.Frame{
		fill(10, 10, 'a'), fill(5, 30, 'b'), fill(4090, 20, 'c'), fill(4000, 200, 'd'), fill(12, 3, 'x'),
		fill(0, 4200, 'e'), // fills the holes, and says other things about the rest
	} {
		if !m.OnFrame(f, 0) {
			t.Fatal("violation")
		}
	}
	var got []byte
	for _, ev := range m.Events() {
		got = append(got, ev.Data...)
	}
	var want []byte
	for _, r := range []struct {
		n int
		c byte
	}{{5, 'e'}, {5, 'b'}, {10, 'a'}, {15, 'b'}, {3965, 'e'}, {90, 'd'}, {20, 'c'}, {90, 'd'}} {
		want = append(want, bytes.Repeat([]byte{r.c}, r.n)...)
	}
	if !bytes.Equal(got, want) || m.recvPool.used != 0 {
		t.Errorf("delivered %d bytes that differ from %d, %d chunks kept", len(got), len(want), m.recvPool.used)
	}
}

// TestGapsForever: S6.6, S7.2. A peer that leaves a hole in each of many streams is
// bounded by Config.Buffer; streams beyond are reset.
func TestGapsForever(t *testing.T) {
	m := New(Config{Buffer: 1 << 20})
	resets := 0
	for i := range uint64(2000) {
		for off := uint64(1); off < 5; off++ {
			if !m.OnFrame(frame(2*i+1, off*3000, 1000, false), 0) {
				t.Fatal("violation")
			}
		}
		for _, ev := range m.Events() {
			if ev.Kind == WasReset && ev.Code == sdk.Overloaded {
				resets++
			}
		}
		if m.recvPool.used*chunkSize > 1<<20 {
			t.Fatalf("%d chunks", m.recvPool.used)
		}
	}
	if resets < 1500 {
		t.Errorf("%d resets", resets)
	}
}

// TestSharedMemory: S7.5. Peers that all leave holes are bounded together, and what
// one gives back others may have.
func TestSharedMemory(t *testing.T) {
	all := &Memory{Max: 1 << 20}
	var muxes []*Mux
	for range 20 {
		muxes = append(muxes, New(Config{Memory: all}))
	}
	hoard := func(m *Mux) (kept int) {
		for i := range uint64(100) {
			for off := uint64(1); off < 5; off++ {
				if !m.OnFrame(frame(2*i+1, off*3000, 1000, false), 0) {
					t.Fatal("violation")
				}
			}
			m.Events()
			if all.Held() > all.Max {
				t.Fatalf("%d bytes are held", all.Held())
			}
		}
		return m.recvPool.used
	}
	for _, m := range muxes {
		hoard(m)
	}
	if all.Held() < all.Max*9/10 || muxes[19].recvPool.used != 0 {
		t.Errorf("%d bytes are held, %d chunks by the last", all.Held(), muxes[19].recvPool.used)
	}
	for _, m := range muxes[:10] {
		m.Close()
	}
	fresh := New(Config{Memory: all})
	if hoard(fresh) == 0 {
		t.Error("what was given back is lost")
	}
	for _, m := range append(muxes[10:], fresh) {
		m.Close()
	}
	if all.Held() != 0 {
		t.Errorf("%d bytes are held by nobody", all.Held())
	}
	// What is written here counts as well.
	m := New(Config{Odd: true, Memory: all})
	refused := false
	for range 1000 {
		sid, _ := m.Open(testID, 0, sdk.Bulk)
		if r := m.Write(sid, make([]byte, 8000), false); r == NoBuffer {
			refused = true
		} else if r != OK {
			t.Fatal(r)
		}
		if all.Held() > all.Max {
			t.Fatalf("%d bytes are held", all.Held())
		}
	}
	if !refused {
		t.Error("8 MB were written into one")
	}
}

// TestNoMoreIDs: S2.1. Ids run out once, and are not used again.
func TestNoMoreIDs(t *testing.T) {
	m := New(Config{Odd: true})
	m.nextLocal = wire.MaxVarint // the last odd one
	if sid, ok := m.Open(testID, 0, sdk.Bulk); !ok || sid != wire.MaxVarint {
		t.Errorf("the last id: %d %v", sid, ok)
	}
	if sid, ok := m.Open(testID, 0, sdk.Bulk); ok {
		t.Errorf("opened %d", sid)
	}
	if b := m.Fill(nil, 1148, 0); len(framesOf(t, b)) != 1 {
		t.Error("the last stream is not announced")
	}
	// The peer's: it cannot be made to skip more than the bound.
	if m.OnFrame(frame(wire.MaxVarint-1, 0, 1, false), 0) {
		t.Error("the peer skipped all ids")
	}
}

// TestLyingAcks: S4.6. Acks for what was never sent change nothing; early acks for
// what was sent cannot take more than what was in flight.
func TestLyingAcks(t *testing.T) {
	s, sid := newSender(t, 100000)
	s.flood(32, 0)
	before := *s.Mux
	for _, r := range [][]uint64{{33, 33}, {0, 33}, {1 << 61, 1 << 62}, {33, 1 << 63}, {5, 4}, {1, 2, 3, 4}, {10, 12, 12, 13}} {
		if s.ack(ms, r...) {
			t.Errorf("ack %v was taken", r)
		}
	}
	if s.cc.window != before.cc.window || s.cc.inFlight != before.cc.inFlight || s.rtt.sampled || s.stats.BadAcks != 7 {
		t.Errorf("bad acks %d, window %d", s.stats.BadAcks, s.cc.window)
	}
	a := wire.Ack{Gen: 1, N: 1 << 20}
	s.OnAck(&a, ms)
	a.N = -5
	s.OnAck(&a, ms)
	s.ack(0, 1, 32) // at once: a round trip of nothing
	if s.cc.inFlight != 0 || s.InFlight() != 0 || s.streams[sid].send.base == 0 {
		t.Error("a true ack was not taken")
	}
	for range 1000 { // again and again
		s.ack(0, 0, 32)
	}
	if s.cc.inFlight != 0 || s.cc.window > before.cc.window+32*basePacket {
		t.Errorf("in flight %d, window %d", s.cc.inFlight, s.cc.window)
	}
	// Marks without bound reduce once a round trip and no more.
	now := 10 * ms
	for marks := range uint64(1000) {
		s.Write(sid, make([]byte, 100), false)
		for s.WantsSend(now) {
			s.send(now)
		}
		a := wire.Ack{Gen: 1, Marks: marks << 40, N: 1}
		a.Ranges[0] = wire.Range{First: 0, Last: s.counter}
		s.OnAck(&a, now)
		now += ms
	}
	if s.cc.window < s.cc.minWindow() {
		t.Errorf("window %d", s.cc.window)
	}
}

// TestFloods: S7.2. Generations, gaps, resets and opens without end leave memory
// as it is.
func TestFloods(t *testing.T) {
	m := New(Config{MaxStreams: 100})
	for i := range uint64(20000) {
		m.Received(uint32(i), i*2, true, i&1 == 0, 0)
		m.Received(7, i*2, true, false, 0)
	}
	for i := range m.heard {
		if cap(m.heard[i].ranges) > wire.MaxRanges {
			t.Errorf("%d ranges", cap(m.heard[i].ranges))
		}
	}
	for i := range uint64(50000) {
		sid := 2*i + 1
		m.OnFrame(frame(sid, 0, 10, false), 0)
		m.OnReset(wire.Reset{Stream: sid})
		m.Events()
	}
	if len(m.streams) != 0 || len(m.peer.skipped) != 0 || len(m.idle) > idleStreams {
		t.Errorf("%d streams, %d skipped ids", len(m.streams), len(m.peer.skipped))
	}
	for i := range uint64(5000) {
		m.OnCredit(wire.Credit{Stream: i, Limit: 1<<64 - 1})
		m.OnReset(wire.Reset{Stream: 100001 + 2*i*50000})
	}
	if n := len(m.streams) + len(m.peer.skipped); n > peerSlack*100 {
		t.Errorf("%d ids are remembered", n)
	}
}

// TestSilentPeer: S5.2, S7.2. A peer that acknowledges nothing costs a bounded log
// and one probe a second.
func TestSilentPeer(t *testing.T) {
	s, _ := newSender(t, InitialWindow)
	now := time.Duration(0)
	for now < time.Minute {
		for s.WantsSend(now) {
			s.send(now)
		}
		s.Send(testID, 0, make([]byte, 500), now)
		now = max(now+ms, s.Deadline())
		s.OnTimer(now)
	}
	if n := int(s.counter); n > 32+2*80 || s.InFlight() > n || len(s.log.packets) > 512 {
		t.Errorf("%d packets sent, %d wait, log of %d", n, s.InFlight(), len(s.log.packets))
	}
}

// TestResetCodes: S6.5. Every known code arrives as it is, and none is lost to a
// stream that the peer has not seen yet.
func TestResetCodes(t *testing.T) {
	for code := sdk.Code(0); code <= sdk.HandshakeFailed; code++ {
		p := newPair(t, uint64(code), conditions{delay: ms, loss: 0.3}, Config{})
		var got []Event
		p.onEvent = func(side int, ev *Event) {
			if side == 1 && ev.Kind == WasReset {
				got = append(got, Event{Code: ev.Code, Data: bytes.Clone(ev.Data)})
			}
		}
		sid, _ := p.mux[0].Open(testID, 0, sdk.Bulk)
		p.mux[0].Write(sid, make([]byte, 3000), true)
		p.run(time.Minute, func() bool { return p.mux[1].streams[sid] != nil })
		p.mux[0].Reset(sid, code, code.String())
		p.settle()
		if len(got) != 1 || got[0].Code != code || string(got[0].Data) != code.String() {
			t.Errorf("code %v: %+v", code, got)
		}
		if p.mux[0].Write(sid, nil, false) != NotOpen {
			t.Error("a stream that was reset takes bytes")
		}
		checkEmpty(t, p)
	}
}
