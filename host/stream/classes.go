package stream

import (
	"time"

	"nethost/host/wire"
)

// fillClasses appends what the window bounds, realtime before bulk; one packet of
// bulkTurn has bulk before realtime.
func (m *Mux) fillClasses(b []byte, limit, room int, now time.Duration) []byte {
	m.turn++
	first := 0
	if m.turn%bulkTurn == 0 {
		first = 1
	}
	b = m.fillClass(b, limit, room, first, now)
	return m.fillClass(b, limit, room, 1-first, now)
}

// fillClass appends lost pieces of a class, then messages and new stream bytes. They
// take turns at going first, so that neither starves the other.
func (m *Mux) fillClass(b []byte, limit, room, lane int, now time.Duration) []byte {
	if m.lists[linkLost][lane].head != nil {
		b = m.fillLost(b, limit, lane)
	}
	messages := !m.messages[lane].empty()
	if messages && m.turn&1 != 0 {
		b = m.fillMessages(b, limit, room, lane, now)
		messages = false
	}
	b = m.fillStreams(b, limit, lane)
	if messages {
		b = m.fillMessages(b, limit, room, lane, now)
	}
	return b
}

// fillLost appends pieces that were lost before.
func (m *Mux) fillLost(b []byte, limit, lane int) []byte {
	l := &m.lists[linkLost][lane]
	for s := l.head; s != nil; s = l.head {
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
				m.carry(item{sid: s.sid, off: it.off - uint64(n), n: n}, lane)
				return b
			}
			m.log.append(&m.cur.items, m.log.shift(&s.lost))
			m.counted(lane)
		}
		m.unlink(linkLost, s)
	}
	return b
}

// piece appends a frame with bytes of a stream.
func (m *Mux) piece(b []byte, s *stream, off, n uint64, fin bool) []byte {
	f := wire.Frame{ID: s.id, Flags: s.flags | wire.FlagStream, Stream: s.sid, Offset: off}
	if fin {
		f.Flags |= wire.FlagFIN
	}
	return s.send.appendTo(wire.AppendFrameHead(b, &f, int(n)), off, n)
}

func (m *Mux) fillMessages(b []byte, limit, room, lane int, now time.Duration) []byte {
	msgs := m.messages[lane]
	for !msgs.empty() {
		q := *msgs.front()
		need := messageOverhead + int(q.size)
		stale := now > q.until || lane == 0 && m.cfg.Sojourn > 0 && now-q.at > m.cfg.Sojourn
		if stale && !msgs.begun() {
			msgs.drop()
			m.dropped(&q)
			continue
		}
		if need > room || msgs.begun() {
			var gone bool
			if b, gone = m.fillFragment(b, msgs, limit, room); !gone {
				break
			}
			continue
		}
		if len(b)+need > limit {
			break
		}
		b = wire.AppendFrameHead(b, &wire.Frame{ID: q.id, Flags: q.flags}, int(q.size))
		b = msgs.pop(b)
		m.counted(lane)
	}
	return b
}

// fillStreams appends new bytes of the streams of a class. Each has its turn until
// it has sent as many bytes as a packet holds; what it sends beyond, so that packets
// are full, its next turn is shorter by.
func (m *Mux) fillStreams(b []byte, limit, lane int) []byte {
	l := &m.lists[linkFresh][lane]
	for s := l.head; s != nil; s = l.head {
		if !s.hasNew() {
			m.unlink(linkFresh, s)
			continue
		}
		if s.quota <= 0 { // its turn begins
			s.quota = max(s.quota+int32(m.cc.mss), 1)
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
		m.carry(item{sid: s.sid, off: off, n: uint32(n), fin: fin}, lane)
		s.send.next += n
		s.finSent, s.announce = s.finSent || fin, false
		if s.quota -= int32(n); !s.hasNew() {
			m.unlink(linkFresh, s)
			s.quota = min(s.quota, 0) // what was not used is not saved up
			continue
		}
		if s.quota > 0 {
			continue
		}
		if l.head != l.tail { // to the back of the queue
			m.unlink(linkFresh, s)
			m.push(linkFresh, s)
		}
	}
	return b
}
