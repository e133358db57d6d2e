package host

import (
	"net/netip"

	"nethost/host/kernel"
	"nethost/sdk"
)

// Dial keeps a session with addr from now on, as with Config.Peers. node is who must
// answer there, zero for whoever knows the network key.
func (h *Host) Dial(addr netip.AddrPort, node sdk.NodeID) {
	h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InDial, From: addr, Node: node} })
}

// Undial takes back what Dial or Config.Peers said of addr. A session that stands goes on.
func (h *Host) Undial(addr netip.AddrPort) {
	h.step(func(in *kernel.Input) { *in = kernel.Input{Kind: kernel.InUndial, From: addr} })
}
