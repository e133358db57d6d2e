package kernel

import (
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/pmtu"
	"nethost/host/route"
	"nethost/host/session"
	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// peer is another node we have, had or want a session with. Owner: the kernel.
type peer struct {
	id     sdk.NodeID
	rid    wire.RID
	num    route.Neighbor // index in Kernel.byNum
	handle sdk.Peer       // what modules call it; 0 until agreed
	gone   bool           // removed from the kernel's maps
	dirty  bool           // in Kernel.dirty
	held   bool           // in Kernel.held

	cur         *session.Session // seals
	old         *session.Session // still opens, until oldUntil
	oldUntil    time.Duration
	incarnation uint64
	mux         *stream.Mux
	incomplete  uint64 // messages of mux that were counted as DropIncomplete
	dial        *dial  // a handshake of ours under way

	addr   netip.AddrPort     // where it was last heard directly; invalid: only through relays
	det    *liveness.Detector // of a direct neighbour
	state  liveness.State     // last one traced
	mtu    *pmtu.Search       // of the link to it; nil: not direct, or none is looked for
	trains *pmtu.Trains       // whether trains reach it; nil: none of a train was lost
	moving *moving            // a path challenge under way; nil: there was none

	// The association: streams, manifests and handle live as long as it does.
	// Each side names its own end; see hello.go.
	assoc, theirAssoc uint64
	heardHello        bool // the peer has our Hello of the current session

	theirs     registry.Manifest
	agreed     registry.Agreed    // sorted outcomes; empty before the manifests met
	prev       registry.Agreed    // the set before, for frames of the epoch before
	theirsPrev registry.Manifest  // the one before theirs, if it is known
	sets       [4]registry.Agreed // what a frame was agreed as, by its epoch bits
	refusal    string             // why there will be no agreement
	hasAgreed  bool
	manifest   []byte // incoming manifest so far
	manifestIn uint64 // its stream

	manifestOut   uint64 // the stream of ours
	manifestHeard bool   // the peer has it
	manifestAgain timer  // ours did not find room
	// What the peer was told of ours, and what it has: see manifests.go.
	said, heard, heardPrev registry.Manifest
	offerAt                time.Duration // no other one is offered before
	offering               timer
	parting                timer // a refused peer is told goodbye

	streams map[uint64]*pipe // by stream id; nil before the first, as opening
	opening map[uint64]*opening
	waiting []*pipe // application opens that wait for an agreement
	dropped map[dropKey]uint64
	blocked []blockedSlot // modules whose messages found no room

	lastHeard    time.Duration // an authentic packet of this session
	firstUnheard time.Duration // when we began to send into silence; never = not
	lastSend     time.Duration
	noRoute      time.Duration // since when; never = there is one
	unsupported  time.Duration // next time an UNSUPPORTED may go
	toldNext     time.Duration // ... and next time one is listened to
	pingToken    uint64
	// Counters of about a second ago and their successors, for ICMP quotes.
	hintFrom, hintLast uint64
	hintNext           time.Duration
	linkFrom, linkLast uint32
	linkNext           time.Duration
	hole               *pmtu.BlackHole // of the way through relays
	holes              int32           // how often it was found
	smallUntil         time.Duration   // that way swallows large packets
	fateFrom           time.Duration   // packets sent before took another path
	lastRelay          time.Duration   // a packet of others went through this neighbour
	heldBytes          int             // written since the last flush
	packetSize         int             // what the mux was told
	probes             int32           // pings that must go to the neighbour itself
	costNext           time.Duration
	minRTT             [2]time.Duration // of this period of ten seconds and the one before
	minNext            time.Duration
	lossIn             inGauge
	lossOut            outGauge
	judged             *reputation // in Kernel.judged; nil: no demerits
	grey               greyWatch

	limits limits // what the rules let it use
	traced bucket // trace queries answered

	timer                                  timer // mux, liveness, session ages
	dropAt                                 timer // aggregated Dropped events
	rxBytes, txBytes, rxPackets, txPackets uint64
}

// moving is a path challenge under way.
type moving struct {
	addr  netip.AddrPort
	token uint64
	until time.Duration
	next  time.Duration // when the challenge may be sent again
}

// peerOf finds or makes the peer of a node; nil when the table is full.
func (k *Kernel) peerOf(id sdk.NodeID) *peer {
	if p := k.peers[id]; p != nil {
		return p
	}
	if len(k.peers) >= maxPeers {
		return nil
	}
	p := &peer{id: id, rid: identity.RIDOf(id), firstUnheard: never, noRoute: never, minRTT: [2]time.Duration{never, never},
		limits: k.rules.limitsOf(id)}
	if k.byRID[p.rid] != nil { // two keys with one routing id: the first live holder keeps it
		return nil
	}
	p.num = route.Neighbor(len(k.byNum))
	for i, q := range k.byNum {
		if q == nil {
			p.num = route.Neighbor(i)
			break
		}
	}
	if int(p.num) == len(k.byNum) {
		k.byNum = append(k.byNum, nil)
	}
	k.byNum[p.num] = p
	p.judged = k.judged[id]
	p.timer.fire = func(now time.Duration) { k.peerTimer(p, now) }
	p.manifestAgain.fire = func(time.Duration) { k.sendManifest(p) }
	p.offering.fire = func(time.Duration) { k.declare(p) }
	p.parting.fire = func(time.Duration) { k.part(p) }
	p.dropAt.fire = func(time.Duration) { k.flushDropped(p) }
	k.peers[id], k.byRID[p.rid] = p, p
	return p
}

// forget removes a peer without session, handshake or waiting opens.
func (k *Kernel) forget(p *peer) {
	if p.cur != nil || p.dial != nil || len(p.waiting) > 0 || p.gone {
		return
	}
	k.timers.set(&p.timer, never)
	k.timers.set(&p.dropAt, never)
	p.gone = true
	delete(k.peers, p.id)
	delete(k.byRID, p.rid)
	k.byNum[p.num] = nil
}

// install makes a fresh session the peer's, direct through addr or relayed.
func (k *Kernel) install(s *session.Session, addr netip.AddrPort) *peer {
	p := k.peerOf(s.Peer())
	if p == nil || s.Incarnation() < max(p.incarnation, k.table.Incarnation(s.Peer())) {
		k.drop(DropHandshake)
		k.correct(s, addr)
		k.index.drop(s.LocalIndex())
		if p != nil {
			k.forget(p)
		}
		return nil
	}
	copied := p.cur != nil && s.Incarnation() == p.incarnation && !s.SameProcess(p.cur)
	if p.cur != nil && s.Incarnation() > p.incarnation || copied {
		k.peerDown(p, sdk.DownReplaced)
		p = k.peerOf(s.Peer())
	}
	k.counters.Handshakes++
	p.incarnation = s.Incarnation()
	fresh := p.cur == nil
	switch {
	case fresh:
		p.cur = s
	case p.cur.Initiator() != s.Initiator() && k.now-p.cur.Born() < simultaneous &&
		k.initiatedByLower(p.cur, p):
		k.retire(p, s) // simultaneous open: both end up on the one the lower NodeID began
	default:
		old := p.cur
		p.cur = s
		k.retire(p, old)
	}
	e := k.index.get(s.LocalIndex())
	e.sess, e.peer, e.answer = s, p, nil
	p.lastHeard, p.firstUnheard = k.now, never
	p.hintFrom, p.linkFrom, p.hintNext = 0, 0, 0
	p.heardHello = false
	if fresh {
		if d := p.dial; d != nil && d.m3 == nil {
			k.dialEnd(d, false) // looked for the peer through the mesh while it was found at an address
		}
		k.associate(p)
	} else { // a packet under the new keys, so that the peer knows that we have them
		p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
	}
	if copied {
		k.confront(p)
	}
	k.trace(TraceSession, p.id, addr, sessionText(s, addr))
	if addr.IsValid() {
		k.direct(p, addr)
	}
	if !k.rules.admits(p.id) {
		k.deny(p)
		return nil
	}
	k.touch(p)
	return p
}

func (k *Kernel) initiatedByLower(s *session.Session, p *peer) bool {
	return s.Initiator() == (k.self.Compare(p.id) < 0)
}

// retire keeps s for packets still on their way.
func (k *Kernel) retire(p *peer, s *session.Session) {
	if p.old != nil {
		k.index.drop(p.old.LocalIndex())
	}
	p.old, p.oldUntil = s, min(k.now+oldKeyKept, s.Born()+session.HardAfter)
}

// direct notes that the peer is a neighbour at addr.
func (k *Kernel) direct(p *peer, addr netip.AddrPort) {
	moved := p.addr != addr
	p.addr = addr
	if p.det == nil {
		p.det = liveness.New(liveness.Config{Dead: k.cfg.DeadAfter, Health: &k.health, Blind: k.cfg.BlindToHealth}, k.now)
		k.neighbors++
		p.state = liveness.Alive
		k.table.NeighborUp(p.num, p.id, k.linkCost(p), uint16(k.cfg.MTU), k.now)
	}
	if moved {
		k.seekMTU(p)
	}
	p.det.Heard(k.now)
}

// notDirect ends being a neighbour; the session may live on through relays.
func (k *Kernel) notDirect(p *peer) {
	if p.det != nil {
		p.det, p.addr, p.mtu, p.trains = nil, netip.AddrPort{}, nil, nil
		k.neighbors--
		k.table.NeighborDown(p.num, k.now)
	}
}

// linkCost is a link's share of a path's metric, in microseconds: half the
// shortest round trip of the last ten to twenty seconds. The smoothed one rises
// with the load we put on the link ourselves, and routes would chase it.
// Below a millisecond differences are the scheduler's, and would only make
// alternates of equal length infeasible. Loss counts as so much more latency.
func (k *Kernel) linkCost(p *peer) uint32 {
	rtt := min(p.minRTT[0], p.minRTT[1])
	if rtt == never {
		rtt = 0
	}
	cost := max(leastCost, min(rtt.Microseconds()/2, 1<<24))
	return uint32(cost + int64(p.lossOut.share*float64(cost)))
}

// peerDown ends the peer's session for good: streams are reset, modules told.
func (k *Kernel) peerDown(p *peer, reason sdk.DownReason) {
	if p.cur == nil {
		return
	}
	k.notDirect(p)
	k.greyForget(p)
	k.dissociate(p, reason)
	k.index.drop(p.cur.LocalIndex())
	if p.old != nil {
		k.index.drop(p.old.LocalIndex())
	}
	p.cur, p.old, p.mux = nil, nil, nil
	p.firstUnheard, p.noRoute = never, never
	k.timers.set(&p.timer, never)
	if len(p.waiting) > 0 {
		k.dialPeer(p) // somebody waits for this peer
	}
	k.forget(p)
}

// peerTimer runs everything of a peer that waits for time.
func (k *Kernel) peerTimer(p *peer, now time.Duration) {
	if p.cur == nil {
		return
	}
	p.mux.OnTimer(now)
	k.countIncomplete(p)
	k.fates(p)
	k.probeMTU(p)
	k.greyTimer(p)
	if p.det != nil {
		k.liveness(p, p.det.OnTimer(now))
		if p.cur == nil {
			return
		}
	}
	if p.old != nil && now >= p.oldUntil {
		k.index.drop(p.old.LocalIndex())
		p.old = nil
	}
	k.sessionAges(p, now)
	if p.cur != nil {
		k.touch(p)
	}
}

// sessionAges rekeys, gives up on silence, and forgets idle relayed peers.
func (k *Kernel) sessionAges(p *peer, now time.Duration) {
	silent := time.Duration(0)
	if p.firstUnheard != never {
		silent = now - p.firstUnheard
	}
	switch {
	case p.cur.Dead(now), silent >= silenceDown:
		k.peerDown(p, sdk.DownDead)
	case p.noRoute != never && now-p.noRoute >= noRouteDown:
		k.peerDown(p, sdk.DownDead)
	case k.keyGone(p.cur):
		k.renew(p, now)
	case silent >= silenceRekey,
		p.cur.NeedsRekey(now) && !k.idle(p, now):
		k.rekey(p)
	case !p.addr.IsValid() && k.idle(p, now) && now-max(p.lastHeard, p.lastSend) >= idleRelayedDown:
		k.peerDown(p, sdk.DownDead)
	}
}

// idle reports that a relayed session carries nothing worth a new key.
func (k *Kernel) idle(p *peer, now time.Duration) bool {
	return !p.addr.IsValid() && len(p.streams) == 0 && now-p.lastSend > 60*time.Second
}

// rekey starts a handshake with a peer we have a session with. Both sides see
// the age; the one that did not initiate the current keys waits a little.
func (k *Kernel) rekey(p *peer) {
	if p.dial != nil || !p.cur.Initiator() && k.now-p.cur.Born() < 125*time.Second && p.firstUnheard == never {
		return
	}
	k.dialPeer(p)
}

// deadline is the next time peerTimer must run.
func (k *Kernel) deadline(p *peer) time.Duration {
	d := min(p.mux.Deadline(), p.cur.NextDeadline(k.now))
	if p.det != nil {
		d = min(d, p.det.Deadline())
		if p.mtu != nil && p.state == liveness.Alive && p.heardHello {
			d = min(d, p.mtu.Deadline())
		}
	}
	if p.old != nil {
		d = min(d, p.oldUntil)
	}
	d = min(d, k.greyDeadline(p))
	if p.firstUnheard != never {
		next := p.firstUnheard + silenceRekey
		if next <= k.now {
			next = min(p.firstUnheard+silenceDown, k.now+time.Second)
		}
		d = min(d, next)
	}
	if p.noRoute != never {
		d = min(d, p.noRoute+noRouteDown)
	}
	if k.keyGone(p.cur) {
		d = min(d, k.now+renewEvery)
	}
	if p.dial == nil && p.cur.NeedsRekey(k.now) && !k.idle(p, k.now) {
		d = min(d, k.now+time.Second)
	}
	if !p.addr.IsValid() {
		d = min(d, max(p.lastHeard, p.lastSend)+idleRelayedDown)
	}
	return max(d, k.now+time.Millisecond/4)
}
