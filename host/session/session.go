package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"nethost/host/wire"
	"nethost/sdk"
)

// Limits of one generation of keys (S7). Above the hard ones a key is silent:
// silence is better than a nonce used twice.
const (
	RekeyAfter   = 120 * time.Second
	RekeyPackets = 1 << 31
	HardAfter    = 180 * time.Second
	HardPackets  = 1<<32 - 1<<16

	// ReplayWindow and LinkWindow are how far behind the newest a packet or a
	// hop frame may arrive, in packets.
	ReplayWindow = 16384
	LinkWindow   = 4096
)

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts.
const (
	OK       Verdict = iota
	BadTag           // mangled, forged, or not for this session
	Replayed         // seen before, or too old to tell
	Expired          // the key is past its limits
)

// String gives the verdict in words.
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case BadTag:
		return "bad tag"
	case Replayed:
		return "replayed"
	case Expired:
		return "expired"
	}
	return "unknown verdict"
}

// Session is one generation of keys between us and a peer. It belongs to one
// goroutine at a time; the packet methods allocate nothing.
type Session struct {
	peer          sdk.NodeID
	rid           wire.RID
	incarnation   uint64
	static        [32]byte
	local, remote uint32
	version       uint8
	aes           bool
	initiator     bool
	expired       bool
	born          time.Duration
	under         *Local

	send, receive       cipher.AEAD
	sendHop, receiveHop hopKey
	nextPacket          uint64
	nextLink            uint64
	packets, links      window

	// Scratch that would escape to the heap as a local variable.
	nonce [chacha20poly1305.NonceSize]byte
}

func newSession(send, receive [32]byte, aes bool) *Session {
	s := &Session{aes: aes, packets: newWindow(ReplayWindow), links: newWindow(LinkWindow)}
	s.send, s.sendHop = deriveKeys(send, aes)
	s.receive, s.receiveHop = deriveKeys(receive, aes)
	return s
}

// deriveKeys makes the two keys of a direction from that direction's Split key
// (S5.1). They come from nothing else: the handshake hash is known to every relay
// that holds the network key.
func deriveKeys(split [32]byte, aes bool) (cipher.AEAD, hopKey) {
	key := expand(split, "nethost v1 aead", 32)
	aead, err := chacha20poly1305.New(key)
	if aes {
		aead, err = newGCM(key)
	}
	if err != nil { // a key of 32 bytes is always good
		panic(err)
	}
	return aead, newHopKey(expand(split, "nethost v1 hop", hopKeySize))
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func expand(split [32]byte, label string, size int) []byte {
	key, err := hkdf.Expand(newHash, split[:], label, size)
	if err != nil { // it can give 8 KiB
		panic(err)
	}
	return key
}

func newHash() hash.Hash {
	h, err := blake2s.New256(nil)
	if err != nil { // without a key it cannot fail
		panic(err)
	}
	return h
}

// Format keeps keys out of logs, whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session %08x with %s", s.local, s.peer)
}

// Peer is the node at the other end, proven by the handshake.
func (s *Session) Peer() sdk.NodeID { return s.peer }

// PeerRID is the peer's routing id.
func (s *Session) PeerRID() wire.RID { return s.rid }

// Incarnation is that of the peer's process.
func (s *Session) Incarnation() uint64 { return s.incarnation }

// SameProcess reports whether both sessions are with one process: each start has a
// static key of its own (S1.3).
func (s *Session) SameProcess(o *Session) bool { return s.static == o.static }

// Version is the protocol version agreed on.
func (s *Session) Version() uint8 { return s.version }

// Cipher names what session packets are sealed with.
func (s *Session) Cipher() string {
	if s.aes {
		return "AES-256-GCM"
	}
	return "ChaCha20-Poly1305"
}

// LocalIndex is the session index in packets to us.
func (s *Session) LocalIndex() uint32 { return s.local }

// PeerIndex is the session index in packets to the peer.
func (s *Session) PeerIndex() uint32 { return s.remote }

// Initiator reports whether we began the handshake.
func (s *Session) Initiator() bool { return s.initiator }

// Born is when the handshake ended here.
func (s *Session) Born() time.Duration { return s.born }

// NeedsRekey reports whether a new handshake is due.
func (s *Session) NeedsRekey(now time.Duration) bool {
	return s.Expire(now) || now-s.born >= RekeyAfter || s.nextPacket >= RekeyPackets || s.nextLink >= RekeyPackets
}

// Dead reports whether the key may not be used any more.
func (s *Session) Dead(now time.Duration) bool {
	return s.Expire(now) || s.nextPacket >= HardPackets || s.nextLink >= HardPackets
}

// Expire tells the session the time. Past the hard limit all later packets get
// the verdict Expired, whatever time is told after that.
func (s *Session) Expire(now time.Duration) bool {
	s.expired = s.expired || now-s.born >= HardAfter
	return s.expired
}

// NextDeadline is when the age of the keys next matters: rekey, then death.
func (s *Session) NextDeadline(now time.Duration) time.Duration {
	switch age := now - s.born; {
	case s.Expire(now):
		return never
	case age < RekeyAfter:
		return s.born + RekeyAfter
	}
	return s.born + HardAfter
}

// aad is what the tag of a session packet covers besides the ciphertext: the
// index and counter, and the hop frame when it is local (S5.3).
func aad(pkt []byte, hop int) []byte {
	if hop == wire.LocalSize {
		return pkt[:hop+wire.SessionSize]
	}
	return pkt[hop : hop+wire.SessionSize]
}

// Seal makes a session packet in place. pkt is a hop frame of hop bytes
// (wire.LocalSize or wire.ForwardSize), room for 12 bytes, and the plaintext;
// Seal fills in the room, encrypts, and appends the tag, for which cap(pkt)
// should have 16 bytes. It reports false, and has done nothing, once the key is
// past its limits.
func (s *Session) Seal(pkt []byte, hop int) (sealed []byte, counter uint64, ok bool) {
	body := hop + wire.SessionSize
	if hop != wire.LocalSize && hop != wire.ForwardSize || len(pkt) < body || s.expired || s.nextPacket >= HardPackets {
		return nil, 0, false
	}
	counter = s.nextPacket
	s.nextPacket++
	binary.LittleEndian.PutUint32(pkt[hop:], s.remote)
	binary.LittleEndian.PutUint64(pkt[hop+4:], counter)
	binary.LittleEndian.PutUint64(s.nonce[4:], counter)
	return s.send.Seal(pkt[:body], s.nonce[:], pkt[body:], aad(pkt, hop)), counter, true
}

// Open takes a session packet behind a hop frame of hop bytes and decrypts it in
// place: pkt is spent, and plain is a part of it. The caller found the session by
// the packet's index.
func (s *Session) Open(pkt []byte, hop int) (plain []byte, counter uint64, v Verdict) {
	body := hop + wire.SessionSize
	if hop != wire.LocalSize && hop != wire.ForwardSize || len(pkt) < body+wire.TagSize ||
		binary.LittleEndian.Uint32(pkt[hop:]) != s.local {
		return nil, 0, BadTag
	}
	counter = binary.LittleEndian.Uint64(pkt[hop+4:])
	if s.expired || counter >= HardPackets {
		return nil, counter, Expired
	}
	binary.LittleEndian.PutUint64(s.nonce[4:], counter)
	plain, err := s.receive.Open(pkt[body:body], s.nonce[:], pkt[body:], aad(pkt, hop))
	if err != nil {
		return nil, counter, BadTag
	}
	if !s.packets.take(counter) {
		return nil, counter, Replayed
	}
	return plain, counter, OK
}

// SignHop makes the forward frame at the start of a whole datagram ours: it
// writes the peer's link index, the next link counter and the hop tag, and keeps
// the rest of the frame. It reports false, and has done nothing, once the key is
// past its limits or when pkt is no forward frame.
func (s *Session) SignHop(pkt []byte) bool {
	if len(pkt) < wire.ForwardSize || len(pkt) > 0xffff || pkt[0]>>3 != wire.Version<<3|wire.TypeForward ||
		s.expired || s.nextLink >= HardPackets {
		return false
	}
	counter := s.nextLink
	s.nextLink++
	tag, cached := s.sendHop.tag(hopWord(pkt), counter, binary.LittleEndian.Uint64(pkt[10:]))
	if !cached {
		s.sendHop.advance(counter + 1)
	}
	binary.LittleEndian.PutUint32(pkt[2:], s.remote)
	binary.LittleEndian.PutUint32(pkt[6:], uint32(counter))
	binary.LittleEndian.PutUint32(pkt[18:], uint32(tag))
	binary.LittleEndian.PutUint16(pkt[22:], uint16(tag>>32))
	return true
}

// CheckHop checks the hop tag of a whole datagram, and that its link counter is
// new; h is what its first bytes parse to.
func (s *Session) CheckHop(pkt []byte, h *wire.Hop) Verdict {
	if len(pkt) < wire.ForwardSize || len(pkt) > 0xffff || h.Type != wire.TypeForward || h.LinkIndex != s.local {
		return BadTag
	}
	if s.expired || uint64(h.LinkCounter) >= HardPackets {
		return Expired
	}
	counter := uint64(h.LinkCounter)
	tag, cached := s.receiveHop.tag(hopWord(pkt), counter, uint64(h.Dest))
	if tag != uint64(binary.LittleEndian.Uint32(pkt[18:]))|uint64(binary.LittleEndian.Uint16(pkt[22:]))<<32 {
		return BadTag // one comparison of a register: no byte is told from another
	}
	if !s.links.take(counter) {
		return Replayed
	}
	if !cached {
		s.receiveHop.advance(counter + 1)
	}
	return OK
}

// hopWord is what a hop tag covers beside the destination and the counter: the two
// first bytes and the length of the datagram.
func hopWord(pkt []byte) uint32 { return uint32(pkt[0]) | uint32(pkt[1])<<8 | uint32(len(pkt))<<16 }
