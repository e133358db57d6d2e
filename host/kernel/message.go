package kernel

import (
	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/sdk"
)

// message hands a datagram message to the module that answers to its id.
func (k *Kernel) message(p *peer, f *wire.Frame) {
	if !p.hasAgreed {
		k.drop(DropNotAgreed)
		return
	}
	if k.barred(p) {
		k.drop(DropBarred)
		return
	}
	v, slot, ok := k.handler(p, f.ID, f.Flags&wire.FrameEpochMask)
	if !ok {
		k.unsupported(p, f.ID)
		return
	}
	if d, _ := k.rules.refuses(f.ID); d != 0 {
		k.unserved(p, f.ID, d)
		return
	}
	if !k.mods[slot].up {
		k.drop(DropModuleDown)
		return
	}
	payload := f.Payload
	if f.Flags&wire.FlagFragment != 0 {
		if payload, ok = k.fragment(p, f); !ok {
			return
		}
	}
	k.counters.Delivered++
	k.out.deliver(slot, sdk.Event{Kind: sdk.EvMessage, Peer: p.handle, ID: f.ID, Version: v, Payload: payload})
}

// fragment takes a part of a message and gives the message that it completes,
// which stays valid until the next Step.
func (k *Kernel) fragment(p *peer, f *wire.Frame) ([]byte, bool) {
	msg, v := p.mux.OnFragment(f, k.now)
	switch v {
	case stream.FragmentDuplicate, stream.FragmentLate, stream.FragmentConflict:
		k.drop(DropFragment)
	}
	k.countIncomplete(p)
	return msg, v == stream.FragmentCompletes
}

// countIncomplete counts the messages of which the rest did not come.
func (k *Kernel) countIncomplete(p *peer) {
	n := p.mux.Reassembly().Incomplete()
	k.counters.Drops[DropIncomplete] += n - p.incomplete
	p.incomplete = n
}
