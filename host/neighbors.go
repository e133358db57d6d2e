package host

import (
	"net/netip"

	"nethost/sdk"
)

// Neighbors lists the direct neighbours and where they are, in a stable order. It
// costs less than a Snapshot: it is for those who look often.
func (h *Host) Neighbors() []PeerAddr {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []PeerAddr
	h.k.EachNeighbor(func(node sdk.NodeID, addr netip.AddrPort) { list = append(list, PeerAddr{Node: node, Addr: addr}) })
	return list
}
