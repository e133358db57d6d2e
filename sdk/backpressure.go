package sdk

import "time"

// waiting is a queue of the host, to a peer in a class, that is full.
type waiting struct {
	peer  Peer
	class Class
}

// TrySend is Send that holds back: false means that the host's queue to the peer is
// full, and nothing was written; EvWritable says when to try again.
//
// True is no promise, since effects leave with the batch and the queue may have filled
// up meanwhile: then EvWouldBlock with ref says that this message was not taken, and
// from then on TrySend is false until EvWritable. A module that must not lose the
// message keeps it until its batch is over; without such an event in one of the next
// it was taken. ref 0 takes a fresh one. within is as in SendWithin, 0 for none. A host
// that does not know TrySend takes it for a Send.
func (e *Env) TrySend(ref Ref, p Peer, id ID, c Class, within time.Duration, b []byte) bool {
	if _, full := e.full[waiting{p, c & Bulk}]; full {
		return false
	}
	if ref == 0 {
		ref = e.NewRef()
	}
	e.Emit(Effect{Kind: OpSend, Flags: classFlag(c), ID: id, Peer: p, Ref: ref, Arg: uint64(max(within, 0)), Payload: b})
	return true
}

// SendWithin is Send of a message that is worth nothing later: one that has not left
// after that time is dropped, and counted under "stale" (EvDropped). A message of class
// Realtime never waits for more than 5 ms.
func (e *Env) SendWithin(within time.Duration, p Peer, id ID, c Class, b []byte) {
	e.Emit(Effect{Kind: OpSend, Flags: classFlag(c), ID: id, Peer: p, Arg: uint64(max(within, 1)), Payload: b})
}

// Backpressure takes note of EvWouldBlock, EvWritable and EvPeerDown before the module
// does. Carriers call it, through abi.Dispatcher.
func (e *Env) Backpressure(ev *Event) {
	class := Realtime
	if ev.Flags&FlagBulk != 0 {
		class = Bulk
	}
	switch ev.Kind {
	case EvWouldBlock:
		if e.full == nil {
			e.full = map[waiting]struct{}{}
		}
		e.full[waiting{ev.Peer, class}] = struct{}{}
	case EvWritable:
		delete(e.full, waiting{ev.Peer, class})
	case EvPeerDown:
		delete(e.full, waiting{ev.Peer, Realtime})
		delete(e.full, waiting{ev.Peer, Bulk})
	}
}

// Drop is the payload of EvDropped: the class of the messages, and why the host dropped
// them, as in the node's metrics: "queue_full", "stale", "too_big".
type Drop struct {
	Class  Class
	Reason string
}

// AppendDrop appends the payload of EvDropped.
func AppendDrop(b []byte, d Drop) []byte {
	return append(append(b, byte(d.Class)), d.Reason...)
}

// ParseDrop reads what AppendDrop wrote.
func ParseDrop(b []byte) (Drop, error) {
	if len(b) == 0 {
		return Drop{}, ErrPayload
	}
	return Drop{Class(b[0]), string(b[1:])}, nil
}
