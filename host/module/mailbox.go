package module

import (
	"errors"
	"fmt"
	"sync"

	"nethost/sdk"
	"nethost/sdk/abi"
)

const (
	// maxPayload is the longest payload that fits a batch beside Flush.
	maxPayload = sdk.MaxBatchBytes - abi.HeaderSize - 2*abi.RecordSize
	// maxMessageBytes bounds the messages queued, whatever their number.
	maxMessageBytes = 16 << 20
	// maxOwn and maxOwnBytes bound what a module brings about by itself (Post,
	// Commit, refused effects) and has not taken yet.
	maxOwn      = 1 << 16
	maxOwnBytes = 32 << 20
	// maxQueued and maxQueuedBytes bound everything else. Its origins bound it
	// below that (credit, streams, peers, timers): above, something is wrong.
	maxQueued      = 1 << 18
	maxQueuedBytes = 512 << 20
	// Payload buffers up to keepBuffer bytes are used again, keepBuffers of
	// them: a burst of large ones must not hold its memory for ever.
	keepBuffer  = 4 << 10
	mergeUpTo   = keepBuffer // stream data is put together up to this length
	keepBuffers = 512
)

// errMailbox is wrapped when an instance must end because of its mailbox.
var errMailbox = errors.New("mailbox overflow")

// door says whose events a mailbox takes.
type door uint8

const (
	shut    door = iota // nobody's: there is no instance
	ownOnly             // the instance's own: the host does not know it yet
	open                // everybody's
)

// entry is a queued event. Its payload is the mailbox's own buffer.
type entry struct {
	ev    sdk.Event // of kind 0: withdrawn, see withdraw
	order uint64
	prev  uint64 // of a stream that the module has not seen yet: the event before in it, its number plus one
}

// ring is a growing queue whose entries keep their number.
type ring struct {
	slots []entry // a power of two long
	first uint64  // number of the oldest
	next  uint64  // number of the next
}

func (r *ring) len() int { return int(r.next - r.first) }

func (r *ring) slot(n uint64) *entry { return &r.slots[n&uint64(len(r.slots)-1)] }

func (r *ring) push(e entry) uint64 {
	if r.len() == len(r.slots) {
		grown := make([]entry, max(64, 2*len(r.slots)))
		for n := r.first; n < r.next; n++ {
			grown[n&uint64(len(grown)-1)] = *r.slot(n)
		}
		r.slots = grown
	}
	*r.slot(r.next) = e
	r.next++
	return r.next - 1
}

func (r *ring) pop() entry {
	e := r.slot(r.first)
	out := *e
	e.ev.Payload = nil
	r.first++
	return out
}

// peerID is what is up or down: an id agreed with a peer.
type peerID struct {
	peer sdk.Peer
	id   sdk.ID
}

// mailbox queues the events of one module. Messages have a queue of their own,
// because only they may be dropped; the order over both is kept. Its lock is a
// leaf: nothing is called while it is held.
type mailbox struct {
	max int // messages queued

	mu         sync.Mutex
	door       door
	life       uint64 // counts instances: what an earlier one posts is nobody's
	err        error  // why the instance must end
	msgs, rest ring
	order      uint64
	msgBytes   int
	restBytes  int
	own        int
	ownBytes   int
	dropped    uint64
	dead       int                 // entries of rest that were withdrawn
	timers     map[sdk.Ref]uint64  // queued Timer, by its number in rest
	fresh      map[sdk.Ref]uint64  // streams whose StreamOpen is queued: their last event's number plus one
	updates    map[peerID]uint64   // queued PeerUpdate, by its number in rest
	overloads  map[sdk.Peer]uint64 // queued Overload, likewise
	downs      map[peerID]int      // queued PeerDown
	spare      [][]byte
}

func newMailbox(max int) *mailbox {
	if max <= 0 {
		max = DefaultLimits.Mailbox
	}
	return &mailbox{max: max, timers: map[sdk.Ref]uint64{}, fresh: map[sdk.Ref]uint64{}, updates: map[peerID]uint64{},
		overloads: map[sdk.Peer]uint64{}, downs: map[peerID]int{}}
}

// begin empties the mailbox for a new instance and gives the number by which the
// instance's own posts are known.
func (b *mailbox) begin() (life uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	b.door, b.life = ownOnly, b.life+1
	return b.life
}

// admit lets the host's events in.
func (b *mailbox) admit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.door = open
}

// end empties the mailbox and shuts it.
func (b *mailbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	b.door = shut
}

func (b *mailbox) clear() {
	b.msgs, b.rest = ring{}, ring{}
	b.msgBytes, b.restBytes, b.own, b.ownBytes, b.dead, b.err = 0, 0, 0, 0, 0, nil
	clear(b.timers)
	clear(b.fresh)
	clear(b.updates)
	clear(b.overloads)
	clear(b.downs)
}

// put queues an event of the host. The payload is copied.
func (b *mailbox) put(ev sdk.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.door == open && b.err == nil {
		b.add(&ev)
	}
}

// post queues an event that the instance brought about itself.
func (b *mailbox) post(life uint64, ev sdk.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.door != shut && b.life == life && b.err == nil {
		b.add(&ev)
	}
}

// fail makes the next take say that the instance must end.
func (b *mailbox) fail(life uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.door != shut && b.life == life && b.err == nil {
		b.err = err
	}
}

func (b *mailbox) add(ev *sdk.Event) {
	n := len(ev.Payload)
	if n > maxPayload {
		b.err = fmt.Errorf("%w: a %v event of %d bytes fits no batch", errMailbox, ev.Kind, n)
		return
	}
	switch ev.Kind {
	case sdk.EvMessage:
		for b.msgs.len() > 0 && (b.msgs.len() >= b.max || b.msgBytes+n > maxMessageBytes) {
			b.dropOldest()
		}
		b.msgBytes += n
		b.msgs.push(b.copyOf(ev))
		return
	case sdk.EvTimer:
		if _, queued := b.timers[ev.Ref]; queued {
			return
		}
	case sdk.EvStreamReset:
		if b.unopen(ev.Ref) {
			return // the module need not hear of it at all
		}
	case sdk.EvPeerUpdate:
		if at, queued := b.updates[peerID{ev.Peer, ev.ID}]; queued {
			e := b.rest.slot(at)
			b.restBytes += n - len(e.ev.Payload)
			e.ev.Version, e.ev.Payload = ev.Version, append(e.ev.Payload[:0], ev.Payload...)
			return
		}
	case sdk.EvPeerUp, sdk.EvPeerDown:
		// A later update must not move ahead of this.
		delete(b.updates, peerID{ev.Peer, ev.ID})
		if ev.Kind == sdk.EvPeerDown {
			b.downs[peerID{ev.Peer, ev.ID}]++
		}
	}
	if ev.Kind == sdk.EvStreamData && b.merge(ev) {
		return
	}
	if isOwn(ev.Kind) {
		b.own++
		b.ownBytes += n
		if b.own > maxOwn || b.ownBytes > maxOwnBytes {
			b.err = fmt.Errorf("%w: it brought about more %v events than it takes (%d queued, %d bytes)", errMailbox, ev.Kind, b.own, b.ownBytes)
			return
		}
	}
	b.restBytes += n
	if b.rest.len()-b.dead >= maxQueued || b.restBytes > maxQueuedBytes {
		b.err = fmt.Errorf("%w: %d events of %d bytes are queued", errMailbox, b.rest.len()-b.dead, b.restBytes)
		return
	}
	at := b.rest.push(b.copyOf(ev))
	switch ev.Kind {
	case sdk.EvPeerUpdate:
		b.updates[peerID{ev.Peer, ev.ID}] = at
	case sdk.EvTimer:
		b.timers[ev.Ref] = at
	case sdk.EvStreamOpen:
		b.fresh[ev.Ref] = at + 1
	case sdk.EvStreamData, sdk.EvStreamCredit:
		if prev := b.fresh[ev.Ref]; prev > 0 {
			b.rest.slot(at).prev = prev
			b.fresh[ev.Ref] = at + 1
		}
	}
}

// merge appends stream data to the newest event when that is data of the same
// stream: credit bounds bytes, and so a peer that sends them one by one queues no
// more events than one that does not.
func (b *mailbox) merge(ev *sdk.Event) bool {
	if b.rest.len() == 0 {
		return false
	}
	last := b.rest.slot(b.rest.next - 1)
	if last.ev.Kind != sdk.EvStreamData || last.ev.Ref != ev.Ref || last.ev.FIN() ||
		last.order != b.order || len(last.ev.Payload)+len(ev.Payload) > mergeUpTo {
		return false
	}
	b.restBytes += len(ev.Payload)
	last.ev.Payload = append(last.ev.Payload, ev.Payload...)
	last.ev.Flags |= ev.Flags
	return true
}

// isOwn reports the kinds that a module brings about without anybody else.
func isOwn(k sdk.EventKind) bool {
	return k == sdk.EvSigned || k == sdk.EvVerified || k == sdk.EvPosted || k == sdk.EvCommitted || k == sdk.EvDenied
}

// copyOf makes an entry with a buffer of its own.
func (b *mailbox) copyOf(ev *sdk.Event) entry {
	b.order++
	e := entry{ev: *ev, order: b.order}
	e.ev.Payload = nil
	if len(ev.Payload) > 0 {
		var buf []byte
		if k := len(b.spare); k > 0 {
			buf, b.spare = b.spare[k-1], b.spare[:k-1]
		}
		e.ev.Payload = append(buf[:0], ev.Payload...)
	}
	return e
}

func (b *mailbox) recycle(buf []byte) {
	if cap(buf) > 0 && cap(buf) <= keepBuffer && len(b.spare) < keepBuffers {
		b.spare = append(b.spare, buf)
	}
}

// dropOldest makes room for a message, and tells the module once it takes events.
func (b *mailbox) dropOldest() {
	e := b.msgs.pop()
	b.msgBytes -= len(e.ev.Payload)
	b.dropped++
	b.recycle(e.ev.Payload)
	peer := e.ev.Peer
	if at, queued := b.overloads[peer]; queued {
		b.rest.slot(at).ev.Arg++
		return
	}
	if b.downs[peerID{peer, e.ev.ID}] > 0 {
		return // nothing may name the peer after its PeerDown
	}
	b.order++
	b.overloads[peer] = b.rest.push(entry{ev: sdk.Event{Kind: sdk.EvOverload, Peer: peer, Arg: 1}, order: b.order})
}

// take moves the next events into batch, as many as fit one batch beside Flush.
// The buffers of what batch held before are used again.
func (b *mailbox) take(batch []entry) ([]entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range batch {
		b.recycle(batch[i].ev.Payload)
		batch[i].ev.Payload = nil
	}
	batch = batch[:0]
	if b.err != nil {
		return batch, b.err
	}
	room := sdk.MaxBatchBytes - abi.HeaderSize - abi.RecordSize
	for len(batch) < sdk.MaxBatchEvents-1 {
		from := &b.rest
		if b.rest.len() == 0 || b.msgs.len() > 0 && b.msgs.slot(b.msgs.first).order < b.rest.slot(b.rest.first).order {
			from = &b.msgs
		}
		if from.len() == 0 {
			break
		}
		if from.slot(from.first).ev.Kind == 0 {
			from.pop()
			b.dead--
			continue
		}
		room -= abi.RecordSize + (len(from.slot(from.first).ev.Payload)+7)&^7
		if room < 0 {
			break
		}
		e := from.pop()
		b.took(&e.ev)
		batch = append(batch, e)
	}
	return batch, nil
}

// took updates the books for an event that left.
func (b *mailbox) took(ev *sdk.Event) {
	n := len(ev.Payload)
	if ev.Kind == sdk.EvMessage {
		b.msgBytes -= n
		return
	}
	b.restBytes -= n
	key := peerID{ev.Peer, ev.ID}
	switch {
	case ev.Kind == sdk.EvTimer:
		delete(b.timers, ev.Ref)
	case ev.Kind == sdk.EvStreamOpen:
		delete(b.fresh, ev.Ref)
	case ev.Kind == sdk.EvPeerUpdate:
		if at, ok := b.updates[key]; ok && at < b.rest.first {
			delete(b.updates, key)
		}
	case ev.Kind == sdk.EvOverload:
		delete(b.overloads, ev.Peer)
	case ev.Kind == sdk.EvPeerDown:
		if b.downs[key]--; b.downs[key] <= 0 {
			delete(b.downs, key)
		}
	case isOwn(ev.Kind):
		b.own--
		b.ownBytes -= n
	}
}

// idle reports that a take would bring nothing.
func (b *mailbox) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.msgs.len() == 0 && b.rest.len() == b.dead && b.err == nil
}

// depth is how many events wait, and how many messages were dropped so far.
func (b *mailbox) depth() (waiting int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.msgs.len() + b.rest.len() - b.dead, b.dropped
}
