package stream

import (
	"encoding/binary"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// fuzzMux is a Mux in the middle of things: streams of both sides, packets of two
// generations in flight, and holes.
func fuzzMux() *Mux {
	m := New(Config{Odd: true, MaxStreams: 20, Buffer: 64 * chunkSize})
	for i := range 3 {
		sid, _ := m.Open(testID, 0, sdk.Class(i%2))
		m.Write(sid, make([]byte, 6000), i == 0)
	}
	for c := range uint64(8) {
		m.Fill(nil, 1148, 0)
		m.Sent(1+uint32(c/4), 1+c, 1200, time.Duration(c))
	}
	m.OnFrame(frame(2, 0, 100, false), 0)
	m.OnFrame(frame(4, 5000, 100, true), 0)
	m.Received(9, 1, true, false, 0)
	return m
}

// checkBounds checks what must hold whatever arrived (S7.2).
func checkBounds(t *testing.T, m *Mux) {
	t.Helper()
	if m.recvPool.used*chunkSize > m.cfg.Buffer || m.sendPool.used*chunkSize > m.cfg.Buffer {
		t.Fatalf("chunks: %d and %d", m.recvPool.used, m.sendPool.used)
	}
	if n := len(m.streams) - m.localOpen + len(m.peer.skipped); n > peerSlack*m.cfg.MaxStreams {
		t.Fatalf("%d streams of the peer", n)
	}
	inFlight, count := 0, 0
	for k := range m.log.nGens {
		for i := m.log.gens[k].head; i != none; i = m.log.packets[i].next {
			inFlight += int(m.log.packets[i].size)
			count++
		}
	}
	if inFlight != m.cc.inFlight || count != m.log.count {
		t.Fatalf("in flight: %d bytes and %d packets, counted %d and %d", m.cc.inFlight, m.log.count, inFlight, count)
	}
	extra := uint64(0)
	for _, s := range m.streams {
		if extra += s.extra; s.recv.next > s.consumed+s.window {
			t.Fatalf("stream %d: the consumer was handed more than it let come: %+v", s.sid, s)
		}
		if s.consumed > s.recv.next || s.send.base > s.send.next || s.send.next > s.send.end || s.send.end > s.told {
			t.Fatalf("stream %d: %+v", s.sid, s)
		}
	}
	if extra != m.extra || extra > uint64(m.cfg.Buffer)/2 {
		t.Fatalf("windows grew by %d, counted %d", extra, m.extra)
	}
	if m.cc.window < m.cc.minWindow() || m.cc.window > m.cc.maxWindow() {
		t.Fatalf("window %d", m.cc.window)
	}
}

// FuzzOnFrame feeds arbitrary plaintext: no panic, bounded memory, no byte twice.
func FuzzOnFrame(f *testing.F) {
	f.Add(wire.AppendFrame(nil, *frame(2, 100, 50, false)))
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, *frame(4, 0, 100, false)), *frame(8, 70000, 10, true)))
	f.Add(wire.AppendFrame(wire.AppendFrame(nil, *frame(2, 300, 0, true)), *frame(2, 90, 250, false)))
	f.Add(wire.AppendFrame(nil, *frame(1<<40, 1<<50, 1, true)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fuzzMux()
		got := map[uint64]uint64{}
		for len(b) > 0 {
			fr, rest, ok := wire.ParseFrame(b)
			if !ok {
				break
			}
			b = rest
			m.OnFrame(&fr, 0)
			for _, ev := range m.Events() {
				if ev.Kind == Data {
					got[ev.Stream] += uint64(len(ev.Data))
				}
			}
			for sid, n := range got {
				if s := m.streams[sid]; s != nil && s.recv.next != n {
					t.Fatalf("stream %d delivered %d bytes, stands at %d", sid, n, s.recv.next)
				}
			}
			checkBounds(t, m)
		}
	})
}

// FuzzOnAck feeds arbitrary acks, parsed and raw.
func FuzzOnAck(f *testing.F) {
	f.Add(wire.AppendAck(nil, &wire.Ack{Gen: 1, N: 1, Ranges: [32]wire.Range{{First: 1, Last: 4}}})[1:])
	f.Add(wire.AppendAck(nil, &wire.Ack{Gen: 2, N: 2, Ranges: [32]wire.Range{{First: 8, Last: 8}, {First: 1, Last: 5}}})[1:])
	f.Add(wire.AppendAck(nil, &wire.Ack{Gen: 2, N: 1, Ranges: [32]wire.Range{{First: 1, Last: 1 << 40}}})[1:])
	f.Add(wire.AppendAck(nil, &wire.Ack{Gen: 2, Marks: 3, N: 1, Ranges: [32]wire.Range{{First: 5, Last: 8}}})[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var a wire.Ack
		m := fuzzMux()
		if wire.ParseAck(b, &a) || wire.ParseMarkedAck(b, &a) {
			m.OnAck(&a, time.Second)
			checkBounds(t, m)
		}
		// Not even a parser is trusted.
		a = wire.Ack{N: len(b)/4 - 1}
		for i := 0; i+4 <= len(b) && i/4 < len(a.Ranges); i += 4 {
			a.Gen = uint32(b[0] & 3)
			a.Ranges[i/4] = wire.Range{First: uint64(b[i]), Last: uint64(binary.LittleEndian.Uint16(b[i+1:]))}
		}
		m.OnAck(&a, 2*time.Second)
		checkBounds(t, m)
	})
}

// FuzzMux interprets bytes as calls of the user, the network and the clock.
func FuzzMux(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\x05\xff\x0b\x87\x05\xff\x0b\x40\x06\xff\x0e\xff\x05\xff\x0a\x03\x05\x80\x0c\x00\x0e\x05\x05\xff"))
	f.Add([]byte("\x01\x11\x05\x00\x05\x00\x07\x33\x08\x02\x0c\x00\x05\x05\x0b\x21"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fuzzMux()
		now := time.Duration(10)
		for ; len(b) >= 2; b = b[2:] {
			arg := uint64(b[1])
			now += time.Duration(arg) * 100 * time.Microsecond
			switch b[0] % 15 {
			case 0:
				m.Open(testID, uint8(arg), sdk.Class(arg&1))
			case 1:
				m.Write(arg%12, make([]byte, arg*40), arg > 200)
			case 2:
				m.Consumed(arg%12, arg*50)
			case 3:
				m.Reset(arg%12, sdk.Code(arg), "text")
			case 4:
				m.Grant(arg%12, arg<<10)
			case 5:
				if out := m.Fill(nil, int(arg)*6, now); len(out) > 0 {
					if len(out) > int(arg)*6 {
						t.Fatalf("%d bytes in a room of %d", len(out), arg*6)
					}
					m.Sent(2+uint32(arg>>6), 100+m.stats.Sent, len(out), now)
				}
			case 6:
				m.OnTimer(now)
			case 7:
				m.OnFrame(frame(arg%16, (arg>>2)*64, int(arg), arg&3 == 3), now)
			case 8:
				m.OnCredit(wire.Credit{Stream: arg % 12, Limit: arg << 12})
			case 9:
				m.OnReset(wire.Reset{Stream: arg % 20, Code: sdk.Code(arg)})
			case 10:
				m.Received(uint32(arg>>5), arg&31, arg&1 == 1, arg&2 == 2, now)
			case 11:
				top := m.stats.Sent + 100
				a := wire.Ack{Gen: uint32(arg >> 6), N: 1, Marks: arg & 3}
				a.Ranges[0] = wire.Range{First: top - min(top, arg&31), Last: top - min(top, arg&7)}
				m.OnAck(&a, now)
			case 12:
				m.PathChanged(now)
			case 13:
				m.Send(testID, uint8(arg), make([]byte, arg*32), now)
				m.Control(make([]byte, arg))
			case 14:
				m.SetPacketSize(int(arg) * 40)
				m.Dropped()
			}
			m.Events()
			checkBounds(t, m)
		}
		for range 10 { // time alone makes no busy loop
			d := m.Deadline()
			if d == never {
				break
			}
			now = max(now, d)
			m.OnTimer(now)
			m.Fill(nil, 1148, now)
		}
	})
}
