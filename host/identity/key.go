package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"strings"

	"lukechampine.com/blake3"

	"nethost/host/wire"
	"nethost/sdk"
)

// Domains of the signatures a node's key makes. A statement signed for one is
// never valid for another.
const (
	DomainStatic = "nethost v1 static"
	DomainWave   = "nethost v1 wave"
)

// Key is a node's private key. It is immutable and safe for concurrent use.
type Key struct {
	private ed25519.PrivateKey
	id      sdk.NodeID
}

// NewKey makes the key of a 32-byte random seed.
func NewKey(seed [32]byte) *Key {
	private := ed25519.NewKeyFromSeed(seed[:])
	return &Key{private: private, id: sdk.NodeID(private[32:])}
}

// ID is the public half.
func (k *Key) ID() sdk.NodeID { return k.id }

// Seed is what NewKey was given: the secret to keep.
func (k *Key) Seed() [32]byte { return [32]byte(k.private.Seed()) }

// Format keeps the secret out of logs: every verb prints the NodeID.
func (k *Key) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "key of %s", k.id) }

// Sign signs parts for a domain. The signed bytes are the domain, a zero byte,
// and each part behind its length as u32 little endian: neither another domain
// nor another division into parts gives the same bytes. A domain that is empty or
// holds a zero byte panics.
func (k *Key) Sign(domain string, parts ...[]byte) [64]byte {
	var buf [256]byte
	b, ok := appendSigned(buf[:0], domain, parts)
	if !ok {
		panic("identity: a signature's domain must be non-empty and without zero bytes")
	}
	return [64]byte(ed25519.Sign(k.private, b))
}

// Verify checks what Sign made. Every signature by an id that CheckNodeID
// refuses is bad.
func Verify(id sdk.NodeID, domain string, sig []byte, parts ...[]byte) bool {
	if len(sig) != ed25519.SignatureSize || !canonical(id) || smallOrder(id) {
		return false
	}
	var buf [256]byte
	b, ok := appendSigned(buf[:0], domain, parts)
	return ok && ed25519.Verify(id[:], b, sig)
}

func appendSigned(b []byte, domain string, parts [][]byte) ([]byte, bool) {
	if domain == "" || strings.IndexByte(domain, 0) >= 0 {
		return b, false
	}
	b = append(append(b, domain...), 0)
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b, true
}

// RIDOf is a node's routing id: the first 8 bytes of BLAKE3 of its public key,
// little endian.
func RIDOf(id sdk.NodeID) wire.RID {
	h := blake3.Sum256(id[:])
	return wire.RID(binary.LittleEndian.Uint64(h[:]))
}
