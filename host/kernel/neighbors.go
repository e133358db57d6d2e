package kernel

import (
	"net/netip"

	"nethost/sdk"
)

// EachNeighbor calls f with every direct neighbour, in a stable order.
func (k *Kernel) EachNeighbor(f func(node sdk.NodeID, addr netip.AddrPort)) {
	for _, p := range k.byNum {
		if p != nil && p.cur != nil && p.det != nil {
			f(p.id, p.addr)
		}
	}
}
