package stream

import (
	"time"

	"nethost/host/wire"
)

const (
	// minFragment is the least a message puts into what is left of a packet,
	// unless it has less, in bytes: each fragment more is a chance more that the
	// message is lost.
	minFragment = 256
	// minFragmentRoom is the least packet that a message is cut for.
	minFragmentRoom = minFragment + 20
)

// split is how far the first message of a queue has left. It is cut when a packet
// is filled, into the room there is, so that it follows the size of packets.
type split struct {
	number uint64 // 0: nothing of it has left
	off    int
	since  time.Duration
}

// begun reports that fragments of the first message have left.
func (q *queue) begun() bool { return q.split.number != 0 }

// copyRange appends n bytes of the first message, from off on, to b.
func (q *queue) copyRange(b []byte, off, n int) []byte {
	from := (q.at + off) % len(q.buf)
	k := min(n, len(q.buf)-from)
	b = append(b, q.buf[from:from+k]...)
	return append(b, q.buf[:n-k]...)
}

// fillFragment appends as much of the first message of a queue as there is room
// for. It reports true when the message has left the queue: all of it went out,
// or it was given up because it began so long ago that the peer has given it up
// (S8.4), or because packets are too small.
func (m *Mux) fillFragment(b []byte, q *queue, limit, room int) ([]byte, bool) {
	if q.begun() && m.now-q.split.since >= fragmentAge || room < minFragmentRoom {
		q.drop()
		m.stats.DroppedMessages++
		return b, true
	}
	rec, sp := q.front(), q.split
	if !q.begun() {
		sp = split{number: m.fragmented + 1, since: m.now}
	}
	size := int(rec.size)
	rest := size - sp.off
	left := limit - len(b) - wire.FragmentOverhead(sp.number, uint64(sp.off), size)
	if left < min(rest, minFragment) {
		return b, false
	}
	n := min(rest, left)
	b = wire.AppendFrameHead(b, &wire.Frame{ID: rec.id, Flags: rec.flags | wire.FlagFragment, Stream: sp.number, Offset: uint64(sp.off),
		Total: uint32(rec.size)}, n)
	b = q.copyRange(b, sp.off, n)
	m.counted(lane(rec.flags))
	m.fragmented = max(m.fragmented, sp.number)
	if n == rest {
		q.drop()
		return b, true
	}
	sp.off += n
	q.split = sp
	return b, false
}

// OnFragment takes a fragment of an authenticated packet, and returns the message
// that it completes. The message is valid until the next Recycle of Config.Buffers.
func (m *Mux) OnFragment(f *wire.Frame, now time.Duration) ([]byte, FragmentVerdict) {
	m.now = now
	if m.parts == nil {
		if m.cfg.Buffers == nil {
			m.cfg.Buffers = new(Buffers)
		}
		m.parts = NewReassembler(m.cfg.Buffers)
	}
	return m.parts.Add(f, now)
}

// Reassembly returns the counters of messages that came in fragments.
func (m *Mux) Reassembly() ReassemblyStats {
	if m.parts == nil {
		return ReassemblyStats{}
	}
	return m.parts.Stats()
}

// Incomplete is how many messages were given up, so far, since they were not
// complete in time or had to make room.
func (s ReassemblyStats) Incomplete() uint64 { return s.Expired + s.Evicted + s.Crowded }

// Close returns what the Mux holds of memory that others share. It must not be
// used afterwards.
func (m *Mux) Close() {
	if m.parts != nil {
		m.parts.Clear()
	}
	m.sendPool.count(-m.sendPool.made)
	m.recvPool.count(-m.recvPool.made)
}
