package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"nethost/host/identity"
	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// Policy is what the operator of a node lets others use of it. The mesh has no say
// in it. It is a value: an InPolicy replaces all of it at once, and ends no session
// but those with nodes that it denies (O1).
type Policy struct {
	// NoRelay refuses to forward packets of others, and to pass on their routes.
	NoRelay bool
	// Killed refuses to forward and to serve. Sessions, and what this node's own
	// applications and modules ask of others, go on.
	Killed bool
	// RelayRate bounds what is forwarded, NeighborRate what is forwarded for each
	// neighbour, PeerRate what each peer may send to this node itself. Bytes a
	// second; 0: no bound.
	RelayRate, NeighborRate, PeerRate uint64
	// Limits are narrower bounds for single nodes: both as a neighbour and as a peer.
	Limits []Limit
	// Allow lists the only nodes there are for this one; empty: all are. Deny lists
	// those that are not, and wins.
	Allow, Deny []sdk.NodeID
	// Reject lists subprotocols that peers are not served.
	Reject []sdk.ID
	// Redirects hand opens of peers on to another node.
	Redirects []Redirect
	// NoTrace refuses to tell others the next hop (W6.15).
	NoTrace bool
}

// Limit bounds what one node may use, in bytes a second.
type Limit struct {
	Node sdk.NodeID
	Rate uint64
}

// Redirect hands opens of a subprotocol on to a node; zero: to the first peer that
// holds it.
type Redirect struct {
	ID sdk.ID
	To sdk.NodeID
}

// rules is a Policy made ready for looking things up. It never changes.
type rules struct {
	Policy
	allow, deny map[sdk.NodeID]bool
	allowRID    map[wire.RID]bool
	denyRID     map[wire.RID]bool
	limit       map[sdk.NodeID]uint64
}

// DeniedHere is the text of a TraceDenied that this node's own rules caused.
const DeniedHere = "by a rule of this node"

// limits is what a peer may use, and what it used.
type limits struct {
	relay, serve    uint64 // bytes a second; 0: no bound
	relayed, served bucket
}

func newRules(p *Policy) *rules {
	r := &rules{Policy: *p, limit: map[sdk.NodeID]uint64{}}
	r.allow, r.allowRID = nodeSet(p.Allow)
	r.deny, r.denyRID = nodeSet(p.Deny)
	for _, l := range p.Limits {
		r.limit[l.Node] = l.Rate
	}
	return r
}

func nodeSet(ids []sdk.NodeID) (map[sdk.NodeID]bool, map[wire.RID]bool) {
	nodes, rids := map[sdk.NodeID]bool{}, map[wire.RID]bool{}
	for _, id := range ids {
		nodes[id], rids[identity.RIDOf(id)] = true, true
	}
	return nodes, rids
}

// admits reports whether a node exists for this one.
func (r *rules) admits(id sdk.NodeID) bool {
	return !r.deny[id] && (len(r.allow) == 0 || r.allow[id])
}

// deniesRID is admits for a destination of which only the routing id is known.
func (r *rules) deniesRID(rid wire.RID) bool {
	return r.denyRID[rid] || len(r.allowRID) > 0 && !r.allowRID[rid]
}

func (r *rules) noRelay() bool { return r.NoRelay || r.Killed }

func (r *rules) whyNoRelay() Drop {
	if r.Killed {
		return DropKilled
	}
	return DropNoRelay
}

// refuses says why a subprotocol is not served to peers; 0: it is.
func (r *rules) refuses(id sdk.ID) (Drop, string) {
	switch {
	case r.Killed:
		return DropKilled, "its kill-switch is on"
	case slices.Contains(r.Reject, id):
		return DropRejected, "a rule rejects it"
	}
	return 0, ""
}

func (r *rules) redirects(id sdk.ID) (sdk.NodeID, bool) {
	for _, d := range r.Redirects {
		if d.ID == id {
			return d.To, true
		}
	}
	return sdk.NodeID{}, false
}

func (r *rules) limitsOf(id sdk.NodeID) limits {
	l := limits{relay: r.NeighborRate, serve: r.PeerRate}
	if n := r.limit[id]; n > 0 {
		l.relay, l.serve = lower(l.relay, n), lower(l.serve, n)
	}
	return l
}

// lower is the narrower of two bounds, of which 0 is none.
func lower(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// bucket is a token bucket of bytes that is full at first: a quarter of a second of
// the rate, at least one train.
type bucket struct {
	used float64 // of what it holds
	at   time.Duration
}

func (b *bucket) take(n int, rate uint64, now time.Duration) bool {
	b.used = max(0, b.used-(now-b.at).Seconds()*float64(rate))
	b.at = now
	if b.used+float64(n) > max(float64(rate)/4, chunkSize) {
		return false
	}
	b.used += float64(n)
	return true
}

// Policy gives the rules in force.
func (k *Kernel) Policy() Policy { return k.rules.Policy }

// setPolicy puts new rules in force.
func (k *Kernel) setPolicy(p *Policy) {
	k.rules = newRules(p)
	k.table.SetRelay(!k.rules.noRelay(), k.now)
	for _, q := range slices.Clone(k.byNum) {
		if q == nil {
			continue
		}
		l := k.rules.limitsOf(q.id)
		q.limits.relay, q.limits.serve = l.relay, l.serve
		if !k.rules.admits(q.id) {
			k.failWaiting(q, sdk.PermissionDenied, k.deniedText(q.id))
			k.deny(q)
			continue
		}
		k.endRefused(q)
	}
	for _, r := range k.table.Routes() {
		if !k.rules.admits(r.Dest) {
			k.table.Forget(r.Dest, k.now)
		}
	}
	for _, addr := range k.order { // those that were denied may be welcome again
		if a := k.dials[addr]; a.err != "" {
			a.wait = redialMin
			k.redial(a)
		}
	}
	k.trace(TracePolicy, sdk.NodeID{}, netip.AddrPort{}, k.rules.String())
}

// endRefused ends the streams that a peer opened and the rules no longer serve.
func (k *Kernel) endRefused(p *peer) {
	for _, sid := range sortedKeys(p.streams) {
		pi := p.streams[sid]
		if pi == nil || pi.end[0].kind != endPeer || pi.end[0].peer != p || pi.end[0].sid != sid {
			continue
		}
		if d, why := k.rules.refuses(pi.id); d != 0 {
			k.drop(d)
			k.breakBoth(pi, sdk.PermissionDenied, k.refusal(pi.id, why))
		}
	}
}

// String names the rules that differ from none.
func (r *rules) String() string {
	s := "relay on"
	switch {
	case r.Killed:
		s = "kill-switch on"
	case r.NoRelay:
		s = "relay off"
	}
	return fmt.Sprintf("%s, %d denied, %d allowed, %d limited, %d rejected, %d redirected",
		s, len(r.Deny), len(r.Allow), len(r.Limits), len(r.Reject), len(r.Redirects))
}

// refusal tells the asker who refuses what, and why.
func (k *Kernel) refusal(id sdk.ID, why string) string {
	return fmt.Sprintf("%s does not serve %s: %s", k.self.Short(), id, why)
}

func (k *Kernel) deniedText(id sdk.NodeID) string {
	return fmt.Sprintf("%s is denied by a rule of this node: see `nethost peer ls`", id.Short())
}

// deny ends a session because of a rule, and says so.
func (k *Kernel) deny(p *peer) {
	if k.drop(DropDenied); p.cur == nil {
		if p.dial != nil {
			k.dialEnd(p.dial, false)
		}
		k.forget(p)
		return
	}
	k.trace(TraceDenied, p.id, p.addr, DeniedHere)
	for _, addr := range k.order {
		if a := k.dials[addr]; a.found == p.id || a.node == p.id {
			a.err = k.deniedText(p.id)
		}
	}
	k.dismiss(p)
}

// dismiss ends a session and tells the peer that a rule did.
func (k *Kernel) dismiss(p *peer) {
	p.mux.Control(wire.AppendGoodbye(nil, wire.Goodbye{Reason: uint8(sdk.DownDenied)}))
	if via := k.path(p); via != nil {
		k.sendPacket(p, via)
	}
	if p.dial != nil {
		k.dialEnd(p.dial, false)
	}
	k.peerDown(p, sdk.DownDenied)
}

// goodbye ends a session because the peer does.
func (k *Kernel) goodbye(p *peer, reason sdk.DownReason) {
	if reason == sdk.DownDenied {
		text := fmt.Sprintf("refused by %s: a rule of that node denies us, or our network key is not current there", p.id.Short())
		k.trace(TraceDenied, p.id, p.addr, "by a rule of that node")
		k.failWaiting(p, sdk.PermissionDenied, text)
		for _, addr := range k.order {
			if a := k.dials[addr]; a.found == p.id || a.node == p.id {
				a.err = text
			}
		}
	}
	k.peerDown(p, reason)
}

// unserved counts a message that is not served, and tells the peer at most ten times
// a second.
func (k *Kernel) unserved(p *peer, id sdk.ID, d Drop) {
	k.drop(d)
	if k.now < p.unsupported {
		return
	}
	p.unsupported = k.now + unsupportedRate
	u := wire.Unsupported{N: 1}
	u.IDs[0] = id
	p.mux.Control(wire.AppendUnsupported(nil, u))
}

// mayRelay spends n bytes of the neighbour's share and of everybody's.
func (k *Kernel) mayRelay(from *peer, n int) bool {
	if l := &from.limits; l.relay > 0 && !l.relayed.take(n, l.relay, k.now) {
		k.drop(DropNeighborQuota)
		return false
	}
	if r := k.rules.RelayRate; r > 0 && !k.relayed.take(n, r, k.now) {
		k.drop(DropRelayQuota)
		return false
	}
	return true
}

// redirect hands an open of a peer on to another holder of the subprotocol: the two
// streams become the ends of one pipe. What is left of the deadline and the count of
// hops travel with it, so that redirects in a circle end.
func (k *Kernel) redirect(p *peer, o *opening, ev *stream.Event, open sdk.Open, to sdk.NodeID) {
	refuse := func(code sdk.Code, why string) {
		k.drop(DropRejected)
		p.mux.Reset(ev.Stream, code, k.refusal(o.id, why))
	}
	q := k.holder(p, o.id, to)
	switch {
	case open.Hops >= sdk.MaxHops:
		refuse(sdk.Overloaded, "it was redirected too often")
		return
	case q == nil && to.IsZero():
		refuse(sdk.NoRoute, "a rule redirects it, and no other peer holds it")
		return
	case q == nil:
		if p := k.peerOf(to); p != nil && p.cur == nil {
			k.dialPeer(p)
		}
		refuse(sdk.NoRoute, "a rule redirects it to "+to.Short()+", which does not hold it or is not reached yet")
		return
	}
	open.Hops++
	pi, code := k.openPeer(q, end{kind: endPeer, peer: p, sid: ev.Stream}, o.id, 0, open)
	if pi == nil {
		refuse(code, "a rule redirects it to "+q.id.Short()+", which takes no more streams")
		return
	}
	// The room that the open took is given back when the new peer gives it back.
	size := uint64(2 + len(sdk.AppendOpen(nil, sdk.Open{Method: open.Method, Meta: open.Meta})))
	pi.credit[0] = stream.InitialWindow - size
	taken := int(uint16(o.buf[0]) | uint16(o.buf[1])<<8)
	if rest := o.buf[2+taken:]; len(rest) > 0 || ev.FIN {
		k.write(pi, 0, rest, ev.FIN)
	}
}

// holder is the peer that opens of an id are handed on to: the one named, or the
// first other one that agreed on it.
func (k *Kernel) holder(asker *peer, id sdk.ID, to sdk.NodeID) *peer {
	for _, q := range k.byNum {
		if q == nil || q == asker || !q.hasAgreed || !to.IsZero() && q.id != to {
			continue
		}
		for _, o := range q.agreed.Outcomes {
			if o.ID == id && o.State == registry.StateAgreed {
				return q
			}
		}
	}
	return nil
}
