package stream

import (
	"time"

	"nethost/host/wire"
)

const (
	// dupThreshold is how many later packets must be acknowledged before an
	// earlier one counts as lost, on a path that keeps the order (RFC 9002, 6.1.1).
	dupThreshold = 3
	// mostLate bounds how long we wait for packets that were overtaken, beyond a
	// round trip: a loss is found that much later.
	mostLate = 25 * time.Millisecond
	// calmRounds: after so many rounds without reordering half of the tolerance
	// is enough (RFC 8985, 6.2, step 4, has 16 recoveries).
	calmRounds = 16
	lateKept   = 256 // lost packets remembered, in case they are only late
)

// reordering is how much overtaking the path does (RFC 8985): once packets were
// seen to overtake one another, counting them proves nothing, and only time does.
type reordering struct {
	seen  bool
	late  time.Duration // tolerance beyond rtt.lossDelay
	calm  int           // rounds since it was needed
	gone  []gone        // ring of packets declared lost, oldest first
	first int
	n     int
}

// gone is a packet that was declared lost.
type gone struct {
	counter  uint64
	at, when time.Duration // sent, declared lost
	gen      uint32
	size     int32
}

// happened notes that a packet was overtaken and would have needed so much
// tolerance.
func (r *reordering) happened(needed time.Duration) {
	r.seen = true
	if needed = max(needed, 0); 2*needed >= r.late {
		r.calm = 0
	}
	r.late = max(r.late, min(needed*5/4, mostLate))
}

// round notes that a round trip has passed.
func (r *reordering) round() {
	if !r.seen {
		return
	}
	if r.calm++; r.calm < calmRounds {
		return
	}
	r.calm = 0
	if r.late /= 2; r.late < granularity/2 {
		r.late, r.seen = 0, false
	}
}

// remember keeps a packet that was declared lost.
func (r *reordering) remember(g gone) {
	if r.n == len(r.gone) {
		if r.n == lateKept {
			r.drop()
		} else {
			ring := make([]gone, max(16, 2*r.n))
			for i := range r.n {
				ring[i] = r.gone[(r.first+i)%len(r.gone)]
			}
			r.gone, r.first = ring, 0
		}
	}
	r.gone[(r.first+r.n)%len(r.gone)] = g
	r.n++
}

func (r *reordering) drop() {
	r.first = (r.first + 1) % len(r.gone)
	r.n--
}

// lateArrivals looks for packets in an ack that were declared lost. What it finds
// was late: the tolerance grows, and the window gets back what that cost.
func (m *Mux) lateArrivals(a *wire.Ack, now time.Duration) {
	r := &m.reorder
	keep := max(3*m.rtt.pto(), 4*mostLate)
	for r.n > 0 && (now-r.gone[r.first].when > keep || r.gone[r.first].size < 0) {
		r.drop()
	}
	k := a.N - 1
	for i := range r.n {
		g := &r.gone[(r.first+i)%len(r.gone)]
		if g.gen != a.Gen || g.size < 0 {
			continue
		}
		for k > 0 && a.Ranges[k].Last < g.counter {
			k--
		}
		if g.counter < a.Ranges[k].First || g.counter > a.Ranges[k].Last {
			continue
		}
		m.stats.Spurious++
		r.happened(now - g.at - m.rtt.lossDelay())
		if g.size > 0 {
			m.cc.onLate(int(g.size), g.when)
		}
		g.size = -1
	}
}
