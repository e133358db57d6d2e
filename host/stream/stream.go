package stream

import (
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// stream is one stream, both directions.
type stream struct {
	sid   uint64
	id    sdk.ID
	flags uint8 // epoch and class bits, equal in all frames of the stream
	local bool  // opened here
	// known is set once the peer surely has the stream: something of it was
	// acknowledged or came from there. Credit waits for it (S3.5).
	known bool
	on    uint8 // bit k: waits in a list by links[k]
	links [links]link
	quota int32 // bytes left of its turn among the streams of its class

	// Sending.
	send      sendBuf
	peerLimit uint64 // what the peer allows (S3.1)
	told      uint64 // what the user of the Mux was told it may write in all
	lost      chain  // pieces to retransmit
	announce  bool   // an empty frame must tell the peer that the stream exists
	fin       bool   // the user wrote its last byte
	finSent   bool
	finAcked  bool
	sendDone  bool // everything up to FIN was acknowledged

	// Receiving.
	recv       recvBuf
	window     uint64 // what the consumer lets come ahead of consumed
	extra      uint64 // what may come beyond, and wait here
	consumed   uint64
	measured   uint64 // what was consumed at measuredAt
	measuredAt time.Duration
	limit      uint64 // what the peer was told, at most
	final      uint64 // total size, once hasFinal
	hasFinal   bool
	recvDone   bool // FIN was delivered
	creditLost bool // the last Credit must be said again

	// Ending early.
	dead      bool // reset; only its Reset message is still to be delivered
	sendReset bool
	code      sdk.Code
	text      string
}

func (s *stream) class() sdk.Class { return sdk.Class(s.flags >> wire.FrameClassShift & 7) }

// hasNew reports whether there is something to send for the first time.
func (s *stream) hasNew() bool {
	return !s.dead && (s.send.next < s.send.end || s.fin && !s.finSent || s.announce)
}

// lane is the place of a class in lists and queues: realtime or the rest.
func lane(flags uint8) int {
	if sdk.Class(flags>>wire.FrameClassShift&7) == sdk.Realtime {
		return 0
	}
	return 1
}

// The lists a stream may be on, each at most once.
const (
	linkControl = iota // a Reset or an urgent Credit is due
	linkLazy           // a Credit that can wait for a packet going anyway
	linkLost           // lost pieces; a list for each class
	linkFresh          // new bytes; a list for each class
	links
)

type link struct{ prev, next *stream }

// list is an intrusive queue of streams, so that joining and leaving cost the same
// however many there are.
type list struct{ head, tail *stream }

func (m *Mux) listOf(k int, s *stream) *list {
	if k < linkLost {
		return &m.lists[k][0]
	}
	return &m.lists[k][lane(s.flags)]
}

func (m *Mux) push(k int, s *stream) {
	if s.on&(1<<k) != 0 {
		return
	}
	l := m.listOf(k, s)
	s.on |= 1 << k
	s.links[k] = link{prev: l.tail}
	if l.tail != nil {
		l.tail.links[k].next = s
	} else {
		l.head = s
	}
	l.tail = s
}

func (m *Mux) unlink(k int, s *stream) {
	if s.on&(1<<k) == 0 {
		return
	}
	l, ln := m.listOf(k, s), &s.links[k]
	if ln.prev != nil {
		ln.prev.links[k].next = ln.next
	} else {
		l.head = ln.next
	}
	if ln.next != nil {
		ln.next.links[k].prev = ln.prev
	} else {
		l.tail = ln.prev
	}
	s.on &^= 1 << k
	*ln = link{}
}

func (m *Mux) newStream(sid uint64, id sdk.ID, flags uint8, local bool) *stream {
	var s *stream
	if n := len(m.idle); n > 0 {
		s = m.idle[n-1]
		m.idle = m.idle[:n-1]
	} else {
		s = new(stream)
	}
	send, recv := s.send.ring, s.recv.ring
	*s = stream{sid: sid, id: id, flags: flags, local: local, known: !local, lost: noItems,
		peerLimit: InitialWindow, told: InitialWindow, limit: InitialWindow, window: m.cfg.Window}
	s.send.ring, s.recv.ring = send, recv
	if m.streams == nil {
		m.streams = map[uint64]*stream{}
	}
	m.streams[sid] = s
	m.fat = true
	if local {
		m.localOpen++
	}
	if m.cfg.Window > InitialWindow {
		m.credit(s, true)
	}
	return s
}

// finish forgets a stream that is done in both directions.
func (m *Mux) finish(s *stream) {
	m.emit(s, Event{Kind: Closed})
	m.forget(s)
}

func (m *Mux) forget(s *stream) {
	m.discard(s)
	m.unlink(linkControl, s)
	delete(m.streams, s.sid)
	m.busyAt = m.now
	if s.local {
		m.localOpen--
	}
	if len(m.idle) < idleStreams && len(s.send.ring) <= idleRing && len(s.recv.ring) <= idleRing {
		s.text = ""
		m.idle = append(m.idle, s)
	}
}

// discard drops everything of a stream but a Reset that is still to be sent.
func (m *Mux) discard(s *stream) {
	s.send.drop(&m.sendPool)
	s.recv.drop(&m.recvPool)
	m.log.free(&s.lost)
	m.extra, s.extra = m.extra-s.extra, 0
	for k := linkLazy; k < links; k++ {
		m.unlink(k, s)
	}
}

const (
	idleStreams = 64 // stream values kept for reuse
	idleRing    = 64 // chunk pointers such a value may keep
)

// finishIfDone ends the stream when both directions are done.
func (m *Mux) finishIfDone(s *stream) bool {
	over := s.sendDone && s.recvDone && !s.dead
	if over {
		m.finish(s)
	}
	return over
}

// credit notes that the peer may be told a higher limit, and decides whether
// that must be sent by itself (S3.4).
func (m *Mux) credit(s *stream, granted bool) {
	if s.dead || s.hasFinal || !s.known {
		return
	}
	to := s.creditLimit()
	if to <= s.limit {
		return
	}
	switch {
	case to-s.limit >= (s.window+s.extra)/4:
		m.unlink(linkLazy, s)
		m.push(linkControl, s)
	case granted, s.consumed == s.recv.next:
		if s.on&(1<<linkControl) != 0 {
			return
		}
		if m.lists[linkLazy][0].head == nil {
			m.lazyAt = m.now + lazyCredit
		}
		m.push(linkLazy, s)
	}
}

// creditLimit is what the peer may be told.
func (s *stream) creditLimit() uint64 { return min(s.consumed+s.window+s.extra, wire.MaxVarint) }

// confirm notes that the peer has the stream.
func (m *Mux) confirm(s *stream) {
	if !s.known {
		s.known, s.announce = true, false
		m.credit(s, true)
	}
}
