package stream

import (
	"math"
	"time"
	"unicode/utf8"

	"nethost/host/wire"
	"nethost/sdk"
)

const (
	never = time.Duration(math.MaxInt64)

	defaultStreams = 10000
	defaultBuffer  = 64 << 20
	// peerSlack is how many times MaxStreams the peer may have open as seen
	// from here: it learns that a stream is done earlier than we do (S2.4).
	peerSlack = 4
	// maxSendBuffer bounds the bytes of one stream that are written and not
	// acknowledged, whatever credit the peer gives.
	maxSendBuffer  = 4 << 20
	defaultSojourn = 5 * time.Millisecond

	// MaxMessage is the longest message, in bytes. One that does not fit a
	// packet leaves in fragments.
	MaxMessage = wire.MaxMessage
	// MaxControl is the longest core message, which must fit every packet.
	MaxControl = wire.BaseMTU - wire.ForwardSize - wire.SessionSize - wire.TagSize - messageOverhead

	// InitialWindow is what either side may write on a stream before any credit
	// came: what the contract promises, and room for the open that goes first.
	InitialWindow = sdk.InitialCredit + sdk.MaxOpen

	messageOverhead = 6 // a frame of a message without its payload
	messageQueue    = 4096
	messageBytes    = 1 << 20
	controlQueue    = 256
	controlBytes    = 64 << 10
)

// Config is what a Mux needs to know. The zero value is usable.
type Config struct {
	// Odd gives the streams opened here odd ids; the peer must have it false.
	Odd bool
	// Window is what the peer may write on a stream ahead of Consumed, in
	// bytes; at least InitialWindow, which is also the default.
	Window uint64
	// MaxStreams bounds the streams open at once that were opened here. Default 10000.
	MaxStreams int
	// Buffer bounds what all streams together hold, in bytes, once for sending
	// and once for receiving. Default 64 MiB.
	Buffer int
	// Buffers is where messages that come in fragments are put together, shared
	// by all peers of a node. Default: its own.
	Buffers *Buffers
	// Sojourn is how long a message of the realtime class may wait in the queue: one
	// whose turn comes later is dropped, so that fresh data goes first. Default 5 ms;
	// below 0 there is no bound.
	Sojourn time.Duration
	// Fates has the Mux tell what became of each packet: see Mux.Fates.
	Fates bool
	// Memory bounds the streams of all Muxes that share it. nil: only Buffer does.
	Memory *Memory
}

// Result tells what became of a write or a message.
type Result uint8

// The results.
const (
	OK         Result = iota
	OverCredit        // more than the peer allows; nothing was taken
	WouldBlock        // the queue is full: try again after packets went out
	TooBig            // the message is longer than MaxMessage
	NotOpen           // no such stream, or its writing side has ended
	NoBuffer          // all streams together hold too much; nothing was taken
)

var resultNames = [...]string{OK: "ok", OverCredit: "above credit", WouldBlock: "queue full", TooBig: "too big",
	NotOpen: "not open", NoBuffer: "no buffer left"}

// String names the result.
func (r Result) String() string { return resultNames[r] }

// Mux is everything between this node and one peer that outlives a packet. The
// zero value is not usable: call New.
type Mux struct {
	cfg Config
	now time.Duration // of the last call that told the time

	streams   map[uint64]*stream
	nextLocal uint64
	localOpen int
	peer      peerIDs
	lists     [links][2]list // by class
	idle      []*stream      // values for reuse
	extra     uint64         // window beyond Config.Window and Grant, over all streams

	events, spare      []Event
	sendPool, recvPool pool

	messages   [2]*queue // by class; nil before the first
	control    queue
	lent       [][]byte // see Lend
	drops      []Dropped
	fragmented uint64       // messages that began to leave in fragments
	parts      *Reassembler // nil before the first fragment
	scratch    []byte
	cur        filling
	turn       uint8 // alternates what a packet takes first

	heard  [maxGens]heardGen
	nHeard int
	ackAt  time.Duration // when a delayed ack is due
	lazyAt time.Duration // when lazy credits are due
	askAt  time.Duration // when an ack may ask to be acknowledged again

	log      sentLog
	fates    []Fate
	rtt      rtt
	cc       congestion
	pace     pacer
	reorder  reordering
	topAcked uint64        // highest send order that was acknowledged
	anyAcked bool          // topAcked counts
	lossAt   time.Duration // when the oldest overtaken packet counts as lost
	probeAt  time.Duration // when the last tracked packet or probe went out
	backoff  int           // probe timeouts in a row
	probes   int           // packets that may go out in spite of the window
	busyAt   time.Duration // when something that needs memory last happened
	fat      bool          // there may be memory to give back when idle

	stats Stats
}

// Stats are counters and gauges of a Mux.
type Stats struct {
	Sent, Received       uint64 // packets
	Lost                 uint64 // packets declared lost
	Spurious             uint64 // ... that were only late
	Marks                uint64 // acks that told of new congestion marks
	ProbeTimeouts        uint64
	Retransmitted        uint64 // stream bytes sent again
	BadAcks              uint64 // acks for what was never sent, or malformed
	Violations           uint64 // frames and messages against the rules
	DroppedMessages      uint64 // queued messages that no packet had room for, or whose fragments took too long
	StaleMessages        uint64 // queued messages that had waited longer than Config.Sojourn
	Streams, Outstanding int    // open streams; packets waiting for an ack
	InFlight, Window     int    // bytes
	SmoothedRTT          time.Duration
}

// New makes the Mux of one peer.
func New(cfg Config) *Mux {
	cfg.Window = min(max(cfg.Window, InitialWindow), wire.MaxVarint)
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultStreams
	}
	if cfg.Buffer <= 0 {
		cfg.Buffer = defaultBuffer
	}
	if cfg.Sojourn == 0 {
		cfg.Sojourn = defaultSojourn
	}
	m := &Mux{cfg: cfg, nextLocal: 2,
		peer:    peerIDs{first: 1},
		control: queue{maxN: controlQueue, maxB: controlBytes},
		ackAt:   never, lazyAt: never, lossAt: never,
		log: newSentLog(), cc: newCongestion(), cur: filling{items: noItems}}
	m.sendPool.all, m.recvPool.all = cfg.Memory, cfg.Memory
	if cfg.Odd {
		m.nextLocal, m.peer.first = 1, 2
	}
	return m
}

// Open starts a stream of a subprotocol. The peer learns of it with the first
// bytes, or with an empty frame when there are none.
func (m *Mux) Open(id sdk.ID, epoch uint8, class sdk.Class) (sid uint64, ok bool) {
	if m.localOpen >= m.cfg.MaxStreams || id == coreID || m.nextLocal > wire.MaxVarint {
		return 0, false
	}
	sid = m.nextLocal
	m.nextLocal += 2
	s := m.newStream(sid, id, epoch&wire.FrameEpochMask|uint8(class)&7<<wire.FrameClassShift, true)
	s.announce = true
	m.push(linkFresh, s)
	return sid, true
}

// Write queues bytes, all of them or none, and copies them. With fin nothing may
// be written after them.
func (m *Mux) Write(sid uint64, b []byte, fin bool) Result {
	s := m.streams[sid]
	switch {
	case s == nil || s.dead || s.fin:
		return NotOpen
	case uint64(len(b)) > s.told-s.send.end:
		return OverCredit
	case m.sendPool.lacks(uint64(s.send.missing(s.send.end, uint64(len(b)))), m.cfg.Buffer):
		return NoBuffer
	}
	s.send.write(b, &m.sendPool)
	s.fin = fin
	if s.hasNew() {
		m.push(linkFresh, s)
	}
	return OK
}

// Consumed says that the consumer took n of the bytes that Data events brought,
// so that the peer may write as many more. Bytes that waited for it are in Events
// afterwards.
func (m *Mux) Consumed(sid, n uint64) {
	s := m.streams[sid]
	if s == nil || s.dead {
		return
	}
	s.consumed += min(n, s.recv.next-s.consumed)
	if s.recv.buffering() && m.release(s) {
		return // that was the last of it
	}
	m.paceOfConsumer(s)
	m.credit(s, false)
}

// Grant lets the peer write n bytes further ahead of Consumed than Config.Window.
func (m *Mux) Grant(sid, n uint64) {
	if s := m.streams[sid]; s != nil {
		s.window += min(n, wire.MaxVarint-s.window)
		if s.recv.buffering() && !s.dead && m.release(s) {
			return
		}
		m.credit(s, true)
	}
}

// Reset ends both directions of a stream at once. What was written and not yet
// delivered is lost; the Reset itself is not. Closed follows when the peer knows.
func (m *Mux) Reset(sid uint64, code sdk.Code, text string) {
	s := m.streams[sid]
	if s == nil || s.dead {
		return
	}
	s.dead, s.sendReset, s.code, s.text = true, true, code, cut(text, wire.MaxResetText)
	m.discard(s)
	m.push(linkControl, s)
}

// cut shortens text to at most n bytes without splitting a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Send queues a message, which may be lost or overtaken; one that does not fit a
// packet is lost with any of its fragments. flags are the epoch and
// class bits of a frame.
func (m *Mux) Send(id sdk.ID, flags uint8, b []byte, now time.Duration) Result {
	return m.SendUntil(id, flags, b, never, now)
}

// SendUntil is Send of a message that is worth nothing after a time: when its turn
// comes later it is dropped, as one that waited too long (Dropped).
func (m *Mux) SendUntil(id sdk.ID, flags uint8, b []byte, until, now time.Duration) Result {
	m.now = now
	if len(b) > MaxMessage || id == coreID {
		return TooBig
	}
	q := m.messages[lane(flags)]
	if q == nil {
		q = &queue{maxN: messageQueue, maxB: messageBytes}
		m.messages[lane(flags)] = q
	}
	if !q.push(id, flags&frameFlags, b, now, until) {
		return WouldBlock
	}
	m.fat = true
	return OK
}

// Roomy reports that the queue of messages of a class (bits of frame flags) is at most
// half full.
func (m *Mux) Roomy(flags uint8) bool { return m.messages[lane(flags)].roomy() }

// Control queues a core message: kind byte and body. It is not retransmitted,
// and the congestion window does not hold it back. False: the queue is full.
func (m *Mux) Control(payload []byte) bool {
	if len(payload) == 0 || len(payload) > MaxControl {
		return false
	}
	if len(payload) > 64 {
		m.busyAt, m.fat = m.now, true
	}
	return m.control.push(coreID, 0, payload, 0, never)
}

// SetPacketSize says how large a full packet is now, in bytes, as Sent counts it.
// Windows are counted in bytes; their bounds follow. The default is 1200.
func (m *Mux) SetPacketSize(n int) { m.cc.resize(min(max(n, 256), 1<<16)) }

// RTT returns the smoothed round trip, its mean deviation and the last sample,
// which is 0 before the first.
func (m *Mux) RTT() (smoothed, variance, latest time.Duration) {
	smoothed, variance = m.rtt.values()
	return smoothed, variance, m.rtt.latest
}

// InFlight is how many packets wait for an acknowledgement.
func (m *Mux) InFlight() int { return m.log.count }

// Lost is how many packets were declared lost.
func (m *Mux) Lost() uint64 { return m.stats.Lost }

// Stats returns the counters as they stand.
func (m *Mux) Stats() Stats {
	st := m.stats
	st.Streams, st.Outstanding = len(m.streams), m.log.count
	st.InFlight, st.Window = m.cc.inFlight, m.cc.window
	st.SmoothedRTT, _ = m.rtt.values()
	return st
}
