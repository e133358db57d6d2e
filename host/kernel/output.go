package kernel

import (
	"net/netip"

	"nethost/sdk"
)

// Output is what the node wants done after a Step, in the order of each slice.
// The caller keeps one and hands it to every Step.
type Output struct {
	Datagrams  []Datagram
	Deliveries []Delivery
	Apps       []AppEvent
	Jobs       []*Job
	Trace      []Trace

	bufs  [][]byte // packet buffers, reused
	nbuf  int
	arena []byte // payloads of events
}

// Datagram is bytes to be sent.
type Datagram struct {
	To    netip.AddrPort
	Bytes []byte
}

// Delivery is an event for the module in a slot.
type Delivery struct {
	Slot  int
	Event sdk.Event
}

// AppEventKind tells what happened to an application's stream.
type AppEventKind uint8

// The application events.
const (
	AppOpened AppEventKind = iota + 1 // the far end is there; N bytes may be written
	AppData                           // Data, FIN
	AppCredit                         // N more bytes may be written
	AppReset                          // Code, Text; the stream is gone
)

// AppEvent is something that happened to an application's stream.
type AppEvent struct {
	Kind AppEventKind
	App  uint64
	Data []byte
	FIN  bool
	N    uint64
	Code sdk.Code
	Text string
}

// TraceKind tells what a Trace is about.
type TraceKind string

// The trace events, for people and for `nethost watch`.
const (
	TracePeerUp     TraceKind = "peer-up"     // session agreed: Node, Text lists the ids
	TracePeerDown   TraceKind = "peer-down"   // Node, Text
	TraceSession    TraceKind = "session"     // new keys with Node
	TraceHandshake  TraceKind = "handshake"   // a handshake failed: Node or Addr, Text
	TraceSuspect    TraceKind = "suspect"     // neighbour Node fell silent
	TraceAlive      TraceKind = "alive"       // ... and spoke again
	TraceDead       TraceKind = "dead"        // ... and was given up
	TraceRoute      TraceKind = "route"       // the next hop towards a node changed
	TraceNegotiated TraceKind = "negotiated"  // manifests agreed
	TraceRefused    TraceKind = "refused"     // a required id was not agreed
	TraceUnsupport  TraceKind = "unsupported" // a peer does not handle what we sent
)

// Trace is one event worth a line.
type Trace struct {
	Kind TraceKind
	Node sdk.NodeID
	Addr netip.AddrPort
	Text string
}

func (o *Output) reset() {
	o.Datagrams, o.Deliveries, o.Apps = o.Datagrams[:0], o.Deliveries[:0], o.Apps[:0]
	clear(o.Jobs)
	o.Jobs, o.Trace, o.nbuf = o.Jobs[:0], o.Trace[:0], 0
	if cap(o.arena) > 1<<20 { // one burst must not keep a megabyte for ever
		o.arena = nil
	}
	o.arena = o.arena[:0]
}

// packet lends a buffer of length 0 and room for size bytes.
func (o *Output) packet(size int) []byte {
	if o.nbuf == len(o.bufs) {
		o.bufs = append(o.bufs, nil)
	}
	b := o.bufs[o.nbuf]
	if cap(b) < size {
		b = make([]byte, 0, max(size, 2048))
		o.bufs[o.nbuf] = b
	}
	o.nbuf++
	return b[:0]
}

// keep copies bytes that the caller will reuse into the Output.
func (o *Output) keep(parts ...[]byte) []byte {
	n := len(o.arena)
	for _, p := range parts {
		o.arena = append(o.arena, p...)
	}
	return o.arena[n:len(o.arena):len(o.arena)]
}

func (o *Output) deliver(slot int, ev sdk.Event) {
	o.Deliveries = append(o.Deliveries, Delivery{slot, ev})
}
