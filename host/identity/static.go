package identity

import (
	"crypto/ecdh"
	"encoding/binary"
	"fmt"

	"nethost/sdk"
)

// Static is the X25519 key of one process start and the node's signature that
// it is its own. Incarnation counts the starts, so that peers can tell a newer
// one from an older.
type Static struct {
	Private, Public [32]byte
	Incarnation     uint64
	Sig             [64]byte
}

// NewStatic makes the static key of a 32-byte random seed, signed by k.
func NewStatic(k *Key, seed [32]byte, incarnation uint64) *Static {
	private, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil { // any 32 bytes are a key
		panic(err)
	}
	s := &Static{Private: seed, Public: [32]byte(private.PublicKey().Bytes()), Incarnation: incarnation}
	s.Sig = k.Sign(DomainStatic, s.Public[:], binary.LittleEndian.AppendUint64(nil, incarnation))
	return s
}

// VerifyStatic checks that id signed the X25519 key public for incarnation.
func VerifyStatic(id sdk.NodeID, public [32]byte, incarnation uint64, sig []byte) bool {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], incarnation)
	return Verify(id, DomainStatic, sig, public[:], n[:])
}

// Format keeps the secret out of logs.
func (s *Static) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "static key of incarnation %d", s.Incarnation)
}
