package kernel

import (
	"net/netip"

	"nethost/host/wire"
	"nethost/sdk"
)

// chunkSize is how many packets lie side by side, in bytes: a whole train.
const chunkSize = 64 << 10

// chunkPeriod is after how many Steps chunks are given up that none of them used, nor
// as many before.
const chunkPeriod = 256

// Output is what the node wants done after a Step, in the order of each slice.
// The caller keeps one and hands it to every Step.
type Output struct {
	Datagrams  []wire.Train
	Deliveries []Delivery
	Apps       []AppEvent
	Jobs       []*Job
	Trace      []Trace
	Hops       []Hop // answers to InTrace
	// Incarnation is, unless 0, the incarnation from which this node speaks from now
	// on: it must be durable before anything else of this Output is done.
	Incarnation uint64
	// Lazy says that bytes were left for the next Step, which ought to come at once,
	// from another goroutine: while packets of the same peer are under way, many
	// small writes then leave in few packets, and nobody waited for more.
	Lazy bool

	tail   *peer    // whose packet emit took last, if sendPacket filled it
	chunks [][]byte // packets, side by side; reused
	chunk  int      // the one being filled
	used   int      // chunks used in this Step, the most of this period, and of the one before
	most   int
	before int
	resets uint
	arena  []byte // payloads of events
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
	TraceMTU        TraceKind = "mtu"         // large packets to Node get lost
	TraceTrains     TraceKind = "trains"      // packets that leave in one piece for Node get lost
	TraceDenied     TraceKind = "denied"      // Node was refused, or refused us, by a rule: Text says which
	TracePolicy     TraceKind = "policy"      // the rules of this node changed
	TraceKeys       TraceKind = "keys"        // the network keys changed
	TraceInvite     TraceKind = "invite"      // Node came with an invite; Text: what became of it
	TraceGrey       TraceKind = "grey"        // first hop Node is alive but does not deliver; Text says to whom
	TraceBarred     TraceKind = "barred"      // Node has too many demerits: the breaker opened
	TraceRepaired   TraceKind = "repaired"    // our incarnation was below one known in the mesh, and was raised
	TraceTwin       TraceKind = "twin"        // another node runs under our key
)

// Trace is one event worth a line.
type Trace struct {
	Kind TraceKind
	Node sdk.NodeID
	Addr netip.AddrPort
	Text string
}

func (o *Output) reset() {
	o.Lazy, o.tail, o.Incarnation = false, nil, 0
	o.Datagrams, o.Deliveries, o.Apps = o.Datagrams[:0], o.Deliveries[:0], o.Apps[:0]
	clear(o.Jobs)
	o.Jobs, o.Trace, o.Hops, o.chunk = o.Jobs[:0], o.Trace[:0], o.Hops[:0], 0
	o.most = max(o.most, o.used)
	if o.resets++; o.resets%chunkPeriod == 0 { // one burst must not keep its memory for ever
		keep := min(max(o.most, o.before), len(o.chunks))
		clear(o.chunks[keep:])
		o.chunks, o.before, o.most = o.chunks[:keep], o.most, 0
	}
	o.used = 0
	if len(o.chunks) > 0 {
		o.chunks[0] = o.chunks[0][:0]
	}
	if cap(o.arena) > 1<<20 { // one burst must not keep a megabyte for ever
		o.arena = nil
	}
	o.arena = o.arena[:0]
}

// packet lends a buffer of length 0 and room for size bytes, which emit takes back.
// Packets lie side by side, so that those to one address make a train.
func (o *Output) packet(size int) []byte {
	for {
		if o.chunk == len(o.chunks) {
			o.chunks = append(o.chunks, make([]byte, 0, max(chunkSize, size)))
		}
		o.used = o.chunk + 1
		if b := o.chunks[o.chunk]; cap(b)-len(b) >= size {
			return b[len(b):len(b):cap(b)]
		}
		if o.chunk++; o.chunk < len(o.chunks) {
			o.chunks[o.chunk] = o.chunks[o.chunk][:0]
		}
	}
}

// emit sends one datagram: of packet, or of the input. It reports that it joined the
// one before.
func (o *Output) emit(to netip.AddrPort, b []byte) (joined bool) {
	o.tail = nil
	if o.chunk < len(o.chunks) {
		if c := o.chunks[o.chunk]; len(b) <= cap(c)-len(c) && &c[:cap(c)][len(c)] == &b[0] {
			o.chunks[o.chunk] = c[:len(c)+len(b)]
		}
	}
	if n := len(o.Datagrams); n > 0 && o.Datagrams[n-1].Addr == to && o.Datagrams[n-1].Join(b) {
		return true
	}
	o.Datagrams = append(o.Datagrams, wire.Train{Addr: to, Bytes: b})
	return false
}

// emitAlone sends one datagram of packet that must not leave in one piece with
// others: its size is what is in question.
func (o *Output) emitAlone(to netip.AddrPort, b []byte) {
	o.emit(netip.AddrPort{}, b) // to nobody yet, so that it joins nothing
	t := &o.Datagrams[len(o.Datagrams)-1]
	t.Addr, t.Alone = to, true
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
