package stream

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/sdk"
)

// path is what flows share: one bottleneck with a drop-tail queue, then a delay,
// loss and reordering; acks come back over the same delay.
type path struct {
	rate   int           // bits a second
	rtt    time.Duration // without queue and reordering
	queue  int           // bytes
	loss   float64       // of packets, both ways
	late   float64       // of packets that are delayed by up to jitter, both ways
	jitter time.Duration
	mark   int // queued bytes from which on packets are marked; 0: never
	packet int // bytes of a full packet; 0: 1200
}

// lab runs flows over a path in virtual time.
type lab struct {
	path
	t      *testing.T
	rng    *rand.Rand
	now    time.Duration
	free   time.Duration // when the bottleneck has sent what it holds
	air    airHeap
	order  int
	flows  []*labFlow
	renos  []*reno
	drops  int
	deep   time.Duration // longest wait in the queue
	inject func()        // before each step
}

// labFlow is a stream that always has more to write, if greedy, and its two ends.
type labFlow struct {
	mux     [2]*Mux
	counter [2]uint64
	sid     uint64
	start   time.Duration
	limit   uint64
	written uint64
	got     int // bytes delivered to the consumer
	quiet   bool
}

type airPacket struct {
	at      time.Duration
	order   int
	flow    int // index of flows, or -1-index of renos
	to      int
	counter uint64
	marked  bool
	plain   []byte
}

type airHeap []airPacket

func (h airHeap) Len() int { return len(h) }
func (h airHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h airHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *airHeap) Push(x any)   { *h = append(*h, x.(airPacket)) }
func (h *airHeap) Pop() any     { o := *h; x := o[len(o)-1]; *h = o[:len(o)-1]; return x }

func newLab(t *testing.T, p path, seed uint64) *lab {
	if p.packet == 0 {
		p.packet = basePacket
	}
	return &lab{path: p, t: t, rng: rand.New(rand.NewPCG(seed, 5))}
}

func (l *lab) flow(start time.Duration) *labFlow {
	f := &labFlow{start: start, limit: InitialWindow}
	for i := range f.mux {
		f.mux[i] = New(Config{Odd: i == 0})
		f.mux[i].SetPacketSize(l.packet)
	}
	f.sid, _ = f.mux[0].Open(testID, 0, sdk.Bulk)
	l.flows = append(l.flows, f)
	return f
}

// alone puts one flow on the path.
func (l *lab) alone() *lab {
	l.flow(0)
	return l
}

var zeros [64 << 10]byte

func (f *labFlow) push() {
	for f.limit > f.written && !f.quiet {
		n := min(f.limit-f.written, uint64(len(zeros)))
		if f.mux[0].Write(f.sid, zeros[:n], false) != OK {
			return
		}
		f.written += n
	}
}

// send puts a packet on the path; forward ones pass the bottleneck.
func (l *lab) send(p airPacket, size int) {
	at := l.now
	if p.to == 1 {
		wait := max(l.free-l.now, 0)
		queued := int(int64(wait) * int64(l.rate) / 8 / int64(time.Second))
		if queued+size > l.queue {
			l.drops++
			return
		}
		p.marked = l.mark > 0 && queued > l.mark
		l.deep = max(l.deep, wait)
		l.free = max(l.free, l.now) + time.Duration(int64(size)*8*int64(time.Second)/int64(l.rate))
		at = l.free
	}
	if l.rng.Float64() < l.loss {
		return
	}
	if l.late > 0 && l.rng.Float64() < l.late {
		at += time.Duration(l.rng.Int64N(int64(l.jitter)))
	}
	l.order++
	p.at, p.order = at+l.rtt/2, l.order
	heap.Push(&l.air, p)
}

func (l *lab) pump() {
	for i, f := range l.flows {
		if l.now < f.start {
			continue
		}
		f.push()
		for side, m := range f.mux {
			for m.WantsSend(l.now) {
				plain := m.Fill(make([]byte, 0, l.packet), l.packet-52, l.now)
				if len(plain) == 0 {
					break
				}
				f.counter[side]++
				m.Sent(uint32(1+side), f.counter[side], len(plain)+52, l.now)
				l.send(airPacket{flow: i, to: 1 - side, counter: f.counter[side], plain: plain}, len(plain)+52)
			}
		}
	}
}

func (l *lab) run(until time.Duration) {
	for l.now < until {
		if l.inject != nil {
			l.inject()
		}
		l.pump()
		next := until
		if len(l.air) > 0 {
			next = min(next, l.air[0].at)
		}
		for _, f := range l.flows {
			if f.start > l.now {
				next = min(next, f.start)
				continue
			}
			// Timers of a real host are late by up to a millisecond.
			const grid = time.Millisecond
			if d := min(f.mux[0].Deadline(), f.mux[1].Deadline()); d < until {
				next = min(next, (max(d, l.now)+grid)/grid*grid)
			}
		}
		for _, r := range l.renos {
			next = min(next, r.deadline(l))
		}
		l.now = max(l.now, next)
		for len(l.air) > 0 && l.air[0].at <= l.now {
			l.arrive(heap.Pop(&l.air).(airPacket))
		}
		for _, f := range l.flows {
			for _, m := range f.mux {
				if l.now >= m.Deadline() {
					m.OnTimer(l.now)
				}
			}
		}
		for _, r := range l.renos {
			r.timer(l)
		}
	}
}

func (l *lab) arrive(p airPacket) {
	if p.flow < 0 {
		l.renos[-1-p.flow].arrive(l, p)
		return
	}
	f := l.flows[p.flow]
	m := f.mux[p.to]
	deliverMarked(l.t, m, uint32(2-p.to), p.counter, p.plain, p.marked, l.now)
	for _, ev := range m.Events() {
		switch ev.Kind {
		case Data:
			f.got += len(ev.Data)
			m.Consumed(ev.Stream, uint64(len(ev.Data)))
		case CreditGranted:
			f.limit += ev.N
		case WasReset:
			l.t.Fatalf("reset: %s", ev.Data)
		}
	}
}

// goodput is what a flow delivers between two times, in bits a second.
func (l *lab) goodput(from, to time.Duration) []float64 {
	l.run(from)
	out := make([]float64, 0, len(l.flows)+len(l.renos))
	for _, f := range l.flows {
		out = append(out, -float64(f.got))
	}
	for _, r := range l.renos {
		out = append(out, -float64(r.got))
	}
	l.run(to)
	for i := range out {
		if i < len(l.flows) {
			out[i] += float64(l.flows[i].got)
		} else {
			out[i] += float64(l.renos[i-len(l.flows)].got)
		}
		out[i] *= 8 / (to - from).Seconds()
	}
	return out
}

// reno is a stranger's flow: NewReno to the letter (RFC 9002, appendix B), no
// pacing, every packet acknowledged, retransmissions not modelled: what is lost is
// not goodput.
type reno struct {
	self     int
	window   float64 // packets
	ssthresh float64
	next     uint64
	recovery uint64
	out      []uint64 // sent and not settled, in order
	last     time.Duration
	srtt     time.Duration
	sentAt   map[uint64]time.Duration
	got      int
}

func (l *lab) reno() *reno {
	r := &reno{self: -1 - len(l.renos), window: 10, ssthresh: 1e9, sentAt: map[uint64]time.Duration{}, srtt: l.rtt}
	l.renos = append(l.renos, r)
	return r
}

func (r *reno) fill(l *lab) {
	for float64(len(r.out)) < r.window {
		r.next++
		r.out = append(r.out, r.next)
		r.sentAt[r.next], r.last = l.now, l.now
		l.send(airPacket{flow: r.self, to: 1, counter: r.next}, l.packet)
	}
}

func (r *reno) arrive(l *lab, p airPacket) {
	if p.to == 1 {
		r.got += l.packet
		p.to = 0
		l.send(p, 0)
		return
	}
	lost := false
	kept := r.out[:0]
	for _, c := range r.out {
		switch {
		case c == p.counter:
			r.srtt += (l.now - r.sentAt[c] - r.srtt) / 8
			delete(r.sentAt, c)
			if c > r.recovery {
				if r.window < r.ssthresh {
					r.window++
				} else {
					r.window += 1 / r.window
				}
			}
		case c+3 <= p.counter:
			delete(r.sentAt, c)
			lost = lost || c > r.recovery
		default:
			kept = append(kept, c)
		}
	}
	r.out = kept
	if lost {
		r.recovery, r.window = r.next, max(r.window/2, 2)
		r.ssthresh = r.window
	}
	r.fill(l)
}

func (r *reno) deadline(l *lab) time.Duration {
	if len(r.out) == 0 {
		return l.now
	}
	return r.last + max(3*r.srtt, 200*time.Millisecond)
}

func (r *reno) timer(l *lab) {
	if l.now >= r.deadline(l) {
		r.out, r.window, r.recovery = r.out[:0], 2, r.next
		clear(r.sentAt)
		r.fill(l)
	}
}

// TestGoodput: one flow alone over paths of all kinds, as a part of the rate, and
// under loss and reordering as a part of what the same path gives without (S5).
func TestGoodput(t *testing.T) {
	const ms = time.Millisecond
	bdp := func(rate int, d time.Duration) int {
		return max(int(int64(rate)/8*int64(d)/int64(time.Second)), 64<<10)
	}
	for _, c := range []struct {
		rate     int
		rtts     []time.Duration
		from, to time.Duration
	}{
		{20e6, []time.Duration{2 * ms, 10 * ms, 50 * ms}, 2 * time.Second, 5 * time.Second},
		{300e6, []time.Duration{ms / 5, 10 * ms}, 500 * ms, 1500 * ms},
	} {
		rate, from, to := c.rate, c.from, c.to
		for _, rtt := range c.rtts {
			p := path{rate: rate, rtt: rtt, queue: bdp(rate, rtt)}
			clean := newLab(t, p, 1).alone().goodput(from, to)[0]
			line := fmt.Sprintf("%3d Mbit/s %6v: clean %.2f", rate/1e6, rtt, clean/float64(rate))
			if clean < 0.85*float64(rate) {
				t.Errorf("%s of the rate", line)
			}
			for _, c := range []struct {
				name  string
				set   func(*path)
				least float64
			}{
				{"loss 1%", func(p *path) { p.loss = 0.01 }, 0.8},
				{"reorder 5 ms", func(p *path) { p.late, p.jitter = 0.2, 5*ms }, 0.8},
				{"both", func(p *path) { p.loss, p.late, p.jitter = 0.01, 0.2, 5*ms }, 0.8},
				{"all late", func(p *path) { p.loss, p.late, p.jitter = 0.01, 1, 5*ms }, 0.8},
				{"queue/8", func(p *path) { p.queue = max(p.queue/8, 32<<10) }, 0.7},
				{"9000 B", func(p *path) { p.packet, p.queue = 9000, max(p.queue, 128<<10) }, 0.8},
			} {
				q := p
				c.set(&q)
				l := newLab(t, q, 1).alone()
				got := l.goodput(from, to)[0]
				line += fmt.Sprintf("; %s %.2f", c.name, got/clean)
				if got < c.least*clean {
					t.Errorf("%d Mbit/s, %v, %s: %.2f of the clean path, %+v", rate/1e6, rtt, c.name, got/clean, l.flows[0].mux[0].Stats())
				}
			}
			t.Log(line)
		}
	}
}
