package stream

import (
	"math"
	"testing"
	"time"

	"nethost/host/wire"
)

// TestCubicShape compares the integers with the formulas of RFC 9438, 4.2 and 4.3.
func TestCubicShape(t *testing.T) {
	const mss, rtt = 1200, 20 * ms
	for _, packets := range []int{20, 300, 4000} {
		origin := packets * mss
		var c cubic
		c.reduced(origin, mss)
		window := origin * beta / 100
		start := time.Second
		w := c.grow(window, 0, mss, start, 0)
		k := math.Cbrt(float64(packets) * 0.3 / 0.4)
		if got := float64(c.k) / 1000; math.Abs(got-k) > 0.02+k*0.01 {
			t.Fatalf("%d packets: K %.3f s, want %.3f", packets, got, k)
		}
		for now := start; now < start+time.Duration(1.5*k*float64(time.Second)); now += rtt {
			for acked := 0; acked < w; acked += mss {
				w = c.grow(w, mss, mss, now, rtt)
			}
			s := (now - start + rtt).Seconds()
			want := 0.4*math.Pow(s-k, 3) + float64(packets)
			reno := float64(packets)*0.7 + 9.0/17*(now-start).Seconds()/rtt.Seconds()
			if reno > float64(packets) { // then it grows like Reno
				reno = math.Inf(1)
			}
			if got := float64(w) / mss; got < 0.97*min(want, reno)-2 || got > 1.03*max(want, reno)+3 {
				t.Fatalf("%d packets, after %.2f s: window %.1f, cubic %.1f, Reno %.1f", packets, s, got, want, reno)
			}
		}
	}
	for v := range 5000 {
		if r := cubeRoot(v); r*r*r > v || (r+1)*(r+1)*(r+1) <= v {
			t.Fatalf("cube root of %d: %d", v, r)
		}
	}
	if r := cubeRoot(27e12); r != 30000 {
		t.Errorf("cube root of 27e12: %d", r)
	}
}

// flood sends n packets and returns the counter of the first.
func (s *sender) flood(n int, at time.Duration) uint64 {
	for range n {
		s.send(at)
	}
	return s.counter - uint64(n) + 1
}

// steady is a sender in congestion avoidance with a window of so many packets, and
// a round trip of 10 ms.
func steady(t *testing.T, packets int) *sender {
	s, _ := newSender(t, InitialWindow)
	first := s.flood(20, 0)
	for i := range uint64(20) {
		s.ack(10*ms, first+i, first+i)
	}
	s.cc.window, s.cc.ssthresh = packets*basePacket, packets*basePacket
	s.rtt.smoothed = ms // not paced
	s.want(0, 0)
	return s
}

// TestLossTolerated: S5.3, few losses without a queue leave the window.
func TestLossTolerated(t *testing.T) {
	s := steady(t, 100)
	first := s.flood(100, 20*ms)
	s.ack(30*ms, first+51, first+99, first, first+49)
	if s.want(1, 0); s.cc.window < 100*basePacket {
		t.Errorf("one loss in a hundred cut the window to %d", s.cc.window)
	}
	// The same with a queue: the window goes down, but not below what the path
	// delivered in its shortest round trip.
	s = steady(t, 100)
	s.cc.rate[0] = 90 * basePacket * 100 // bytes a second: 90 packets in 10 ms
	s.cc.lastMin, s.cc.samples = 30*ms, 0
	first = s.flood(100, 20*ms)
	s.ack(50*ms, first+51, first+99, first, first+49)
	if w := s.cc.window; w < 89*basePacket || w > 90*basePacket {
		t.Errorf("window %d after a loss with a queue", w)
	}
	// Many losses are congestion, whatever the path was thought to deliver.
	s = steady(t, 100)
	s.cc.rate[0] = 90 * basePacket * 100
	first = s.flood(100, 20*ms)
	s.ack(30*ms, first+60, first+99, first, first+49)
	if w := s.cc.window; w > 75*basePacket {
		t.Errorf("ten losses in a hundred left %d", w)
	}
	w := s.cc.window
	if s.ack(31*ms, first+50, first+50); s.cc.window != w {
		t.Error("a packet that was late gave back what others had lost")
	}
}

// TestLateIsNotLost: S5.1, packets that were only late give the window back, and
// the path is known to reorder from then on.
func TestLateIsNotLost(t *testing.T) {
	s := steady(t, 60)
	first := s.flood(60, 20*ms)
	s.ack(30*ms, first+20, first+59)
	if s.want(20, 0); s.cc.window > 45*basePacket {
		t.Fatalf("window %d after twenty losses", s.cc.window)
	}
	s.ack(33*ms, first, first+59)
	if s.stats.Spurious != 20 || s.cc.window < 60*basePacket {
		t.Errorf("%d were late, window %d", s.stats.Spurious, s.cc.window)
	}
	if !s.reorder.seen || s.reorder.late < ms || s.reorder.late > 10*ms {
		t.Errorf("tolerance %+v", s.reorder)
	}
	// The same again is not even declared lost.
	first = s.flood(40, 40*ms)
	s.ack(50*ms, first+10, first+39)
	s.want(20, 10)
	s.ack(52*ms, first, first+39)
	if s.want(20, 0); s.stats.Spurious != 20 {
		t.Error("late packets were taken for lost again")
	}
	// What is really lost is found, a little later.
	first = s.flood(10, 60*ms)
	s.ack(70*ms, first+5, first+9)
	s.want(20, 5)
	s.OnTimer(s.Deadline())
	if s.want(25, 0); s.now > 60*ms+2*10*ms+mostLate {
		t.Errorf("found at %v", s.now)
	}
	// After many calm rounds the order is trusted again.
	for range 5 * calmRounds {
		s.reorder.round()
	}
	if s.reorder.seen || s.reorder.late != 0 {
		t.Errorf("tolerance %+v after calm", s.reorder)
	}
}

// TestLateRing: the memory of lost packets is bounded, and never counts one twice.
func TestLateRing(t *testing.T) {
	s := steady(t, 1000)
	s.streams[2].peerLimit, s.streams[2].told = 4<<20, 4<<20
	s.Write(2, make([]byte, 1<<20), false)
	first := s.flood(700, 20*ms)
	s.ack(30*ms, first+690, first+699)
	s.want(690, 0)
	if s.reorder.n != lateKept || len(s.reorder.gone) > lateKept {
		t.Errorf("%d lost packets are remembered", s.reorder.n)
	}
	s.ack(31*ms, first, first+699)
	s.ack(32*ms, first, first+699)
	if s.stats.Spurious != lateKept {
		t.Errorf("%d were late", s.stats.Spurious)
	}
}

// TestMarks: S5.6 and S4.7. The receiver counts marks, the sender reduces once a
// round trip.
func TestMarks(t *testing.T) {
	m := New(Config{})
	m.Received(7, 1, true, false, 0)
	m.Received(7, 2, true, true, 0)
	m.Received(7, 3, true, true, 0)
	if !m.WantsSend(0) {
		t.Fatal("a marked packet is acknowledged at once")
	}
	f, _, _ := wire.ParseFrame(m.Fill(nil, 1148, 0))
	var a wire.Ack
	if f.Payload[0] != wire.MsgMarkedAck || !wire.ParseMarkedAck(f.Payload[1:], &a) || a.Marks != 2 || a.Ranges[0].Last != 3 {
		t.Fatalf("ack %+v", a)
	}

	s := steady(t, 100)
	marked := func(at time.Duration, marks, from, to uint64) int {
		a := wire.Ack{Gen: s.gen, Marks: marks, N: 1}
		a.Ranges[0] = wire.Range{First: from, Last: to}
		s.OnAck(&a, at)
		return s.cc.window / basePacket
	}
	first := s.flood(90, 20*ms)
	if w := marked(30*ms, 1, first, first+19); w < 84 || w > 86 {
		t.Errorf("window %d after a mark", w)
	}
	if w := marked(31*ms, 5, first+20, first+89); w < 84 {
		t.Errorf("window %d: a second reduction in one round trip", w)
	}
	first = s.flood(50, 40*ms)
	if w := marked(50*ms, 5, first, first+19); w < 84 {
		t.Errorf("window %d: old marks count again", w)
	}
	if w := marked(51*ms, 6, first+20, first+29); w > 74 {
		t.Errorf("window %d after a mark in the next round trip", w)
	}
	if s.stats.Marks != 3 {
		t.Errorf("%d acks with news of marks", s.stats.Marks)
	}
}

// TestHyStart: slow start ends when round trips grow, before anything is lost
// (RFC 9406).
func TestHyStart(t *testing.T) {
	l := newLab(t, path{rate: 50e6, rtt: 20 * ms, queue: 10 << 20}, 1).alone()
	m := l.flows[0].mux[0]
	l.run(2 * time.Second)
	if m.cc.slowStart() || l.drops > 0 || m.stats.Lost > 0 {
		t.Errorf("slow start %v, %d drops", m.cc.slowStart(), l.drops)
	}
	if bdp := 125000; m.cc.ssthresh < bdp || m.cc.ssthresh > 8*bdp {
		t.Errorf("slow start ended at %d, the path holds %d", m.cc.ssthresh, bdp)
	}
	// A jump of the round trip that goes away is no queue.
	c := newCongestion()
	c.roundEnd = 1
	for round, rtt := range []time.Duration{20, 20, 40, 20, 20, 20, 20, 20, 20} {
		for range rttSamples {
			c.sample(rtt * ms)
		}
		if (c.css > 0) != (rtt == 40) {
			t.Errorf("round %d of %d ms: conservative: %v", round, rtt, c.css > 0)
		}
		c.endRound(uint64(round+1), time.Duration(round)*20*ms)
	}
	if !c.slowStart() {
		t.Error("slow start ended")
	}
}

// TestPersistentCongestion: RFC 9002, 7.6.
func TestPersistentCongestion(t *testing.T) {
	s := steady(t, 100)
	s.rtt.smoothed, s.rtt.variance = 10*ms, ms
	pto := 2 * s.rtt.pto()
	var first, at uint64
	for i := range 10 {
		at = s.flood(1, 20*ms+time.Duration(i)*pto)
		if i == 0 {
			first = at
		}
	}
	end := s.flood(4, 20*ms+10*pto)
	s.ack(30*ms+10*pto, end, end+3)
	if s.stats.Lost < end-first || s.cc.window != s.cc.minWindow() {
		t.Errorf("%d lost, window %d", s.stats.Lost, s.cc.window)
	}
}

// TestPacketSize: windows follow the size of packets.
func TestPacketSize(t *testing.T) {
	s, _ := newSender(t, InitialWindow)
	s.SetPacketSize(9000)
	n := 0
	for ; s.WantsSend(0); n++ {
		b := s.Fill(nil, 8948, 0)
		s.counter++
		s.Sent(1, s.counter, len(b)+52, 0)
	}
	if n != 10 {
		t.Errorf("%d packets of 9000 bytes in the first flight", n)
	}
	s.SetPacketSize(1200)
	if w := s.cc.window; w != 38400 || s.cc.room() {
		t.Errorf("window %d: nothing was learnt yet", w)
	}
	s.cc.window = 4800
	s.SetPacketSize(9000)
	if s.cc.window != 36000 {
		t.Errorf("window %d, want four packets", s.cc.window)
	}
}

// TestPacing: S5.7. Packets leave no faster than the window allows in a round trip,
// in trains, and Deadline says when the next may go.
func TestPacing(t *testing.T) {
	const rtt = 50 * ms
	s, _ := newSender(t, InitialWindow)
	if s.flood(32, 0); s.WantsSend(0) {
		t.Error("more than the first window")
	}
	s.ack(rtt, 1, 32) // the window is 64 packets now, slow start: 128 a round trip
	now := rtt
	burst := 0
	for ; s.WantsSend(now); burst++ {
		s.send(now)
	}
	if burst < burstLeast || burst > burstLeast+1 {
		t.Errorf("a burst of %d packets", burst)
	}
	sent, wakes := 0, 0
	for now < rtt+10*ms {
		d := s.Deadline()
		if d <= now || d > now+2*ms {
			t.Fatalf("at %v the next release is at %v", now, d)
		}
		now = d
		s.OnTimer(now)
		n := 0
		for ; s.WantsSend(now); n++ {
			s.send(now)
		}
		sent, wakes = sent+n, wakes+1
		if n == 0 && now < rtt+10*ms {
			t.Fatalf("nothing may leave at %v, which Deadline said", now)
		}
	}
	if want := 2 * 64 * 10 / 50; sent < want-3 || sent > want+3 {
		t.Errorf("%d packets in 10 ms, want %d", sent, want)
	}
	// In avoidance a quarter more than the window.
	s.cc.ssthresh = s.cc.window
	if f := s.speed(); f.bytes != s.cc.window*5/4 {
		t.Errorf("speed %+v", f)
	}
	// Near ends are not paced, however long their queues are.
	s.rtt.lowest = ms
	n := 0
	for ; s.WantsSend(now); n++ {
		s.send(now)
	}
	if s.cc.room() && n == 0 {
		t.Error("a short path is paced")
	}
	// A late timer costs nothing: two milliseconds are made up for.
	s2 := steady(t, 2000)
	s2.rtt.smoothed = 20 * ms
	s2.streams[2].peerLimit, s2.streams[2].told = 4<<20, 4<<20
	s2.Write(2, make([]byte, 3<<20), false)
	for now = 100 * ms; s2.WantsSend(now); {
		s2.send(now)
	}
	was := s2.counter
	for now += 2 * ms; s2.WantsSend(now); {
		s2.send(now)
	}
	if n, want := int(s2.counter-was), 2000*5/4*2/20; n < want-2 || n > want+2 {
		t.Errorf("%d packets after 2 ms, want %d", n, want)
	}
}

// TestNewPathUnknown: after a change of path, and where round trips take no time at
// all, nothing is known, and nothing divides by it.
func TestNewPathUnknown(t *testing.T) {
	s, _ := newSender(t, InitialWindow)
	first := s.flood(20, ms)
	s.ack(ms, first, first+19) // a round trip of 0
	s.PathChanged(ms)
	if s.cc.queued(s.rtt.shortest()) {
		t.Error("a path of which nothing is known has a queue")
	}
	for s.WantsSend(ms) {
		s.send(ms)
	}
	if d := s.Deadline(); d <= ms {
		t.Errorf("deadline %v", d)
	}
	s.ack(ms, s.counter, s.counter)
	s.cc.onLost(basePacket, ms+1, ms+2, s.rtt.shortest())
}
