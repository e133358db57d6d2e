package identity

import (
	"encoding/binary"

	"lukechampine.com/blake3"
)

const (
	beaconContext = "nethost v1 beacon"
	beaconSize    = 15 // bytes, so that the text has no padding
)

// Beacon names the network to those who hold its key, and to nobody else: what a node
// says of it on a local network (B1.1). Each instance and port has another, so
// outsiders cannot tell which nodes belong together, nor take one over for an
// announcement of theirs.
func (k NetworkKey) Beacon(instance string, port uint16) string {
	var key [32]byte
	blake3.DeriveKey(key[:], beaconContext, k[:])
	h := blake3.New(beaconSize, key[:])
	_, _ = h.Write([]byte(k.Fingerprint())) // a hash cannot fail
	_, _ = h.Write(binary.LittleEndian.AppendUint16(nil, port))
	_, _ = h.Write([]byte(instance))
	return networkEncoding().EncodeToString(h.Sum(nil))
}
