package stream

import (
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

const (
	coreID sdk.ID = 0x0001
	// frameFlags are the bits of a frame's flags that a stream or message owns.
	frameFlags = wire.FrameEpochMask | 7<<wire.FrameClassShift
	// minPiece is the least a stream puts into what is left of a packet, unless
	// it has less, in bytes.
	minPiece = 64
	maxRoom  = 0xffff // a frame's payload has a 16-bit length
	// bulkTurn: of so many packets one takes bulk streams before realtime ones,
	// so that realtime cannot starve them.
	bulkTurn = 4
)

// filling is what the packet being filled carries, until Sent names it.
type filling struct {
	items     chain
	ackGen    uint32
	ackTop    uint64
	hasAck    bool
	eliciting bool // something besides acks
	counted   bool // something the congestion window bounds
	realtime  bool // some data of the realtime class
	pathProbe bool // it is one of SentProbe
}

// WantsSend reports whether Fill has something to look at. Fill may still find
// that it is not needed any more; then WantsSend is false afterwards.
func (m *Mux) WantsSend(now time.Duration) bool {
	m.now = now
	return !m.control.empty() || len(m.lent) > 0 || m.ackDue(now) || m.wantsData(now)
}

// wantsData reports whether something waits that the window bounds, and may go.
func (m *Mux) wantsData(now time.Duration) bool {
	if m.probes > 0 && m.log.count < maxTracked {
		return true
	}
	return m.hasData() && m.cc.room() && m.log.count < maxInFlight && m.paced(now)
}

// hasData reports whether something waits that the window bounds.
func (m *Mux) hasData() bool {
	return m.lists[linkFresh][1].head != nil || m.lists[linkFresh][0].head != nil || !m.messages[0].empty() ||
		m.lists[linkControl][0].head != nil || m.lists[linkLost][0].head != nil || m.lists[linkLost][1].head != nil ||
		!m.messages[1].empty()
}

// Fill appends the frames of one packet to b, at most room bytes, and returns b
// as it was when nothing may be sent. Sent must follow when the packet went out;
// when it did not, the next Fill
// sends what must arrive again.
func (m *Mux) Fill(b []byte, room int, now time.Duration) []byte {
	m.now = now
	m.unfill()
	room = min(room, maxRoom)
	data, limit := m.wantsData(now), len(b)+room
	if !data && m.control.empty() && len(m.lent) == 0 && !m.ackDue(now) {
		return b
	}
	b = m.fillAcks(b, limit, now)
	b = m.fillControl(b, limit, room)
	b = m.fillLent(b, limit, room)
	if data {
		b = m.fillUrgent(b, limit)
		b = m.fillClasses(b, limit, room, now)
		if m.cur.counted {
			b = m.fillLazy(b, limit)
		}
		if m.probes > 0 && !m.cur.eliciting {
			m.scratch = wire.AppendPing(m.scratch[:0], wire.Ping{})
			b, m.cur.eliciting = m.core(b, limit)
		}
	}
	return b
}

// PacketClass is the class for the packet that Fill wrote last: Bulk when it
// carries bulk data and nothing that is in more of a hurry.
func (m *Mux) PacketClass() sdk.Class {
	if m.cur.counted && !m.cur.realtime {
		return sdk.Bulk
	}
	return sdk.Realtime
}

// unfill takes back a packet that was filled and never sent.
func (m *Mux) unfill() {
	if m.cur.hasAck {
		for i := range m.nHeard {
			m.heard[i].due = len(m.heard[i].ranges) > 0
		}
	}
	m.requeue(&m.cur.items)
	m.cur = filling{items: noItems}
}

// core appends the core message in scratch; false: there is no room.
func (m *Mux) core(b []byte, limit int) ([]byte, bool) {
	if len(b)+messageOverhead+len(m.scratch) > limit {
		return b, false
	}
	return wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: m.scratch}), true
}

func (m *Mux) fillControl(b []byte, limit, room int) []byte {
	for !m.control.empty() {
		need := messageOverhead + int(m.control.front().size)
		if need > room { // it would block the queue for ever
			m.control.drop()
			m.stats.DroppedMessages++
			continue
		}
		if len(b)+need > limit {
			break
		}
		m.scratch = m.control.pop(m.scratch[:0])
		b, m.cur.eliciting = m.core(b, limit)
	}
	return b
}

// fillUrgent appends resets and credits that must not wait.
func (m *Mux) fillUrgent(b []byte, limit int) []byte {
	l := &m.lists[linkControl][0]
	for s := l.head; s != nil; s = l.head {
		ok := true
		if s.sendReset {
			m.scratch = wire.AppendReset(m.scratch[:0], wire.Reset{Stream: s.sid, Code: s.code, Text: []byte(s.text)})
			if b, ok = m.core(b, limit); ok {
				s.sendReset = false
				m.carry(item{sid: s.sid, kind: itemReset}, 0)
			}
		} else {
			b, ok = m.fillCredit(b, limit, s)
		}
		if !ok {
			break
		}
		m.unlink(linkControl, s)
	}
	return b
}

// fillLazy appends small credits to a packet that goes anyway.
func (m *Mux) fillLazy(b []byte, limit int) []byte {
	l := &m.lists[linkLazy][0]
	for s := l.head; s != nil; s = l.head {
		var ok bool
		if b, ok = m.fillCredit(b, limit, s); !ok {
			return b
		}
		m.unlink(linkLazy, s)
	}
	m.lazyAt = never
	return b
}

func (m *Mux) fillCredit(b []byte, limit int, s *stream) ([]byte, bool) {
	to := s.creditLimit()
	if s.dead || s.hasFinal || to <= s.limit && !s.creditLost {
		return b, true
	}
	m.scratch = wire.AppendCredit(m.scratch[:0], wire.Credit{Stream: s.sid, Limit: to})
	b, ok := m.core(b, limit)
	if ok {
		s.limit, s.creditLost = to, false
		m.carry(item{sid: s.sid, kind: itemCredit}, lane(s.flags))
	}
	return b, ok
}

// carry notes an item of the packet being filled.
func (m *Mux) carry(it item, lane int) {
	m.log.newItem(&m.cur.items, it)
	m.counted(lane)
}

func (m *Mux) counted(lane int) {
	m.cur.eliciting, m.cur.counted = true, true
	m.cur.realtime = m.cur.realtime || lane == 0
}

// Sent reports that the packet Fill wrote last went out under a key generation
// with a counter. size is all of it, in bytes. Counters of a generation rise.
func (m *Mux) Sent(gen uint32, counter uint64, size int, now time.Duration) {
	m.now = now
	m.stats.Sent++
	g := m.log.find(gen)
	if g == nil {
		if m.log.nGens == maxGens {
			m.abandon(&m.log.gens[0])
			m.log.retire()
		}
		g = m.log.begin(gen)
	}
	if g.used && counter <= g.top {
		m.unfill() // a counter that was used before names nothing
		return
	}
	g.used, g.top = true, counter
	cur := m.cur
	m.cur = filling{items: noItems, counted: cur.counted, realtime: cur.realtime}
	if !cur.eliciting || !cur.counted && m.log.count >= maxTracked {
		return
	}
	p := packet{counter: counter, at: now, length: int32(size), probe: cur.pathProbe, items: cur.items, hasAck: cur.hasAck, ackGen: cur.ackGen, ackTop: cur.ackTop}
	if cur.counted {
		p.size = int32(size)
		m.cc.inFlight += size
		m.pace.spend(size)
	}
	m.probes = max(m.probes-1, 0)
	m.probeAt = now
	if cur.counted { // a ping now and then is no work
		m.busyAt, m.fat = now, true
	}
	room := cap(m.log.packets)
	if m.log.add(g, &p); cap(m.log.packets) > max(room, smallSlab) {
		m.busyAt, m.fat = now, true
	}
}
