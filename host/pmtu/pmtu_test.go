package pmtu

import (
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

// link is a path that carries datagrams up to mtu and loses some, in virtual time.
type link struct {
	*Search
	t      testing.TB
	now    time.Duration
	mtu    int
	loss   float64
	rtt    time.Duration
	rng    *rand.Rand
	probes int
	out    fate // the probe under way
	ackAt  time.Duration
	after  func() // after each event
}

func newLink(t testing.TB, cfg Config, mtu int) *link {
	l := &link{t: t, now: time.Second, mtu: mtu, rtt: 10 * ms, rng: rand.New(rand.NewPCG(1, uint64(mtu))), ackAt: Never}
	l.Search = New(cfg, l.now)
	l.RTT(l.rtt, ms)
	return l
}

// wait lets time pass.
func (l *link) wait(span time.Duration) {
	l.t.Helper()
	end := l.now + span
	for range 1_000_000 {
		next := min(l.Deadline(), l.ackAt)
		if next > end {
			l.now = end
			return
		}
		l.now = max(l.now, next)
		if l.now >= l.ackAt {
			l.ackAt = Never
			l.OnProbeAcked(l.out.size, l.now)
		}
		if size, send := l.OnTimer(l.now); send {
			if l.ackAt != Never {
				l.t.Fatalf("a probe of %d while one of %d is under way", size, l.out.size)
			}
			l.probes++
			l.out = fate{size, l.now}
			if size <= l.Size() || size > l.max {
				l.t.Fatalf("a probe of %d, in force are %d of %d", size, l.Size(), l.max)
			}
			if size <= l.mtu && l.rng.Float64() >= l.loss {
				l.ackAt = l.now + l.rtt
			}
		}
		if l.Size() > l.mtu && l.Size() > l.base {
			l.t.Fatalf("%d bytes are in force on a link of %d", l.Size(), l.mtu)
		}
		if l.after != nil {
			l.after()
		}
	}
	l.t.Fatal("the search does not come to rest")
}

// TestEveryMTU: P2.2 on links of every size from 1200 to 9216, whatever the maximum.
func TestEveryMTU(t *testing.T) {
	for _, largest := range []int{0, 1200, 1210, 1500, 8952, 9216, 65507} {
		most := 0
		for mtu := 1200; mtu <= 9216; mtu++ {
			l := newLink(t, Config{Max: largest}, mtu)
			l.wait(30 * time.Second)
			want := min(mtu, l.max)
			if got := l.Size(); l.Searching() || got > want || want-got >= 16 || want == l.max && got != want {
				t.Fatalf("link of %d, maximum %d: found %d, still searching: %v", mtu, largest, got, l.Searching())
			}
			most = max(most, l.probes)
			if wait := l.Deadline() - l.now; l.max > 1200 && (wait > raiseAfter || wait < raiseAfter-30*time.Second) || l.max == 1200 && l.Deadline() != Never {
				t.Fatalf("the next search comes in %v", wait)
			}
		}
		if most > 55 {
			t.Errorf("maximum %d: up to %d probes", largest, most)
		}
	}
}

// TestCommonLinks: P2.1, P1.5. What is built is found fast, and exactly.
func TestCommonLinks(t *testing.T) {
	for mtu, c := range map[int]struct {
		max, probes int
		span        time.Duration
	}{
		65507: {65507, 2, 30 * ms}, // loopback
		8972:  {8972, 2, 30 * ms},
		8952:  {8972, 3 + 2 + 3, 300 * ms},
		1472:  {8972, 3*3 + 2 + 3, 600 * ms},
		1452:  {1472, 3 + 2 + 3, 300 * ms},
		1200:  {1200, 0, 0},
	} {
		l := newLink(t, Config{Max: c.max}, mtu)
		l.wait(c.span)
		if l.Size() != mtu || l.probes > c.probes || l.Searching() {
			t.Errorf("link of %d: %d after %v and %d probes, still searching: %v", mtu, l.Size(), c.span, l.probes, l.Searching())
		}
	}
}

// TestConfirmed: P1.5, one acknowledgement is not enough, and three losses in a row
// are needed.
func TestConfirmed(t *testing.T) {
	s := New(Config{Max: 9000}, 0)
	step := func(now time.Duration, acked bool) {
		t.Helper()
		size, send := s.OnTimer(now)
		if !send || size != 9000 {
			t.Fatalf("at %v: probe %d %v", now, size, send)
		}
		if _, again := s.OnTimer(now); again {
			t.Fatal("two probes at once")
		}
		if acked {
			s.OnProbeAcked(size, now)
		} else {
			s.OnProbeLost(size, now)
		}
	}
	step(0, false)
	if _, send := s.OnTimer(firstWait - 1); send || s.Deadline() != firstWait { // P1.4
		t.Error("tried again at once")
	}
	step(1*time.Second, false)
	step(2*time.Second, true)
	step(2*time.Second, false)
	step(3*time.Second, false)
	if s.Size() != 1200 {
		t.Error("one acknowledgement was enough")
	}
	step(4*time.Second, true)
	if s.Size() != 9000 || s.Searching() {
		t.Errorf("two were not: %d", s.Size())
	}
	s = New(Config{Max: 9000}, 0)
	for i := range time.Duration(3) {
		step(i*time.Second, false)
	}
	if size, send := s.OnTimer(3 * time.Second); !send || size != 8972 {
		t.Errorf("after three losses the next is %d", size)
	}
	if s.OnProbeAcked(9000, 3*time.Second); s.Size() != 1200 { // late, of a size that failed
		t.Error("it counted")
	}
	if s.OnProbeLost(9000, 3*time.Second); s.lost != 0 {
		t.Error("it counted")
	}
}

// TestLateAck: an acknowledgement that comes after its probe was given up counts.
func TestLateAck(t *testing.T) {
	s := New(Config{Max: 9000}, 0)
	now := time.Duration(0)
	for range 2 {
		s.OnTimer(now)
		now += firstWait
		if size, send := s.OnTimer(now); !send || size != 9000 {
			t.Fatal("not tried again")
		}
		s.OnProbeAcked(9000, now) // of the first
	}
	if s.Size() != 9000 {
		t.Errorf("size %d", s.Size())
	}
}

// TestCanceled: P1.7.
func TestCanceled(t *testing.T) {
	s := New(Config{Max: 9000}, 0)
	for i := range time.Duration(10) {
		if size, send := s.OnTimer(i * firstWait); !send || size != 9000 {
			t.Fatalf("%d: probe %d %v", i, size, send)
		}
		s.OnProbeCanceled(i * firstWait)
		if s.Deadline() != (i+1)*firstWait {
			t.Fatalf("deadline %v", s.Deadline())
		}
	}
}

// TestRefused: P1.6.
func TestRefused(t *testing.T) {
	s := New(Config{Max: 65507}, 0)
	s.OnTimer(0)
	if s.OnRefused(65507, 0) || s.probing != 8972 {
		t.Errorf("next is %d", s.probing)
	}
	s.OnTimer(0)
	if s.OnRefused(1480, 0) || s.probing != 1472 {
		t.Errorf("next is %d", s.probing)
	}
	for range 2 {
		s.OnTimer(0)
		s.OnProbeAcked(1472, 0)
	}
	if s.Size() != 1472 || s.Searching() {
		t.Errorf("size %d, next %d", s.Size(), s.probing)
	}
	if s.OnRefused(1200, 0) || s.OnRefused(100, 0) || s.Size() != 1472 {
		t.Error("the base was refused, and it counted")
	}
	if !s.OnRefused(1472, 5) || s.Size() != 1200 || s.probing != 1452 || s.Deadline() != 5 {
		t.Errorf("size %d, next %d at %v", s.Size(), s.probing, s.Deadline())
	}
}

// TestLossyLink: random loss never makes a size too large, and what a search missed
// a later one finds (P2.3).
func TestLossyLink(t *testing.T) {
	const links = 400
	for _, c := range []struct {
		loss   float64
		missed int // of links, at most, after the first search
	}{{0.01, 4}, {0.05, 12}, {0.2, 100}} {
		missed, still := 0, 0
		for i := range links {
			mtu := 1200 + i*20
			l := newLink(t, Config{}, mtu)
			l.loss = c.loss
			l.wait(time.Minute)
			if l.Searching() {
				t.Fatal("the search does not end")
			}
			want := min(mtu, l.max)
			if want-l.Size() >= 16 {
				missed++
			}
			first := l.Size()
			for range 10 {
				l.wait(raiseAfter + time.Minute)
				if l.Size() < first {
					t.Fatal("a later search lowered the size")
				}
			}
			if want-l.Size() >= 16 {
				still++
			}
		}
		t.Logf("loss %v: %d of %d missed by the first search, %d by eleven", c.loss, missed, links, still)
		if missed > c.missed || still > 0 {
			t.Errorf("loss %v: %d of %d missed by the first search, %d by eleven", c.loss, missed, links, still)
		}
	}
}

// TestRaise: P2.3, a link that carries more after a while.
func TestRaise(t *testing.T) {
	l := newLink(t, Config{}, 1472)
	l.wait(time.Minute)
	l.mtu = 8972
	if l.wait(raiseAfter - 2*time.Minute); l.Size() != 1472 {
		t.Errorf("size %d too early", l.Size())
	}
	if l.wait(3 * time.Minute); l.Size() != 8972 {
		t.Errorf("size %d", l.Size())
	}
}

// TestPathChanged: P3.1.
func TestPathChanged(t *testing.T) {
	l := newLink(t, Config{}, 8972)
	l.wait(time.Minute)
	l.mtu = 2000
	l.PathChanged(l.now)
	if l.Size() != 1200 || l.Deadline() != l.now {
		t.Errorf("size %d, deadline in %v", l.Size(), l.Deadline()-l.now)
	}
	if l.wait(time.Minute); 2000-l.Size() >= 16 {
		t.Errorf("size %d", l.Size())
	}
	for at := range 200 { // in the middle of a search
		l := newLink(t, Config{}, 8000)
		l.wait(time.Duration(at) * 5 * ms)
		l.mtu, l.ackAt = 1300, Never
		l.PathChanged(l.now)
		if l.wait(time.Minute); l.Size() > 1300 || 1300-l.Size() >= 16 {
			t.Fatalf("changed after %d ms: size %d", at*5, l.Size())
		}
	}
}

// TestBlackHole: P3.2 and P3.3. Traffic of the size in force and small packets go
// over a link that shrinks.
func TestBlackHole(t *testing.T) {
	l := newLink(t, Config{}, 8972)
	l.wait(time.Minute)
	l.mtu = 1400
	at := l.now
	fell, large := false, 0
	for i := 0; !fell && i < 100; i++ {
		l.now += ms
		large++
		if fell = l.OnPacketLost(l.Size(), l.now, l.now+l.rtt); !fell && i == 1 {
			if l.OnPacketAcked(60, l.now, l.now+l.rtt) {
				t.Fatal("two losses are no hole")
			}
		}
	}
	if !fell || large != holeLosses || l.Size() != 1200 {
		t.Fatalf("fell %v after %d packets to %d", fell, large, l.Size())
	}
	hold := time.Second
	for range 12 {
		if l.Searching() || l.Deadline() < l.now+hold-100*ms {
			t.Fatalf("hold %v, want %v", l.Deadline()-l.now, hold)
		}
		l.wait(hold + 30*time.Second)
		if l.Size() > 1400 || 1400-l.Size() >= 16 {
			t.Fatalf("%v after the hole: size %d", l.now-at, l.Size())
		}
		for i := range holeLosses { // it is there again
			l.OnPacketLost(l.Size(), l.now+time.Duration(i), l.now)
		}
		if !l.OnPacketAcked(60, l.now+1, l.now) {
			t.Fatal("not noticed")
		}
		hold = min(2*hold, raiseAfter)
	}
	if l.PathChanged(l.now); l.Deadline() != l.now {
		t.Error("a new path pays for the old one")
	}
	l.wait(time.Minute)
	l.wait(raiseAfter)
	if l.holes != 0 {
		t.Error("ten minutes do not forgive")
	}
}

// TestNoBlackHole: what congestion and short outages do is none.
func TestNoBlackHole(t *testing.T) {
	type ev struct {
		acked bool
		size  int
		sent  time.Duration
	}
	run := func(n int, from, step time.Duration, e ev) (evs []ev) {
		for i := range n {
			e.sent = from + time.Duration(i)*step
			evs = append(evs, e)
		}
		return evs
	}
	cat := func(runs ...[]ev) (all []ev) {
		for _, r := range runs {
			all = append(all, r...)
		}
		return all
	}
	lost, acked, small := ev{false, 9000, 0}, ev{true, 9000, 0}, ev{true, 60, 0}
	for name, c := range map[string]struct {
		evs  []ev
		want bool
	}{
		"nothing gets through":                     {run(100, 0, 1, lost), false},
		"a hole":                                   {cat(run(6, 0, 1, lost), run(1, 3, 1, small)), true},
		"an outage that a small one ends":          {cat(run(99, 0, 1, lost), run(9, 99, 1, small)), false},
		"a large one is lost after it":             {cat(run(99, 0, 1, lost), run(9, 99, 1, small), run(1, 101, 1, lost)), true},
		"all sent at once":                         {cat(run(99, 0, 0, lost), run(9, 0, 0, small)), false},
		"the small one between them":               {cat(run(3, 0, 1, lost), run(1, 2, 1, small), run(3, 3, 1, lost)), true},
		"the small one sent before them":           {cat(run(6, 5, 1, lost), run(1, 4, 1, small)), false},
		"five":                                     {cat(run(5, 0, 1, lost), run(9, 9, 1, small)), false},
		"a large one sent later was heard first":   {cat(run(1, 200, 1, acked), run(100, 0, 1, lost), run(9, 300, 1, small)), false},
		"a large one sent later was heard after":   {cat(run(50, 0, 1, lost), run(1, 200, 1, acked), run(9, 300, 1, small)), false},
		"a large one sent before them all":         {cat(run(1, 5, 1, acked), run(6, 6, 1, lost), run(1, 8, 1, small)), true},
		"packets of the base":                      {cat(run(50, 0, 1, ev{false, 1200, 0}), run(9, 60, 1, small)), false},
		"smaller ones, above the base, get by":     {cat(run(3, 0, 2, lost), run(9, 0, 1, ev{true, 1400, 0}), run(3, 17, 1, lost)), true},
		"a few of those were lost as well":         {cat(run(3, 0, 1, ev{false, 1400, 0}), run(3, 4, 1, lost), run(1, 9, 1, ev{true, 1400, 0})), false},
		"... and then more of the large ones":      {cat(run(3, 0, 1, ev{false, 1400, 0}), run(3, 4, 1, lost), run(1, 9, 1, ev{true, 1400, 0}), run(3, 10, 1, lost)), true},
		"what got by is no smaller than what went": {cat(run(5, 0, 1, lost), run(1, 9, 1, ev{true, 1400, 0}), run(1, 20, 1, ev{false, 1300, 0})), false},
		"... a smaller one did as well":            {cat(run(5, 0, 1, lost), run(1, 9, 1, ev{true, 1400, 0}), run(1, 20, 1, ev{false, 1300, 0}), run(1, 10, 1, small)), true},
	} {
		var h BlackHole
		got := false
		for _, e := range c.evs {
			if e.acked {
				got = h.Acked(e.size, e.sent) || got
			} else {
				got = h.Lost(e.size, e.sent) || got
			}
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	// A flow in bursts of loss, with pings, for an hour.
	rng := rand.New(rand.NewPCG(7, 7))
	var h BlackHole
	var queue []ev
	burst, holes, lostAll := 0, 0, 0
	for i := range 3_600_000 {
		now := time.Duration(i) * ms
		if burst > 0 {
			burst--
		} else if rng.Float64() < 0.02 {
			burst = rng.IntN(40)
		}
		size := 9000
		if i%10 == 0 {
			size = 60
		}
		if burst > 0 {
			lostAll++
		}
		queue = append(queue, ev{burst == 0, size, now})
		if i%8 != 0 { // an acknowledgement speaks of eight: what arrived first, then what was overtaken
			continue
		}
		found := false
		for _, e := range queue {
			if e.acked {
				found = h.Acked(e.size, e.sent) || found
			}
		}
		if len(queue) < 64 && !queue[len(queue)-1].acked {
			continue
		}
		for _, e := range queue {
			if !e.acked {
				found = h.Lost(e.size, e.sent) || found
			}
		}
		queue = queue[:0]
		if found {
			holes++
			h = BlackHole{}
		}
	}
	t.Logf("%d false alarms in an hour with %d %% loss", holes, lostAll/36000)
	if holes > 0 || lostAll < 1_000_000 {
		t.Error("bursts of loss are taken for black holes")
	}
}

// TestArbitrary: whatever is reported in whatever order, the size stays between
// base and maximum, time alone makes no busy loop, and left in peace the search ends.
func TestArbitrary(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := New(Config{Max: 1200 + rng.IntN(9000)}, 0)
		now := time.Duration(0)
		size := func() int {
			return []int{s.probing, s.size, 1200, 60, 1 + rng.IntN(12000)}[rng.IntN(5)]
		}
		for range 500 {
			now += time.Duration(rng.IntN(int(200 * ms)))
			sent := now - time.Duration(rng.IntN(int(100*ms)))
			switch rng.IntN(9) {
			case 0:
				s.OnProbeAcked(size(), now)
			case 1:
				s.OnProbeLost(size(), now)
			case 2:
				s.OnProbeCanceled(now)
			case 3:
				s.OnRefused(size(), now)
			case 4:
				s.OnPacketAcked(size(), sent, now)
			case 5:
				s.OnPacketLost(size(), sent, now)
			case 6:
				if rng.IntN(20) == 0 {
					s.PathChanged(now)
				}
			case 7:
				s.RTT(time.Duration(rng.IntN(int(time.Second))), 0)
			default:
				s.OnTimer(now)
			}
			if s.size < s.base || s.size > s.max || s.probing != 0 && (s.probing <= s.size || s.probing > s.max || s.probing >= s.failed) {
				t.Fatalf("size %d, probing %d, failed %d, maximum %d", s.size, s.probing, s.failed, s.max)
			}
			if _, send := s.OnTimer(now); send || s.Deadline() > now {
				continue
			}
			t.Fatalf("at %v nothing is sent and the deadline is %v", now, s.Deadline())
		}
		for range 2000 {
			if !s.Searching() {
				break
			}
			now = max(now, s.Deadline())
			s.OnTimer(now)
		}
		if s.Searching() {
			t.Fatalf("seed %d: the search goes on for ever", seed)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	s := New(Config{}, 0)
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms
		s.OnTimer(now)
		s.OnPacketAcked(1200, now, now)
		s.OnPacketLost(8000, now, now)
		s.OnProbeLost(8972, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
