package stream

import (
	"time"

	"nethost/host/wire"
)

const (
	ackDelay = 2 * time.Millisecond // a lone packet is acknowledged after that
	ackEvery = 2                    // so many are acknowledged at once
	// lazyCredit is how long a small credit waits for a packet to ride on.
	lazyCredit = 10 * time.Millisecond
)

// heardGen is which packets of one key generation arrived.
type heardGen struct {
	gen     uint32
	unacked int  // ack-eliciting packets since the last ack
	due     bool // the ack must not wait
	topAt   time.Duration
	n       int
	ranges  [wire.MaxRanges]wire.Range // highest first
}

// Received notes an authenticated packet, once and after its frames were taken.
// eliciting: it carried something besides acks. A packet whose frames could not
// be taken must not be reported: the peer then sends their content again.
func (m *Mux) Received(gen uint32, counter uint64, eliciting bool, now time.Duration) {
	m.now = now
	m.stats.Received++
	g := m.heardFrom(gen)
	inOrder := g.n == 0 || counter == g.ranges[0].Last+1
	if g.n == 0 || counter > g.ranges[0].Last {
		g.topAt = now
	}
	g.insert(counter)
	if !eliciting {
		return
	}
	if g.unacked++; g.unacked >= ackEvery || !inOrder {
		g.due = true
	} else {
		m.ackAt = min(m.ackAt, now+ackDelay)
	}
}

func (m *Mux) heardFrom(gen uint32) *heardGen {
	for i := m.nHeard - 1; i >= 0; i-- {
		if m.heard[i].gen == gen {
			return &m.heard[i]
		}
	}
	if m.nHeard == maxGens {
		copy(m.heard[:], m.heard[1:])
		m.nHeard--
	}
	g := &m.heard[m.nHeard]
	m.nHeard++
	*g = heardGen{gen: gen}
	return g
}

// insert adds a counter. When there are too many ranges the lowest is forgotten:
// whatever it named was reported many times.
func (g *heardGen) insert(c uint64) {
	r := &g.ranges
	i := 0
	for i < g.n && r[i].First > c+1 {
		i++
	}
	switch {
	case i < g.n && r[i].First == c+1:
		r[i].First = c
		if i+1 < g.n && r[i+1].Last+1 == c {
			r[i].First = r[i+1].First
			copy(r[i+1:], r[i+2:g.n])
			g.n--
		}
	case i < g.n && c <= r[i].Last:
	case i < g.n && c == r[i].Last+1:
		r[i].Last = c
	case i == len(r):
	default:
		g.n = min(g.n+1, len(r))
		copy(r[i+1:g.n], r[i:])
		r[i] = wire.Range{First: c, Last: c}
	}
}

// prune forgets what the peer knows to be acknowledged: everything up to top. The
// highest counter stays, so that a gap above it is seen.
func (g *heardGen) prune(top uint64) {
	for g.n > 1 && g.ranges[g.n-1].Last <= top {
		g.n--
	}
	if g.n > 0 {
		r := &g.ranges[g.n-1]
		r.First = max(r.First, min(top+1, r.Last))
	}
}

func (m *Mux) pruneHeard(gen uint32, top uint64) {
	for i := range m.nHeard {
		if m.heard[i].gen == gen {
			m.heard[i].prune(top)
		}
	}
}

// ackDue reports whether an ack must go out by itself.
func (m *Mux) ackDue(now time.Duration) bool {
	if now >= m.ackAt {
		return true
	}
	for i := range m.nHeard {
		if m.heard[i].due {
			return true
		}
	}
	return false
}

// ackNow turns delayed acks into due ones.
func (m *Mux) ackNow() {
	m.ackAt = never
	for i := range m.nHeard {
		if g := &m.heard[i]; g.unacked > 0 {
			g.due = true
		}
	}
}

// fillAcks appends an ack for each generation that has news, newest first.
func (m *Mux) fillAcks(b []byte, limit int, now time.Duration) []byte {
	m.ackAt = never
	for i := m.nHeard - 1; i >= 0; i-- {
		g := &m.heard[i]
		if g.unacked == 0 && !g.due {
			continue
		}
		m.ack.Gen, m.ack.Delay, m.ack.N = g.gen, max(now-g.topAt, 0), g.n
		m.ack.Ranges = g.ranges
		for {
			m.scratch = wire.AppendAck(m.scratch[:0], &m.ack)
			if len(b)+messageOverhead+len(m.scratch) <= limit {
				break
			}
			if m.ack.N /= 2; m.ack.N == 0 {
				break
			}
		}
		if m.ack.N == 0 || len(m.scratch) == 0 {
			g.due = g.n > 0
			continue
		}
		b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: m.scratch})
		if !m.cur.hasAck {
			m.cur.hasAck, m.cur.ackGen, m.cur.ackTop = true, g.gen, g.ranges[0].Last
		}
		g.unacked, g.due = 0, false
	}
	return b
}
