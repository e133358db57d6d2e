package session

import (
	"encoding"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/blake2s"

	"nethost/host/wire"
)

// mac128 is keyed BLAKE2s-128 in one go. It allocates; what runs for every
// datagram of a stranger uses a keyedMAC.
func mac128(key []byte, parts ...[]byte) (m [wire.MacSize]byte) {
	h, err := blake2s.New128(key)
	if err != nil { // a key of 1 to 32 bytes is always good
		panic(err)
	}
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(m[:0])
	return m
}

// keyedMAC is mac128 under one key of 32 bytes, many times over: the block that
// the key fills is hashed once and the state after it is kept, so that each MAC
// costs one block less and nothing is allocated. It belongs to one goroutine.
type keyedMAC struct {
	h     hash.Hash
	state []byte // as MarshalBinary gives it, after the key
	sum   [wire.MacSize]byte
}

// Where things stand in a marshalled BLAKE2s state of x/crypto: "b2s", h[0..7]
// and c[0..1] as big-endian u32, the size, the block, the offset in it.
const (
	stateH0     = 3
	stateSize   = 3 + 10*4
	stateOffset = stateSize + 1 + blake2s.BlockSize
)

// newKeyedMAC prepares a key. x/crypto does not marshal keyed states, so an unkeyed
// one is given the parameters of a keyed one (RFC 7693, section 2.5: digest length,
// key length) and hashes the key's block itself.
func newKeyedMAC(key *[32]byte) *keyedMAC {
	k := &keyedMAC{h: newHash()}
	state := k.marshal()
	h0 := binary.BigEndian.Uint32(state[stateH0:])
	h0 ^= blake2s.Size ^ (blake2s.Size128 | uint32(len(key))<<8)
	binary.BigEndian.PutUint32(state[stateH0:], h0)
	state[stateSize] = blake2s.Size128
	k.state = state
	k.reset()
	var block [blake2s.BlockSize + 1]byte // the byte more makes it hash the block
	copy(block[:], key[:])
	k.h.Write(block[:])
	k.state = k.marshal()
	k.state[stateOffset] = 0
	return k
}

func (k *keyedMAC) marshal() []byte {
	b, err := k.h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(b) != stateOffset+1 {
		panic("session: BLAKE2s does not marshal as it used to")
	}
	return b
}

func (k *keyedMAC) reset() {
	if err := k.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(k.state); err != nil {
		panic(err) // the state is our own
	}
}

// mac gives the MAC of the parts, together at least one byte, valid until the next
// call.
func (k *keyedMAC) mac(parts ...[]byte) *[wire.MacSize]byte {
	k.reset()
	for _, p := range parts {
		k.h.Write(p)
	}
	k.h.Sum(k.sum[:0])
	return &k.sum
}
