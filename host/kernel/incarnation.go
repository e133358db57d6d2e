package kernel

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
)

// Two nodes with one identity raise their incarnations in turn. After the third
// time within twinWithin a node says so and stops (R1.7).
const (
	twinWithin = 60 * time.Second
	twinJumps  = 3
)

// outdone goes on above an incarnation of ours that the mesh knows and we do not:
// the counter was rolled back, with a backup for instance.
func (k *Kernel) outdone() {
	inc, ok := k.table.Outdone()
	if !ok || k.twin || inc >= math.MaxUint64/2 { // no honest counter comes near that
		return
	}
	for len(k.jumps) > 0 && k.now-k.jumps[0] >= twinWithin {
		k.jumps = k.jumps[1:]
	}
	k.jumps = append(k.jumps, k.now)
	k.repairs++
	k.reincarnate(inc + 1)
	if len(k.jumps) < twinJumps {
		k.trace(TraceRepaired, k.self, netip.AddrPort{}, fmt.Sprintf("incarnation %d: the mesh knew of %d", inc+1, inc))
		return
	}
	k.twin, k.jumps = true, nil
	k.trace(TraceTwin, k.self, netip.AddrPort{}, "another node runs under this node's key: stop one of them, and give it an identity of its own (nethost init)")
}

// reincarnate goes on as after a restart, but for the streams and modules.
func (k *Kernel) reincarnate(inc uint64) {
	var seed [32]byte
	k.random(seed[:])
	k.cfg.Static = identity.NewStatic(k.cfg.Key, seed, inc)
	local, err := k.cfg.newLocal()
	if err != nil {
		panic("kernel: " + err.Error()) // it was good at New, and only the counter differs
	}
	k.local, k.admit = local, session.NewAdmission(local, k.random)
	k.out.Incarnation = inc
	k.table.Reincarnate(inc, k.now)
	for _, addr := range k.order { // handshakes under way speak from the old one
		if d := k.dials[addr].dial; d != nil {
			d.local = nil
		}
	}
	for _, p := range k.byNum {
		switch {
		case p == nil:
		case p.dial != nil:
			p.dial.local = nil
		case p.cur != nil:
			k.dialPeer(p)
		}
	}
}

// confront tells a node what we know it to have signed, because another process with
// its key and its incarnation was here before: a copy that still runs, or that the
// counter was rolled back. Whoever of them signed less goes on above it (K3.2).
func (k *Kernel) confront(p *peer) {
	if w, ok := k.table.Statement(p.id); ok {
		p.mux.Control(wire.AppendWave(nil, w))
	}
}

// correct tells a node whose handshake was refused for its incarnation which one we
// know: the one packet under the new keys (R1.8).
func (k *Kernel) correct(s *session.Session, addr netip.AddrPort) {
	w, ok := k.table.Statement(s.Peer())
	if !ok || w.Incarnation <= s.Incarnation() {
		return
	}
	hop := wire.LocalSize
	h := wire.Hop{Version: wire.Version, Type: wire.TypeLocal}
	if !addr.IsValid() {
		hop = wire.ForwardSize
		h = wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: wire.MaxTTL, Dest: s.PeerRID()}
	}
	b := wire.AppendHop(k.out.packet(k.cfg.MTU), h)[:hop+wire.SessionSize]
	var msg [17]byte
	b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: wire.AppendHello(msg[:0], wire.Hello{Mine: uint64(k.random32())<<1 | 1})})
	b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: wire.AppendWave(nil, w)})
	pkt, _, ok := s.Seal(b, hop)
	if !ok {
		return
	}
	if addr.IsValid() {
		k.counters.PacketsOut++
		k.out.emit(addr, pkt)
		return
	}
	if n := k.nextHop(s.PeerRID(), nil); n != nil && n.cur.SignHop(pkt) {
		k.sendTo(n, pkt, false, false)
	}
}
