package sdk

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrPayload is returned by every Parse function of this package: the payload is
// shorter than its own lengths say, or longer than it may be.
var ErrPayload = errors.New("sdk: malformed payload")

// Origin says who opened a stream.
type Origin uint8

// The three kinds of far end.
const (
	FromPeer   Origin = 1
	FromApp    Origin = 2
	FromModule Origin = 3
)

// Open describes a stream open: what was asked for, and by whom.
type Open struct {
	// From and Principal are filled in by the host in an event and ignored in
	// an effect. Principal is the peer's NodeID (32 bytes), the application's
	// user as text, or the calling module's name.
	From      Origin
	Principal []byte
	// Hops counts the modules this open has passed through.
	Hops uint8
	// Deadline is the time left; 0 means none.
	Deadline time.Duration
	// Method the caller wants; "" is the module's default one.
	Method string
	// Meta is for the two ends only; the host does not read it.
	Meta []byte
}

// AppendOpen appends the payload of a StreamOpen (ABI A4.4).
func AppendOpen(b []byte, o Open) []byte {
	b = append(b, byte(o.From), o.Hops)
	b = binary.LittleEndian.AppendUint64(b, uint64(o.Deadline))
	b = appendBytes16(b, o.Principal)
	b = appendBytes16(b, []byte(o.Method))
	return appendBytes16(b, o.Meta)
}

// ParseOpen reads what AppendOpen wrote. The slices alias b.
func ParseOpen(b []byte) (Open, error) {
	var o Open
	if len(b) < 10 || len(b) > MaxOpen {
		return o, ErrPayload
	}
	o.From, o.Hops = Origin(b[0]), b[1]
	o.Deadline = time.Duration(binary.LittleEndian.Uint64(b[2:]))
	b = b[10:]
	var method []byte
	var ok [3]bool
	o.Principal, b, ok[0] = takeBytes16(b)
	method, b, ok[1] = takeBytes16(b)
	o.Meta, b, ok[2] = takeBytes16(b)
	if !ok[0] || !ok[1] || !ok[2] || len(b) != 0 || o.Deadline < 0 {
		return Open{}, ErrPayload
	}
	o.Method = string(method)
	return o, nil
}

// StartReason says why an instance starts.
type StartReason uint8

// The reasons of a Start.
const (
	StartFresh   StartReason = 1 // first start of this package, or of the host
	StartRestart StartReason = 2 // the instance before this one crashed
	StartUpgrade StartReason = 3 // this version takes over from Previous
)

// Start is the payload of EvStart.
type Start struct {
	Reason   StartReason
	Self     NodeID
	Previous string // release this one upgrades from, or ""
	// MemoryLimit in bytes, 0 = none; StateLimit in bytes, 0 = not granted.
	MemoryLimit, StateLimit uint64
	// Grants held, as the operator wrote them ("state", "call:capability").
	Grants []string
	// Entropy is 32 random bytes with the grant entropy, else empty; Secret
	// is a key for encryption at rest with the grant secret, else empty.
	Entropy, Secret []byte
}

// AppendStart appends the payload of EvStart (ABI A4.3).
func AppendStart(b []byte, s Start) []byte {
	b = append(b, byte(s.Reason))
	b = append(b, s.Self[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.MemoryLimit)
	b = binary.LittleEndian.AppendUint64(b, s.StateLimit)
	b = appendBytes16(b, []byte(s.Previous))
	b = appendBytes16(b, s.Entropy)
	b = appendBytes16(b, s.Secret)
	return AppendTags(b, s.Grants)
}

// ParseStart reads what AppendStart wrote. Entropy and Secret alias b.
func ParseStart(b []byte) (Start, error) {
	var s Start
	if len(b) < 49 {
		return s, ErrPayload
	}
	s.Reason = StartReason(b[0])
	copy(s.Self[:], b[1:])
	s.MemoryLimit = binary.LittleEndian.Uint64(b[33:])
	s.StateLimit = binary.LittleEndian.Uint64(b[41:])
	b = b[49:]
	var prev []byte
	var ok [3]bool
	prev, b, ok[0] = takeBytes16(b)
	s.Entropy, b, ok[1] = takeBytes16(b)
	s.Secret, b, ok[2] = takeBytes16(b)
	if !ok[0] || !ok[1] || !ok[2] {
		return Start{}, ErrPayload
	}
	s.Previous = string(prev)
	var err error
	s.Grants, err = ParseTags(b)
	return s, err
}

// PeerInfo is the payload of PeerUp and PeerUpdate.
type PeerInfo struct {
	Node NodeID
	RTT  time.Duration // smoothed; 0 = not measured yet
	MTU  uint32        // largest message that fits one packet, in bytes
}

// AppendPeerInfo appends the payload of PeerUp (ABI A4.5).
func AppendPeerInfo(b []byte, p PeerInfo) []byte {
	b = append(b, p.Node[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.RTT))
	return binary.LittleEndian.AppendUint32(b, p.MTU)
}

// ParsePeerInfo reads what AppendPeerInfo wrote.
func ParsePeerInfo(b []byte) (PeerInfo, error) {
	var p PeerInfo
	if len(b) != 44 {
		return p, ErrPayload
	}
	copy(p.Node[:], b)
	p.RTT = time.Duration(binary.LittleEndian.Uint64(b[32:]))
	p.MTU = binary.LittleEndian.Uint32(b[40:])
	return p, nil
}

// AppendStateEntry appends key and value of a state entry (ABI A4.1).
func AppendStateEntry(b, key, val []byte) []byte {
	b = appendBytes16(b, key)
	return append(b, val...)
}

// ParseStateEntry reads what AppendStateEntry wrote. The slices alias b.
func ParseStateEntry(b []byte) (key, val []byte, err error) {
	key, val, ok := takeBytes16(b)
	if !ok || len(key) == 0 || len(key) > MaxStateKey || len(val) > MaxStateValue {
		return nil, nil, ErrPayload
	}
	return key, val, nil
}

// AppendSendMany appends the payload of OpSendMany (ABI A4.6).
func AppendSendMany(b []byte, peers []Peer, msg []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(peers)))
	for _, p := range peers {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
	}
	return append(b, msg...)
}

// ParseSendMany reads what AppendSendMany wrote. msg aliases b.
func ParseSendMany(b []byte) (peers []Peer, msg []byte, err error) {
	list, msg, ok := CutSendMany(b)
	if !ok {
		return nil, nil, ErrPayload
	}
	peers = make([]Peer, len(list)/4)
	for i := range peers {
		peers[i] = Peer(binary.LittleEndian.Uint32(list[4*i:]))
	}
	return peers, msg, nil
}

// CutSendMany is ParseSendMany without an allocation: list holds four bytes a peer,
// little endian.
func CutSendMany(b []byte) (list, msg []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if b = b[4:]; uint64(len(b)) < 4*n {
		return nil, nil, false
	}
	return b[:4*n], b[4*n:], true
}

// AppendTags appends a list of short strings (ABI A4.2).
func AppendTags(b []byte, tags []string) []byte {
	for _, t := range tags {
		b = appendBytes16(b, []byte(t))
	}
	return b
}

// ParseTags reads what AppendTags wrote.
func ParseTags(b []byte) ([]string, error) {
	var tags []string
	for len(b) > 0 {
		t, rest, ok := takeBytes16(b)
		if !ok {
			return nil, ErrPayload
		}
		tags, b = append(tags, string(t)), rest
	}
	return tags, nil
}

// Pair is one configuration entry: a key of the module's [config] table and its
// value as text.
type Pair struct{ Key, Value string }

// AppendPairs appends the payload of EvConfig: key and value in turn, as tags.
func AppendPairs(b []byte, pairs []Pair) []byte {
	for _, p := range pairs {
		b = AppendTags(b, []string{p.Key, p.Value})
	}
	return b
}

// ParsePairs reads what AppendPairs wrote.
func ParsePairs(b []byte) ([]Pair, error) {
	tags, err := ParseTags(b)
	if err != nil || len(tags)%2 != 0 {
		return nil, ErrPayload
	}
	pairs := make([]Pair, 0, len(tags)/2)
	for i := 0; i < len(tags); i += 2 {
		pairs = append(pairs, Pair{tags[i], tags[i+1]})
	}
	return pairs, nil
}

// appendBytes16 panics on more than 64 KiB: every caller's limit is far below,
// and a silent cut would be read as another message.
func appendBytes16(b, p []byte) []byte {
	if len(p) > 0xffff {
		panic("sdk: a payload element is longer than 65535 bytes")
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p)))
	return append(b, p...)
}

func takeBytes16(b []byte) (p, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
