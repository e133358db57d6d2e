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
	v := k.table.OnWave(p.num, w, k.now)
	if v != route.Verify {
		k.waveVerdict(v)
		return
	}
	if k.jobs >= maxWaveJobs { // handshakes must get their turn, whatever neighbours say
		k.drop(DropBusy)
		k.table.Unchecked(w)
		return
	}
	link, ww, verify := p.det, *w, k.cfg.Verify
	good := false
	k.job(func() {
		good = verify(ww.Origin, identity.DomainWave, ww.Sig[:], wire.WaveSigned(nil, &ww))
	}, func(k *Kernel) {
		v := k.table.Verified(p.num, &ww, good, k.now)
		if p.det == link { // else the neighbour left, and may be back: another life
			k.waveVerdict(v)
			if v == route.RefuseForged {
				k.blame(p, demeritWave, "it passed on a wave with a wrong signature")
			}
		}
		// A wave of a higher incarnation: the node restarted, and our
		// session with it leads nowhere.
		if q := k.peers[ww.Origin]; good && q != nil && q.cur != nil && ww.Incarnation > q.incarnation {
			k.dialPeer(q)
		}
		k.outdone()
	})
}

// waveVerdict counts a wave that was refused.
func (k *Kernel) waveVerdict(v route.WaveVerdict) {
	switch v {
	case route.Refuse:
		k.drop(DropWave)
	case route.RefuseForged:
		k.drop(DropWaveForged)
	case route.RefuseStale:
		k.drop(DropWaveStale)
	case route.RefuseRate:
		k.drop(DropWaveRate)
	case route.RefuseFull:
		k.drop(DropWaveFull)
	}
}

// settleRoutes sends what the route table wants said, and tells the streams of
// destinations whose next hop changed.
func (k *Kernel) settleRoutes() {
	if !k.table.Pending() && len(k.spread.rest) == 0 {
		return
	}
	k.signWave()
	if k.spreadOn() {
		k.spread.rest = k.table.Messages()
		k.spreadOn()
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
		k.greyHello(p)
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
		k.health.Silent(k.silentOthers(p), k.neighbors, k.now)
		k.table.NeighborSuspect(p.num, true, k.now)
		cause, _ := p.det.Why()
		k.trace(TraceSuspect, p.id, p.addr, cause.String())
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
		st := p.mux.Stats()
		p.lossOut.note(st.Sent, st.Lost-min(st.Lost, st.Spurious))
		k.table.NeighborCost(p.num, k.linkCost(p), k.now)
		p.det.SetActive(k.now-p.lastRelay < 10*time.Second && p.lastRelay > 0)
	}
}

// silentOthers counts the neighbours besides p that do not answer probes.
func (k *Kernel) silentOthers(p *peer) (n int) {
	for _, q := range k.byNum {
		if q != nil && q != p && q.det != nil && q.det.Silent() {
			n++
		}
	}
	return n
}

// suspect reports that a neighbour is under suspicion.
func (p *peer) suspect() bool { return p.state == liveness.Suspect }
