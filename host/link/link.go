package link

import (
	"net/netip"

	"nethost/host/wire"
)

// Train is one datagram or several: see the wire package.
type Train = wire.Train

// Link sends and receives trains of datagrams. Read is called by one goroutine at
// a time, Write and Close by any.
type Link interface {
	// Read waits for datagrams and describes them in trains, of which there must
	// be at least one; n says how many it used. It never waits for more than the
	// first. The bytes belong to the caller, who may change them, until the next
	// Read. After Close it returns net.ErrClosed; any other error also means that
	// the link is finished.
	Read(trains []Train) (n int, err error)
	// Write sends all trains; those to one address leave in their order. An error
	// tells of datagrams among these that the system refused, never of earlier
	// ones to somebody else; the others were sent. No error promises no delivery.
	// The bytes are free again on return.
	Write(trains []Train) error
	// LocalAddr is the address the link is bound to.
	LocalAddr() netip.AddrPort
	// Close ends the link and makes a waiting Read return. Calling it twice is
	// harmless.
	Close() error
}

// Backpressure is implemented by links that can say that the network is busy
// instead of waiting for it.
type Backpressure interface {
	// TryWrite is Write, but gives back, appended to unsent, what the network
	// could not take at once. Their bytes are those of trains.
	TryWrite(trains, unsent []Train) ([]Train, error)
}

// Interrupter is implemented by links whose Read can be called back.
type Interrupter interface {
	// Interrupt makes the Read under way, or the next one, return with 0 trains and
	// no error.
	Interrupt()
}

// Stats are what a link can tell of itself.
type Stats struct {
	// Mode is how datagrams pass the system: "gso" in trains, "mmsg" many a
	// call, "plain" one a call, "memory".
	Mode string
	// Note says why Mode is not the best one, when something made it so.
	Note string
	// Overflows are datagrams that the system dropped because nobody read them
	// in time.
	Overflows uint64
	// ReadCalls, WriteCalls, DatagramsIn and DatagramsOut tell how long trains are.
	ReadCalls, WriteCalls, DatagramsIn, DatagramsOut uint64
}

// StatsSource is implemented by links that keep Stats.
type StatsSource interface {
	Stats() Stats
}

// Rejection is a datagram of ours that the network sent back.
type Rejection struct {
	// To is where the datagram was going.
	To netip.AddrPort
	// Err is the reason, a syscall.Errno: ECONNREFUSED when nobody listens
	// there, EHOSTUNREACH, ENETUNREACH, EMSGSIZE and the like.
	Err error
	// Local says that our own system refused the datagram for its size (Err is
	// EMSGSIZE), Size how long it was, in bytes. It is not a guess, and cannot be
	// forged.
	Local bool
	Size  int
	// MTU of the narrow hop, in bytes of IP packet, when Err is EMSGSIZE.
	MTU int
	// Quote is the head of the datagram as the rejecting router quoted it:
	// possibly only 8 bytes of UDP header's worth, so possibly empty. It is
	// not authenticated: anybody may forge it. Valid during the call.
	Quote []byte
}

// ErrorSource is implemented by links that can tell what was rejected.
type ErrorSource interface {
	// OnRejection sets who hears of rejections. f runs on the goroutine that
	// is in Read, never inside Write: it may take the lock that callers of
	// Write hold. Set it before the first Read.
	OnRejection(f func(Rejection))
}
