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
}

// WantsSend reports whether Fill has something to look at. Fill may still find
// that it is not needed any more; then WantsSend is false afterwards.
func (m *Mux) WantsSend(now time.Duration) bool {
	return !m.control.empty() || m.ackDue(now) || m.wantsData()
}

// wantsData reports whether something waits that the window bounds, and may go.
func (m *Mux) wantsData() bool {
	if m.probes > 0 && m.log.count < maxTracked {
		return true
	}
	if !m.reno.room() || m.log.count >= maxInFlight {
		return false
	}
	return !m.messages.empty() || m.lists[listControl].head != nil || m.lists[listRetransmit].head != nil ||
		m.lists[listRealtime].head != nil || m.lists[listBulk].head != nil
}

// Fill appends the frames of one packet to b, at most room bytes, and returns b
// as it was when nothing may be sent. Sent must follow when the packet went out;
// when it did not, the next Fill
// sends what must arrive again.
func (m *Mux) Fill(b []byte, room int, now time.Duration) []byte {
	m.now = now
	m.unfill()
	room = min(room, maxRoom)
	data, limit := m.wantsData(), len(b)+room
	if !data && m.control.empty() && !m.ackDue(now) {
		return b
	}
	b = m.fillAcks(b, limit, now)
	b = m.fillControl(b, limit, room)
	if data {
		b = m.fillUrgent(b, limit)
		b = m.fillLost(b, limit)
		b = m.fillFresh(b, limit, room)
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
			m.heard[i].due = m.heard[i].n > 0
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
		need := messageOverhead + m.control.front().size
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
	for s := m.lists[listControl].head; s != nil; s = m.lists[listControl].head {
		ok := true
		if s.sendReset {
			m.scratch = wire.AppendReset(m.scratch[:0], wire.Reset{Stream: s.sid, Code: s.code, Text: []byte(s.text)})
			if b, ok = m.core(b, limit); ok {
				s.sendReset = false
				m.carry(item{sid: s.sid, kind: itemReset}, sdk.Realtime)
			}
		} else {
			b, ok = m.fillCredit(b, limit, s)
		}
		if !ok {
			break
		}
		m.unlink(listControl, s)
	}
	return b
}

// fillLazy appends small credits to a packet that goes anyway.
func (m *Mux) fillLazy(b []byte, limit int) []byte {
	for s := m.lists[listLazy].head; s != nil; s = m.lists[listLazy].head {
		var ok bool
		if b, ok = m.fillCredit(b, limit, s); !ok {
			return b
		}
		m.unlink(listLazy, s)
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
		m.carry(item{sid: s.sid, kind: itemCredit}, s.class())
	}
	return b, ok
}

// carry notes an item of the packet being filled.
func (m *Mux) carry(it item, class sdk.Class) {
	m.log.newItem(&m.cur.items, it)
	m.counted(class)
}

func (m *Mux) counted(class sdk.Class) {
	m.cur.eliciting, m.cur.counted = true, true
	m.cur.realtime = m.cur.realtime || class == sdk.Realtime
}

// fillLost appends pieces that were lost before.
func (m *Mux) fillLost(b []byte, limit int) []byte {
	for s := m.lists[listRetransmit].head; s != nil; s = m.lists[listRetransmit].head {
		for s.lost.head != none {
			it := &m.log.items[s.lost.head]
			skip := s.send.acked(it.off, uint64(it.n))
			it.off, it.n = it.off+skip, it.n-uint32(skip)
			if it.n == 0 && !(it.fin && !s.finAcked) && s.known {
				m.log.freeOne(m.log.shift(&s.lost))
				continue
			}
			left := limit - len(b) - wire.FrameOverhead(s.sid, it.off, true)
			if left < min(int(it.n), minPiece) {
				return b
			}
			n := min(it.n, uint32(left))
			fin := it.fin && n == it.n
			b = m.piece(b, s, it.off, uint64(n), fin)
			m.stats.Retransmitted += uint64(n)
			if n < it.n {
				it.off, it.n = it.off+uint64(n), it.n-n
				m.carry(item{sid: s.sid, off: it.off - uint64(n), n: n}, s.class())
				return b
			}
			m.log.append(&m.cur.items, m.log.shift(&s.lost))
			m.counted(s.class())
		}
		m.unlink(listRetransmit, s)
	}
	return b
}

// piece appends a frame with bytes of a stream.
func (m *Mux) piece(b []byte, s *stream, off, n uint64, fin bool) []byte {
	f := wire.Frame{ID: s.id, Flags: s.flags | wire.FlagStream, Stream: s.sid, Offset: off}
	if fin {
		f.Flags |= wire.FlagFIN
	}
	if at := off % chunkSize; n > 0 && at+n <= chunkSize {
		f.Payload = s.send.at(off / chunkSize).data[at : at+n]
	} else {
		m.scratch = s.send.appendTo(m.scratch[:0], off, n)
		f.Payload = m.scratch
	}
	return wire.AppendFrame(b, f)
}

// fillFresh appends messages and new stream bytes. They take turns at going
// first, so that neither starves the other.
func (m *Mux) fillFresh(b []byte, limit, room int) []byte {
	m.turn++
	streamsFirst := m.turn%2 == 0
	if !streamsFirst {
		b = m.fillMessages(b, limit, room)
	}
	first, second := listRealtime, listBulk
	if m.turn%bulkTurn == 0 {
		first, second = second, first
	}
	b = m.fillStreams(b, limit, first)
	b = m.fillStreams(b, limit, second)
	if streamsFirst {
		b = m.fillMessages(b, limit, room)
	}
	return b
}

func (m *Mux) fillMessages(b []byte, limit, room int) []byte {
	for !m.messages.empty() {
		q := m.messages.front()
		need := messageOverhead + q.size
		if need > room || m.messages.begun() {
			var gone bool
			if b, gone = m.fillFragment(b, &m.messages, limit, room); !gone {
				break
			}
			continue
		}
		if len(b)+need > limit {
			break
		}
		m.scratch = m.messages.pop(m.scratch[:0])
		b = wire.AppendFrame(b, wire.Frame{ID: q.id, Flags: q.flags, Payload: m.scratch})
		m.counted(sdk.Class(q.flags >> wire.FrameClassShift))
	}
	return b
}

// fillStreams appends new bytes of the streams of a list, a piece of each in turn.
func (m *Mux) fillStreams(b []byte, limit, list int) []byte {
	for s := m.lists[list].head; s != nil; s = m.lists[list].head {
		if !s.hasNew() {
			m.unlink(list, s)
			continue
		}
		off := s.send.next
		more := s.send.end - off
		left := limit - len(b) - wire.FrameOverhead(s.sid, off, true)
		if left < int(min(more, minPiece)) {
			return b
		}
		n := min(more, uint64(left))
		fin := s.fin && n == more
		b = m.piece(b, s, off, n, fin)
		m.carry(item{sid: s.sid, off: off, n: uint32(n), fin: fin}, s.class())
		s.send.next += n
		s.finSent, s.announce = s.finSent || fin, false
		m.unlink(list, s)
		if s.hasNew() {
			m.push(list, s)
		}
	}
	return b
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
	p := packet{counter: counter, at: now, items: cur.items, hasAck: cur.hasAck, ackGen: cur.ackGen, ackTop: cur.ackTop}
	if cur.counted {
		p.size = int32(size)
		m.reno.inFlight += size
	}
	m.probes = max(m.probes-1, 0)
	m.probeAt = now
	m.log.add(g, p)
}
