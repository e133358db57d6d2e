package kernel

import (
	"net/netip"
	"slices"

	"nethost/host/session"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// receiveTrains takes what one read of the link brought.
func (k *Kernel) receiveTrains(trains []wire.Train) {
	var r relaying
	for i := range trains {
		t := trains[i]
		for more := true; more; {
			var b []byte
			b, more = t.Cut()
			k.receive(b, t.Addr, &r)
		}
	}
}

// receive takes one datagram: for us, or to be relayed.
func (k *Kernel) receive(b []byte, from netip.AddrPort, r *relaying) {
	k.counters.PacketsIn++
	if len(b) >= wire.ForwardSize && isForward(b) {
		if k.receiveForward(b, r) {
			return
		}
	} else {
		k.receiveLocal(b, from)
	}
	*r = relaying{} // it may have changed sessions or routes
}

func (k *Kernel) receiveLocal(b []byte, from netip.AddrPort) {
	h, rest, ok := wire.ParseHop(b)
	switch {
	case !ok && len(b) > 0 && h.Version != wire.Version:
		k.receiveForeign(b, from)
	case !ok:
		k.drop(DropMalformed)
	case wire.IsHandshake(rest):
		k.receiveEnvelope(rest, from, nil)
	default:
		k.receivePacket(b, wire.LocalSize, from, false)
	}
}

// receiveForward takes a packet with a hop tag: from an authenticated neighbour
// or not at all. It reports whether that was all: nothing but a counter changed.
func (k *Kernel) receiveForward(b []byte, r *relaying) (relayed bool) {
	h, rest, ok := wire.ParseHop(b)
	if !ok {
		k.drop(notForward(&h))
		return true
	}
	if r.from == nil || r.index != h.LinkIndex {
		e := k.index.get(h.LinkIndex)
		if e == nil || e.sess == nil || e.peer == nil {
			k.drop(DropLinkUnknown)
			return true
		}
		e.sess.Expire(k.now)
		*r = relaying{index: h.LinkIndex, sess: e.sess, from: e.peer}
	}
	if v := r.sess.CheckHop(b, &h); v != session.OK {
		k.dropVerdict(v, DropHopTag, DropHopReplayed)
		return true
	}
	if !r.heard {
		r.heard = true
		k.heardDirect(r.from)
	}
	link := r.from
	switch {
	case h.Dest != k.rid:
		k.forward(b, &h, r)
		return true
	case wire.IsHandshake(rest):
		k.receiveEnvelope(rest, netip.AddrPort{}, link)
	default:
		k.arrived = link
		k.receivePacket(b, wire.ForwardSize, netip.AddrPort{}, h.Congested)
		k.arrived = nil
	}
	return false
}

// receivePacket opens a session packet and takes its frames. marked: a relay has
// set the congestion mark.
func (k *Kernel) receivePacket(b []byte, hop int, from netip.AddrPort, marked bool) {
	index, _, _, ok := wire.ParseSession(b[hop:])
	if !ok {
		k.drop(DropMalformed)
		return
	}
	e := k.index.get(index)
	if e == nil || e.sess == nil {
		k.drop(DropNoSession)
		return
	}
	e.sess.Expire(k.now)
	plain, counter, v := e.sess.Open(b, hop)
	if v != session.OK {
		k.dropVerdict(v, DropBadTag, DropReplayed)
		if v == session.BadTag && e.peer != nil {
			k.blameForged(e.peer)
		}
		return
	}
	if e.guest != nil {
		k.guestPacket(e, plain)
		return
	}
	p := e.peer
	if e.dial != nil {
		if p = k.confirm(e.dial); p == nil {
			return // install has counted why
		}
	}
	if p == nil || p.cur == nil {
		k.drop(DropNoSession)
		return
	}
	p.rxPackets++
	p.rxBytes += uint64(len(b))
	p.lossIn.note(index, counter)
	p.lastHeard, p.firstUnheard = k.now, never
	if from.IsValid() {
		k.heardFrom(p, from)
	}
	if p.limits.serve > 0 && e.hello && !p.limits.served.take(len(b), p.limits.serve, k.now) {
		k.drop(DropLimited) // not acknowledged: the peer slows down, as on a slow link
		return
	}
	k.frames(p, plain, index, counter, marked)
}

func (k *Kernel) dropVerdict(v session.Verdict, bad, replayed Drop) {
	switch v {
	case session.BadTag:
		k.drop(bad)
	case session.Replayed:
		k.drop(replayed)
	default:
		k.drop(DropExpired)
	}
}

// heardFrom takes an authentic local packet from an address. A new address is
// challenged before the path moves, so that a replayed or relayed datagram
// cannot redirect a session.
func (k *Kernel) heardFrom(p *peer, from netip.AddrPort) {
	k.heardDirect(p) // wherever it came from, nobody else could have sealed it
	if from == p.addr {
		return
	}
	if m := p.moving; m == nil || m.addr != from || k.now >= m.until {
		p.moving = &moving{addr: from, until: k.now + challengeFor, token: uint64(k.random32())<<32 | uint64(k.random32())}
	}
	if k.now >= p.moving.next {
		p.moving.next = k.now + challengeEvery
		k.challenge(p)
	}
}

// heardDirect notes life of a neighbour.
func (k *Kernel) heardDirect(p *peer) {
	if p.det != nil {
		if p.det.Heard(k.now) {
			k.livenessChanged(p)
			k.touch(p)
		}
	}
}

// frames walks the plaintext of a packet. A packet that holds something we
// cannot take yet is not acknowledged, so that the peer sends it again.
func (k *Kernel) frames(p *peer, plain []byte, gen uint32, counter uint64, marked bool) {
	if !k.greeted(p, plain, gen) {
		k.drop(DropNotAgreed)
		return
	}
	eliciting, hold := false, false
	for len(plain) > 0 {
		f, rest, ok := wire.ParseFrame(plain)
		if !ok {
			k.drop(DropFrame)
			k.blame(p, demeritFrame, "a malformed packet")
			break
		}
		plain = rest
		id := f.ID
		switch {
		case id == registry.Core && f.Flags&wire.FlagStream == 0:
			if len(f.Payload) == 0 { // padding to the end
				plain = nil
				break
			}
			if f.Payload[0] != wire.MsgAck && f.Payload[0] != wire.MsgMarkedAck {
				eliciting = true
			}
			k.core(p, f.Payload[0], f.Payload[1:])
			if p.cur == nil { // goodbye
				return
			}
		case f.Flags&wire.FlagStream != 0:
			eliciting = true
			if id != registry.Negotiation && !p.hasAgreed {
				k.drop(DropNotAgreed)
				hold = true
				break
			}
			if !p.mux.OnFrame(&f, k.now) {
				k.drop(DropFrame)
				k.blame(p, demeritFrame, "it broke the rules of streams")
				k.refuse(p, "the peer broke the rules of streams")
				return
			}
		default:
			eliciting = true
			k.message(p, &f)
		}
	}
	if !hold {
		p.mux.Received(gen, counter, eliciting, marked, k.now)
	}
	k.drain(p)
	if p.cur != nil {
		k.touch(p)
	}
}

// handler finds the agreed version and the module for an id in a frame with the
// given epochs. The module may be down: a restart is coming.
func (k *Kernel) handler(p *peer, id sdk.ID, epoch uint8) (sdk.Version, int, bool) {
	v, ok := k.setOf(p, epoch).Lookup(id)
	if !ok {
		return v, 0, false
	}
	slot, ok := k.owner(id, v.Major)
	return v, slot, ok
}

// unsupported answers what nobody here handles, at most ten times a second.
func (k *Kernel) unsupported(p *peer, id sdk.ID) {
	k.drop(DropUnsupported)
	if id == registry.Core || k.now < p.unsupported {
		return
	}
	p.unsupported = k.now + unsupportedRate
	u := wire.Unsupported{N: 1}
	u.IDs[0] = id
	p.mux.Control(wire.AppendUnsupported(nil, u))
}

// core takes a message of the kernel itself.
func (k *Kernel) core(p *peer, kind byte, body []byte) {
	ok := true
	switch kind {
	case wire.MsgAck:
		var a wire.Ack
		if ok = wire.ParseAck(body, &a); ok {
			k.acknowledged(p, &a)
		}
	case wire.MsgMarkedAck:
		var a wire.Ack
		if ok = wire.ParseMarkedAck(body, &a); ok {
			k.acknowledged(p, &a)
		}
	case wire.MsgCredit:
		var c wire.Credit
		if c, ok = wire.ParseCredit(body); ok {
			p.mux.OnCredit(c)
		}
	case wire.MsgReset:
		var r wire.Reset
		if r, ok = wire.ParseReset(body); ok {
			p.mux.OnReset(r)
		}
	case wire.MsgHello: // greeted has taken it
	case wire.MsgPing:
		_, ok = wire.ParsePing(body)
	case wire.MsgWave:
		var w wire.Wave
		if w, ok = wire.ParseWave(body); ok {
			k.wave(p, &w)
		}
	case wire.MsgTraceQuery, wire.MsgTraceAnswer:
		ok = k.traceMessage(p, kind, body)
	case wire.MsgRetract:
		var r wire.Retract
		if r, ok = wire.ParseRetract(body); ok && p.det != nil {
			k.table.OnRetract(p.num, r, k.now)
		}
	case wire.MsgSeqRequest:
		var r wire.SeqRequest
		if r, ok = wire.ParseSeqRequest(body); ok && p.det != nil && k.rules.admits(r.Origin) {
			k.table.OnSeqRequest(p.num, r, k.now)
		}
	case wire.MsgSilence:
		if ok = wire.ParseSilence(body); ok {
			k.toldSilence(p)
		}
	case wire.MsgUnsupported:
		var u wire.Unsupported
		if u, ok = wire.ParseUnsupported(body); ok {
			k.toldUnsupported(p, &u)
		}
	case wire.MsgGoodbye:
		var g wire.Goodbye
		if g, ok = wire.ParseGoodbye(body); ok {
			k.goodbye(p, goodbyeReason(g))
		}
	case wire.MsgPathChallenge:
		var c wire.PathChallenge
		if c, ok = wire.ParsePathChallenge(body); ok {
			p.mux.Control(wire.AppendPathResponse(nil, c))
		}
	case wire.MsgPathResponse:
		var c wire.PathChallenge
		if c, ok = wire.ParsePathResponse(body); ok && p.moving != nil && c.Data == p.moving.token && k.now < p.moving.until {
			k.direct(p, p.moving.addr)
			p.moving = nil
		}
	default: // a later minor may add kinds: skip what we do not know
	}
	if !ok {
		k.drop(DropFrame)
		k.blame(p, demeritFrame, "a malformed message")
	}
}

// acknowledged takes an Ack. It names the index that we put into our packets, which
// the peer chose; the mux knows our keys by the index that we chose, so that a peer
// which chooses one twice confuses nobody.
func (k *Kernel) acknowledged(p *peer, a *wire.Ack) {
	switch {
	case a.Gen == p.cur.PeerIndex():
		a.Gen = p.cur.LocalIndex()
		p.heardHello = true
	case p.old != nil && a.Gen == p.old.PeerIndex():
		a.Gen = p.old.LocalIndex()
	default:
		return
	}
	if p.mux.OnAck(a, k.now) {
		k.greyAnswered(p)
	}
	k.greyAcked(p, a)
	k.fates(p)
	k.measured(p)
}

// toldUnsupported passes the peer's word on, as often as we would give ours, and
// about agreed ids only: what was not agreed we never sent.
func (k *Kernel) toldUnsupported(p *peer, u *wire.Unsupported) {
	if k.now < p.toldNext {
		return
	}
	p.toldNext = k.now + unsupportedRate
	ids := slices.Compact(slices.Sorted(slices.Values(u.IDs[:u.N])))
	for _, id := range ids {
		v, ok := p.agreed.Lookup(id)
		if !ok { // they may just have said so in their manifest as well
			v, ok = p.prev.Lookup(id)
		}
		if ok {
			k.trace(TraceUnsupport, p.id, netip.AddrPort{}, id.String())
			if slot, ok := k.reg.Lookup(id, v.Major); ok && k.mods[slot].up {
				k.out.deliver(slot, sdk.Event{Kind: sdk.EvUnsupported, Peer: p.handle, ID: id})
			}
		}
	}
}
