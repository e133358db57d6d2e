package stream

import (
	"time"

	"nethost/host/wire"
)

// probePackets is how many packets one probe timeout lets out (RFC 9002, 6.2.4).
const probePackets = 2

// OnAck takes an acknowledgement. It reports whether a packet was acknowledged
// for the first time.
func (m *Mux) OnAck(a *wire.Ack, now time.Duration) (newly bool) {
	m.now = now
	g := m.log.find(a.Gen)
	if g == nil {
		return false // a generation that is long gone
	}
	if !g.used || !wellFormed(a) || a.Ranges[0].Last > g.top {
		m.stats.BadAcks++
		return false
	}
	prior, before := m.cc.inFlight, m.topAcked
	if m.reorder.n > 0 {
		m.lateArrivals(a, now)
	}
	// Oldest first through both lists. What is passed over without being
	// acknowledged lies below the highest acknowledged packet, so it is declared
	// lost soon and passed over a bounded number of times.
	var sentAt time.Duration // of the newest packet in the ack
	i := g.head
	for r := a.N - 1; r >= 0 && i != none; r-- {
		for i != none && m.log.packets[i].counter < a.Ranges[r].First {
			i = m.log.packets[i].next
		}
		for i != none && m.log.packets[i].counter <= a.Ranges[r].Last {
			p := &m.log.packets[i]
			next := p.next
			if p.counter == a.Ranges[0].Last {
				m.rtt.sample(now-p.at, a.Delay, now)
				m.cc.sample(m.rtt.latest)
			}
			if p.order < before {
				m.reorder.happened(now - p.at - m.rtt.lossDelay())
			}
			sentAt = p.at
			m.acknowledged(p, prior, now)
			m.log.remove(g, i)
			newly, i = true, next
		}
	}
	if newly {
		m.backoff, m.probes = 0, 0
		m.detectLost(now)
		if a.Marks > g.marks {
			g.marks = a.Marks
			m.stats.Marks++
			m.cc.onMarked(sentAt, now)
		}
		if m.topAcked >= m.cc.roundEnd {
			m.cc.endRound(m.log.order+1, now)
			m.reorder.round()
		}
	}
	return newly
}

func wellFormed(a *wire.Ack) bool {
	if a.N < 1 || a.N > len(a.Ranges) {
		return false
	}
	for i := range a.N {
		r := a.Ranges[i]
		if r.First > r.Last || i > 0 && r.Last >= a.Ranges[i-1].First {
			return false
		}
	}
	return true
}

// acknowledged settles what a packet carried.
func (m *Mux) acknowledged(p *packet, prior int, now time.Duration) {
	m.fate(p, false)
	if p.size > 0 {
		m.cc.onAcked(int(p.size), p.at, now, prior, m.rtt.smoothed)
	}
	m.topAcked, m.anyAcked = max(m.topAcked, p.order), true
	if p.hasAck {
		m.pruneHeard(p.ackGen, p.ackTop)
	}
	for p.items.head != none {
		i := m.log.shift(&p.items)
		it := m.log.items[i]
		m.log.freeOne(i)
		if s := m.streams[it.sid]; s != nil {
			m.arrived(s, it)
		}
	}
}

// arrived settles one item that the peer has.
func (m *Mux) arrived(s *stream, it item) {
	switch {
	case it.kind == itemReset:
		m.finish(s)
		return
	case s.dead:
		return
	case it.kind == itemData:
		m.confirm(s)
		s.send.ack(it.off, uint64(it.n), &m.sendPool)
		s.finAcked = s.finAcked || it.fin
		s.sendDone = s.finAcked && s.send.base == s.send.end
		m.tell(s)
		m.finishIfDone(s)
	}
}

// detectLost declares lost what later packets have overtaken (RFC 9002, 6.1; RFC
// 8985 where the path is known to reorder).
func (m *Mux) detectLost(now time.Duration) {
	m.lossAt = never
	if !m.anyAcked {
		return
	}
	delay := m.rtt.lossDelay() + m.reorder.late
	for k := range m.log.nGens {
		g := &m.log.gens[k]
		var first, last time.Duration // of a run of losses with nothing acknowledged between
		var order uint64
		for g.head != none {
			p := &m.log.packets[g.head]
			if p.order > m.topAcked {
				break
			}
			if p.at+delay > now && (m.reorder.seen || p.order+dupThreshold > m.topAcked) {
				m.lossAt = min(m.lossAt, p.at+delay)
				break
			}
			if order == 0 || p.order != order+1 {
				first = p.at
			}
			order, last = p.order, p.at
			m.lost(g, p, now)
			m.log.remove(g, g.head)
			if m.rtt.sampled && first > m.rtt.firstAt && last-first > 3*m.rtt.pto() {
				m.cc.onPersistent()
			}
		}
	}
}

func (m *Mux) lost(g *sentGen, p *packet, now time.Duration) {
	m.fate(p, true)
	if !p.probe {
		m.stats.Lost++
	}
	m.reorder.remember(gone{counter: p.counter, at: p.at, when: now, gen: g.gen, size: p.size})
	if p.size > 0 {
		m.cc.inFlight -= int(p.size)
		m.cc.onLost(int(p.size), p.at, now, m.rtt.shortest())
	}
	m.lostItems(p)
}

// lostItems queues what a lost packet carried, unless a probe carries it already.
func (m *Mux) lostItems(p *packet) {
	if p.probed {
		m.log.free(&p.items)
		return
	}
	m.requeue(&p.items)
}

// requeue moves items back to their streams, to be sent again.
func (m *Mux) requeue(c *chain) {
	for c.head != none {
		i := m.log.shift(c)
		it := &m.log.items[i]
		s := m.streams[it.sid]
		if s == nil || s.dead != (it.kind == itemReset) {
			m.log.freeOne(i)
			continue
		}
		switch it.kind {
		case itemData:
			m.log.append(&s.lost, i)
			m.push(linkLost, s)
			continue
		case itemCredit:
			s.creditLost = true
			m.unlink(linkLazy, s)
			m.push(linkControl, s)
		case itemReset:
			s.sendReset = true
			m.push(linkControl, s)
		}
		m.log.freeOne(i)
	}
}

// abandon gives up waiting for all packets of a generation and sends their
// content again. It says nothing about congestion.
func (m *Mux) abandon(g *sentGen) {
	for g.head != none {
		p := &m.log.packets[g.head]
		m.cc.inFlight -= int(p.size)
		m.lostItems(p)
		m.log.remove(g, g.head)
	}
}

// probeDeadline is when silence makes us probe (RFC 9002, 6.2).
func (m *Mux) probeDeadline() time.Duration {
	if m.log.count == 0 {
		return never
	}
	d := m.rtt.pto()
	for range m.backoff {
		if d >= maxPTO {
			break
		}
		d *= 2
	}
	return m.probeAt + min(d, maxPTO)
}

// Deadline is when OnTimer wants to be called next; the greatest duration when
// there is nothing to wait for. It moves with every call into the Mux. What
// WantsSend has announced is not waited for.
func (m *Mux) Deadline() time.Duration {
	d := min(m.ackAt, m.lazyAt)
	if m.parts != nil {
		d = min(d, m.parts.Deadline())
	}
	if m.pace.shut && m.hasData() && m.cc.room() {
		if at := m.nextRelease(); at > m.now {
			d = min(d, at)
		}
	}
	if m.log.count == 0 && m.fat {
		d = min(d, m.busyAt+idleAfter)
	}
	if m.lossAt != never {
		return min(d, m.lossAt)
	}
	return min(d, m.probeDeadline())
}

// OnTimer does what is due; calling it early or late does no harm. WantsSend may
// be true afterwards.
func (m *Mux) OnTimer(now time.Duration) {
	m.now = now
	if m.parts != nil {
		m.parts.Expire(now)
	}
	if now >= m.ackAt {
		m.ackNow()
	}
	if now >= m.lazyAt {
		l := &m.lists[linkLazy][0]
		for s := l.head; s != nil; s = l.head {
			m.unlink(linkLazy, s)
			m.push(linkControl, s)
		}
		m.lazyAt = never
	}
	if now >= m.lossAt {
		m.detectLost(now)
	}
	if m.lossAt == never && now >= m.probeDeadline() {
		m.probe(now)
	}
	if m.fat && m.log.count == 0 && now >= m.busyAt+idleAfter {
		m.trim()
	}
}

// probe lets packets out in spite of the window, with the oldest content that no
// probe carried yet, or a ping when there is none.
func (m *Mux) probe(now time.Duration) {
	m.stats.ProbeTimeouts++
	m.backoff++
	m.probes, m.probeAt = probePackets, now
	left := probePackets
	for k := 0; k < m.log.nGens && left > 0; k++ {
		for i := m.log.gens[k].head; i != none && left > 0; i = m.log.packets[i].next {
			p := &m.log.packets[i]
			if p.probed || p.items.head == none {
				continue
			}
			p.probed = true
			left--
			again := noItems
			for j := p.items.head; j != none; j = m.log.items[j].next {
				m.log.newItem(&again, m.log.items[j])
			}
			m.requeue(&again)
		}
	}
}

// PathChanged says that packets take another way from now on: what is not
// acknowledged counts as lost on the old one and is sent again at once.
func (m *Mux) PathChanged(now time.Duration) {
	m.now = now
	if m.log.count > 0 {
		m.probes = 1 // hear from the new path soon, even if nothing was reliable
	}
	for k := range m.log.nGens {
		m.abandon(&m.log.gens[k])
	}
	m.backoff, m.lossAt, m.probeAt = 0, never, now
	m.rtt.pathChanged()
	m.cc.pathChanged(now)
	m.reorder = reordering{gone: m.reorder.gone}
}
