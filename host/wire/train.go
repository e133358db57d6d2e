package wire

import "net/netip"

// Limits of a train: what a UDP socket takes as one segmented send (UDP_SEGMENT).
const (
	// MaxTrain is the length of the longest train, in bytes.
	MaxTrain = 65000
	// MaxSegments is how many datagrams a train holds at most.
	MaxSegments = 64
)

// Train is one datagram, or several of one size from or to one address, end to end
// in one piece of memory: what UDP_GRO hands over and UDP_SEGMENT takes.
type Train struct {
	// Addr is who sent it, or where it goes. IPv4 senders have plain IPv4
	// addresses, never mapped ones.
	Addr netip.AddrPort
	// Bytes are the datagrams.
	Bytes []byte
	// Segment is the size of each datagram but the last, which may be shorter,
	// in bytes. 0, or anything not below len(Bytes): there is only one.
	Segment int
	// Alone keeps one datagram from leaving in one piece with others: a path MTU
	// probe, which the system must not cut or join.
	Alone bool
}

// Count is how many datagrams the train holds.
func (t *Train) Count() int {
	if t.Segment <= 0 || t.Segment >= len(t.Bytes) {
		return 1
	}
	return (len(t.Bytes) + t.Segment - 1) / t.Segment
}

// Join puts a datagram at the end of the train if it lies behind it in memory and
// the rules of trains allow it: nothing follows a datagram that is shorter than the
// others.
func (t *Train) Join(b []byte) bool {
	n := len(t.Bytes)
	size := t.Segment
	if size <= 0 || size > n {
		size = n // alone so far
	}
	if t.Alone || n == 0 || len(b) == 0 || len(b) > size || n%size != 0 || n/size >= MaxSegments || n+len(b) > MaxTrain ||
		cap(t.Bytes) < n+len(b) || &t.Bytes[:n+1][n] != &b[0] {
		return false
	}
	t.Bytes, t.Segment = t.Bytes[:n+len(b)], size
	return true
}

// Cut takes the first datagram off a train: first is that one, and rest is false
// when there is no more. The capacity of first reaches into the next one, so that
// what stays in place can be joined again: nobody may append to it.
func (t *Train) Cut() (first []byte, rest bool) {
	if t.Segment <= 0 || t.Segment >= len(t.Bytes) {
		first, t.Bytes = t.Bytes, nil
		return first, false
	}
	first, t.Bytes = t.Bytes[:t.Segment], t.Bytes[t.Segment:]
	return first, true
}
