package link

import (
	"net/netip"
)

// Link sends and receives datagrams. Read is called by one goroutine at a time,
// Write and Close by any.
type Link interface {
	// Read waits for a datagram, copies it into b and says how long it is and
	// who sent it. IPv4 senders have plain IPv4 addresses, never mapped ones.
	// A datagram longer than b is cut to len(b). After Close it returns
	// net.ErrClosed; any other error also means that the link is finished.
	Read(b []byte) (n int, from netip.AddrPort, err error)
	// Write sends b as one datagram. An error concerns this datagram only,
	// never an earlier one to somebody else; no error promises no delivery.
	// b is free again on return.
	Write(b []byte, to netip.AddrPort) error
	// LocalAddr is the address the link is bound to.
	LocalAddr() netip.AddrPort
	// Close ends the link and makes a waiting Read return. Calling it twice is
	// harmless.
	Close() error
}

// Rejection is a datagram of ours that the network sent back.
type Rejection struct {
	// To is where the datagram was going.
	To netip.AddrPort
	// Err is the reason, a syscall.Errno: ECONNREFUSED when nobody listens
	// there, EHOSTUNREACH, ENETUNREACH, EMSGSIZE and the like.
	Err error
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
