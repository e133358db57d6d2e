package sdk

// EventKind tells what happened. The numbers are ABI 1 (abi/SPEC.md): never
// renumber. A module ignores kinds it does not know.
type EventKind uint16

// The event kinds. The comment names the fields that carry meaning; the other
// fields are zero.
const (
	EvState           EventKind = 1  // Payload: StateEntry. One per key, before Start
	EvConfig          EventKind = 2  // Payload: Pairs. Once, before Start
	EvStart           EventKind = 3  // Payload: Start. Nothing but State and Config comes before it
	EvDrain           EventKind = 4  // Arg: nanoseconds left to answer Drained
	EvStop            EventKind = 5  // the last event an instance gets
	EvFlush           EventKind = 6  // last of every batch: sync once, here
	EvPeerUp          EventKind = 10 // Peer ID Version, Payload: PeerInfo
	EvPeerUpdate      EventKind = 11 // Peer ID Version, Payload: PeerInfo
	EvPeerDown        EventKind = 12 // Peer ID, Arg: DownReason
	EvConnectFailed   EventKind = 13 // Ref, Arg: Code, Payload: text
	EvMessage         EventKind = 20 // Peer ID Version, Payload: the message
	EvDropped         EventKind = 21 // Peer, Arg: how many, Payload: Drop. What we sent and the host dropped here
	EvOverload        EventKind = 22 // Peer, Arg: how many messages to us were dropped at our mailbox
	EvUnsupported     EventKind = 23 // Peer ID: the peer does not handle what we sent
	EvWouldBlock      EventKind = 24 // Ref Peer ID, FlagBulk: a TrySend was not taken, the queue to the peer in that class is full
	EvWritable        EventKind = 25 // Peer, FlagBulk: ... and has room again
	EvStreamOpen      EventKind = 30 // Ref Peer ID Version, Arg: credit to write, Payload: Open
	EvStreamData      EventKind = 31 // Ref, FlagFIN, Payload: bytes
	EvStreamCredit    EventKind = 32 // Ref, Arg: bytes we may write in addition
	EvStreamReset     EventKind = 33 // Ref, Arg: Code, Payload: text
	EvTimer           EventKind = 40 // Ref
	EvPosted          EventKind = 41 // Ref, Payload: what Work returned
	EvCommitted       EventKind = 42 // Ref: the effects of that batch are on disk
	EvSigned          EventKind = 43 // Ref, Payload: signature
	EvVerified        EventKind = 44 // Ref, Arg: 1 valid, 0 not
	EvAnnounceChanged EventKind = 45 // ID Version: whose; Payload: all its tags (capability holder only)
	EvRoute           EventKind = 47 // Arg: cost in microseconds, FlagFIN: no longer reachable, Payload: NodeID (capability holder only)
	EvDenied          EventKind = 46 // Ref, Arg: EffectKind, Payload: the grant that is missing, or "UNIMPLEMENTED"
)

// Flags of events and effects.
const (
	// FlagFIN ends the writer's side of a stream after these bytes.
	FlagFIN uint16 = 1 << 0
	// FlagBulk puts a Send into class Bulk.
	FlagBulk uint16 = 1 << 1
	// FlagApp directs an OpStreamOpen to an application. Applications keep
	// accept-streams open instead for now: the host answers Denied.
	FlagApp uint16 = 1 << 2
	// FlagModule directs an OpStreamOpen to the local module that holds ID.
	FlagModule uint16 = 1 << 3
)

// Event is one thing that happened to a module. It is flat, as in the ABI: which
// fields mean something depends on Kind. Their order is that of a record (A2.1), so
// that a guest's compiler copies them eight bytes at a time.
type Event struct {
	Kind    EventKind
	Flags   uint16
	_       uint32
	Peer    Peer
	ID      ID
	Version Version
	Ref     Ref
	Arg     uint64
	// Payload is borrowed: valid until Handle returns.
	Payload []byte
}

// FIN reports whether a StreamData event is the far end's last.
func (e *Event) FIN() bool { return e.Flags&FlagFIN != 0 }

// String names the kind.
func (k EventKind) String() string { return eventNames[k] }

var eventNames = map[EventKind]string{EvState: "State", EvConfig: "Config", EvStart: "Start", EvDrain: "Drain",
	EvStop: "Stop", EvFlush: "Flush", EvPeerUp: "PeerUp", EvPeerUpdate: "PeerUpdate", EvPeerDown: "PeerDown",
	EvConnectFailed: "ConnectFailed", EvMessage: "Message", EvDropped: "Dropped", EvOverload: "Overload",
	EvUnsupported: "Unsupported", EvWouldBlock: "WouldBlock", EvWritable: "Writable", EvStreamOpen: "StreamOpen", EvStreamData: "StreamData",
	EvStreamCredit: "StreamCredit", EvStreamReset: "StreamReset", EvTimer: "Timer", EvPosted: "Posted",
	EvCommitted: "Committed", EvSigned: "Signed", EvVerified: "Verified",
	EvAnnounceChanged: "AnnounceChanged", EvRoute: "Route", EvDenied: "Denied"}
