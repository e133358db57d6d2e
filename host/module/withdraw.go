package module

import "nethost/sdk"

// compactAfter withdrawn entries a mailbox closes its ranks, once they are more than half.
const compactAfter = 1024

// withdraw empties a queued entry of rest: the module will not get it. The caller
// has taken it out of the books that name it.
func (b *mailbox) withdraw(at uint64) {
	e := b.rest.slot(at)
	b.restBytes -= len(e.ev.Payload)
	b.recycle(e.ev.Payload)
	e.ev, e.prev = sdk.Event{}, 0
	b.dead++
}

// settle gives the room of withdrawn entries back: those at the end at once, the
// others when they are many, so that each costs a constant.
func (b *mailbox) settle() {
	for b.rest.len() > 0 && b.rest.slot(b.rest.next-1).ev.Kind == 0 {
		b.rest.next--
		b.dead--
	}
	if b.dead > compactAfter && b.dead > b.rest.len()/2 {
		b.compact()
	}
}

func (b *mailbox) compact() {
	to := b.rest.first
	for at := b.rest.first; at < b.rest.next; at++ {
		e := *b.rest.slot(at)
		if e.ev.Kind == 0 {
			continue
		}
		switch key := (peerID{e.ev.Peer, e.ev.ID}); e.ev.Kind {
		case sdk.EvTimer:
			b.timers[e.ev.Ref] = to
		case sdk.EvPeerUpdate:
			if b.updates[key] == at {
				b.updates[key] = to
			}
		case sdk.EvOverload:
			b.overloads[e.ev.Peer] = to
		case sdk.EvStreamOpen:
			b.fresh[e.ev.Ref] = to + 1
		case sdk.EvStreamData, sdk.EvStreamCredit:
			if prev := b.fresh[e.ev.Ref]; prev > 0 {
				e.prev, b.fresh[e.ev.Ref] = prev, to+1
			}
		}
		*b.rest.slot(to) = e
		to++
	}
	for at := to; at < b.rest.next; at++ {
		*b.rest.slot(at) = entry{}
	}
	b.rest.next, b.dead = to, 0
}

// unopen withdraws a stream that was reset before the module saw its open, and
// reports whether it was such a one: whoever opens and resets in a loop must not
// fill the mailbox of a slow module (L5.2).
func (b *mailbox) unopen(ref sdk.Ref) bool {
	last, ok := b.fresh[ref]
	if !ok {
		return false
	}
	delete(b.fresh, ref)
	for last > 0 {
		prev := b.rest.slot(last - 1).prev
		b.withdraw(last - 1)
		last = prev
	}
	b.settle()
	return true
}

// cancelTimer withdraws a timer that fired and was not taken yet (L5.1).
func (b *mailbox) cancelTimer(ref sdk.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, queued := b.timers[ref]; queued {
		delete(b.timers, ref)
		b.withdraw(at)
		b.settle()
	}
}

// forgetStream withdraws what is queued of a stream.
func (b *mailbox) forgetStream(ref sdk.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unopen(ref) {
		return
	}
	for at := b.rest.first; at < b.rest.next; at++ {
		if e := b.rest.slot(at); isStream(e.ev.Kind) && e.ev.Ref == ref {
			b.withdraw(at)
		}
	}
	b.settle()
}

func isStream(k sdk.EventKind) bool {
	return k == sdk.EvStreamOpen || k == sdk.EvStreamData || k == sdk.EvStreamCredit || k == sdk.EvStreamReset
}

// moveTo hands over what this mailbox's module has not seen and another version of
// it may take: messages, and streams of which not even the open was taken. fits
// says whether the other speaks an id at a version. The streams are named in the
// order they were opened.
func (b *mailbox) moveTo(n *mailbox, fits func(sdk.ID, sdk.Version) bool) (refs []sdk.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for left := b.msgs.len(); left > 0; left-- {
		e := b.msgs.pop()
		if !fits(e.ev.ID, e.ev.Version) {
			b.msgs.push(e) // behind the others that stay: the order is kept
			continue
		}
		b.msgBytes -= len(e.ev.Payload)
		n.add(&e.ev)
		b.recycle(e.ev.Payload)
	}
	moving := map[sdk.Ref]bool{}
	for at := b.rest.first; at < b.rest.next; at++ {
		e := b.rest.slot(at)
		if _, fresh := b.fresh[e.ev.Ref]; e.ev.Kind == sdk.EvStreamOpen && fresh && fits(e.ev.ID, e.ev.Version) {
			moving[e.ev.Ref] = true
			refs = append(refs, e.ev.Ref)
		}
		if isStream(e.ev.Kind) && moving[e.ev.Ref] {
			n.add(&e.ev)
			b.withdraw(at)
		}
	}
	for _, ref := range refs {
		delete(b.fresh, ref)
	}
	b.settle()
	return refs
}
