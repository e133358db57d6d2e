package stream

import (
	"strings"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

func frame(sid, off uint64, n int, fin bool) *wire.Frame {
	f := &wire.Frame{ID: testID, Flags: wire.FlagStream, Stream: sid, Offset: off, Payload: make([]byte, n)}
	if fin {
		f.Flags |= wire.FlagFIN
	}
	return f
}

func kinds(evs []Event) string {
	var s []string
	for _, e := range evs {
		s = append(s, e.Kind.String())
	}
	return strings.Join(s, " ")
}

// TestViolations: each frame breaks one clause, on a Mux whose peer opens odd ids,
// has stream 1 open with 10 bytes received and FIN at 20, and whose own stream is 2.
func TestViolations(t *testing.T) {
	flagged := func(f *wire.Frame, flags uint8) *wire.Frame { f.Flags ^= flags; return f }
	named := func(f *wire.Frame, id sdk.ID) *wire.Frame { f.ID = id; return f }
	for name, c := range map[string]struct {
		f  *wire.Frame
		ok bool
	}{
		"S1.3 other id":                 {named(frame(1, 10, 1, false), 0x9999), false},
		"S1.3 other epoch":              {flagged(frame(1, 10, 1, false), 1), false},
		"S1.3 other class":              {flagged(frame(1, 10, 1, false), 1<<wire.FrameClassShift), false},
		"S1.4 offset too large":         {frame(3, 1<<62-1, 1, false), false},
		"S1.4 offset wraps":             {frame(3, 1<<64-1, 10, false), false},
		"S1.4 core stream":              {named(frame(3, 0, 1, false), coreID), false},
		"S1 no stream flag":             {flagged(frame(3, 0, 1, false), wire.FlagStream), false},
		"S1 stream 0":                   {frame(0, 0, 1, false), false},
		"S2.2 skips ids":                {frame(1001, 0, 1, false), true},
		"S2.4 skips too many ids":       {frame(1<<40+1, 0, 1, false), false},
		"S2.5 ours, never opened":       {frame(4, 0, 1, false), false},
		"S2.5 ours, opened":             {frame(2, 0, 1, false), true},
		"S3.3 up to the limit":          {frame(3, InitialWindow-1, 1, false), true},
		"S3.3 above the limit":          {frame(3, InitialWindow, 1, false), false},
		"S3.3 FIN above the limit":      {frame(3, InitialWindow+1, 0, true), false},
		"S6.1 beyond FIN":               {frame(1, 20, 1, false), false},
		"S6.1 another size":             {frame(1, 10, 5, true), false},
		"S6.1 FIN below bytes seen":     {frame(5, 5, 0, true), false},
		"S6.1 the same FIN":             {frame(1, 15, 5, true), true},
		"S1.2 again":                    {frame(1, 0, 10, false), true},
		"S2.3 a stream that is over":    {frame(7, 0, 1, false), true},
		"S2.3 FIN of one that is over":  {frame(7, 1<<30, 10, true), true},
		"S6.4 after a Reset of nothing": {frame(9, 0, 10, false), true},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(Config{})
			if sid, ok := m.Open(testID, 0, sdk.Realtime); !ok || sid != 2 {
				t.Fatal("Open")
			}
			for _, f := range []*wire.Frame{frame(1, 0, 10, false), frame(1, 20, 0, true), frame(5, 0, 5, false), frame(5, 8, 2, false), frame(7, 0, 0, true)} {
				if !m.OnFrame(f, 0) {
					t.Fatal("setup")
				}
			}
			m.OnReset(wire.Reset{Stream: 7})
			m.OnReset(wire.Reset{Stream: 9})
			m.Events()
			if got := m.OnFrame(c.f, 0); got != c.ok {
				t.Errorf("OnFrame = %v", got)
			}
			want := uint64(1)
			if c.ok {
				want = 0
			}
			if m.stats.Violations != want {
				t.Errorf("%d violations", m.stats.Violations)
			}
			evs := m.Events()
			if (!c.ok || c.f.Stream >= 7 && c.f.Stream <= 9) && len(evs) != 0 {
				t.Errorf("events %s", kinds(evs))
			}
		})
	}
}

// TestCreditLimits: S3.1, S3.2, and credits for streams that are not.
func TestCreditLimits(t *testing.T) {
	m := New(Config{})
	sid, _ := m.Open(testID, 0, sdk.Bulk)
	if r := m.Write(sid, make([]byte, InitialWindow+1), false); r != OverCredit {
		t.Errorf("write above the limit: %d", r)
	}
	if r := m.Write(sid, make([]byte, InitialWindow), false); r != OK {
		t.Errorf("write up to the limit: %d", r)
	}
	if r := m.Write(sid, []byte{1}, false); r != OverCredit {
		t.Errorf("write above the limit: %d", r)
	}
	m.OnCredit(wire.Credit{Stream: sid, Limit: 5})
	if len(m.Events()) != 0 {
		t.Error("a lower limit counted")
	}
	m.OnCredit(wire.Credit{Stream: sid, Limit: InitialWindow + 7})
	if evs := m.Events(); kinds(evs) != "CreditGranted" || evs[0].N != 7 {
		t.Errorf("events %+v", evs)
	}
	m.OnCredit(wire.Credit{Stream: sid, Limit: 1 << 61})
	if evs := m.Events(); kinds(evs) != "CreditGranted" || evs[0].N != maxSendBuffer-InitialWindow-7 {
		t.Errorf("credit without bound was passed on: %+v", evs)
	}
	for _, sid := range []uint64{0, 1, 3, 4} {
		m.OnCredit(wire.Credit{Stream: sid, Limit: 5})
	}
	if m.stats.Violations != 4 {
		t.Errorf("%d violations, want 4", m.stats.Violations)
	}
	if m.Write(99, nil, true) != NotOpen {
		t.Error("write to nothing")
	}
	if m.Write(sid, nil, true) != OK || m.Write(sid, []byte{1}, false) != NotOpen {
		t.Error("write after FIN")
	}
}

// TestCreditAmounts: credit follows the consumer, coalesced (S3.4), and a stream
// opened here gives none before the peer has it (S3.5).
func TestCreditAmounts(t *testing.T) {
	counter := uint64(0)
	credits := func(m *Mux) []wire.Credit {
		var out []wire.Credit
		for rest := m.Fill(nil, 1148, 0); len(rest) > 0; {
			f, r, ok := wire.ParseFrame(rest)
			if !ok {
				t.Fatal("malformed frame")
			}
			rest = r
			if f.ID == coreID && f.Payload[0] == wire.MsgCredit {
				c, _ := wire.ParseCredit(f.Payload[1:])
				out = append(out, c)
			}
		}
		counter++
		m.Sent(1, counter, 100, 0)
		return out
	}
	m := New(Config{Odd: true, Window: InitialWindow + 4096})
	sid, _ := m.Open(testID, 0, sdk.Bulk)
	m.Grant(sid, 1<<20)
	if c := credits(m); len(c) != 0 {
		t.Errorf("credit before the peer has the stream: %v", c)
	}
	m.OnAck(&wire.Ack{Gen: 1, N: 1, Ranges: [32]wire.Range{{First: 1, Last: 1}}}, 0)
	if c := credits(m); len(c) != 1 || c[0].Limit != InitialWindow+4096+1<<20 {
		t.Errorf("credits %v", c)
	}

	m = New(Config{Odd: true})
	m.OnFrame(frame(2, 0, 1000, false), 0)
	m.Events()
	m.Consumed(2, 500)
	if m.Deadline() < idleAfter || m.WantsSend(0) {
		t.Error("half of what arrived was consumed, and a credit wants to go")
	}
	m.Consumed(2, 5000) // no more than arrived
	if m.Deadline() != lazyCredit || m.WantsSend(0) {
		t.Error("a small credit must wait a little")
	}
	m.OnTimer(lazyCredit)
	if c := credits(m); len(c) != 1 || c[0].Limit != InitialWindow+1000 {
		t.Errorf("credits %v", c)
	}
	for off := uint64(1000); off < 68000; off += 1000 {
		m.OnFrame(frame(2, off, 1000, false), 0)
	}
	m.Consumed(2, 67000)
	if !m.WantsSend(0) {
		t.Error("a quarter of the window was consumed, and no credit wants to go")
	}
	if c := credits(m); len(c) != 1 || c[0].Limit != InitialWindow+68000 {
		t.Errorf("credits %v", c)
	}
	m.Consumed(2, 1)
	if s := m.streams[2]; s.consumed != 68000 {
		t.Errorf("consumed %d", s.consumed)
	}
}

// TestReset: S6.2 to S6.5.
func TestReset(t *testing.T) {
	p := newPair(t, 9, conditions{delay: time.Millisecond, loss: 0.4}, Config{})
	var log [2][]Event
	p.onEvent = func(side int, ev *Event) {
		e := *ev
		e.Data = append([]byte(nil), ev.Data...)
		log[side] = append(log[side], e)
	}
	sid, _ := p.mux[0].Open(testID, 0, sdk.Bulk)
	p.mux[0].Write(sid, make([]byte, 100000), false)
	p.run(time.Second, func() bool { return len(log[1]) > 3 })
	long := strings.Repeat("ä", 150)
	p.mux[1].Reset(sid, sdk.NotFound, long)
	p.mux[1].Reset(sid, sdk.Internal, "once is enough")
	p.settle()
	if s := kinds(log[0]); s != "WasReset Closed" || log[0][0].Code != sdk.NotFound || string(log[0][0].Data) != long[:200] {
		t.Errorf("side 0: %s %v %q", s, log[0][0].Code, log[0][0].Data)
	}
	if s := kinds(log[1]); !strings.HasPrefix(s, "Opened Data") || !strings.HasSuffix(s, "Data Closed") {
		t.Errorf("side 1: %s", s)
	}
	// Both at once, and one that the peer never saw.
	log = [2][]Event{}
	a, _ := p.mux[0].Open(testID, 0, sdk.Bulk)
	p.mux[0].Write(a, []byte("x"), false)
	p.run(p.now+time.Minute, func() bool { return len(log[1]) > 0 })
	p.mux[0].Reset(a, 1, "")
	p.mux[1].Reset(a, 2, "")
	b, _ := p.mux[0].Open(testID, 0, sdk.Bulk)
	p.mux[0].Reset(b, 1, "")
	p.settle()
	if s := kinds(log[0]); s != "Closed Closed" {
		t.Errorf("side 0: %s", s)
	}
	if s := kinds(log[1]); s != "Opened Data Closed" {
		t.Errorf("side 1: %s", s)
	}
	checkEmpty(t, p)

	m := New(Config{})
	m.OnFrame(frame(1, 0, 1, false), 0)
	m.OnReset(wire.Reset{Stream: 1, Code: 4711})
	if evs := m.Events(); kinds(evs) != "Opened Data WasReset Closed" || evs[2].Code != sdk.Internal {
		t.Errorf("events %s", kinds(evs))
	}
	m.OnReset(wire.Reset{Stream: 2})
	m.OnReset(wire.Reset{Stream: 1<<50 + 1})
	if m.stats.Violations != 2 { // 2 is ours and never opened, the other skips too many
		t.Errorf("%d violations", m.stats.Violations)
	}
}

// TestBounds: S2.4, S6.6, S7.2 and the queues.
func TestBounds(t *testing.T) {
	m := New(Config{MaxStreams: 10, Buffer: 40 * chunkSize})
	for i := range 10 {
		if _, ok := m.Open(testID, 0, sdk.Bulk); !ok {
			t.Fatalf("open %d refused", i)
		}
	}
	if _, ok := m.Open(testID, 0, sdk.Bulk); ok {
		t.Error("an eleventh stream was opened")
	}
	if m.Write(2, make([]byte, 40*chunkSize), false) != OK || m.Write(4, []byte{1}, false) != NoBuffer {
		t.Error("the sum of what is written is not bounded")
	}
	for i := range uint64(40) {
		if !m.OnFrame(frame(2*i+1, 2*chunkSize, 1, false), 0) {
			t.Fatalf("stream %d refused", 2*i+1)
		}
	}
	if m.OnFrame(frame(81, 0, 1, false), 0) {
		t.Error("more streams than four times the bound")
	}
	m.Events()
	if !m.OnFrame(frame(1, 10*chunkSize, 1, false), 0) {
		t.Error("too much out of order is no violation")
	}
	if evs := m.Events(); kinds(evs) != "WasReset" || evs[0].Code != sdk.Overloaded {
		t.Errorf("events %s", kinds(evs))
	}
	if m.Send(testID, 0, make([]byte, MaxMessage+1), 0) != TooBig || m.Control(nil) || m.Control(make([]byte, MaxControl+1)) {
		t.Error("messages that no packet holds were taken")
	}
	n := 0
	for m.Send(testID, 0, make([]byte, 1000), 0) == OK {
		n++
	}
	if n != messageBytes/1000 || m.Send(testID, 0, make([]byte, 1000), 0) != WouldBlock {
		t.Errorf("%d messages taken", n)
	}
	for n = 0; m.Control(make([]byte, 100)); n++ {
	}
	if n != controlQueue {
		t.Errorf("%d control messages taken", n)
	}
}
