package kernel

import (
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"time"

	"nethost/host/liveness"
	"nethost/host/wire"
	"nethost/sdk"
)

// path finds how to reach a peer now: the neighbour to send through (the peer
// itself when it is direct), or nil.
func (k *Kernel) path(p *peer) *peer {
	if p.det != nil && p.state == liveness.Alive {
		return p
	}
	if n, ok := k.table.Lookup(p.rid); ok && int(n) < len(k.byNum) {
		if q := k.byNum[n]; q != nil && q.cur != nil && q.det != nil {
			return q
		}
	}
	if p.det != nil {
		return p
	}
	return nil
}

// flush fills, seals and sends packets to a peer until its queues are empty, the
// congestion window is full or maxFlush is reached, then re-arms its timer.
func (k *Kernel) flush(p *peer) {
	if p.cur == nil {
		return
	}
	if k.drain(p); p.cur == nil { // bytes that waited for their consumer
		return
	}
	k.pump(p)
	for _, d := range p.mux.Dropped() {
		k.staleMessages(p, d)
	}
	k.writable(p)
	k.due(p, k.deadline(p))
}

// pump sends packets to a peer while it has something to send that may go.
func (k *Kernel) pump(p *peer) {
	p.heldBytes = 0
	for n := 0; p.mux.WantsSend(k.now); n++ {
		if n == maxFlush {
			k.touch(p)
			break
		}
		via := k.path(p)
		if p.probes > 0 && p.det != nil {
			via = p
			p.probes--
		}
		if via == nil {
			if p.noRoute == never {
				p.noRoute = k.now
			}
			break
		}
		if !k.sendPacket(p, via) {
			break
		}
	}
}

// due makes peerTimer run at a time, or earlier: a timer that is armed already for
// before stays, and finds out then. Moving it with every packet would cost more
// than one needless look.
func (k *Kernel) due(p *peer, at time.Duration) {
	if p.timer.pos == 0 || at < p.timer.at {
		k.timers.set(&p.timer, at)
	}
}

// sendPacket fills and sends one packet; false when nothing could be sent.
func (k *Kernel) sendPacket(p, via *peer) bool {
	hop := wire.ForwardSize
	if via == p {
		hop = wire.LocalSize
	}
	size := k.sizeTo(p, via)
	if size != p.packetSize {
		p.packetSize = size
		p.mux.SetPacketSize(size)
	}
	b := k.out.packet(size)
	if via == p {
		b = wire.AppendHop(b, wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
	} else {
		b = wire.AppendHop(b, wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: wire.MaxTTL, Dest: p.rid})
	}
	b = b[:hop+wire.SessionSize]
	room := size - hop - wire.SessionSize - wire.TagSize
	if !p.heardHello {
		b = k.appendHello(b, p)
		room -= helloSize
	}
	alone := p.mux.Probing()
	filled := p.mux.Fill(b, room, k.now)
	if len(filled) == len(b) {
		return false
	}
	filled[0] |= uint8(p.mux.PacketClass()) // before Seal: it covers a local frame
	pkt, counter, ok := p.cur.Seal(filled, hop)
	if !ok || via != p && !via.cur.SignHop(pkt) {
		k.drop(DropExpired)
		return false
	}
	inFlight := p.mux.InFlight()
	p.mux.Sent(p.cur.LocalIndex(), counter, len(pkt), k.now)
	eliciting := p.mux.InFlight() > inFlight
	p.txPackets++
	p.txBytes += uint64(len(pkt))
	p.noRoute = never
	p.lastSend = k.now
	if eliciting && p.firstUnheard == never {
		p.firstUnheard = k.now
	}
	if eliciting && via != p {
		k.greySent(p, via)
	}
	if k.now >= p.hintNext { // ICMP quotes older than a second or two do not count
		p.hintNext, p.hintFrom = k.now+time.Second, max(p.hintLast, 1)-1
		p.hintLast = counter
	}
	before := k.out.tail
	if k.sendTo(via, pkt, eliciting, alone) && via == p {
		p.mux.SentInTrain(p.cur.LocalIndex(), before == p)
	}
	k.out.tail = p
	return true
}

// sendTo gives bytes to the link towards a neighbour. expects says that something
// should come back through it: a bare acknowledgement, answered by nothing, must
// not start the clock of its silence. alone: not in one piece with others, which
// it reports.
func (k *Kernel) sendTo(n *peer, b []byte, expects, alone bool) (joined bool) {
	k.sending(n, expects)
	if isForward(b) {
		n.lastRelay = k.now
		k.noteLink(n, b)
	}
	k.counters.PacketsOut++
	return k.emitTo(n, b, alone)
}

// sending starts the clock of a neighbour's silence.
func (k *Kernel) sending(n *peer, expects bool) {
	if expects && n.det.Sent(k.now) {
		k.due(n, n.det.Deadline())
	}
}

// noteLink remembers the link counters of about a second ago, for ICMP quotes.
func (k *Kernel) noteLink(n *peer, b []byte) {
	if k.now >= n.linkNext {
		n.linkNext, n.linkFrom = k.now+time.Second, n.linkLast
		n.linkLast = binary.LittleEndian.Uint32(b[6:])
	}
}

func isForward(b []byte) bool { return b[0]>>3 == wire.Version<<3|wire.TypeForward }

// sendEnvelope sends a handshake message to an address, or through the mesh when
// there is none.
func (k *Kernel) sendEnvelope(env []byte, addr netip.AddrPort, dest wire.RID) {
	if addr.IsValid() {
		b := wire.AppendHop(k.out.packet(wire.LocalSize+len(env)), wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
		k.counters.PacketsOut++
		k.out.emit(addr, append(b, env...))
		return
	}
	n, ok := k.table.Lookup(dest)
	if !ok || int(n) >= len(k.byNum) || k.byNum[n] == nil || k.byNum[n].cur == nil || k.byNum[n].det == nil {
		k.drop(DropNoRoute)
		return
	}
	via := k.byNum[n]
	b := wire.AppendHop(k.out.packet(wire.ForwardSize+len(env)),
		wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: wire.MaxTTL, Dest: dest})
	b = append(b, env...)
	if !via.cur.SignHop(b) {
		k.drop(DropExpired)
		return
	}
	k.sendTo(via, b, true, false)
}

// challenge asks the peer to prove that it is reachable at p.moving.addr: the
// packet goes there and nowhere else.
func (k *Kernel) challenge(p *peer) {
	b := wire.AppendHop(k.out.packet(256), wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
	b = b[:wire.LocalSize+wire.SessionSize]
	msg := wire.AppendPathChallenge(nil, wire.PathChallenge{Data: p.moving.token})
	b = wire.AppendFrame(k.appendHello(b, p), wire.Frame{ID: coreID, Payload: msg})
	if pkt, counter, ok := p.cur.Seal(b, wire.LocalSize); ok {
		p.mux.Sent(p.cur.LocalIndex(), counter, len(pkt), k.now) // holds nothing of the mux, but uses a counter
		k.counters.PacketsOut++
		k.out.emit(p.moving.addr, pkt)
	}
}

func (k *Kernel) frameFlags(p *peer, bulk bool) uint8 {
	flags := k.tag(p)
	if bulk {
		flags |= uint8(sdk.Bulk) << wire.FrameClassShift
	}
	return flags
}

// sortedKeys lists a map's keys in order: no map order may reach an output.
func sortedKeys[K ~int | ~uint64 | ~uint32 | ~uint16, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func readFull(r io.Reader, b []byte) (int, error) { return io.ReadFull(r, b) }
