package kernel

import (
	"time"

	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
)

// Swarm is what listings show of the node's place in the mesh.
type Swarm struct {
	Profile       string        // of failure detection: default, fast, or custom
	DeadAfter     time.Duration // silence after which a neighbour is given up, at HealthFactor 1
	HealthFactor  int           // what all timeouts of failure detection are multiplied with now; 1 = in good health
	LatestTimer   time.Duration // the latest that a timer ran so far, 0: never more than 3 ms
	Neighbors     int
	Suspects      int    // of the neighbours
	Incarnation   uint64 // ours now: above the one at the start if it had to be repaired
	Repairs       int    // how often our incarnation was found to be too low, and raised
	Twin          bool   // another node runs under this node's key: one of them must stop
	Origins       int    // nodes known, reachable or not
	OriginsFull   uint64 // waves refused because too many nodes are known
	OriginsForgot uint64 // nodes forgotten to make room
}

// Swarm gives the state of the mesh as this node sees it.
func (k *Kernel) Swarm(now time.Duration) Swarm {
	s := Swarm{DeadAfter: k.cfg.DeadAfter, Profile: k.cfg.Profile.String(), HealthFactor: int(k.health.Factor(now)), LatestTimer: k.health.Latest(),
		Neighbors: k.neighbors, Incarnation: k.cfg.Static.Incarnation, Repairs: k.repairs, Twin: k.twin}
	for _, p := range k.byNum {
		if p != nil && p.det != nil && p.suspect() {
			s.Suspects++
		}
	}
	s.Origins, s.OriginsFull, s.OriginsForgot = k.table.Known()
	return s
}

// RouteChanges counts the changes of next hops so far.
func (k *Kernel) RouteChanges() uint64 { return k.table.Version() }

// RouteWhy says in words why packets for a node go the way they do; "" without a way.
func (k *Kernel) RouteWhy(id sdk.NodeID) string {
	a := k.nextOf(id)
	if a.Verdict != wire.TraceNext {
		return ""
	}
	return route.WhyText(a.Why)
}

// GreyStatus is a first hop that did not deliver what it was given for a peer.
type GreyStatus struct {
	Hop   sdk.NodeID
	Since time.Duration // how long ago it was found
	Until time.Duration // how long it is still avoided
}

// fillPeer adds what only the swarm knows of a peer.
func (k *Kernel) fillPeer(s *PeerStatus, p *peer, now time.Duration) {
	s.LossIn, s.LossInKnown = p.lossIn.share, p.lossIn.known
	s.LossOut, s.LossOutKnown = p.lossOut.share, p.lossOut.known
	if p.det != nil {
		cause, since := p.det.Why()
		if s.Why = cause.String(); s.Why != "" {
			s.SilentFor = now - since
		}
		s.Cost = k.linkCost(p)
	}
	if r := p.judged; r != nil {
		r.fade(now)
		s.Demerits, s.Barred, s.LastDemerit = r.demerits, r.barred, r.last
	}
	s.Grey = k.greyStatus(p, now)
}
