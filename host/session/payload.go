package session

import (
	"encoding/binary"
	"fmt"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// Sizes of the sealed payloads and of the noise bytes around them (S3).
const (
	keySize    = 32
	proofSize  = 111 // payload of m2 and m3
	m2Size     = keySize + (keySize + wire.TagSize) + (proofSize + wire.TagSize)
	m3Size     = (keySize + wire.TagSize) + (proofSize + wire.TagSize)
	m1Size     = m2Size                          // padded, so that an answer is never the larger
	helloSize  = m1Size - keySize - wire.TagSize // payload of m1
	helloFixed = 10
)

// hello is the payload of m1: the return address and the versions spoken.
type hello struct {
	rid      wire.RID
	min, max uint8
}

func appendHello(b []byte, h hello) []byte {
	n := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.rid))
	b = append(b, h.min, h.max)
	return append(b, make([]byte, helloSize-(len(b)-n))...)
}

func parseHello(b []byte) (h hello, ok bool) {
	if len(b) < helloFixed {
		return h, false
	}
	h = hello{wire.RID(binary.LittleEndian.Uint64(b)), b[8], b[9]}
	return h, h.rid != 0
}

// proof is the payload of m2 and m3: who the sender is, and the signature that
// its static key is its own.
type proof struct {
	id          sdk.NodeID
	sig         [64]byte
	incarnation uint64
	index       uint32 // the sender's, again: sealed, where the envelope's is not
	min, max    uint8
	ciphers     uint8
}

// cipherAES is the bit of ciphers that stands for AES-256-GCM (S3.3).
const cipherAES = 1

func (l *Local) appendProof(b []byte, index uint32) []byte {
	b = append(b, l.id[:]...)
	b = append(b, l.static.Sig[:]...)
	b = binary.LittleEndian.AppendUint64(b, l.static.Incarnation)
	b = binary.LittleEndian.AppendUint32(b, index)
	return append(b, l.min, l.max, l.ciphers)
}

func parseProof(b []byte) (p proof, ok bool) {
	if len(b) < proofSize {
		return p, false
	}
	p.id = sdk.NodeID(b)
	p.sig = [64]byte(b[32:])
	p.incarnation = binary.LittleEndian.Uint64(b[96:])
	p.index = binary.LittleEndian.Uint32(b[104:])
	p.min, p.max, p.ciphers = b[108], b[109], b[110]
	return p, true
}

// check verifies a proof (S4.1): the id is sound, it signed the static key that
// Noise has just authenticated, it is not us, and it is no older process than one
// we know. It gives the version to speak.
func (l *Local) check(p *proof, static []byte, index uint32) (version uint8, err error) {
	if p.index != index || len(static) != keySize {
		return 0, fmt.Errorf("%w: the sealed session index differs from the envelope's", ErrAuth)
	}
	if err := identity.CheckNodeID(p.id); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	if !identity.VerifyStatic(p.id, [32]byte(static), p.incarnation, p.sig[:]) {
		return 0, fmt.Errorf("%w: %s did not sign the key it uses", ErrAuth, p.id)
	}
	if p.id == l.id {
		return 0, fmt.Errorf("%w: this node answered itself", ErrIdentity)
	}
	if l.floor != nil {
		if low := l.floor(p.id); p.incarnation < low {
			return 0, fmt.Errorf("%w: %s is of start %d, start %d is known", ErrStale, p.id, p.incarnation, low)
		}
	}
	return l.agree(p.min, p.max)
}
