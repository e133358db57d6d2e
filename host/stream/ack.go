package stream

import (
	"time"

	"nethost/host/wire"
)

const (
	ackDelay = 2 * time.Millisecond // a lone packet is acknowledged after that
	ackEvery = 2                    // so many are acknowledged at once ...
	ackSteps = 8                    // ... or so many, when the flow is steady:
	steadyAt = 128                  // after so many in order
	// askRanges: an ack of so many ranges asks to be acknowledged, so that the old
	// ones can be forgotten (RFC 9000, 13.2.4).
	askRanges = 12
	// lazyCredit is how long a small credit waits for a packet to ride on.
	lazyCredit = 10 * time.Millisecond
)

// heardGen is which packets of one key generation arrived.
type heardGen struct {
	gen     uint32
	unacked int32 // ack-eliciting packets since the last ack
	steady  int32 // ack-eliciting packets in order since the last gap or mark
	due     bool  // the ack must not wait
	topAt   time.Duration
	marks   uint64       // packets that carried a congestion mark
	ranges  []wire.Range // highest first, at most wire.MaxRanges
}

// Received notes an authenticated packet, once and after its frames were taken.
// eliciting: it carried something besides acks. marked: a relay on its way has set
// the congestion mark in the hop frame. A packet whose frames could not be taken
// must not be reported: the peer then sends their content again.
func (m *Mux) Received(gen uint32, counter uint64, eliciting, marked bool, now time.Duration) {
	m.now = now
	m.stats.Received++
	g := m.heardFrom(gen)
	inOrder := len(g.ranges) == 0 || counter == g.ranges[0].Last+1
	if len(g.ranges) == 0 || counter > g.ranges[0].Last {
		g.topAt = now
	}
	g.insert(counter)
	if marked {
		g.marks++
	}
	if !eliciting {
		return
	}
	m.busyAt = now
	if g.steady++; !inOrder || marked {
		g.steady, m.fat = 0, true
	}
	every := int32(ackEvery)
	if g.steady > steadyAt {
		every = ackSteps
	}
	if g.unacked++; g.unacked >= every || !inOrder || marked {
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
		oldest := m.heard[0].ranges
		copy(m.heard[:], m.heard[1:])
		m.heard[maxGens-1].ranges = oldest
		m.nHeard--
	}
	g := &m.heard[m.nHeard]
	m.nHeard++
	*g = heardGen{gen: gen, ranges: g.ranges[:0]}
	return g
}

// insert adds a counter. When there are too many ranges the lowest is forgotten,
// which was reported before; one below all of them takes its place, as it was not.
func (g *heardGen) insert(c uint64) {
	r := g.ranges
	if len(r) > 0 && r[0].Last+1 == c {
		r[0].Last = c
		return
	}
	i := 0
	for i < len(r) && r[i].First > c+1 {
		i++
	}
	switch {
	case i < len(r) && r[i].First == c+1:
		r[i].First = c
		if i+1 < len(r) && r[i+1].Last+1 == c {
			r[i].First = r[i+1].First
			g.ranges = append(r[:i+1], r[i+2:]...)
		}
	case i < len(r) && c <= r[i].Last:
	case i < len(r) && c == r[i].Last+1:
		r[i].Last = c
	default:
		if len(r) < wire.MaxRanges {
			r = append(r, wire.Range{})
		}
		i = min(i, len(r)-1)
		copy(r[i+1:], r[i:])
		r[i] = wire.Range{First: c, Last: c}
		g.ranges = r
	}
}

// prune forgets what the peer knows to be acknowledged: everything up to top. The
// highest counter stays, so that a gap above it is seen.
func (g *heardGen) prune(top uint64) {
	n := len(g.ranges)
	for n > 1 && g.ranges[n-1].Last <= top {
		n--
	}
	g.ranges = g.ranges[:n]
	if n > 0 {
		r := &g.ranges[n-1]
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
		n := len(g.ranges)
		for ; n > 0; n /= 2 {
			m.scratch = wire.AppendRanges(m.scratch[:0], g.gen, max(now-g.topAt, 0), g.marks, g.ranges[:n])
			if len(b)+messageOverhead+len(m.scratch) <= limit {
				break
			}
		}
		if n == 0 || len(m.scratch) == 0 {
			g.due = len(g.ranges) > 0
			continue
		}
		b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: m.scratch})
		if !m.cur.hasAck {
			m.cur.hasAck, m.cur.ackGen, m.cur.ackTop = true, g.gen, g.ranges[0].Last
		}
		g.unacked, g.due = 0, false
		if len(g.ranges) >= askRanges && now >= m.askAt {
			m.scratch = wire.AppendPing(m.scratch[:0], wire.Ping{})
			if b, m.cur.eliciting = m.core(b, limit); m.cur.eliciting {
				srtt, _ := m.rtt.values()
				m.askAt = now + srtt
			}
		}
	}
	return b
}
