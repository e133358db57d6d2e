package kernel

import (
	"nethost/host/wire"
)

// forward relays a packet in place: the body is opaque, only the 24 bytes of the
// hop frame are rewritten. from is the authenticated neighbour it came from.
func (k *Kernel) forward(b []byte, h *wire.Hop, from *peer) {
	if k.cfg.NoRelay {
		k.drop(DropNoRelay)
		return
	}
	if h.TTL <= 1 {
		k.drop(DropTTL)
		return
	}
	n, ok := k.table.Lookup(h.Dest)
	var next *peer
	if ok && int(n) < len(k.byNum) {
		next = k.byNum[n]
	}
	if next == nil || next.cur == nil || next.det == nil || next == from {
		k.drop(DropNoRoute)
		k.table.NoRoute(from.num, h.Dest, k.now)
		return
	}
	wire.SetTTL(b, h.TTL-1)
	if !next.cur.SignHop(b) {
		k.drop(DropExpired)
		return
	}
	k.counters.Forwarded++
	k.counters.ForwardedBytes += uint64(len(b))
	k.sendTo(next, b, true)
}
