package kernel

import (
	"slices"
	"time"

	"nethost/host/stream"
	"nethost/registry"
	"nethost/sdk"
)

// Two versions of a module stand side by side while one takes over from the other.
// The new one has the ids from the swap on. The old one keeps the streams it has
// seen, and gets what was agreed under the manifest before: messages of a peer that
// has not heard of the new manifest, where the version it has is gone from that.

// toldPeer is a peer that a module knows for an id.
type toldPeer struct {
	peer sdk.Peer
	id   sdk.ID
}

// room makes the slots up to n.
func (k *Kernel) room(n int) {
	for len(k.mods) < n {
		k.mods = append(k.mods, modSlot{streams: map[sdk.Ref]*pipe{}, timers: map[sdk.Ref]*modTimer{}})
	}
}

func (k *Kernel) nameModule(slot int, name string) {
	if slot < len(k.mods) && name != "" {
		k.mods[slot].name = name
	}
}

// moduleName is the name of a slot, for principals and listings.
func (k *Kernel) moduleName(slot int) string {
	switch {
	case slot >= 0 && slot < len(k.mods) && k.mods[slot].name != "":
		return k.mods[slot].name
	case slot >= 0 && slot < len(k.cfg.Modules):
		return k.cfg.Modules[slot]
	}
	return sdk.ID(slot).String()
}

// moduleSwap lets in.Slot take over from in.Other.
func (k *Kernel) moduleSwap(in *Input) {
	k.room(max(in.Table.Slots(), in.Slot+1, in.Other+1))
	k.nameModule(in.Slot, in.Text)
	old, heir := &k.mods[in.Other], &k.mods[in.Slot]
	heir.lastRef = max(heir.lastRef, old.lastRef) // it may adopt streams under the references they have
	if old.up {
		k.leave(in.Other)
	}
	k.setTable(in.Table)
	k.moduleUp(in.Slot)
}

// leave notes what a slot answers to, before another gets its ids.
func (k *Kernel) leave(slot int) {
	m := &k.mods[slot]
	m.draining, m.lines, m.told = true, []registry.Line{}, map[toldPeer]bool{}
	for _, l := range k.ours.Lines {
		if owner, ok := k.reg.Lookup(l.ID, l.Version.Major); ok && owner == slot {
			m.lines = append(m.lines, l)
		}
	}
	for _, p := range k.byNum {
		if p == nil || !p.hasAgreed {
			continue
		}
		for _, o := range p.agreed.Outcomes {
			if owner, ok := k.reg.Lookup(o.ID, o.Version.Major); ok && owner == slot && o.State == registry.StateAgreed {
				m.told[toldPeer{p.handle, o.ID}] = true
			}
		}
	}
	k.leaving = append(k.leaving, slot)
}

// left forgets that a slot was leaving.
func (k *Kernel) left(slot int) {
	m := &k.mods[slot]
	m.draining, m.lines, m.told = false, nil, nil
	k.leaving = slices.DeleteFunc(k.leaving, func(s int) bool { return s == slot })
}

// moduleDrain keeps new streams away from a slot.
func (k *Kernel) moduleDrain(slot int) {
	if slot < len(k.mods) && k.mods[slot].up {
		k.mods[slot].draining = true
	}
}

// adopt moves streams that a module has not seen to the one that took over.
func (k *Kernel) adopt(from, to int, refs []sdk.Ref) {
	for _, ref := range refs {
		pi := k.mods[from].streams[ref]
		if pi == nil {
			continue
		}
		delete(k.mods[from].streams, ref)
		pi.end[pi.sideOfModule(from, ref)].slot = to
		k.mods[to].streams[ref] = pi
	}
}

// owner finds the module that answers to an id at a major: the one in the table, or
// one that is leaving.
func (k *Kernel) owner(id sdk.ID, major uint8) (slot int, ok bool) {
	if slot, ok = k.reg.Lookup(id, major); ok {
		return slot, true
	}
	for i := len(k.leaving) - 1; i >= 0; i-- {
		if k.answered(k.leaving[i], id, major) {
			return k.leaving[i], true
		}
	}
	return 0, false
}

func (k *Kernel) answered(slot int, id sdk.ID, major uint8) bool {
	for _, l := range k.mods[slot].lines {
		if l.ID == id && l.Version.Major == major {
			return true
		}
	}
	return false
}

// speaks reports whether a module may use an id at a major towards peers.
func (k *Kernel) speaks(slot int, id sdk.ID, major uint8) bool {
	owner, ok := k.reg.Lookup(id, major)
	return ok && owner == slot || k.answered(slot, id, major)
}

// tellLeaving tells modules that are leaving of a peer they knew.
func (k *Kernel) tellLeaving(p *peer, id sdk.ID, reason sdk.DownReason) {
	for _, slot := range k.leaving {
		if key := (toldPeer{p.handle, id}); k.mods[slot].told[key] {
			delete(k.mods[slot].told, key)
			k.out.deliver(slot, sdk.Event{Kind: sdk.EvPeerDown, Peer: p.handle, ID: id, Arg: uint64(reason)})
		}
	}
}

// Streams counts the open streams of a module.
func (k *Kernel) Streams(slot int) int {
	if slot < 0 || slot >= len(k.mods) {
		return 0
	}
	return len(k.mods[slot].streams)
}

// beginOpening waits for the open of a peer's stream, not for ever: a peer may have
// only so many.
func (k *Kernel) beginOpening(p *peer, ev *stream.Event) {
	o, sid := &opening{id: ev.ID, epoch: ev.Epoch}, ev.Stream
	o.timer.fire = func(time.Duration) {
		delete(p.opening, sid)
		p.mux.Reset(sid, sdk.DeadlineExceeded, "the open did not arrive completely within "+openingTimeout.String())
		k.touch(p)
	}
	if p.opening == nil {
		p.opening = map[uint64]*opening{}
	}
	p.opening[sid] = o
	k.timers.set(&o.timer, k.now+openingTimeout)
}

func (k *Kernel) endOpening(p *peer, sid uint64) {
	if o := p.opening[sid]; o != nil {
		k.timers.set(&o.timer, never)
		delete(p.opening, sid)
	}
}
