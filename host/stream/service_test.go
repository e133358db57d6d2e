package stream

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

const (
	realtimeFlags = uint8(sdk.Realtime) << wire.FrameClassShift
	bulkFlags     = uint8(sdk.Bulk) << wire.FrameClassShift
)

// framesOf lists the frames of a plaintext.
func framesOf(t *testing.T, b []byte) (out []wire.Frame) {
	t.Helper()
	for len(b) > 0 {
		f, rest, ok := wire.ParseFrame(b)
		if !ok {
			t.Fatal("malformed frame")
		}
		out, b = append(out, f), rest
	}
	return out
}

// TestSojourn: S9.2. Realtime messages that waited too long go from the head, and
// are counted; bulk and core messages are not touched.
func TestSojourn(t *testing.T) {
	for _, c := range []struct {
		sojourn time.Duration
		want    string
	}{
		{0, "2000 2001 3000 0001"},
		{20 * ms, "1000 1001 2000 2001 3000 0001"},
		{-1, "1000 1001 2000 2001 3000 0001"},
	} {
		m := New(Config{Sojourn: c.sojourn})
		m.Send(0x1000, realtimeFlags, []byte("old"), 0)
		m.Send(0x1001, realtimeFlags, []byte("old"), 0)
		m.Send(0x3000, bulkFlags, []byte("old bulk"), 0)
		m.Send(0x2000, realtimeFlags|1, []byte("at the bound"), 5*ms)
		m.Send(0x2001, realtimeFlags, []byte("fresh"), 10*ms)
		got := ""
		for _, f := range framesOf(t, m.Fill(nil, 1148, 10*ms)) {
			got += fmt.Sprintf("%04x ", uint16(f.ID))
		}
		m.Control(wire.AppendPing(nil, wire.Ping{}))
		for _, f := range framesOf(t, m.Fill(nil, 1148, time.Second)) {
			got += fmt.Sprintf("%04x", uint16(f.ID))
		}
		if got != c.want {
			t.Errorf("sojourn %v: sent %q, want %q", c.sojourn, got, c.want)
		}
		drops := m.Dropped()
		if c.sojourn == 0 {
			if len(drops) != 2 || drops[0] != (Dropped{0x1000, 0, 1}) || drops[1].ID != 0x1001 || m.stats.StaleMessages != 2 {
				t.Errorf("dropped %+v", drops)
			}
		} else if len(drops) != 0 {
			t.Errorf("sojourn %v: dropped %+v", c.sojourn, drops)
		}
		if len(m.Dropped()) != 0 {
			t.Error("told twice")
		}
	}
	// Only stale messages: Fill writes nothing, and wants no more.
	m := New(Config{})
	for i := range 200 {
		m.Send(sdk.ID(0x1000+i), 0, []byte("x"), 0)
	}
	if !m.WantsSend(time.Second) || len(m.Fill(nil, 1148, time.Second)) != 0 || m.WantsSend(time.Second) {
		t.Error("stale messages are sent, or wait")
	}
	n := uint64(0)
	for _, d := range m.Dropped() {
		n += d.N
	}
	if n != 200 || cap(m.drops) > 2*maxDropped {
		t.Errorf("%d dropped", n)
	}
}

// TestQueueFull: S9.1. Each class has its own bound; a full queue says so at once.
func TestQueueFull(t *testing.T) {
	m := New(Config{})
	for i := 0; m.Send(testID, bulkFlags, make([]byte, 100), 0) == OK; i++ {
		if i > messageQueue {
			t.Fatal("no bound")
		}
	}
	if m.Send(testID, bulkFlags, nil, 0) != WouldBlock || m.Send(testID, realtimeFlags, nil, 0) != OK {
		t.Error("bulk that is full must not block realtime")
	}
	m.Fill(nil, 1148, 0)
	if m.Send(testID, bulkFlags, nil, 0) != OK {
		t.Error("there is room again")
	}
}

// TestClasses: S5.8. Realtime goes before bulk, whether new or lost, and leaves
// every fourth packet to bulk.
func TestClasses(t *testing.T) {
	s := &sender{t: t, Mux: New(Config{}), gen: 1}
	s.cc.window = 1 << 20
	bulk, _ := s.Open(testID, 0, sdk.Bulk)
	s.Write(bulk, make([]byte, 100000), false)
	s.flood(10, 0)
	quick, _ := s.Open(testID, 0, sdk.Realtime)
	s.Write(quick, make([]byte, 100000), false)
	first := map[uint64]int{}
	for i := range 40 {
		fs := framesOf(t, s.send(ms))
		if first[fs[0].Stream]++; s.PacketClass() != sdk.Class(fs[0].Flags>>wire.FrameClassShift&7) {
			t.Errorf("packet %d of stream %d is sent as class %d", i, fs[0].Stream, s.PacketClass())
		}
	}
	if first[quick] != 30 || first[bulk] != 10 {
		t.Errorf("packets by stream: %v", first)
	}
	// Everything of bulk is lost: realtime still goes first.
	s.Write(quick, make([]byte, 3000), false)
	s.ack(200*ms, 11, 50)
	s.cc.window = 1 << 20
	s.rtt.smoothed = ms
	if s.lists[linkLost][1].head == nil {
		t.Fatal("nothing was lost")
	}
	for s.turn%bulkTurn != 0 {
		s.turn++
	}
	for range 3 {
		if fs := framesOf(t, s.send(201*ms)); fs[0].Stream != quick {
			t.Error("lost bulk goes before realtime")
		}
	}
	if fs := framesOf(t, s.send(201*ms)); fs[0].Stream != bulk {
		t.Error("bulk has the fourth packet")
	}
}

// TestFairStreams: S5.9. Streams of a class share by bytes, whatever the size of
// their pieces and however many others there are.
func TestFairStreams(t *testing.T) {
	m := New(Config{Odd: true})
	m.cc.window = 4 << 20
	const n = 50
	sids := make([]uint64, n)
	for i := range sids {
		sids[i], _ = m.Open(testID, 0, sdk.Bulk)
	}
	sent := map[uint64]int{}
	for i := range uint64(2000) {
		for k, sid := range sids {
			if s := m.streams[sid]; s.send.end-s.send.next < 2000 {
				m.Write(sid, make([]byte, 400+100*k), false) // their pieces end anywhere
			}
		}
		for _, f := range framesOf(t, m.Fill(nil, 1148, 0)) {
			sent[f.Stream] += len(f.Payload)
		}
		m.Sent(1, i+1, 1200, 0)
		m.OnAck(&wire.Ack{Gen: 1, N: 1, Ranges: [wire.MaxRanges]wire.Range{{First: i + 1, Last: i + 1}}}, 0)
		m.Events()
		for _, sid := range sids {
			m.OnCredit(wire.Credit{Stream: sid, Limit: 1 << 40})
		}
	}
	low, high := 1<<60, 0
	for _, sid := range sids {
		low, high = min(low, sent[sid]), max(high, sent[sid])
	}
	if high-low > 2*basePacket {
		t.Errorf("after %d bytes each the streams differ by %d", low, high-low)
	}
}

// TestConsumerHolds: S3.4, S3.7. The window of a stream grows with the path; what
// the consumer did not let come waits in the Mux, FIN included.
func TestConsumerHolds(t *testing.T) {
	m := New(Config{})
	body := make([]byte, 3*InitialWindow)
	for i := range body {
		body[i] = pattern(1, uint64(i))
	}
	// A hole at the start, and everything up to the limit above it.
	put := func(from, to int, fin bool) {
		t.Helper()
		for ; from < to; from += 1000 {
			end := min(from+1000, to)
			f := frame(1, uint64(from), 0, fin && end == to)
			f.Payload = body[from:end]
			if !m.OnFrame(f, ms) {
				t.Fatalf("violation at %d, limit %d", from, m.streams[1].limit)
			}
		}
	}
	put(1000, InitialWindow, false)
	var credit wire.Credit
	for _, f := range framesOf(t, m.Fill(nil, 1148, ms)) {
		if f.Payload[0] == wire.MsgCredit {
			credit, _ = wire.ParseCredit(f.Payload[1:])
		}
	}
	m.Sent(1, 1, 100, ms)
	if credit.Limit < 2*InitialWindow {
		t.Fatalf("a window that a hole fills up does not grow: %+v", credit)
	}
	put(InitialWindow, 2*InitialWindow, true)
	put(0, 1000, false)
	var got []byte
	fin := false
	take := func() {
		for _, ev := range m.Events() {
			if ev.Kind == Data {
				got, fin = append(got, ev.Data...), ev.FIN
			}
		}
	}
	take()
	if len(got) != InitialWindow || fin {
		t.Fatalf("the consumer was handed %d bytes, FIN %v, and has let come %d", len(got), fin, InitialWindow)
	}
	m.Consumed(1, 1234)
	if take(); len(got) != InitialWindow+1234 {
		t.Errorf("%d bytes after 1234 were consumed", len(got))
	}
	m.Consumed(1, InitialWindow)
	if take(); len(got) != 2*InitialWindow || !fin || !bytes.Equal(got, body[:len(got)]) {
		t.Errorf("%d bytes, FIN %v", len(got), fin)
	}
	if m.recvPool.used != 0 {
		t.Errorf("%d chunks are kept", m.recvPool.used)
	}
	// A consumer that does not consume gets no more window, in order or not.
	m.Reset(1, 0, "")
	put3 := func(off, n int) bool { return m.OnFrame(frame(3, uint64(off), n, false), ms) }
	for off := 0; off < InitialWindow; off += 1000 {
		put3(off, min(1000, InitialWindow-off))
	}
	m.Events()
	if s := m.streams[3]; s.extra != 0 || s.limit != InitialWindow {
		t.Errorf("extra %d, limit %d for a consumer that took nothing", s.extra, s.limit)
	}
}

// TestWindowsBounded: S3.7. All windows together grow by half the buffer at most,
// and give it back.
func TestWindowsBounded(t *testing.T) {
	const buffer = 8 << 20
	m := New(Config{Buffer: buffer})
	for sid := uint64(1); sid < 64; sid += 2 {
		if !m.OnFrame(frame(sid, 1000, 1, false), 0) { // a hole, for ever
			t.Fatal("violation")
		}
		for range 10 {
			s := m.streams[sid]
			if s == nil || s.dead {
				break
			}
			m.OnFrame(frame(sid, s.limit-1, 1, false), 0)
			s.limit = s.creditLimit() // as if the Credit went out
		}
		m.Events()
		if s := m.streams[sid]; s.window+s.extra > maxWindow {
			t.Errorf("stream %d has a window of %d", sid, s.window+s.extra)
		}
	}
	if m.extra > buffer/2 || m.extra < buffer/4 {
		t.Errorf("windows grew by %d of a buffer of %d", m.extra, buffer)
	}
	for sid := uint64(1); sid < 64; sid += 2 {
		m.OnReset(wire.Reset{Stream: sid})
	}
	if m.extra != 0 || m.recvPool.used != 0 {
		t.Errorf("%d bytes of window and %d chunks are left", m.extra, m.recvPool.used)
	}
}

// TestHalfClose: S6.1. Each direction ends alone, in either order, also without
// bytes, and the other goes on.
func TestHalfClose(t *testing.T) {
	for _, first := range []int{0, 1} {
		for _, empty := range []bool{false, true} {
			p := newPair(t, 3, conditions{delay: ms, loss: 0.2}, Config{})
			var fins, closed [2]bool
			var got [2]int
			p.onEvent = func(side int, ev *Event) {
				switch ev.Kind {
				case Data:
					if fins[side] {
						t.Error("data after FIN")
					}
					got[side] += len(ev.Data)
					fins[side] = fins[side] || ev.FIN
				case Closed:
					closed[side] = true
				case WasReset:
					t.Errorf("reset %q", ev.Data)
				}
			}
			sid, _ := p.mux[0].Open(testID, 0, sdk.Realtime)
			p.run(time.Minute, func() bool { return p.mux[1].streams[sid] != nil })
			end := make([]byte, 5000)
			if empty {
				end = nil
			}
			if p.mux[first].Write(sid, end, true) != OK || p.mux[first].Write(sid, nil, true) != NotOpen {
				t.Error("write")
			}
			p.settle()
			if closed[0] || closed[1] || !fins[1-first] || fins[first] {
				t.Fatalf("one end is closed: fins %v, closed %v", fins, closed)
			}
			for range 3 { // the other direction is alive
				if r := p.mux[1-first].Write(sid, make([]byte, 100), false); r != OK {
					t.Errorf("write: %v", r)
				}
				p.settle()
			}
			p.mux[1-first].Write(sid, end, true)
			p.settle()
			if !closed[0] || !closed[1] || got[1-first] != len(end) || got[first] != 300+len(end) {
				t.Errorf("closed %v, got %v", closed, got)
			}
			checkEmpty(t, p)
		}
	}
}
