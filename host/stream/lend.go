package stream

import "nethost/host/wire"

// Lend offers core messages, each kind byte and body, for the packets that are
// filled next: they are written into them without being queued. They must not
// change before TakeBack. None may be on loan already.
func (m *Mux) Lend(messages [][]byte) { m.lent = messages }

// TakeBack ends a loan: what no packet took is queued, as Control does it.
func (m *Mux) TakeBack() {
	for _, msg := range m.lent {
		m.Control(msg)
	}
	m.lent = nil
}

// fillLent appends lent messages, which come after those of the queue.
func (m *Mux) fillLent(b []byte, limit, room int) []byte {
	for len(m.lent) > 0 && m.control.empty() {
		msg := m.lent[0]
		need := messageOverhead + len(msg)
		if len(msg) == 0 || need > room {
			m.stats.DroppedMessages++
		} else if len(b)+need > limit {
			break
		} else {
			b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: msg})
			m.cur.eliciting = true
		}
		m.lent = m.lent[1:]
	}
	return b
}
