package stream

import (
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// OnFrame takes a stream frame of an authenticated packet. False: the peer broke
// the rules, and the session must end; nothing of the frame was taken.
func (m *Mux) OnFrame(f *wire.Frame, now time.Duration) bool {
	m.now = now
	if !m.frame(f) {
		m.stats.Violations++
		return false
	}
	return true
}

func (m *Mux) frame(f *wire.Frame) bool {
	n := uint64(len(f.Payload))
	if f.Flags&wire.FlagStream == 0 || f.Stream == 0 || f.ID == coreID || f.Offset > wire.MaxVarint-n {
		return false
	}
	end, fin := f.Offset+n, f.Flags&wire.FlagFIN != 0
	s := m.streams[f.Stream]
	if s == nil {
		switch m.unknown(f.Stream) {
		case idUsed:
			return true // late news of a stream that is over
		case idBeyond:
			return false
		}
		if end > InitialWindow {
			return false
		}
		s = m.accept(f)
	}
	if f.ID != s.id || (f.Flags^s.flags)&frameFlags != 0 {
		return false
	}
	if s.dead {
		return true
	}
	seen := max(s.recv.next, s.recv.highest)
	switch {
	case end > s.limit,
		s.hasFinal && end > s.final,
		fin && s.hasFinal && end != s.final,
		fin && end < seen:
		return false
	}
	m.confirm(s)
	if fin {
		s.hasFinal, s.final = true, end
	}
	m.busyAt, m.fat = m.now, true
	m.deliver(s, f.Offset, f.Payload)
	return true
}

// unknown classifies the id of a stream that is not open.
func (m *Mux) unknown(sid uint64) idState {
	if sid&1 == m.nextLocal&1 {
		if sid >= m.nextLocal {
			return idBeyond // ours, and we never opened it
		}
		return idUsed
	}
	return m.peer.state(sid, peerSlack*m.cfg.MaxStreams-(len(m.streams)-m.localOpen)-len(m.peer.skipped))
}

// accept opens a stream of the peer.
func (m *Mux) accept(f *wire.Frame) *stream {
	m.peer.use(f.Stream)
	s := m.newStream(f.Stream, f.ID, f.Flags&frameFlags, false)
	m.emit(s, Event{Kind: Opened})
	return s
}

// deliver passes on what is next in order, as far as the consumer lets it, and
// keeps the rest.
func (m *Mux) deliver(s *stream, off uint64, b []byte) {
	first, r := len(m.events), &s.recv
	end := off + uint64(len(b))
	if off <= r.next && end > r.next {
		b, off = b[r.next-off:], r.next
		n := min(uint64(len(b)), s.consumed+s.window-r.next)
		held := r.buffering()
		if held {
			n = r.gap(off, n) // what came first counts
		}
		if n > 0 {
			m.emit(s, Event{Kind: Data, Data: b[:n]})
			r.next += n
			b, off = b[n:], off+n
		}
		if held {
			r.settle(&m.recvPool)
		}
	}
	if end > r.next && len(b) > 0 {
		if m.recvPool.lacks(uint64(r.missing(off, uint64(len(b)))), m.cfg.Buffer) {
			m.overloaded(s)
			return
		}
		r.hold(off, b, &m.recvPool)
	}
	if m.pass(s, first) {
		return
	}
	m.stuck(s)
}

// release passes on what waited for the consumer. It reports whether the stream is
// over.
func (m *Mux) release(s *stream) bool { return m.pass(s, len(m.events)) }

// pass emits what is next in the buffer, and FIN: with the last of the events from
// first on, which are all of this stream. It reports whether the stream is over.
func (m *Mux) pass(s *stream, first int) bool {
	r := &s.recv
	held := false
	for r.buffering() {
		piece := r.pop(s.consumed + s.window - r.next)
		if piece == nil {
			break
		}
		held = true
		m.emit(s, Event{Kind: Data, Data: piece, Buffered: true})
	}
	if held {
		r.settle(&m.recvPool)
	}
	if !s.hasFinal || r.next != s.final || s.recvDone {
		return false
	}
	if first == len(m.events) {
		m.emit(s, Event{Kind: Data})
	}
	m.events[len(m.events)-1].FIN = true
	s.recvDone = true
	return m.finishIfDone(s)
}

// overloaded resets a stream whose holes would make us keep too much.
func (m *Mux) overloaded(s *stream) {
	const why = "too much data arrived out of order"
	m.emit(s, Event{Kind: WasReset, Code: sdk.Overloaded, Data: []byte(why)})
	m.Reset(s.sid, sdk.Overloaded, why)
}

// OnCredit takes the peer's word on how much may be written.
func (m *Mux) OnCredit(c wire.Credit) {
	s := m.streams[c.Stream]
	if s == nil {
		if c.Stream == 0 || m.unknown(c.Stream) != idUsed {
			m.stats.Violations++
		}
		return
	}
	if s.dead {
		return
	}
	m.confirm(s)
	s.peerLimit = max(s.peerLimit, min(c.Limit, wire.MaxVarint))
	m.tell(s)
}

// tell lets the user know when it may write more.
func (m *Mux) tell(s *stream) {
	to := min(s.peerLimit, s.send.base+maxSendBuffer)
	if to > s.told && !s.fin && !s.dead {
		m.emit(s, Event{Kind: CreditGranted, N: to - s.told})
		s.told = to
	}
}

// OnReset takes the peer's end of a stream.
func (m *Mux) OnReset(r wire.Reset) {
	s := m.streams[r.Stream]
	if s == nil {
		if r.Stream == 0 {
			m.stats.Violations++
			return
		}
		switch m.unknown(r.Stream) {
		case idFresh:
			m.peer.use(r.Stream) // its frames may still come: they are late now
		case idBeyond:
			m.stats.Violations++
		}
		return
	}
	if !s.dead {
		code := r.Code
		if code > sdk.HandshakeFailed {
			code = sdk.Internal
		}
		m.emit(s, Event{Kind: WasReset, Code: code, Data: r.Text})
	}
	m.finish(s)
}
