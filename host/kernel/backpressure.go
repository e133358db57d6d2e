package kernel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/sdk"
)

// blockedSlot is a module that was told that the queue to a peer is full, in a class.
type blockedSlot struct {
	slot  int
	flags uint16 // sdk.FlagBulk or 0
}

// dropKey is what a Dropped event puts together.
type dropKey struct {
	slot   int
	class  sdk.Class
	reason Drop
}

func (k dropKey) compare(o dropKey) int {
	return cmp.Or(cmp.Compare(k.slot, o.slot), cmp.Compare(k.class, o.class), cmp.Compare(k.reason, o.reason))
}

// send queues a message of a module to a peer.
func (k *Kernel) send(slot int, f *sdk.Effect) {
	p := k.handle[f.Peer]
	if p == nil {
		k.drop(DropNoPeer)
		return
	}
	v, ok := p.agreed.Lookup(f.ID)
	if !ok || !k.speaks(slot, f.ID, v.Major) {
		k.out.deliver(slot, sdk.Event{Kind: sdk.EvUnsupported, Peer: f.Peer, ID: f.ID})
		return
	}
	b := blockedSlot{slot, f.Flags & sdk.FlagBulk}
	if f.Ref != 0 && len(p.blocked) > 0 && slices.Contains(p.blocked, b) {
		k.wouldBlock(p, b, f)
		return
	}
	until := never
	if f.Arg != 0 {
		until = k.now + time.Duration(min(f.Arg, uint64(never/2)))
	}
	flags := k.frameFlags(p, b.flags != 0)
	reason := DropQueueFull
	switch p.mux.SendUntil(f.ID, flags, f.Payload, until, k.now) {
	case muxOK:
		k.touch(p)
		return
	case muxTooBig:
		reason = DropTooBig
	default:
		if f.Ref != 0 {
			p.blocked = append(p.blocked, b)
			k.wouldBlock(p, b, f)
			return
		}
	}
	k.drop(reason)
	k.notePeerDrop(p, dropKey{slot, classOf(flags), reason}, 1)
}

// wouldBlock answers a message that was not taken.
func (k *Kernel) wouldBlock(p *peer, b blockedSlot, f *sdk.Effect) {
	k.touch(p) // what is queued may be the reason why there is room soon
	k.out.deliver(b.slot, sdk.Event{Kind: sdk.EvWouldBlock, Flags: b.flags, Peer: p.handle, ID: f.ID, Ref: f.Ref})
}

// writable tells those whose messages found no room that there is some.
func (k *Kernel) writable(p *peer) {
	if len(p.blocked) == 0 {
		return
	}
	p.blocked = slices.DeleteFunc(p.blocked, func(b blockedSlot) bool {
		if !p.mux.Roomy(k.frameFlags(p, b.flags != 0)) {
			return false
		}
		if k.mods[b.slot].up {
			k.out.deliver(b.slot, sdk.Event{Kind: sdk.EvWritable, Flags: b.flags, Peer: p.handle})
		}
		return true
	})
}

func classOf(flags uint8) sdk.Class {
	return sdk.Class(flags >> wire.FrameClassShift & 1)
}

// staleMessages tells the module that messages of it waited too long.
func (k *Kernel) staleMessages(p *peer, d stream.Dropped) {
	k.counters.Drops[DropStale] += d.N
	v, ok := p.agreed.Lookup(d.ID)
	if !ok { // it was agreed when the module sent
		v, ok = p.prev.Lookup(d.ID)
	}
	if slot, has := k.reg.Lookup(d.ID, v.Major); ok && has {
		k.notePeerDrop(p, dropKey{slot, classOf(d.Flags), DropStale}, d.N)
	}
}

// notePeerDrop counts n messages dropped here; the module hears of it at most
// every 10 ms for each peer.
func (k *Kernel) notePeerDrop(p *peer, key dropKey, n uint64) {
	if p.dropped == nil {
		p.dropped = map[dropKey]uint64{}
	}
	p.dropped[key] += n
	if p.dropAt.pos == 0 {
		k.timers.set(&p.dropAt, k.now+droppedEvery)
	}
}

func (k *Kernel) flushDropped(p *peer) {
	for _, key := range slices.SortedFunc(maps.Keys(p.dropped), dropKey.compare) {
		if n := p.dropped[key]; n > 0 && p.hasAgreed && k.mods[key.slot].up {
			k.out.deliver(key.slot, sdk.Event{Kind: sdk.EvDropped, Peer: p.handle, Arg: n,
				Payload: k.out.keep([]byte{byte(key.class)}, []byte(key.reason.String()))})
		}
	}
	clear(p.dropped)
}
