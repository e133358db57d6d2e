package session

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
)

const (
	// hopKeySize is what is derived for the hop tags of one direction (S6.1): an
	// AES-256 key and three words.
	hopKeySize = 32 + 3*8
	// hopAhead is how many masks are made at once, in link counters. A whole
	// train costs one call of the cipher, which then works on many blocks at a
	// time: 2 ns a block here instead of 29.
	hopAhead = 64

	prime61 = 1<<61 - 1
)

// hopKey makes and checks the tags of one direction of a link: a universal hash of
// the header, hidden by a mask that is used once (Wegman and Carter 1981; S6.1).
type hopKey struct {
	key [32]byte
	k   [3]uint64

	// The masks of counters base to base+hopAhead-1, and the cipher's stream,
	// which continues after them. Made when the link is first used: most sessions
	// are with nodes that are no neighbours.
	ahead *hopMasks
}

type hopMasks struct {
	block  cipher.Block
	base   uint64
	stream cipher.Stream
	masks  [hopAhead * aes.BlockSize]byte
	// Scratch that would escape to the heap as local variables.
	one [aes.BlockSize]byte
}

func newHopKey(key []byte) hopKey {
	h := hopKey{key: [32]byte(key)}
	for i := range h.k {
		h.k[i] = binary.LittleEndian.Uint64(key[32+8*i:]) & prime61
	}
	return h
}

// hash is (a, low half, high half of dest) times the three words, modulo 2^61-1.
// Two different headers have hashes that differ by any given number with a
// probability of 2^-61.
func (h *hopKey) hash(a uint32, dest uint64) uint64 {
	h0, l0 := bits.Mul64(h.k[0], uint64(a))
	h1, l1 := bits.Mul64(h.k[1], dest&0xffffffff)
	h2, l2 := bits.Mul64(h.k[2], dest>>32)
	lo, c := bits.Add64(l0, l1, 0)
	hi := h0 + h1 + c // each is below 2^29: no carry is lost
	lo, c = bits.Add64(lo, l2, 0)
	hi += h2 + c
	// 2^61 is 1 modulo the prime.
	sum := lo&prime61 + (hi<<3 | lo>>61)
	sum = sum&prime61 + sum>>61
	if sum >= prime61 {
		sum -= prime61
	}
	return sum
}

// tag is the six bytes of a tag as a number. a is byte 0, byte 1 and the length of
// the datagram. It reports whether the mask was at hand.
func (h *hopKey) tag(a uint32, counter, dest uint64) (tag uint64, cached bool) {
	var mask uint64
	if m := h.ahead; m != nil && counter-m.base < hopAhead {
		mask, cached = binary.LittleEndian.Uint64(m.masks[(counter-m.base)*aes.BlockSize:]), true
	} else {
		mask = h.mask(counter)
	}
	return (h.hash(a, dest) + mask) & (1<<48 - 1), cached
}

// mask makes one mask alone: for counters out of order, and for those that a
// stranger made up, who must not make us do more.
func (h *hopKey) mask(counter uint64) uint64 {
	if h.ahead == nil {
		block, err := aes.NewCipher(h.key[:])
		if err != nil { // a key of 32 bytes is always good
			panic(err)
		}
		h.ahead = &hopMasks{block: block}
		h.advance(0)
	}
	b := &h.ahead.one
	*b = [aes.BlockSize]byte{}
	binary.BigEndian.PutUint64(b[8:], counter)
	h.ahead.block.Encrypt(b[:], b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// advance makes the masks from counter on, if it is not behind. The caller knows
// that the counter is authentic, or its own.
func (h *hopKey) advance(counter uint64) {
	m := h.ahead
	switch {
	case m.stream != nil && counter < m.base+hopAhead:
		return // behind, or there already
	case m.stream == nil || counter >= m.base+2*hopAhead:
		m.base = counter
		var iv [aes.BlockSize]byte
		binary.BigEndian.PutUint64(iv[8:], counter)
		m.stream = cipher.NewCTR(m.block, iv[:])
	default:
		m.base += hopAhead
	}
	clear(m.masks[:])
	m.stream.XORKeyStream(m.masks[:], m.masks[:])
}
