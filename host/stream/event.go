package stream

import "nethost/sdk"

// EventKind tells what happened to a stream.
type EventKind uint8

// The event kinds, with the fields that carry meaning besides Stream, ID, Epoch
// and Class, which are always set.
const (
	Opened        EventKind = iota + 1 // the peer opened the stream; comes before its other events
	Data                               // Data, FIN: the next bytes in order
	CreditGranted                      // N more bytes may be written
	WasReset                           // Code, Data: text. Both directions ended, by the peer or by the Mux
	Closed                             // the stream is done in both directions; its last event, exactly once
)

var eventNames = [...]string{Opened: "Opened", Data: "Data", CreditGranted: "CreditGranted",
	WasReset: "WasReset", Closed: "Closed"}

// String names the kind.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return ""
}

// Event is something that happened to a stream.
type Event struct {
	Kind EventKind
	FIN  bool // Data: the peer writes no more
	// Buffered: Data lies in a buffer of the Mux, which the next packet may use
	// again, and not in the packet.
	Buffered bool
	Epoch    uint8 // epoch bits of the frame that opened the stream
	Class    sdk.Class
	ID       sdk.ID
	Code     sdk.Code
	Stream   uint64
	N        uint64
	// Data is borrowed. It aliases the packet being processed or a buffer of
	// the Mux, and stays valid while the packet does, at most until the first
	// call of Events at a later time.
	Data []byte
}

// Events returns what happened since the last call, in order. The slice is valid
// until the next call of Events; other calls into the Mux leave it alone.
func (m *Mux) Events() []Event {
	m.recvPool.recycle(m.now)
	out := m.events
	m.events, m.spare = m.spare[:0], out
	return out
}

func (m *Mux) emit(s *stream, e Event) {
	e.Stream, e.ID, e.Epoch, e.Class = s.sid, s.id, s.flags&3, s.class()
	m.events = append(m.events, e)
}
