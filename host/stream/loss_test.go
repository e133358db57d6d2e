package stream

import (
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

const ms = time.Millisecond

// sender is a Mux driven packet by packet.
type sender struct {
	t *testing.T
	*Mux
	gen     uint32
	counter uint64
}

// send fills and sends one packet and returns its plaintext.
func (s *sender) send(at time.Duration) []byte {
	s.t.Helper()
	b := s.Fill(nil, 1148, at)
	if len(b) == 0 {
		s.t.Fatal("nothing to send")
	}
	s.counter++
	s.Sent(s.gen, s.counter, len(b)+52, at)
	return b
}

func (s *sender) ack(at time.Duration, ranges ...uint64) bool {
	a := wire.Ack{Gen: s.gen, N: len(ranges) / 2}
	for i := range a.N {
		a.Ranges[i] = wire.Range{First: ranges[2*i], Last: ranges[2*i+1]}
	}
	return s.OnAck(&a, at)
}

func (s *sender) want(lost, inFlight int) {
	s.t.Helper()
	if int(s.stats.Lost) != lost || s.InFlight() != inFlight {
		s.t.Fatalf("%d lost and %d in flight, want %d and %d", s.stats.Lost, s.InFlight(), lost, inFlight)
	}
}

func newSender(t *testing.T, bytes int) (*sender, uint64) {
	s := &sender{t: t, Mux: New(Config{}), gen: 1}
	sid, _ := s.Open(testID, 0, sdk.Bulk)
	s.Write(sid, make([]byte, bytes), false)
	return s, sid
}

// TestPacketThreshold: S5.1, three later packets.
func TestPacketThreshold(t *testing.T) {
	s, _ := newSender(t, 100000)
	for range 6 {
		s.send(0)
	}
	s.ack(10*ms, 3, 3)
	s.want(0, 5) // 1 and 2 are overtaken by too few
	s.ack(10*ms, 4, 4)
	s.want(1, 3)
	s.ack(11*ms, 6, 6)
	s.want(2, 1) // 2 is lost, 5 is not
	if d := s.Deadline(); d < 11*ms || d > 13*ms {
		t.Errorf("the one overtaken packet is looked at again at %v", d)
	}
	s.OnTimer(s.Deadline())
	s.want(3, 0)
}

// TestTimeThreshold: S5.1, 9/8 of the round trip.
func TestTimeThreshold(t *testing.T) {
	s, _ := newSender(t, 100000)
	s.send(0)
	s.send(0)
	s.ack(80*ms, 2, 2)
	s.want(0, 1)
	if d := s.Deadline(); d != 90*ms {
		t.Errorf("deadline %v", d)
	}
	s.OnTimer(89 * ms)
	s.want(0, 1)
	s.OnTimer(90 * ms)
	s.want(1, 0)
}

// TestProbeTimeout: S5.2.
func TestProbeTimeout(t *testing.T) {
	s, sid := newSender(t, 500)
	first := s.send(0)
	now := time.Duration(0)
	for i, want := range []time.Duration{302, 604, 1000, 1000} {
		if d := s.Deadline(); d != now+want*ms {
			t.Fatalf("probe %d at %v, want %v later", i, d-now, want*ms)
		}
		now = s.Deadline()
		s.OnTimer(now)
		for s.WantsSend(now) {
			b := s.send(now)
			if i == 0 && s.counter == 2 && string(b) != string(first) {
				t.Error("the first probe does not carry the oldest data")
			}
		}
	}
	s.want(0, 9)
	s.ack(now+10*ms, 9, 9)
	if s.backoff != 0 {
		t.Error("backoff survives an acknowledgement")
	}
	if s.streams[sid].send.base != 0 {
		t.Error("a ping acknowledged data")
	}
	// The packet that nobody can be asked to answer is not waited for.
	s2 := &sender{t: t, Mux: New(Config{}), gen: 1}
	s2.Received(5, 1, true, false, 0)
	s2.OnTimer(ackDelay)
	s2.send(ackDelay)
	if s2.InFlight() != 0 || s2.Deadline() != never {
		t.Error("a packet with an Ack alone is waited for (S4.2)")
	}
}

// TestWindow: S5.3.
func TestWindow(t *testing.T) {
	s, sid := newSender(t, InitialWindow)
	n := 0
	for ; s.WantsSend(0); n++ {
		s.send(0)
	}
	if n != 32 {
		t.Errorf("%d packets in the first flight", n)
	}
	s.Control(wire.AppendPing(nil, wire.Ping{}))
	if !s.WantsSend(0) || len(s.send(0)) > 40 {
		t.Error("control does not pass a full window")
	}
	if s.WantsSend(0) {
		t.Error("the window is full")
	}
	s.ack(10*ms, 5, 33)
	if w := s.Stats().Window; w != (32+28)*1200*beta/100 { // grown by 28 packets, then cut
		t.Errorf("window %d after a loss", w)
	}
	before := s.Stats().Window
	s.ack(11*ms, 4, 4) // declared lost: too late
	if s.Stats().Window != before {
		t.Error("one flight reduced or grew the window twice")
	}
	s.Reset(sid, 0, "")
	if s.sendPool.used != 0 {
		t.Error("a reset stream keeps chunks")
	}
}

// TestBadAcks: S4.6.
func TestBadAcks(t *testing.T) {
	s, _ := newSender(t, 10000)
	s.send(0)
	s.send(0)
	for i, r := range [][]uint64{{1, 3}, {2, 1}, {1, 1, 2, 2}, {2, 2, 1, 2}, {}} {
		if s.ack(ms, r...) || int(s.stats.BadAcks) != i+1 {
			t.Errorf("ack %v was taken", r)
		}
	}
	s.gen = 77
	if s.ack(ms, 1, 1) {
		t.Error("an ack for an unknown generation was taken")
	}
	s.gen = 1
	s.want(0, 2)
	if !s.ack(ms, 1, 2) || s.ack(ms, 1, 2) {
		t.Error("newly is wrong")
	}
}

// TestAckRules: S4.1 to S4.4.
func TestAckRules(t *testing.T) {
	m := New(Config{})
	acks := func(now time.Duration) (out []wire.Ack) {
		for rest := m.Fill(nil, 1148, now); len(rest) > 0; {
			f, r, _ := wire.ParseFrame(rest)
			rest = r
			if f.ID == coreID && f.Payload[0] == wire.MsgAck {
				var a wire.Ack
				if !wire.ParseAck(f.Payload[1:], &a) {
					t.Fatal("malformed ack")
				}
				out = append(out, a)
			}
		}
		m.Sent(1, m.stats.Sent, 100, now)
		return out
	}
	m.Received(7, 1, true, false, 0)
	if m.WantsSend(ms) || m.Deadline() != 2*ms {
		t.Error("a lone packet is acknowledged within 2 ms, not at once")
	}
	m.Received(7, 2, true, false, ms)
	if !m.WantsSend(ms) {
		t.Error("the second packet is acknowledged at once")
	}
	if a := acks(3 * ms); len(a) != 1 || a[0].Gen != 7 || a[0].Delay != 2*ms || a[0].N != 1 || a[0].Ranges[0] != (wire.Range{First: 1, Last: 2}) {
		t.Errorf("acks %+v", a)
	}
	if m.Deadline() != never || m.WantsSend(time.Hour) {
		t.Error("an ack is still due")
	}
	m.Received(7, 3, false, false, 4*ms)
	if m.Deadline() != never || m.WantsSend(time.Hour) {
		t.Error("an ack acknowledges an ack")
	}
	m.Received(7, 5, true, false, 5*ms)
	if !m.WantsSend(5 * ms) {
		t.Error("a gap is acknowledged at once")
	}
	m.Received(8, 1, true, false, 5*ms)
	if a := acks(5 * ms); len(a) != 2 || a[0].Gen != 8 || a[1].Gen != 7 || a[1].N != 2 {
		t.Errorf("acks %+v", a)
	}
	// An ack that did not leave is said again.
	m.Received(8, 9, true, false, 6*ms)
	m.Fill(nil, 1148, 6*ms)
	if a := acks(6 * ms); len(a) == 0 || a[0].Ranges[0].Last != 9 {
		t.Errorf("acks %+v", a)
	}
	// Once the peer acknowledged our ack, what it said is not repeated.
	m.Control(wire.AppendPing(nil, wire.Ping{}))
	m.Received(8, 11, true, false, 7*ms)
	acks(7 * ms)
	m.OnAck(&wire.Ack{Gen: 1, N: 1, Ranges: [32]wire.Range{{First: m.stats.Sent - 1, Last: m.stats.Sent - 1}}}, 8*ms)
	m.Received(8, 13, true, false, 8*ms)
	if a := acks(8 * ms); len(a) != 1 || a[0].N != 2 {
		t.Errorf("acks %+v", a)
	}
	for g := range uint32(20) {
		m.Received(100+g, 1, true, false, 9*ms)
	}
	if a := acks(11 * ms); len(a) != maxGens {
		t.Errorf("%d generations are acknowledged", len(a))
	}
}

// TestSteadyAcks: S4.3, a steady flow is acknowledged every eighth packet, until a
// gap or a mark; S4.8, an ack of many ranges asks to be acknowledged, once a round
// trip.
func TestSteadyAcks(t *testing.T) {
	m := New(Config{})
	c, acks := uint64(0), 0
	flow := func(n int, marked bool) int {
		acks = 0
		for range n {
			c++
			m.Received(7, c, true, marked, ms)
			if m.WantsSend(ms) {
				acks++
				m.Fill(nil, 1148, ms)
				m.Sent(1, m.stats.Sent, 100, ms)
			}
		}
		return acks
	}
	if n := flow(steadyAt, false); n != steadyAt/2 {
		t.Errorf("%d acks for the first %d packets", n, steadyAt)
	}
	if n := flow(800, false); n < 100 || n > 101 {
		t.Errorf("%d acks for 800 packets of a steady flow", n)
	}
	c++ // a gap
	if n := flow(100, false); n < 50 {
		t.Errorf("%d acks for 100 packets after a gap", n)
	}
	flow(200, false)
	if n := flow(20, true); n != 20 {
		t.Errorf("%d acks for 20 marked packets", n)
	}
	if n := flow(100, false); n < 50 {
		t.Errorf("%d acks for 100 packets after a mark", n)
	}

	pings := 0
	gaps := func(n int) {
		for range n {
			c += 2
			m.Received(7, c, true, false, 2*ms)
			b := m.Fill(nil, 1148, 2*ms)
			m.Sent(1, m.stats.Sent, len(b), 2*ms)
			for _, f := range framesOf(t, b) {
				if f.Payload[0] == wire.MsgPing {
					if pings++; len(m.heard[0].ranges) < askRanges {
						t.Errorf("an ack of %d ranges asks", len(m.heard[0].ranges))
					}
				}
			}
		}
	}
	for i := 0; pings == 0 && i < 2*askRanges; i++ {
		gaps(1)
	}
	if pings != 1 || m.InFlight() != 1 {
		t.Fatalf("%d pings, %d in flight", pings, m.InFlight())
	}
	m.OnAck(&wire.Ack{Gen: 1, N: 1, Ranges: [32]wire.Range{{First: 0, Last: m.stats.Sent - 1}}}, 2*ms)
	if n := len(m.heard[0].ranges); n != 1 {
		t.Errorf("%d ranges after the ask was answered", n)
	}
	if gaps(100); pings != 1 || len(m.heard[0].ranges) != wire.MaxRanges {
		t.Errorf("%d pings in a round trip, %d ranges", pings, len(m.heard[0].ranges))
	}
}

// TestNotSent: what was filled and did not leave is sent again.
func TestNotSent(t *testing.T) {
	s, _ := newSender(t, 900)
	first := s.Fill(nil, 1148, 0)
	if second := s.send(0); string(first) != string(second) {
		t.Error("the second fill differs from the first, which was not sent")
	}
	s.want(0, 1)
	if s.WantsSend(0) {
		t.Error("something is left")
	}
}
