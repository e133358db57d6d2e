package token

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"

	"nethost/sdk"
)

// FloorDomain separates the signature of a floor.
const FloorDomain = "nethost floor v1"

// FloorLen is the length of an encoded floor, in bytes.
const FloorLen = 4 + 32 + 8 + 8 + ed25519.SignatureSize

const floorMagic = "NHF1"

// Floor is an issuer's word that its tokens of a generation below Generation are
// void (T4).
type Floor struct {
	Issuer     sdk.NodeID
	Generation uint64
	// Seq counts the floors of the issuer, from 1.
	Seq uint64
	Sig [64]byte
}

// Signed is the bytes the issuer signs, domain included.
func (f *Floor) Signed() []byte { return signed(FloorDomain, f.body(nil)) }

func (f *Floor) body(b []byte) []byte {
	b = append(append(b, floorMagic...), f.Issuer[:]...)
	b = binary.LittleEndian.AppendUint64(b, f.Generation)
	return binary.LittleEndian.AppendUint64(b, f.Seq)
}

// Sign makes a floor whole.
func (f *Floor) Sign(key ed25519.PrivateKey) {
	f.Issuer = sdk.NodeID(key.Public().(ed25519.PublicKey))
	f.Sig = [64]byte(ed25519.Sign(key, f.Signed()))
}

// Verify reports whether the issuer signed it.
func (f *Floor) Verify() bool { return ed25519.Verify(f.Issuer[:], f.Signed(), f.Sig[:]) }

// Append appends the floor's FloorLen bytes (T4.1).
func (f *Floor) Append(b []byte) []byte { return append(f.body(b), f.Sig[:]...) }

// ParseFloor reads what Append wrote.
func ParseFloor(b []byte) (Floor, error) {
	var f Floor
	if len(b) != FloorLen || string(b[:4]) != floorMagic {
		return f, fmt.Errorf("%w: no floor of %d bytes that begins with %s", ErrToken, FloorLen, floorMagic)
	}
	copy(f.Issuer[:], b[4:])
	f.Generation, f.Seq = binary.LittleEndian.Uint64(b[36:]), binary.LittleEndian.Uint64(b[44:])
	copy(f.Sig[:], b[52:])
	if f.Issuer.IsZero() || f.Generation == 0 || f.Seq == 0 {
		return Floor{}, fmt.Errorf("%w: a floor has an issuer, a generation and a sequence above 0", ErrToken)
	}
	return f, nil
}

// Newer reports whether f replaces g of the same issuer: a floor never falls, and
// the same one again is a replay (T4.3).
func (f *Floor) Newer(g *Floor) bool {
	return cmp.Or(cmp.Compare(f.Generation, g.Generation), cmp.Compare(f.Seq, g.Seq)) > 0
}

// Floors is a set of floors, one an issuer. The zero value is empty.
type Floors struct {
	by    map[sdk.NodeID]Floor
	epoch uint64
}

// Of gives the lowest generation of an issuer that is not void.
func (s *Floors) Of(issuer sdk.NodeID) uint64 { return s.by[issuer].Generation }

// Get gives an issuer's floor.
func (s *Floors) Get(issuer sdk.NodeID) (Floor, bool) {
	f, ok := s.by[issuer]
	return f, ok
}

// Put takes a floor whose signature the caller has verified. It reports whether
// the floor replaces what was known.
func (s *Floors) Put(f Floor) bool {
	if old, ok := s.by[f.Issuer]; ok && !f.Newer(&old) {
		return false
	}
	if s.by == nil {
		s.by = map[sdk.NodeID]Floor{}
	}
	s.by[f.Issuer] = f
	s.epoch++
	return true
}

// Len is the number of issuers.
func (s *Floors) Len() int { return len(s.by) }

// All gives the floors in the order of their issuers.
func (s *Floors) All() []Floor {
	out := make([]Floor, 0, len(s.by))
	for _, f := range s.by {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Floor) int { return a.Issuer.Compare(b.Issuer) })
	return out
}
