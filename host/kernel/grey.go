package kernel

import (
	"net/netip"
	"slices"
	"time"

	"nethost/host/route"
	"nethost/host/wire"
	"nethost/sdk"
)

// A grey relay answers its neighbours and drops what it should forward. Only the
// two ends can tell: acknowledgements of sealed packets are the evidence, kept for
// each (destination, first hop). SPEC.md has the rules (K2).
const (
	greyLeast   = 100 * time.Millisecond // shortest silence that means anything
	greyMost    = time.Second
	greyAckWait = 25 * time.Millisecond // how long an acknowledgement may be put off
	greyPackets = 3                     // that must be unanswered
	greyTries   = 4                     // first hops tried in one silence
	greyRest    = 2 * time.Second       // pause after all were tried
	greyChecks  = 3                     // probes that judge a first hop
	greyFor     = 30 * time.Second      // that it is avoided before it is probed again; doubles
	greyForMost = 10 * time.Minute
)

// greyWatch is the end-to-end evidence for a peer that is reached through relays.
type greyWatch struct {
	since time.Duration  // of the first packet through hop that is unanswered
	hop   route.Neighbor // first hop of that
	n     int            // packets since; 0: nothing is unanswered
	asked bool           // a probe was added to what is unanswered
	rest  time.Duration  // nothing is tried before
	tried []route.Neighbor
	found []*greyHop // accused or found guilty, by time
}

// greyHop is a first hop that is avoided for the peer.
type greyHop struct {
	n       route.Neighbor
	id      sdk.NodeID
	since   time.Duration
	until   time.Duration // when it is probed again; not before a verdict
	span    time.Duration // how long it is avoided next time
	guilty  bool
	probes  int
	next    time.Duration // of the next probe, or the verdict; never: none under way
	index   uint32        // key and counters of the probes
	counter [greyChecks]uint64
}

// greyLimit is how long an end-to-end answer may take.
func (p *peer) greyLimit() time.Duration {
	srtt, rttvar, _ := p.mux.RTT()
	return min(max(3*srtt+4*rttvar+greyAckWait, greyLeast), greyMost)
}

// greySent notes a packet to p, through hop, that should be answered.
func (k *Kernel) greySent(p, hop *peer) {
	g := &p.grey
	if g.n == 0 || g.hop != hop.num {
		g.since, g.hop, g.n, g.asked = k.now, hop.num, 0, false
	}
	g.n++
}

// greyAnswered takes an acknowledgement of something that was sent the way it is
// sent now. If other ways were tried before, what they are accused of is looked at.
func (k *Kernel) greyAnswered(p *peer) {
	g := &p.grey
	g.n = 0
	if len(g.tried) == 0 {
		return
	}
	for _, n := range g.tried {
		q := k.byNum[n]
		if q == nil || q.det == nil || slices.ContainsFunc(g.found, func(h *greyHop) bool { return h.n == n }) {
			continue
		}
		g.found = append(g.found, &greyHop{n: n, id: q.id, since: k.now, span: greyFor, next: k.now})
	}
	g.tried = nil
	k.touch(p)
}

// greyDeadline is when greyTimer must run next.
func (k *Kernel) greyDeadline(p *peer) time.Duration {
	g := &p.grey
	d := never
	if g.n > 0 {
		d = max(g.since+p.greyLimit(), g.rest)
		if !g.asked {
			d = min(d, g.since+p.greyLimit()/2)
		}
	}
	for _, h := range g.found {
		d = min(d, h.next)
		if h.guilty && h.next == never {
			d = min(d, h.until)
		}
	}
	return d
}

// greyTimer looks at the evidence.
func (k *Kernel) greyTimer(p *peer) {
	g := &p.grey
	k.greyChecks(p)
	if g.n == 0 {
		return
	}
	limit := p.greyLimit()
	hop := k.byNum[g.hop]
	switch {
	case k.path(p) != hop || hop == p || hop == nil || hop.det == nil:
		g.n = 0 // another way, or none: a new account
	case !g.asked && k.now >= g.since+limit/2:
		g.asked = true
		p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
		p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
		k.touch(p)
	case k.now < g.since+limit || k.now < g.rest || g.n < greyPackets:
		if k.now >= g.since+limit {
			g.since = k.now - limit/2 // too few packets say nothing: some more time
			g.asked = false
		}
	case hop.suspect():
		g.since = k.now // the failure detector looks after that
	default:
		k.greyTry(p, hop)
	}
}

// greyTry sends what is for p another way.
func (k *Kernel) greyTry(p, hop *peer) {
	g := &p.grey
	if len(g.tried) >= greyTries {
		k.greyGiveUp(p)
		return
	}
	k.table.Avoid(p.rid, hop.num, true, k.now)
	g.since, g.asked = k.now, true
	next := k.path(p)
	if next == nil || slices.Contains(g.tried, next.num) {
		k.greyGiveUp(p)
		return
	}
	if !slices.Contains(g.tried, hop.num) {
		g.tried = append(g.tried, hop.num)
	}
	if next == hop { // a new sequence was asked for: another way may come
		return
	}
	g.n = 0
}

// greyHello makes the peer answer on the way that is tried: its own first hop may
// be the one that drops.
func (k *Kernel) greyHello(p *peer) {
	if len(p.grey.tried) == 0 {
		return
	}
	p.mux.Control(wire.AppendSilence(nil))
	p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
	k.touch(p)
}

// greyGiveUp ends the trying: nobody answers whichever way, so nobody on the way is
// to blame.
func (k *Kernel) greyGiveUp(p *peer) {
	g := &p.grey
	for _, n := range g.tried {
		if !slices.ContainsFunc(g.found, func(h *greyHop) bool { return h.n == n }) {
			k.table.Avoid(p.rid, n, false, k.now)
		}
	}
	if hop := g.hop; !slices.ContainsFunc(g.found, func(h *greyHop) bool { return h.n == hop }) {
		k.table.Avoid(p.rid, hop, false, k.now)
	}
	g.tried, g.n, g.rest = nil, 0, k.now+greyRest
}

// greyForget lifts everything when the session ends.
func (k *Kernel) greyForget(p *peer) {
	for _, h := range p.grey.found {
		k.table.Avoid(p.rid, h.n, false, k.now)
	}
	for _, n := range p.grey.tried {
		k.table.Avoid(p.rid, n, false, k.now)
	}
	p.grey = greyWatch{}
}

// toldSilence takes the peer's word that nothing of ours comes. When its packet came
// through another neighbour than ours leave by, ours leave another way from now on.
func (k *Kernel) toldSilence(p *peer) {
	hop := k.path(p)
	if hop == nil || hop == p || k.arrived == nil || k.arrived == hop || hop.suspect() || k.now < p.grey.rest {
		return
	}
	g := &p.grey
	if slices.Contains(g.tried, hop.num) || len(g.tried) >= greyTries {
		return
	}
	k.table.Avoid(p.rid, hop.num, true, k.now)
	g.tried, g.since, g.asked, g.n = append(g.tried, hop.num), k.now, true, 0
	p.mux.Control(wire.AppendPing(nil, wire.Ping{Token: p.pingToken}))
	k.touch(p)
}

// greyChecks probes the first hops that are accused, and those that have served
// their time, with packets that go through them alone.
func (k *Kernel) greyChecks(p *peer) {
	g := &p.grey
	g.found = slices.DeleteFunc(g.found, func(h *greyHop) bool {
		q := k.byNum[h.n]
		if q == nil || q.det == nil || q.id != h.id {
			return true // it left
		}
		if h.guilty && h.next == never && k.now >= h.until {
			h.probes, h.next = 0, k.now
		}
		if k.now < h.next {
			return false
		}
		switch {
		case q.suspect(): // it answers nobody: another matter
			h.next = k.now + p.greyLimit()
		case h.probes < greyChecks:
			h.next = k.now + p.greyLimit()/2
			k.greyProbe(p, q, h)
		case h.probes == greyChecks:
			h.probes, h.next = h.probes+1, k.now+p.greyLimit()
		default:
			k.greyGuilty(p, h)
		}
		return false
	})
}

// greyGuilty is the verdict: none of the probes came back while others did.
func (k *Kernel) greyGuilty(p *peer, h *greyHop) {
	h.next, h.until = never, k.now+h.span
	h.span = min(2*h.span, greyForMost)
	if !h.guilty {
		h.guilty = true
		via := "nobody"
		if q := k.path(p); q != nil {
			via = q.id.Short()
		}
		k.trace(TraceGrey, h.id, netip.AddrPort{}, "it does not deliver to "+p.id.Short()+": now via "+via)
	}
}

// greyAcked takes an acknowledgement of a probe: the first hop delivers.
func (k *Kernel) greyAcked(p *peer, a *wire.Ack) {
	g := &p.grey
	if len(g.found) == 0 {
		return
	}
	g.found = slices.DeleteFunc(g.found, func(h *greyHop) bool {
		if h.index != a.Gen || h.next == never {
			return false
		}
		for i := range min(h.probes, greyChecks) {
			for _, r := range a.Ranges[:a.N] {
				if r.First <= h.counter[i] && h.counter[i] <= r.Last {
					k.table.Avoid(p.rid, h.n, false, k.now)
					return true
				}
			}
		}
		return false
	})
}

// greyProbe sends one packet to p through a neighbour, whatever the routes say.
func (k *Kernel) greyProbe(p, via *peer, h *greyHop) {
	b := wire.AppendHop(k.out.packet(k.cfg.MTU), wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: wire.MaxTTL, Dest: p.rid})
	b = b[:wire.ForwardSize+wire.SessionSize]
	var msg [9]byte
	b = wire.AppendFrame(k.appendHello(b, p), wire.Frame{ID: coreID, Payload: wire.AppendPing(msg[:0], wire.Ping{Token: p.pingToken})})
	pkt, counter, ok := p.cur.Seal(b, wire.ForwardSize)
	if !ok || !via.cur.SignHop(pkt) {
		return
	}
	if h.index != p.cur.LocalIndex() { // other keys: their counters say nothing of these
		h.index, h.probes = p.cur.LocalIndex(), 0
	}
	h.counter[h.probes] = counter
	h.probes++
	p.mux.Sent(p.cur.LocalIndex(), counter, len(pkt), k.now) // holds nothing of the mux, but uses a counter
	p.txPackets++
	p.txBytes += uint64(len(pkt))
	k.sendTo(via, pkt, true, false)
}

// greyStatus lists the first hops that do not deliver.
func (k *Kernel) greyStatus(p *peer, now time.Duration) (list []GreyStatus) {
	for _, h := range p.grey.found {
		if h.guilty {
			list = append(list, GreyStatus{Hop: h.id, Since: now - h.since, Until: max(0, h.until-now)})
		}
	}
	return list
}

// otherWay makes the next try of a relayed handshake leave through another first
// hop than the last.
func (k *Kernel) otherWay(d *dial) {
	if d.dest == 0 || d.addr.IsValid() || d.peer != nil && d.peer.addr.IsValid() {
		return
	}
	if n, ok := k.table.Lookup(d.dest); ok {
		k.avoidFor(d, n, true)
	}
}

// avoidFor avoids a first hop for a handshake in place of the one before.
func (k *Kernel) avoidFor(d *dial, n route.Neighbor, on bool) {
	if d.shunned {
		k.table.Avoid(d.dest, d.shun, false, k.now)
	}
	if d.shun, d.shunned = n, on; on {
		k.table.Avoid(d.dest, n, true, k.now)
	}
}
