package identity

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"nethost/sdk"
)

// ErrNodeID is wrapped by every error of CheckNodeID.
var ErrNodeID = errors.New("not a usable node id")

// CheckNodeID refuses public keys nobody should hold: encodings that are not the
// only one of their point, points of small order (for which signatures prove
// nothing), and bytes that are no point of the curve. It costs some microseconds
// and is meant for ids from configuration and from handshakes.
func CheckNodeID(id sdk.NodeID) error {
	switch {
	case id.IsZero():
		return fmt.Errorf("%w: %s is all zero", ErrNodeID, id)
	case !canonical(id):
		return fmt.Errorf("%w: %s is not the canonical encoding of a key", ErrNodeID, id)
	case smallOrder(id):
		return fmt.Errorf("%w: %s is a point of small order", ErrNodeID, id)
	case !onCurve(id):
		return fmt.Errorf("%w: %s is not a point of the curve", ErrNodeID, id)
	}
	return nil
}

// canonical reports whether y, the id without its sign bit, is below 2^255-19.
func canonical(id sdk.NodeID) bool {
	if id[31]&0x7f != 0x7f || id[0] < 0xed {
		return true
	}
	for _, c := range id[1:31] {
		if c != 0xff {
			return true
		}
	}
	return false
}

// smallOrder reports whether y is that of one of the eight points whose order
// divides 8. The sign of x does not matter: both are of the same order.
func smallOrder(id sdk.NodeID) bool {
	id[31] &= 0x7f
	switch id {
	case sdk.NodeID{}, // order 4
		sdk.NodeID{0: 1}, // the neutral point
		// 2^255-20, that is -1: order 2
		sdk.NodeID{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		// order 8
		sdk.NodeID{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		sdk.NodeID{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}:
		return true
	}
	return false
}

// onCurve reports whether some x has -x²+y² = 1+d·x²·y², that is whether
// (y²-1)/(d·y²+1) is a square modulo p. The quotient is one exactly when the
// product of the two is.
func onCurve(id sdk.NodeID) bool {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	// d = -121665/121666
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)

	b := id
	b[31] &= 0x7f
	slices.Reverse(b[:])
	yy := new(big.Int).SetBytes(b[:])
	yy.Mul(yy, yy).Mod(yy, p)
	u := new(big.Int).Sub(yy, one)
	v := d.Mul(d, yy)
	v.Add(v, one)
	u.Mul(u, v).Mod(u, p)
	return big.Jacobi(u, p) >= 0
}
