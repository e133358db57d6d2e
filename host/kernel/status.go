package kernel

import (
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/route"
	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// PeerStatus is what a listing shows of a peer.
type PeerStatus struct {
	Node                                   sdk.NodeID
	Handle                                 sdk.Peer
	Direct                                 bool
	Addr                                   netip.AddrPort
	State                                  liveness.State // of a direct neighbour
	Via                                    sdk.NodeID     // the neighbour packets go through; zero: none
	Incarnation                            uint64
	Age                                    time.Duration // of the current keys
	Initiator                              bool
	RTT, RTTVar                            time.Duration
	MTU                                    int           // the largest packet to it now, in bytes of UDP payload
	LastHeard                              time.Duration // ago
	RxBytes, TxBytes, RxPackets, TxPackets uint64
	Streams                                int
	Mux                                    stream.Stats
	Agreed                                 bool
	Theirs                                 registry.Manifest
	Outcomes                               []registry.Outcome
	NoTrains                               time.Duration // packets leave one by one for so long still, for trains to it get lost

	// Of the swarm. Loss is the smoothed share of packets, 0 to 1, that got lost on
	// the way to us (gaps in the counters) and from us (what was not acknowledged),
	// once some dozens were counted. Jitter is RTTVar.
	LossIn, LossOut           float64
	LossInKnown, LossOutKnown bool
	Why                       string        // what stands against a direct neighbour; "": nothing
	SilentFor                 time.Duration // how long something sent is unanswered; with Why
	Cost                      uint32        // of the link to a direct neighbour, in microseconds: its share of metrics
	Demerits                  float64       // what the peer did wrong, fading
	Barred                    bool          // the breaker is open: what the peer begins is refused
	LastDemerit               string        // what the last demerit was for
	Grey                      []GreyStatus  // first hops that do not deliver what is for this peer
}

// Peers lists the peers with a session, in a stable order.
func (k *Kernel) Peers(now time.Duration) []PeerStatus {
	var list []PeerStatus
	for _, p := range k.byNum {
		if p == nil || p.cur == nil {
			continue
		}
		s := PeerStatus{Node: p.id, Handle: p.handle, Direct: p.det != nil, Addr: p.addr, State: p.state,
			Incarnation: p.incarnation, Age: now - p.cur.Born(), Initiator: p.cur.Initiator(), LastHeard: now - p.lastHeard,
			RxBytes: p.rxBytes, TxBytes: p.txBytes, RxPackets: p.rxPackets, TxPackets: p.txPackets,
			Streams: len(p.streams), Mux: p.mux.Stats(), Agreed: p.hasAgreed, Theirs: p.theirs, Outcomes: p.agreed.Outcomes}
		s.RTT, s.RTTVar, _ = p.mux.RTT()
		if p.trains != nil {
			s.NoTrains = max(0, p.trains.Until()-now)
		}
		k.fillPeer(&s, p, now)
		if via := k.path(p); via != nil {
			s.Via, s.MTU = via.id, k.sizeTo(p, via)
		}
		list = append(list, s)
	}
	return list
}

// DialStatus is what a listing shows of an address from the configuration.
type DialStatus struct {
	Addr  netip.AddrPort
	Node  sdk.NodeID // who answers there, if known
	Error string     // why the last try failed; "" when a session stands
}

// Dials lists the configured addresses.
func (k *Kernel) Dials() []DialStatus {
	var list []DialStatus
	for _, addr := range k.order {
		a := k.dials[addr]
		id := a.found
		if id.IsZero() {
			id = a.node
		}
		list = append(list, DialStatus{addr, id, a.err})
	}
	return list
}

// Routes lists the route table, next hops as NodeIDs.
func (k *Kernel) Routes() []route.Route { return k.table.Routes() }

// NextHop is the neighbour a packet for a node would go to now.
func (k *Kernel) NextHop(id sdk.NodeID) (sdk.NodeID, bool) {
	return k.NextHopTo(identity.RIDOf(id))
}

// NextHopTo is the same for a routing id.
func (k *Kernel) NextHopTo(rid wire.RID) (sdk.NodeID, bool) {
	n, ok := k.table.Lookup(rid)
	if !ok {
		return sdk.NodeID{}, false
	}
	return k.NodeOf(n), true
}

// NodeOf names the neighbour behind a route's handle.
func (k *Kernel) NodeOf(n route.Neighbor) sdk.NodeID {
	if int(n) < len(k.byNum) && k.byNum[n] != nil {
		return k.byNum[n].id
	}
	return sdk.NodeID{}
}

// Manifest is our own current manifest.
func (k *Kernel) Manifest() registry.Manifest { return k.ours }
