// Package identity is keys and what they prove: the node's ed25519 key and the
// NodeID that is its public half, signatures with domain separation, the X25519
// key of one process start bound to the node by such a signature, routing ids,
// and the network key with its text form.
//
// It is pure: seeds are arguments. It knows no file, no handshake and no peer.
// Node keys are checked on the way in (CheckNodeID), so that a key has one
// encoding and nobody can sign for a degenerate one.
package identity
