package kernel

import (
	"encoding/binary"
	"net/netip"

	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/sdk"
)

// An association is what outlives a session between two nodes: the streams, what
// the manifests agreed, the modules' handle. Rekeying keeps it. But one side may
// have given the other up (it fell silent for a moment) while the other did not
// notice: then the new session joins a fresh end and an old one, whose stream
// numbers mean different things. So every session begins with a Hello that names
// both ends, and nothing else of it counts until they fit:
//
//	theirs names ours               they fit; we take their name
//	theirs names nobody, we nobody  both are fresh; we take their name
//	theirs names nobody, we another they are fresh, we are old: we start anew
//	theirs names another, we nobody we are fresh: they will start anew
//	theirs names another, we too    both are old: we start anew, and so do they
//
// A packet under keys whose Hello is not acknowledged yet carries it first.

// helloSize is the length of a frame that holds a Hello.
const helloSize = messageOverhead + 17

// appendHello appends the frame.
func (k *Kernel) appendHello(b []byte, p *peer) []byte {
	var msg [17]byte
	return wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: wire.AppendHello(msg[:0], wire.Hello{Mine: p.assoc, Yours: p.theirAssoc})})
}

// greeted reports whether the frames of a packet under a session may be taken.
func (k *Kernel) greeted(p *peer, plain []byte, gen uint32) bool {
	if e := k.index.get(gen); e == nil || e.hello {
		return e != nil
	}
	f, _, ok := wire.ParseFrame(plain)
	if !ok || f.ID != coreID || f.Flags&wire.FlagStream != 0 || len(f.Payload) == 0 || f.Payload[0] != wire.MsgHello {
		return false
	}
	h, ok := wire.ParseHello(f.Payload[1:])
	if !ok || !k.hello(p, h) {
		return false
	}
	if e := k.index.get(gen); e != nil {
		e.hello = true
	}
	return true
}

// hello takes the peer's Hello and reports whether the two ends fit.
func (k *Kernel) hello(p *peer, h wire.Hello) bool {
	switch {
	case h.Yours == p.assoc && (p.theirAssoc == 0 || p.theirAssoc == h.Mine),
		h.Yours == 0 && (p.theirAssoc == 0 || p.theirAssoc == h.Mine):
		p.theirAssoc = h.Mine
		return true
	case h.Yours != 0 && p.theirAssoc == 0:
		k.touch(p) // our Hello makes them start anew
		return false
	}
	k.restartAssociation(p)
	if h.Yours == 0 {
		p.theirAssoc = h.Mine
		return true
	}
	return false
}

// associate begins an association: fresh streams, and our manifest first.
func (k *Kernel) associate(p *peer) {
	var b [8]byte
	k.random(b[:])
	p.assoc, p.theirAssoc = binary.LittleEndian.Uint64(b[:])|1, 0
	p.mux = stream.New(stream.Config{Odd: k.odd(p), Buffers: &k.fragments, Memory: &k.memory, Fates: true})
	p.packetSize = 0
	p.incomplete = 0
	k.firstOffer(p)
}

// dissociate ends one: streams are reset, modules told, the handle retired.
func (k *Kernel) dissociate(p *peer, reason sdk.DownReason) {
	for _, sid := range sortedKeys(p.streams) {
		if pi := p.streams[sid]; pi != nil {
			k.breakPipe(pi, pi.sideOfPeer(p, sid), sdk.PeerGone, "the session with "+p.id.Short()+" ended: "+reason.String())
		}
	}
	clear(p.streams)
	for _, sid := range sortedKeys(p.opening) {
		k.endOpening(p, sid)
	}
	k.announceDown(p, reason)
	k.trace(TracePeerDown, p.id, netip.AddrPort{}, reason.String())
	p.manifest, p.manifestIn, p.manifestHeard = nil, 0, false
	k.timers.set(&p.manifestAgain, never)
	k.timers.set(&p.offering, never)
	k.timers.set(&p.parting, never)
	p.refusal = ""
	p.mux.Close()
	p.blocked = nil
}

// restartAssociation starts anew under the keys that are there.
func (k *Kernel) restartAssociation(p *peer) {
	k.dissociate(p, sdk.DownReplaced)
	k.associate(p)
	p.heardHello = false
	for _, s := range []uint32{p.cur.LocalIndex(), oldIndex(p)} {
		if e := k.index.get(s); e != nil {
			e.hello = false
		}
	}
	if p.det != nil { // they have forgotten our routes as well
		k.table.NeighborDown(p.num, k.now)
		k.table.NeighborUp(p.num, p.id, k.linkCost(p), uint16(k.sizeOf(p)), k.now)
	}
	k.touch(p)
}

func oldIndex(p *peer) uint32 {
	if p.old == nil {
		return 0
	}
	return p.old.LocalIndex()
}

// goodbyeReason is what a goodbye means here. The peer says why it went; that we
// fell silent or restarted is for us to find out, not for it to tell (W6.10.1).
func goodbyeReason(g wire.Goodbye) sdk.DownReason {
	if r := sdk.DownReason(g.Reason); r == sdk.DownAgreement || r == sdk.DownDenied {
		return r
	}
	return sdk.DownGoodbye
}
