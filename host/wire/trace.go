package wire

import (
	"encoding/binary"

	"nethost/sdk"
)

// Kinds of the core messages that follow a way through the mesh (W6.14, W6.15).
const (
	MsgTraceQuery  = 24
	MsgTraceAnswer = 25
)

// Verdicts of a TraceAnswer.
const (
	TraceNext    = 1 // Next is where a packet goes on to
	TraceHere    = 2 // the node asked is the destination
	TraceNoRoute = 3 // it knows no way
	TraceRefused = 4 // it does not tell
	TraceDenied  = 5 // a rule of it denies the destination
)

// TraceVerdict says a verdict in words.
func TraceVerdict(v uint8) string {
	switch v {
	case TraceNext:
		return "forwards"
	case TraceHere:
		return "arrived"
	case TraceNoRoute:
		return "no route from here"
	case TraceRefused:
		return "does not tell"
	case TraceDenied:
		return "denied by a rule of this node"
	}
	return "unknown verdict"
}

// TraceWhyDirect is a Why beside those of package route: the destination is a
// neighbour itself.
const TraceWhyDirect = 5

const maxTraceWhy = TraceWhyDirect

// TraceQuery asks for the next hop towards Dest.
type TraceQuery struct {
	Token uint64
	Dest  sdk.NodeID
}

// AppendTraceQuery appends q with its kind byte.
func AppendTraceQuery(b []byte, q TraceQuery) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, MsgTraceQuery), q.Token)
	return append(b, q.Dest[:]...)
}

// ParseTraceQuery reads the body of a TraceQuery.
func ParseTraceQuery(body []byte) (q TraceQuery, ok bool) {
	if len(body) != 8+len(q.Dest) {
		return q, false
	}
	q.Token = binary.LittleEndian.Uint64(body)
	copy(q.Dest[:], body[8:])
	return q, true
}

// TraceOther is another way that could be taken at once.
type TraceOther struct {
	Node   sdk.NodeID
	Metric uint32
}

// TraceAnswer says where packets go on to, and why. Only Token and Verdict count
// unless Verdict is TraceNext.
type TraceAnswer struct {
	Token   uint64
	Verdict uint8
	Next    sdk.NodeID
	Hops    uint8  // to the destination
	Why     uint8  // of package route, or TraceWhyDirect
	Metric  uint32 // of the whole way, in microseconds
	RTT     uint32 // to Next, in microseconds
	Loss    uint16 // of packets to Next, in 65535ths
	N       int    // how many of Others count
	Others  [3]TraceOther
}

const traceNextSize = 32 + 1 + 1 + 4 + 4 + 2 + 1

// AppendTraceAnswer appends a with its kind byte.
func AppendTraceAnswer(b []byte, a *TraceAnswer) []byte {
	b = binary.LittleEndian.AppendUint64(append(b, MsgTraceAnswer), a.Token)
	b = append(b, a.Verdict)
	if a.Verdict != TraceNext {
		return b
	}
	b = append(append(b, a.Next[:]...), a.Hops, a.Why)
	b = binary.LittleEndian.AppendUint32(b, a.Metric)
	b = binary.LittleEndian.AppendUint32(b, a.RTT)
	b = binary.LittleEndian.AppendUint16(b, a.Loss)
	n := min(max(a.N, 0), len(a.Others))
	b = append(b, byte(n))
	for _, o := range a.Others[:n] {
		b = binary.LittleEndian.AppendUint32(append(b, o.Node[:]...), o.Metric)
	}
	return b
}

// ParseTraceAnswer reads the body of a TraceAnswer into a.
func ParseTraceAnswer(body []byte, a *TraceAnswer) bool {
	*a = TraceAnswer{}
	if len(body) < 9 || body[8] == 0 || body[8] > TraceDenied {
		return false
	}
	b := body[9:]
	if next := body[8] == TraceNext; next && len(b) < traceNextSize || !next && len(b) > 0 {
		return false
	}
	a.Token, a.Verdict = binary.LittleEndian.Uint64(body), body[8]
	if a.Verdict != TraceNext {
		return true
	}
	copy(a.Next[:], b)
	a.Hops, a.Why = b[32], b[33]
	a.Metric, a.RTT, a.Loss = binary.LittleEndian.Uint32(b[34:]), binary.LittleEndian.Uint32(b[38:]), binary.LittleEndian.Uint16(b[42:])
	n := int(b[44])
	if b = b[traceNextSize:]; a.Hops > MaxTTL || a.Why == 0 || a.Why > maxTraceWhy || n > len(a.Others) || len(b) != n*36 {
		*a = TraceAnswer{}
		return false
	}
	a.N = n
	for i := range n {
		copy(a.Others[i].Node[:], b[i*36:])
		a.Others[i].Metric = binary.LittleEndian.Uint32(b[i*36+32:])
	}
	return true
}
