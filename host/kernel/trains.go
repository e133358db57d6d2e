package kernel

import (
	"net/netip"

	"nethost/host/pmtu"
	"nethost/host/stream"
)

// emitTo sends one datagram to a neighbour: in one piece with others where these get
// through and it is not to leave alone. It reports that it joined others.
func (k *Kernel) emitTo(n *peer, b []byte, alone bool) (joined bool) {
	if alone || n.trains != nil && n.trains.Off(k.now) {
		k.out.emitAlone(n.addr, b)
		return false
	}
	return k.out.emit(n.addr, b)
}

// trainFate learns whether packets that leave together get through to a neighbour
// as well as those that leave alone. It reports that they do not.
func (k *Kernel) trainFate(p *peer, f *stream.Fate) bool {
	if p.det == nil || f.Probe {
		return false
	}
	if p.trains == nil {
		if !f.Train || !f.Lost {
			return false // nothing to compare yet
		}
		p.trains = &pmtu.Trains{Base: k.cfg.MTU}
	}
	return p.trains.Fate(f.Size, f.Train, f.Lost, f.Sent, k.now)
}

// trainsLost ends trains to a neighbour: what is under way goes out again, alone.
func (k *Kernel) trainsLost(p *peer) {
	k.trace(TraceTrains, p.id, netip.AddrPort{}, "packets that leave in one piece get lost: they leave one by one from now on")
	p.fateFrom = k.now
	if p.mtu != nil {
		p.mtu.OnProbeCanceled(k.now)
	}
	p.mux.PathChanged(k.now)
	k.touch(p)
}

// refused takes word of the own machine that it does not send datagrams of a size
// to an address (EMSGSIZE).
func (k *Kernel) refused(to netip.AddrPort, size int) {
	for _, p := range k.byNum {
		if p == nil || p.mtu == nil || p.addr != to {
			continue
		}
		k.counters.Drops[DropMTU]++
		if p.mtu.OnRefused(size, k.now) {
			p.fateFrom = k.now
			k.trace(TraceMTU, p.id, netip.AddrPort{}, "this machine refuses packets of the size that got through before")
			k.linkMTU(p)
		}
		k.touch(p)
		return
	}
}
