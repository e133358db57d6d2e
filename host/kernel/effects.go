package kernel

import (
	"time"

	"nethost/registry"
	"nethost/sdk"
)

// applyEffects does what a module asked for. Grants were checked before: what
// arrives here is allowed, but may still make no sense (a peer that left, a
// stream that was reset meanwhile), which is answered by an event or ignored.
func (k *Kernel) applyEffects(slot int, effects []sdk.Effect) {
	if slot < 0 || slot >= len(k.mods) || !k.mods[slot].up {
		return
	}
	for i := range effects {
		k.applyEffect(slot, &effects[i])
	}
}

func (k *Kernel) applyEffect(slot int, f *sdk.Effect) {
	m := &k.mods[slot]
	switch f.Kind {
	case sdk.OpSend:
		k.send(slot, f)
	case sdk.OpSendMany:
		k.sendMany(slot, f)
	case sdk.OpConnect:
		k.connect(slot, f)
	case sdk.OpStreamOpen:
		if code, text := k.openStream(slot, f); text != "" {
			k.out.deliver(slot, sdk.Event{Kind: sdk.EvStreamReset, Ref: f.Ref, Arg: uint64(code), Payload: k.out.keep([]byte(text))})
		}
	case sdk.OpStreamWrite:
		if pi := m.streams[f.Ref]; pi != nil {
			k.write(pi, pi.sideOfModule(slot, f.Ref), f.Payload, f.Flags&sdk.FlagFIN != 0)
		}
	case sdk.OpStreamCredit:
		if pi := m.streams[f.Ref]; pi != nil {
			k.consumed(pi, pi.sideOfModule(slot, f.Ref), f.Arg)
		}
	case sdk.OpStreamReset:
		if pi := m.streams[f.Ref]; pi != nil {
			k.breakPipe(pi, pi.sideOfModule(slot, f.Ref), sdk.Code(f.Arg), string(f.Payload))
		}
	case sdk.OpPenalize:
		k.penalize(slot, f)
	case sdk.OpTimer:
		k.moduleTimer(slot, f.Ref, time.Duration(min(f.Arg, uint64(never/2))))
	}
}

// openStream opens what a module asked for. A text means that it failed.
func (k *Kernel) openStream(slot int, f *sdk.Effect) (sdk.Code, string) {
	m := &k.mods[slot]
	o, err := sdk.ParseOpen(f.Payload)
	switch {
	case err != nil:
		return sdk.InvalidArgument, "malformed open"
	case f.Ref%2 == 0 || m.streams[f.Ref] != nil:
		return sdk.InvalidArgument, "a module's reference is odd and used once"
	case len(m.streams) >= maxModStreams:
		return sdk.Overloaded, "too many streams are open"
	}
	from := end{kind: endModule, slot: slot, ref: f.Ref}
	if f.Flags&sdk.FlagModule != 0 {
		v, target, ok := k.reg.Newest(f.ID)
		if !ok {
			return sdk.NotFound, "no module here answers to " + f.ID.String()
		}
		o.From, o.Principal = sdk.FromModule, []byte(k.moduleName(slot))
		pi, code := k.offer(from, target, f.ID, v, o)
		if pi == nil {
			return code, "module " + k.moduleName(target) + ": " + code.String()
		}
		if f.Arg > 0 {
			k.consumed(pi, 0, f.Arg)
		}
		return 0, ""
	}
	p := k.handle[f.Peer]
	if p == nil {
		return sdk.PeerGone, "no such peer"
	}
	v, ok := p.agreed.Lookup(f.ID)
	if !ok || !k.speaks(slot, f.ID, v.Major) {
		return sdk.UnsupportedID, f.ID.String() + " is not agreed with this peer"
	}
	if _, code := k.openPeer(p, from, f.ID, f.Arg, o); code != 0 {
		return code, "stream could not be opened: " + code.String()
	}
	return 0, ""
}

// connect looks for a session with a node. PeerUp or ConnectFailed answers.
func (k *Kernel) connect(slot int, f *sdk.Effect) {
	var id sdk.NodeID
	if copy(id[:], f.Payload) != len(id) || id == k.self {
		k.connectFailed(slot, f.Ref, sdk.InvalidArgument, "not a node id of another node")
		return
	}
	p := k.peerOf(id)
	switch {
	case p == nil || len(p.waiting) >= maxWaiting:
		k.connectFailed(slot, f.Ref, sdk.Overloaded, "too many peers")
	case p.hasAgreed:
		k.connected(p, slot, f.Ref)
	default:
		pi := &pipe{end: [2]end{{kind: endModule, slot: slot, ref: f.Ref}}, waits: true}
		k.wait(p, pi, openTimeout)
	}
}

// connected answers a Connect once there is an agreement. PeerUp, which the module
// had or gets, is the answer, unless none of its ids was agreed.
func (k *Kernel) connected(p *peer, slot int, ref sdk.Ref) {
	for _, o := range p.agreed.Outcomes {
		if owner, ok := k.reg.Lookup(o.ID, o.Version.Major); ok && owner == slot && o.State == registry.StateAgreed {
			return
		}
	}
	k.connectFailed(slot, ref, sdk.UnsupportedID, p.id.Short()+" has no module that answers to this one's ids")
}

func (k *Kernel) connectFailed(slot int, ref sdk.Ref, code sdk.Code, text string) {
	if k.mods[slot].up {
		k.out.deliver(slot, sdk.Event{Kind: sdk.EvConnectFailed, Ref: ref, Arg: uint64(code), Payload: k.out.keep([]byte(text))})
	}
}

// moduleTimer arms, moves or cancels a timer.
func (k *Kernel) moduleTimer(slot int, ref sdk.Ref, after time.Duration) {
	m := &k.mods[slot]
	t := m.timers[ref]
	if after == 0 {
		if t != nil {
			k.timers.set(&t.timer, never)
			delete(m.timers, ref)
		}
		return
	}
	if t == nil {
		if len(m.timers) >= sdk.MaxTimers {
			k.out.deliver(slot, sdk.Event{Kind: sdk.EvDenied, Ref: ref, Arg: uint64(sdk.OpTimer), Payload: k.out.keep([]byte("too many timers"))})
			return
		}
		t = &modTimer{}
		t.fire = func(time.Duration) {
			delete(k.mods[slot].timers, ref)
			k.out.deliver(slot, sdk.Event{Kind: sdk.EvTimer, Ref: ref})
		}
		m.timers[ref] = t
	}
	k.timers.set(&t.timer, k.now+max(after, sdk.MinTimer))
}
