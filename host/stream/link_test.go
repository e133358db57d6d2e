package stream

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/host/wire"
)

// conditions describe the network between two ends of a test.
type conditions struct {
	loss, dup, late float64 // probabilities
	delay, jitter   time.Duration
	perPacket       time.Duration // 1/rate of the bottleneck; 0: none
	queue           int           // packets the bottleneck holds; 0: no bound
}

// flight is a packet under way. It keeps what a session would keep: the key
// generation, the counter, and the plaintext.
type flight struct {
	at      time.Duration
	order   int
	to      int
	gen     uint32
	counter uint64
	plain   []byte
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].order < f[j].order
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any     { o := *f; x := o[len(o)-1]; *f = o[:len(o)-1]; return x }

type seenKey struct {
	gen     uint32
	counter uint64
}

// pair is two Muxes and the network between them, in virtual time.
type pair struct {
	t       *testing.T
	rng     *rand.Rand
	cond    conditions
	now     time.Duration
	mux     [2]*Mux
	gen     [2]uint32
	counter [2]uint64
	busy    [2]time.Duration // when the bottleneck is free again
	seen    [2]map[seenKey]bool
	air     flights
	order   int
	packets int
	dropped int
	onEvent func(side int, ev *Event)
	poison  bool
}

func newPair(t *testing.T, seed uint64, cond conditions, cfg Config) *pair {
	p := &pair{t: t, rng: rand.New(rand.NewPCG(seed, 7)), cond: cond, gen: [2]uint32{1, 2}, poison: true}
	for i := range p.mux {
		cfg.Odd = i == 0
		p.mux[i] = New(cfg)
		p.seen[i] = map[seenKey]bool{}
	}
	return p
}

// pump sends whatever both ends want to send now.
func (p *pair) pump() {
	for side, m := range p.mux {
		for n := 0; m.WantsSend(p.now); n++ {
			if n > 1<<16 {
				p.t.Fatal("a Mux never stops sending")
			}
			plain := m.Fill(make([]byte, 0, 1200), 1148, p.now)
			if len(plain) == 0 { // what waited was not needed any more
				if m.WantsSend(p.now) {
					p.t.Fatal("Fill wrote nothing, and WantsSend is still true")
				}
				break
			}
			if len(plain) > 1148 {
				p.t.Fatalf("Fill wrote %d bytes into a room of 1148", len(plain))
			}
			if p.rng.Float64() < 0.001 {
				continue // sealing failed: Sent is not called
			}
			p.counter[side]++
			m.Sent(p.gen[side], p.counter[side], len(plain)+52, p.now)
			p.launch(1-side, flight{gen: p.gen[side], counter: p.counter[side], plain: plain, to: 1 - side})
		}
	}
}

func (p *pair) launch(to int, f flight) {
	p.packets++
	start := max(p.now, p.busy[to])
	if p.cond.queue > 0 && start-p.now > time.Duration(p.cond.queue)*p.cond.perPacket || p.rng.Float64() < p.cond.loss {
		p.dropped++
		return
	}
	p.busy[to] = start + p.cond.perPacket
	for {
		f.at = start + p.cond.perPacket + p.cond.delay
		if p.cond.jitter > 0 && p.rng.Float64() < p.cond.late {
			f.at += time.Duration(p.rng.Int64N(int64(p.cond.jitter)))
		}
		p.order++
		f.order = p.order
		heap.Push(&p.air, f)
		if p.rng.Float64() >= p.cond.dup {
			return
		}
		f.plain = append([]byte(nil), f.plain...)
	}
}

// step advances to the next thing that happens; false: nothing will.
func (p *pair) step() bool {
	p.pump()
	next := min(p.mux[0].Deadline(), p.mux[1].Deadline())
	if len(p.air) > 0 {
		next = min(next, p.air[0].at)
	}
	if next == never {
		return false
	}
	p.now = max(p.now, next)
	for len(p.air) > 0 && p.air[0].at <= p.now {
		p.arrive(heap.Pop(&p.air).(flight))
	}
	for side, m := range p.mux {
		if p.now >= m.Deadline() {
			m.OnTimer(p.now)
			if !m.WantsSend(p.now) && m.Deadline() <= p.now {
				p.t.Fatal("a timer that fired is still due")
			}
		}
		p.drain(side)
	}
	return true
}

func (p *pair) arrive(f flight) {
	key := seenKey{f.gen, f.counter}
	if p.seen[f.to][key] {
		return // the replay window of a session
	}
	p.seen[f.to][key] = true
	deliverPlain(p.t, p.mux[f.to], f.gen, f.counter, f.plain, p.now)
	p.drain(f.to)
	if p.poison {
		for i := range f.plain {
			f.plain[i] = 0xdb
		}
	}
}

// deliverPlain does what the owner of a Mux does with an opened packet.
func deliverPlain(t testing.TB, m *Mux, gen uint32, counter uint64, plain []byte, now time.Duration) {
	deliverMarked(t, m, gen, counter, plain, false, now)
}

// deliverMarked also says whether a relay has set the congestion mark.
func deliverMarked(t testing.TB, m *Mux, gen uint32, counter uint64, plain []byte, marked bool, now time.Duration) {
	eliciting := false
	for rest := plain; len(rest) > 0; {
		f, r, ok := wire.ParseFrame(rest)
		if !ok {
			t.Fatalf("malformed frame in %x", plain)
		}
		rest = r
		if f.ID != coreID {
			eliciting = true
			if f.Flags&wire.FlagStream != 0 && !m.OnFrame(&f, now) {
				t.Fatalf("a violation: %+v", f)
			}
			continue
		}
		body := f.Payload[1:]
		switch f.Payload[0] {
		case wire.MsgAck:
			var a wire.Ack
			if !wire.ParseAck(body, &a) {
				t.Fatal("malformed ack")
			}
			m.OnAck(&a, now)
			continue
		case wire.MsgMarkedAck:
			var a wire.Ack
			if !wire.ParseMarkedAck(body, &a) {
				t.Fatal("malformed ack")
			}
			m.OnAck(&a, now)
			continue
		case wire.MsgCredit:
			c, _ := wire.ParseCredit(body)
			m.OnCredit(c)
		case wire.MsgReset:
			r, _ := wire.ParseReset(body)
			m.OnReset(r)
		}
		eliciting = true
	}
	m.Received(gen, counter, eliciting, marked, now)
}

func (p *pair) drain(side int) {
	for {
		evs := p.mux[side].Events()
		if len(evs) == 0 {
			return
		}
		for i := range evs {
			if p.onEvent != nil {
				p.onEvent(side, &evs[i])
			}
		}
	}
}

// run steps until done, or fails after so much virtual time.
func (p *pair) run(limit time.Duration, done func() bool) {
	p.t.Helper()
	for !done() {
		if !p.step() {
			p.t.Fatalf("at %v nothing will happen any more\n%+v\n%+v", p.now, p.mux[0].Stats(), p.mux[1].Stats())
		}
		if p.now > limit {
			p.t.Fatalf("not done after %v\n%+v\n%+v", limit, p.mux[0].Stats(), p.mux[1].Stats())
		}
	}
}

// settle lets everything under way arrive.
func (p *pair) settle() {
	p.run(p.now+time.Minute, func() bool {
		return len(p.air) == 0 && p.mux[0].InFlight() == 0 && p.mux[1].InFlight() == 0 &&
			!p.mux[0].WantsSend(p.now) && !p.mux[1].WantsSend(p.now)
	})
}
