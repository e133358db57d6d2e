package identity

import "crypto/ed25519"

// SignRaw signs a message as it is. The message must begin with a domain that
// separates it from every other use of the key: sdk.AppendSigned makes such ones.
func (k *Key) SignRaw(msg []byte) [64]byte { return [64]byte(ed25519.Sign(k.private, msg)) }
