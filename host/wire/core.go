package wire

import (
	"encoding/binary"
	"time"

	"nethost/sdk"
)

// Kinds of core message (W6.1): the first byte of a message of id 0x0001.
const (
	MsgAck           = 1
	MsgCredit        = 2
	MsgReset         = 3
	MsgPing          = 4
	MsgWave          = 5
	MsgRetract       = 6
	MsgSeqRequest    = 7
	MsgUnsupported   = 8
	MsgGoodbye       = 9
	MsgPathChallenge = 10
	MsgPathResponse  = 11
	MsgHello         = 12
	MsgMarkedAck     = 13
)

// Limits of core messages (W6).
const (
	MaxRanges      = 32
	MaxUnsupported = 16
	MaxResetText   = 200
)

// Range is a run of packet counters, both ends included.
type Range struct{ First, Last uint64 }

// Ack says which packets arrived (W6.2), and how many of them, in all, carried a
// congestion mark (W6.13).
type Ack struct {
	Gen    uint32        // the session index that the acknowledged packets carried
	Delay  time.Duration // from the arrival of the highest one to this message; microseconds on the wire
	Marks  uint64
	N      int // how many of Ranges count, at least 1
	Ranges [MaxRanges]Range
}

// AppendAck appends a with its kind byte, MsgMarkedAck when there are marks. The
// ranges must be in order, highest first, with at least one counter between two of
// them; what breaks the order is left out, and an Ack without a range appends
// nothing.
func AppendAck(b []byte, a *Ack) []byte {
	return AppendRanges(b, a.Gen, a.Delay, a.Marks, a.Ranges[:min(max(a.N, 0), MaxRanges)])
}

// AppendRanges is AppendAck for ranges that are kept elsewhere.
func AppendRanges(b []byte, gen uint32, delay time.Duration, marks uint64, ranges []Range) []byte {
	n := 0
	for n < min(len(ranges), MaxRanges) {
		r := ranges[n]
		if r.First > r.Last || r.Last > MaxVarint || n > 0 && (ranges[n-1].First < 2 || r.Last > ranges[n-1].First-2) {
			break
		}
		n++
	}
	if n == 0 {
		return b
	}
	if marks > 0 {
		b = binary.AppendUvarint(append(b, MsgMarkedAck), min(marks, MaxVarint))
	} else {
		b = append(b, MsgAck)
	}
	b = binary.LittleEndian.AppendUint32(b, gen)
	b = binary.AppendUvarint(b, uint64(min(max(delay.Microseconds(), 0), 1<<32-1)))
	b = append(b, byte(n))
	b = binary.AppendUvarint(b, ranges[0].Last)
	for i, r := range ranges[:n] {
		if i > 0 {
			b = binary.AppendUvarint(b, ranges[i-1].First-2-r.Last)
		}
		b = binary.AppendUvarint(b, r.Last-r.First)
	}
	return b
}

// ParseMarkedAck reads the body of a MsgMarkedAck into a, as ParseAck does.
func ParseMarkedAck(body []byte, a *Ack) bool {
	marks, rest, ok := takeVarint(body)
	if !ok || marks == 0 || !ParseAck(rest, a) {
		a.N = 0
		return false
	}
	a.Marks = marks
	return true
}

// ParseAck reads the body of a MsgAck into a; Ranges above a.N keep what they had.
func ParseAck(body []byte, a *Ack) bool {
	a.N, a.Marks = 0, 0
	if len(body) < 4 {
		return false
	}
	a.Gen = binary.LittleEndian.Uint32(body)
	delay, b, ok := takeVarint(body[4:])
	if !ok || delay > 1<<32-1 || len(b) == 0 || b[0] == 0 || b[0] > MaxRanges {
		return false
	}
	a.Delay = time.Duration(delay) * time.Microsecond
	n := int(b[0])
	last, b, ok := takeVarint(b[1:])
	if !ok {
		return false
	}
	for i := range n {
		if i > 0 {
			var gap uint64
			first := a.Ranges[i-1].First
			if gap, b, ok = takeVarint(b); !ok || first < 2 || gap > first-2 {
				return false
			}
			last = first - 2 - gap
		}
		var length uint64
		if length, b, ok = takeVarint(b); !ok || length > last {
			return false
		}
		a.Ranges[i] = Range{last - length, last}
	}
	if len(b) != 0 {
		return false
	}
	a.N = n
	return true
}

// Credit raises what the peer may write on a stream (W6.3).
type Credit struct{ Stream, Limit uint64 } // Limit is an absolute offset

// AppendCredit appends c with its kind byte.
func AppendCredit(b []byte, c Credit) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(b, MsgCredit), c.Stream), c.Limit)
}

// ParseCredit reads the body of a Credit.
func ParseCredit(body []byte) (c Credit, ok bool) {
	stream, b, ok1 := takeVarint(body)
	limit, b, ok2 := takeVarint(b)
	if !ok1 || !ok2 || stream == 0 || len(b) != 0 {
		return c, false
	}
	return Credit{stream, limit}, true
}

// Reset ends both directions of a stream at once (W6.4).
type Reset struct {
	Stream uint64
	Code   sdk.Code
	Text   []byte // for people; Append cuts it to MaxResetText bytes
}

// AppendReset appends r with its kind byte.
func AppendReset(b []byte, r Reset) []byte {
	b = binary.AppendUvarint(append(b, MsgReset), r.Stream)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Code))
	text := r.Text[:min(len(r.Text), MaxResetText)]
	return append(append(b, byte(len(text))), text...)
}

// ParseReset reads the body of a Reset; Text aliases it.
func ParseReset(body []byte) (r Reset, ok bool) {
	stream, b, ok := takeVarint(body)
	if !ok || stream == 0 || len(b) < 5 || b[4] > MaxResetText || len(b) != 5+int(b[4]) {
		return r, false
	}
	return Reset{stream, sdk.Code(binary.LittleEndian.Uint32(b)), b[5:]}, true
}

// Ping asks for nothing but the acknowledgement of its packet (W6.5).
type Ping struct{ Token uint64 }

// AppendPing appends p with its kind byte.
func AppendPing(b []byte, p Ping) []byte {
	return binary.LittleEndian.AppendUint64(append(b, MsgPing), p.Token)
}

// ParsePing reads the body of a Ping.
func ParsePing(body []byte) (p Ping, ok bool) {
	if len(body) != 8 {
		return p, false
	}
	return Ping{binary.LittleEndian.Uint64(body)}, true
}

// Unsupported names ids nobody here answers to (W6.9).
type Unsupported struct {
	N   int // how many of IDs count, at least 1
	IDs [MaxUnsupported]sdk.ID
}

// AppendUnsupported appends u with its kind byte; without an id it appends
// nothing.
func AppendUnsupported(b []byte, u Unsupported) []byte {
	n := min(u.N, MaxUnsupported)
	if n <= 0 {
		return b
	}
	b = append(b, MsgUnsupported, byte(n))
	for _, id := range u.IDs[:n] {
		b = binary.LittleEndian.AppendUint16(b, uint16(id))
	}
	return b
}

// ParseUnsupported reads the body of an Unsupported.
func ParseUnsupported(body []byte) (u Unsupported, ok bool) {
	if len(body) == 0 || body[0] == 0 || body[0] > MaxUnsupported || len(body) != 1+2*int(body[0]) {
		return u, false
	}
	u.N = int(body[0])
	for i := range u.N {
		u.IDs[i] = sdk.ID(binary.LittleEndian.Uint16(body[1+2*i:]))
	}
	return u, true
}

// Goodbye is the last message of a session (W6.10).
type Goodbye struct{ Reason uint8 }

// AppendGoodbye appends g with its kind byte.
func AppendGoodbye(b []byte, g Goodbye) []byte { return append(b, MsgGoodbye, g.Reason) }

// ParseGoodbye reads the body of a Goodbye.
func ParseGoodbye(body []byte) (g Goodbye, ok bool) {
	if len(body) != 1 {
		return g, false
	}
	return Goodbye{body[0]}, true
}

// PathChallenge proves that an address is reachable: the peer answers with the
// same data (W6.11).
type PathChallenge struct{ Data uint64 }

// AppendPathChallenge appends c with the kind byte of a challenge.
func AppendPathChallenge(b []byte, c PathChallenge) []byte {
	return binary.LittleEndian.AppendUint64(append(b, MsgPathChallenge), c.Data)
}

// ParsePathChallenge reads the body of a challenge.
func ParsePathChallenge(body []byte) (c PathChallenge, ok bool) {
	p, ok := ParsePing(body)
	return PathChallenge{p.Token}, ok
}

// AppendPathResponse appends c with the kind byte of a response.
func AppendPathResponse(b []byte, c PathChallenge) []byte {
	return binary.LittleEndian.AppendUint64(append(b, MsgPathResponse), c.Data)
}

// ParsePathResponse reads the body of a response.
func ParsePathResponse(body []byte) (c PathChallenge, ok bool) { return ParsePathChallenge(body) }

// Hello says which association a session belongs to (W6.12): ours, and what we
// hold to be the peer's, 0 if nothing yet. Streams and manifests live as long as
// an association; a session is one generation of its keys.
type Hello struct{ Mine, Yours uint64 }

// AppendHello appends h with its kind byte.
func AppendHello(b []byte, h Hello) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, MsgHello), h.Mine)
	return binary.LittleEndian.AppendUint64(b, h.Yours)
}

// ParseHello reads the body of a Hello. Mine is not 0.
func ParseHello(body []byte) (h Hello, ok bool) {
	if len(body) != 16 {
		return h, false
	}
	h = Hello{binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:])}
	return h, h.Mine != 0
}
