package stream

// maxWindow bounds what a stream may be told to send ahead of its consumer, unless
// its user granted more, in bytes.
const maxWindow = 4 << 20

// A window is too small when the path holds the peer up and not the consumer: when
// all of it was consumed within two round trips, or when everything that could be
// delivered was consumed and half of the window waits above a hole. A loss stops
// delivery for a round trip and more, so a window must hold several. The consumer is
// never handed more than it let come; the rest waits here, and half of Config.Buffer
// bounds the sum (S3.7).

// paceOfConsumer widens the window of a stream whose consumer is fast. The shortest
// round trip counts: a longer one is queues, and more window would be more of them.
func (m *Mux) paceOfConsumer(s *stream) {
	if s.consumed-s.measured < s.window+s.extra {
		return
	}
	if m.rtt.sampled && m.now-s.measuredAt < 2*m.rtt.shortest() {
		m.widen(s)
	}
	s.measured, s.measuredAt = s.consumed, m.now
}

// stuck widens the window of a stream that waits for a hole to be filled.
func (m *Mux) stuck(s *stream) {
	if s.recv.buffering() && s.consumed == s.recv.next && s.recv.highest+(s.window+s.extra)/2 >= s.limit {
		m.widen(s)
	}
}

func (m *Mux) widen(s *stream) {
	total := s.window + s.extra
	if s.hasFinal || s.dead || total >= maxWindow {
		return
	}
	spare := uint64(m.cfg.Buffer)/2 - min(m.extra, uint64(m.cfg.Buffer)/2)
	more := min(total, maxWindow-total, spare)
	if more < total/4 {
		return
	}
	s.extra += more
	m.extra += more
	m.credit(s, true)
}
