package kernel

import (
	"net/netip"
	"strings"

	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

const coreID = registry.Core

// setTable takes a new set of modules, and tells every peer.
func (k *Kernel) setTable(t *registry.Table) {
	if k.reg != nil {
		k.epoch++
	}
	k.reg, k.ours = t, t.Manifest(k.epoch)
	k.room(t.Slots())
	for _, p := range k.byNum {
		if p != nil && p.cur != nil {
			k.declare(p)
		}
	}
}

// odd reports whether the streams we open to a peer have odd ids.
func (k *Kernel) odd(p *peer) bool { return k.self.Compare(p.id) < 0 }

// sendManifest opens a stream of id 0x0600, writes the manifest that is offered and
// ends it. It is the first thing on a new session.
func (k *Kernel) sendManifest(p *peer) {
	sid, ok := p.mux.Open(registry.Negotiation, k.tag(p), sdk.Realtime)
	if ok && p.mux.Write(sid, registry.AppendManifest(nil, p.said), true) != muxOK {
		p.mux.Reset(sid, sdk.Overloaded, "")
		ok = false
	}
	if p.manifestOut, p.manifestHeard = sid, false; !ok { // no room now: the peer must not be left with an old one
		k.timers.set(&p.manifestAgain, k.now+manifestRetry)
	}
	k.touch(p)
}

// manifestData collects the peer's manifest. A later stream replaces an earlier
// one; an epoch never goes back.
func (k *Kernel) manifestData(p *peer, ev *stream.Event) {
	if ours := (ev.Stream%2 == 1) == k.odd(p); ours {
		if ev.FIN && ev.Stream == p.manifestOut { // the peer ends its side: it has our manifest
			k.heardOurs(p)
			k.partRefused(p)
		}
		return
	}
	if ev.FIN {
		p.mux.Write(ev.Stream, nil, true) // lets the stream end
	}
	if ev.Stream != p.manifestIn {
		if ev.Stream < p.manifestIn {
			return
		}
		p.manifestIn, p.manifest = ev.Stream, p.manifest[:0]
	}
	if len(p.manifest)+len(ev.Data) > maxManifest {
		p.mux.Reset(ev.Stream, sdk.InvalidArgument, "manifest is too long")
		return
	}
	p.manifest = append(p.manifest, ev.Data...)
	if !ev.FIN {
		return
	}
	m, err := registry.ParseManifest(p.manifest)
	p.manifest = nil
	if err != nil {
		k.refuse(p, "malformed manifest: "+err.Error())
		return
	}
	if p.hasAgreed && m.Epoch <= p.theirs.Epoch {
		return
	}
	p.theirsPrev, p.theirs = p.theirs, m
	k.negotiate(p)
}

// negotiate agrees on ids and versions, and tells modules what changed.
func (k *Kernel) negotiate(p *peer) {
	agreed := registry.Negotiate(p.heard, p.theirs)
	if id, refused := agreed.Refused(); refused {
		k.refuseRequired(p, id, agreed)
		return
	}
	delete(k.refusals, p.id)
	before, first := p.agreed, !p.hasAgreed
	p.prev, p.agreed, p.hasAgreed, p.refusal = p.agreed, agreed, true, ""
	k.timers.set(&p.parting, never)
	k.formerSets(p)
	if first {
		k.last++
		p.handle = k.last
		k.handle[p.handle] = p
	}
	var ids []string
	for _, o := range agreed.Outcomes {
		if o.State == registry.StateAgreed {
			ids = append(ids, o.ID.String()+"@"+o.Version.String())
		}
	}
	k.trace(TraceNegotiated, p.id, netip.AddrPort{}, strings.Join(ids, " "))
	for _, o := range before.Outcomes {
		if v, ok := agreed.Lookup(o.ID); o.State == registry.StateAgreed && (!ok || v != o.Version) {
			k.tell(p, o.ID, o.Version, sdk.EvPeerDown, sdk.DownAgreement)
		}
	}
	for _, o := range agreed.Outcomes {
		if v, ok := before.Lookup(o.ID); o.State == registry.StateAgreed && (!ok || v != o.Version) {
			k.tell(p, o.ID, o.Version, sdk.EvPeerUp, 0)
		}
	}
	if first {
		k.trace(TracePeerUp, p.id, p.addr, strings.Join(ids, " "))
		k.serveWaiting(p)
	}
}

// refuse ends a session that must not be.
func (k *Kernel) refuse(p *peer, why string) {
	k.trace(TraceRefused, p.id, netip.AddrPort{}, why)
	k.failWaiting(p, sdk.UnsupportedID, why)
	p.mux.Control(wire.AppendGoodbye(nil, wire.Goodbye{Reason: uint8(sdk.DownAgreement)}))
	if via := k.path(p); via != nil {
		k.sendPacket(p, via)
	}
	k.peerDown(p, sdk.DownLocal)
}

// tell delivers PeerUp or PeerDown to the module that holds an id.
func (k *Kernel) tell(p *peer, id sdk.ID, v sdk.Version, kind sdk.EventKind, reason sdk.DownReason) {
	if kind == sdk.EvPeerDown {
		k.tellLeaving(p, id, reason)
	}
	slot, ok := k.reg.Lookup(id, v.Major)
	if !ok || !k.mods[slot].up {
		return
	}
	ev := sdk.Event{Kind: kind, Peer: p.handle, ID: id, Version: v, Arg: uint64(reason)}
	if kind == sdk.EvPeerUp {
		srtt, _, _ := p.mux.RTT()
		info := sdk.PeerInfo{Node: p.id, RTT: srtt, MTU: uint32(k.cfg.MTU - wire.ForwardSize - wire.SessionSize - wire.TagSize - messageOverhead)}
		ev.Payload = k.out.keep(sdk.AppendPeerInfo(nil, info))
	}
	k.out.deliver(slot, ev)
}

// messageOverhead is the frame header of a message: id, flags, stream, length.
const messageOverhead = 2 + 1 + 1 + 2

// announceDown tells every module that had the peer, and retires the handle.
func (k *Kernel) announceDown(p *peer, reason sdk.DownReason) {
	if !p.hasAgreed {
		return
	}
	for _, o := range p.agreed.Outcomes {
		if o.State == registry.StateAgreed {
			k.tell(p, o.ID, o.Version, sdk.EvPeerDown, reason)
		}
	}
	delete(k.handle, p.handle)
	p.handle, p.hasAgreed = 0, false
	p.agreed, p.prev, p.theirs, p.theirsPrev = registry.Agreed{}, registry.Agreed{}, registry.Manifest{}, registry.Manifest{}
	p.sets = [4]registry.Agreed{}
}

// moduleUp lets a fresh instance know the peers that are there.
func (k *Kernel) moduleUp(slot int) {
	if slot >= len(k.mods) || k.mods[slot].up {
		return
	}
	k.mods[slot].up, k.mods[slot].draining = true, false
	for _, p := range k.byNum {
		if p == nil || !p.hasAgreed {
			continue
		}
		for _, o := range p.agreed.Outcomes {
			if o.State != registry.StateAgreed {
				continue
			}
			if owner, ok := k.reg.Lookup(o.ID, o.Version.Major); ok && owner == slot && k.within(o) {
				k.tell(p, o.ID, o.Version, sdk.EvPeerUp, 0)
			}
		}
	}
}

// moduleDown resets the streams and timers of a dead instance. Sessions stay.
func (k *Kernel) moduleDown(slot int) {
	if slot >= len(k.mods) || !k.mods[slot].up {
		return
	}
	m := &k.mods[slot]
	m.up = false
	code, text := sdk.ModuleRestarted, "module "+k.moduleName(slot)+" restarted"
	if m.draining {
		code, text = sdk.Draining, "module "+k.moduleName(slot)+" was told to finish"
	}
	k.left(slot)
	for _, ref := range sortedKeys(m.streams) {
		if pi := m.streams[ref]; pi != nil {
			k.breakPipe(pi, pi.sideOfModule(slot, ref), code, text)
		}
	}
	clear(m.streams)
	for _, p := range k.byNum { // its Connects: a new instance knows nothing of them
		for i := 0; p != nil && i < len(p.waiting); {
			if e := p.waiting[i].end[0]; e.kind == endModule && e.slot == slot {
				k.unwait(p.waiting[i])
			} else {
				i++
			}
		}
	}
	for _, ref := range sortedKeys(m.timers) {
		k.timers.set(&m.timers[ref].timer, never)
	}
	clear(m.timers)
}
