package sdk

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ID is a subprotocol id. ASSIGNED.md of package registry lists the ranges.
type ID uint16

// String gives the id as people write it, such as "0x0007".
func (id ID) String() string { return fmt.Sprintf("0x%04x", uint16(id)) }

// ParseID reads "0x1001", "4097" and the like.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 0, 16)
	if err != nil {
		return 0, fmt.Errorf("subprotocol id %q: want a 16-bit number such as 0x1001", s)
	}
	return ID(n), nil
}

// NodeID is a node's ed25519 public key. The zero value is no node.
type NodeID [32]byte

// NodeIDTextLen is the length of a NodeID written out, in characters.
const NodeIDTextLen = 52

var nodeIDEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String gives 52 characters of lower-case base32 (RFC 4648, no padding).
func (n NodeID) String() string { return nodeIDEncoding.EncodeToString(n[:]) }

// Short gives the first 8 characters, for people and never for programs.
func (n NodeID) Short() string { return n.String()[:8] }

// IsZero reports whether n names no node.
func (n NodeID) IsZero() bool { return n == NodeID{} }

// Compare orders ids by their bytes.
func (n NodeID) Compare(m NodeID) int { return strings.Compare(string(n[:]), string(m[:])) }

// ErrNodeID is wrapped by every error of ParseNodeID.
var ErrNodeID = errors.New("not a node id")

// ParseNodeID reads what String writes. It refuses upper case, padding and
// non-zero slack bits, so that one node has one spelling. It does not check that
// the bytes are a safe public key: host/identity does.
func ParseNodeID(s string) (NodeID, error) {
	var n NodeID
	if len(s) != NodeIDTextLen {
		return n, fmt.Errorf("%w: %q has %d characters, want %d", ErrNodeID, s, len(s), NodeIDTextLen)
	}
	if _, err := nodeIDEncoding.Decode(n[:], []byte(s)); err != nil {
		return NodeID{}, fmt.Errorf("%w: %q is not lower-case base32", ErrNodeID, s)
	}
	if n.String() != s {
		return NodeID{}, fmt.Errorf("%w: %q has non-zero slack bits in its last character", ErrNodeID, s)
	}
	return n, nil
}

// Peer is a handle for a live session with another node. The host chooses it,
// it survives rekeying and roaming, and it is never reused. 0 is no peer.
type Peer uint32

// Ref names a stream, a timer or a request. The opener chooses it: a module
// takes odd ones (Env.NewRef), the host even ones. A module never reuses one.
type Ref uint64

// Class is the queueing class of a packet.
type Class uint8

// The two classes. Relays never change the class of a packet.
const (
	Realtime Class = 0 // control and latency-bound traffic
	Bulk     Class = 1 // everything that can wait
)
