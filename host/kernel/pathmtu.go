package kernel

import (
	"net/netip"
	"time"

	"nethost/host/liveness"
	"nethost/host/pmtu"
	"nethost/host/stream"
	"nethost/host/wire"
)

// Packets to a relayed peer stay small for a while after the way to it swallowed
// large ones, in case nobody on it notices: longer each time, until the way changes.
const (
	holeFor = 10 * time.Second
	maxHole = 10 * time.Minute
)

// seekMTU begins to look for the largest packet that the link to a fresh neighbour
// carries; of one that moved, anew.
func (k *Kernel) seekMTU(p *peer) {
	p.fateFrom = k.now
	if p.trains != nil {
		p.trains.PathChanged()
	}
	switch {
	case k.cfg.MaxMTU <= k.cfg.MTU:
	case p.mtu == nil:
		p.mtu = pmtu.New(pmtu.Config{Base: k.cfg.MTU, Max: k.cfg.MaxMTU}, k.now)
	default:
		p.mtu.PathChanged(k.now)
	}
	k.linkMTU(p)
}

// linkMTU tells the others what the link to a neighbour carries.
func (k *Kernel) linkMTU(p *peer) {
	k.table.NeighborMTU(p.num, uint16(k.sizeOf(p)), k.now)
	k.touch(p)
}

// sizeOf is the largest packet for a neighbour itself, in bytes.
func (k *Kernel) sizeOf(p *peer) int {
	if p.mtu == nil {
		return k.cfg.MTU
	}
	return p.mtu.Size()
}

// sizeTo is the largest packet for a peer that is reached through via.
func (k *Kernel) sizeTo(p, via *peer) int {
	switch {
	case via == p:
		return k.sizeOf(p)
	case k.cfg.MaxMTU <= k.cfg.MTU || k.now < p.smallUntil:
		return k.cfg.MTU
	}
	return max(k.cfg.MTU, min(k.table.MTU(p.rid), k.sizeOf(via)))
}

// probeMTU sends the probe that is due, if one is: to a neighbour that lives, and
// alone, since the size is what is in question.
func (k *Kernel) probeMTU(p *peer) {
	if p.mtu == nil || p.state != liveness.Alive || !p.heardHello {
		return
	}
	size, send := p.mtu.OnTimer(k.now)
	if !send {
		return
	}
	b := wire.AppendHop(k.out.packet(size), wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
	var msg [9]byte
	b = wire.AppendFrame(b[:wire.LocalSize+wire.SessionSize], wire.Frame{ID: coreID, Payload: wire.AppendPing(msg[:0], wire.Ping{Token: p.pingToken})})
	b = wire.AppendPadding(b, size-wire.TagSize-len(b))
	pkt, counter, ok := p.cur.Seal(b, wire.LocalSize)
	if !ok {
		return
	}
	p.mux.SentProbe(p.cur.LocalIndex(), counter, len(pkt), k.now)
	p.txPackets++
	p.txBytes += uint64(len(pkt))
	k.counters.PacketsOut++
	k.out.emitAlone(p.addr, pkt)
}

// fates learns from what became of packets which sizes get through.
func (k *Kernel) fates(p *peer) {
	noTrains := false
	for _, f := range p.mux.Fates() {
		if f.Sent < p.fateFrom {
			continue // of another path
		}
		noTrains = k.trainFate(p, &f) || noTrains
		if p.mtu == nil {
			k.relayedFate(p, &f)
			continue
		}
		changed := false
		switch {
		case f.Probe && f.Lost:
			p.mtu.OnProbeLost(f.Size, k.now)
		case f.Probe:
			changed = p.mtu.OnProbeAcked(f.Size, k.now)
		case f.Lost:
			changed = p.mtu.OnPacketLost(f.Size, f.Sent, k.now)
		default:
			changed = p.mtu.OnPacketAcked(f.Size, f.Sent, k.now)
		}
		if changed {
			k.linkMTU(p)
		}
	}
	if noTrains {
		k.trainsLost(p)
	}
}

func (k *Kernel) relayedFate(p *peer, f *stream.Fate) {
	if p.hole == nil {
		if f.Size <= k.cfg.MTU {
			return
		}
		p.hole = &pmtu.BlackHole{Base: k.cfg.MTU}
	}
	swallowed := false
	if f.Lost {
		swallowed = p.hole.Lost(f.Size, f.Sent)
	} else {
		swallowed = p.hole.Acked(f.Size, f.Sent)
	}
	if swallowed {
		p.hole, p.smallUntil = nil, k.now+min(holeFor<<p.holes, maxHole)
		p.holes = min(p.holes+1, 6)
		k.trace(TraceMTU, p.id, netip.AddrPort{}, "large packets get lost on the way")
		k.touch(p)
	}
}
