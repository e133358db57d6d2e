package kernel

import (
	"nethost/host/session"
	"nethost/host/wire"
)

// relaying is what the packets of a train have in common: it is looked up once, and
// forgotten as soon as anything else happens.
type relaying struct {
	index uint32 // the link index they came with
	sess  *session.Session
	from  *peer // the authenticated neighbour of that session
	heard bool  // its life was noted
	dest  wire.RID
	next  *peer // where they go on; nil: not known yet
	size  int   // what that link carries
}

// forward relays a packet in place: the body is opaque, only the 24 bytes of the
// hop frame are rewritten.
func (k *Kernel) forward(b []byte, h *wire.Hop, r *relaying) {
	if k.rules.noRelay() {
		k.drop(k.rules.whyNoRelay())
		k.table.NoRoute(r.from.num, h.Dest, k.now)
		return
	}
	if h.TTL <= 1 {
		k.drop(DropTTL)
		return
	}
	if r.next == nil || r.dest != h.Dest {
		if k.rules.deniesRID(h.Dest) {
			k.drop(DropDenied)
			k.table.NoRoute(r.from.num, h.Dest, k.now)
			return
		}
		r.dest, r.next = h.Dest, k.nextHop(h.Dest, r.from)
		if r.next == nil {
			k.drop(DropNoRoute)
			k.table.NoRoute(r.from.num, h.Dest, k.now)
			return
		}
		r.size = maxMTU
		if r.next.mtu != nil {
			r.size = r.next.mtu.Size()
		}
		k.sending(r.next, true)
		r.next.lastRelay = k.now
	}
	if len(b) > r.size {
		k.drop(DropMTU)
		return
	}
	if !k.mayRelay(r.from, len(b)) {
		return
	}
	wire.SetTTL(b, h.TTL-1)
	if k.busy {
		wire.MarkCongested(b)
	}
	if !r.next.cur.SignHop(b) {
		k.drop(DropExpired)
		return
	}
	k.counters.Forwarded++
	k.counters.ForwardedBytes += uint64(len(b))
	k.noteLink(r.next, b)
	k.counters.PacketsOut++
	k.emitTo(r.next, b, false)
}

// nextHop is the neighbour that packets for dest go on to; nil where there is none
// but the one they came from.
func (k *Kernel) nextHop(dest wire.RID, from *peer) *peer {
	n, ok := k.table.Lookup(dest)
	if !ok || int(n) >= len(k.byNum) {
		return nil
	}
	next := k.byNum[n]
	if next == nil || next.cur == nil || next.det == nil || next == from {
		return nil
	}
	return next
}
