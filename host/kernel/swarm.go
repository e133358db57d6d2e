package kernel

import (
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
)

// wave takes a neighbour's pingwave. Its signature is checked off the lock, once
// for each (origin, incarnation, sequence).
func (k *Kernel) wave(p *peer, w *wire.Wave) {
	if p.det == nil {
		k.drop(DropWave)
		return
	}
	if !k.rules.admits(w.Origin) {
		k.drop(DropDenied)
		return
	}
	switch k.table.OnWave(p.num, w, k.now) {
	case route.Done:
	case route.Verify:
		w, link := *w, p.det
		good := false
		k.job(func() {
			good = identity.Verify(w.Origin, identity.DomainWave, w.Sig[:], wire.WaveSigned(nil, &w))
		}, func(k *Kernel) {
			if p.det != link || !k.rules.admits(w.Origin) {
				return // the neighbour left meanwhile, and may be back: another life
			}
			k.table.Verified(p.num, &w, good, k.now)
			if !good {
				k.drop(DropWave)
				return
			}
			// A wave of a higher incarnation: the node restarted, and our
			// session with it leads nowhere.
			if q := k.peers[w.Origin]; q != nil && q.cur != nil && w.Incarnation > q.incarnation {
				k.dialPeer(q)
			}
		})
	default:
		k.drop(DropWave)
	}
}

// settleRoutes sends what the route table wants said, and tells the streams of
// destinations whose next hop changed.
func (k *Kernel) settleRoutes() {
	if !k.table.Pending() {
		return
	}
	k.signWave()
	for _, s := range k.table.Out() {
		if p := k.byNum[s.To]; p != nil && p.cur != nil {
			p.mux.Control(s.Payload)
			k.touch(p)
		}
	}
	for _, rid := range k.table.Changes() {
		p := k.byRID[rid]
		if p == nil || p.cur == nil {
			continue
		}
		k.counters.Reroutes++
		via := "nobody"
		if q := k.path(p); q != nil {
			via = q.id.Short()
			p.noRoute = never
		}
		k.trace(TraceRoute, p.id, netip.AddrPort{}, "via "+via)
		p.mux.PathChanged(k.now)
		p.fateFrom, p.hole, p.holes, p.smallUntil = k.now, nil, 0, 0
		k.touch(p)
	}
}

// signWave has our own wave signed when the table wants one.
func (k *Kernel) signWave() {
	if k.jobs >= maxJobs {
		return // the table goes on wanting it
	}
	w, want := k.table.Sign()
	if !want {
		return
	}
	key := k.cfg.Key
	k.job(func() {
		w.Sig = key.Sign(identity.DomainWave, wire.WaveSigned(nil, &w))
	}, func(k *Kernel) { k.table.Signed(&w, k.now) })
}

// liveness does what the failure detector of a neighbour asks for.
func (k *Kernel) liveness(p *peer, a liveness.Action) {
	if a == liveness.Probe {
		p.pingToken++
		p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
		p.probes++ // goes to the neighbour itself, whatever the routes say
		k.touch(p)
	}
	k.livenessChanged(p)
}

// livenessChanged acts on a change of the detector's verdict.
func (k *Kernel) livenessChanged(p *peer) {
	if p.det == nil || p.det.State() == p.state {
		return
	}
	p.state = p.det.State()
	switch p.state {
	case liveness.Alive:
		k.table.NeighborSuspect(p.num, false, k.now)
		k.trace(TraceAlive, p.id, p.addr, "")
	case liveness.Suspect:
		k.table.NeighborSuspect(p.num, true, k.now)
		k.trace(TraceSuspect, p.id, p.addr, "")
		p.mux.PathChanged(k.now)
		if p.mtu != nil {
			p.mtu.OnProbeCanceled(k.now)
		}
	case liveness.Dead:
		k.trace(TraceDead, p.id, p.addr, "")
		k.redialSoon(p.id)
		k.notDirect(p)
		if _, ok := k.table.Lookup(p.rid); !ok {
			k.peerDown(p, sdk.DownDead)
		}
	}
}

// measured feeds a new round trip to the detector and, once a second, to the
// route table.
func (k *Kernel) measured(p *peer) {
	if p.det == nil {
		return
	}
	srtt, rttvar, latest := p.mux.RTT()
	p.det.RTT(srtt, rttvar)
	if p.mtu != nil {
		p.mtu.RTT(srtt, rttvar)
	}
	if k.now >= p.minNext {
		p.minNext = k.now + minRTTPeriod
		p.minRTT[1], p.minRTT[0] = p.minRTT[0], never
	}
	if latest > 0 {
		p.minRTT[0] = min(p.minRTT[0], latest)
	}
	if k.now >= p.costNext {
		p.costNext = k.now + time.Second
		k.table.NeighborCost(p.num, k.linkCost(p), k.now)
		p.det.SetActive(k.now-p.lastRelay < 10*time.Second && p.lastRelay > 0)
	}
}
