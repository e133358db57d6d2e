package wire

import "encoding/binary"

// Constants of wire version 1 (W1).
const (
	// Version is the wire version this package speaks.
	Version = 1

	// TypeLocal and TypeForward are the two types of hop frame.
	TypeLocal   = 0
	TypeForward = 1

	// LocalSize and ForwardSize are the sizes of the hop frames, in bytes.
	LocalSize   = 2
	ForwardSize = 24
	// SessionSize is what a session packet has before its ciphertext: index
	// u32 and counter u64.
	SessionSize = 12
	// TagSize is the AEAD tag at the end of a session packet.
	TagSize = 16
	// HopTagSize is the tag at the end of a forward frame.
	HopTagSize = 6

	// BaseMTU is the UDP payload every path is assumed to carry.
	BaseMTU = 1200
	// MaxTTL is the largest hop count, and so the diameter of a network.
	MaxTTL = 63
	// MaxClass is the largest class a hop frame can name.
	MaxClass = 7
)

// RID is a routing id: the first 8 bytes of BLAKE3 of a node's public key, read
// as a little-endian number. 0 is no node.
type RID uint64

// Hop is a hop frame (W2): what a relay may read, and all it may change. A local
// frame has Version, Type and Class only.
type Hop struct {
	Version     uint8 // must be Version; Append writes what stands here
	Type        uint8
	Class       uint8
	TTL         uint8
	Congested   bool
	LinkIndex   uint32 // the receiver's session index
	LinkCounter uint32
	Dest        RID
	Tag         [HopTagSize]byte
}

// ParseHop reads the hop frame at the start of a datagram; rest is what follows.
// For another version than ours ok is false and h.Version says which (W2.2); in
// every other failure h.Version is Version, or 0 for an empty datagram.
func ParseHop(b []byte) (h Hop, rest []byte, ok bool) {
	if len(b) == 0 {
		return h, nil, false
	}
	h.Version, h.Type, h.Class = b[0]>>6, b[0]>>3&7, b[0]&7
	if h.Version != Version {
		return h, nil, false
	}
	switch {
	case h.Type == TypeLocal && len(b) >= LocalSize && b[1] == 0:
		return h, b[LocalSize:], true
	case h.Type == TypeForward && len(b) >= ForwardSize && b[1]&0x80 == 0:
		h.TTL, h.Congested = b[1]&0x3f, b[1]&0x40 != 0
		h.LinkIndex = binary.LittleEndian.Uint32(b[2:])
		h.LinkCounter = binary.LittleEndian.Uint32(b[6:])
		h.Dest = RID(binary.LittleEndian.Uint64(b[10:]))
		h.Tag = [HopTagSize]byte(b[18:])
		return h, b[ForwardSize:], true
	}
	return h, nil, false
}

// AppendHop appends the 2 or 24 bytes of h; AppendHop(b[:0], h) rewrites a frame
// in place. Version, Class and TTL must be in range: higher bits are cut.
func AppendHop(b []byte, h Hop) []byte {
	b = append(b, h.Version<<6|h.Type&7<<3|h.Class&7)
	if h.Type != TypeForward {
		return append(b, 0)
	}
	second := h.TTL & 0x3f
	if h.Congested {
		second |= 0x40
	}
	b = append(b, second)
	b = binary.LittleEndian.AppendUint32(b, h.LinkIndex)
	b = binary.LittleEndian.AppendUint32(b, h.LinkCounter)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Dest))
	return append(b, h.Tag[:]...)
}

// SetTTL changes the hop limit of the forward frame at the start of b, and nothing
// else: all a relay changes beside the link's own fields.
func SetTTL(b []byte, ttl uint8) { b[1] = b[1]&^0x3f | ttl&0x3f }

// MarkCongested sets the congestion mark of the forward frame at the start of b
// (W2.5): a relay does before it signs the frame.
func MarkCongested(b []byte) { b[1] |= 0x40 }

// IsBulk reports whether the hop frame at the start of b names the bulk class.
func IsBulk(b []byte) bool { return len(b) > 0 && b[0]&7 != 0 }

// IsHandshake reports whether what follows a hop frame is a handshake envelope:
// session index 0 (W4.1).
func IsHandshake(b []byte) bool { return len(b) >= 4 && binary.LittleEndian.Uint32(b) == 0 }

// ParseSession reads a session packet (W3): the receiver's session index, the
// packet counter, and the ciphertext with its tag.
func ParseSession(b []byte) (index uint32, counter uint64, sealed []byte, ok bool) {
	if len(b) < SessionSize+TagSize || IsHandshake(b) {
		return 0, 0, nil, false
	}
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:]), b[SessionSize:], true
}
