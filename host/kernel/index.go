package kernel

import (
	"nethost/host/session"
)

// The session index is chosen by the receiver: a dense slot and a generation, so
// that a packet finds its keys without hashing an address and a stale index is
// seen as such. 0 is the handshake's. Bits 0-19 are the slot, 20-31 the
// generation; shard bits would come out of the generation.
const (
	slotBits = 20
	slotMask = 1<<slotBits - 1
)

// entry is what an index leads to: a handshake under way, or a session.
type entry struct {
	gen    uint32
	used   bool
	dial   *dial            // we initiated; kept until the session is confirmed
	answer *answer          // we responded and wait for m3
	sess   *session.Session // keys exist
	peer   *peer            // whose; set with sess
	guest  *guest           // of an invite's session: no peer
	hello  bool             // the peer's Hello came and fits our association
}

// phase is where the handshake or session behind an index stands, one row of
// testdata/transitions.txt.
type phase uint8

const (
	phaseNone       phase = iota // nobody has the index
	phaseStarting                // m1 is being made
	phaseAsked                   // m1 is out: m2 is waited for
	phaseChecking                // m2 is being checked
	phaseConfirming              // m3 is out: keys exist, and are used once a packet came under them
	phaseAnswering               // m2 is being made
	phaseAnswered                // m2 is out: m3 is waited for
	phaseProving                 // m3 is being checked
	phaseSession                 // keys are in use
	numPhases
)

// phase reads the phase off the entry; nil is nobody's.
func (e *entry) phase() phase {
	switch {
	case e == nil || !e.used:
		return phaseNone
	case e.dial != nil && e.dial.m3 != nil:
		return phaseConfirming
	case e.dial != nil && e.dial.hs != nil:
		return phaseAsked
	case e.dial != nil && e.dial.m1 != nil:
		return phaseChecking
	case e.dial != nil:
		return phaseStarting
	case e.answer != nil && e.answer.hs != nil:
		return phaseAnswered
	case e.answer != nil && e.answer.sent:
		return phaseProving
	case e.answer != nil:
		return phaseAnswering
	case e.sess != nil:
		return phaseSession
	}
	return phaseNone
}

type indexTable struct {
	e    []entry
	free []uint32
}

// take reserves an index; ok is false when the table is full.
func (t *indexTable) take(random uint32) (index uint32, e *entry, ok bool) {
	if len(t.e) == 0 {
		t.e = append(t.e, entry{used: true}) // slot 0 stays empty: index 0 is the handshake's
	}
	var slot uint32
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if len(t.e) > slotMask {
			return 0, nil, false
		}
		slot = uint32(len(t.e))
		t.e = append(t.e, entry{gen: random & (1<<(32-slotBits) - 1)})
	}
	e = &t.e[slot]
	e.gen = (e.gen + 1) & (1<<(32-slotBits) - 1)
	e.used = true
	return e.gen<<slotBits | slot, e, true
}

// get finds a live index.
func (t *indexTable) get(index uint32) *entry {
	slot := index & slotMask
	if slot == 0 || int(slot) >= len(t.e) {
		return nil
	}
	if e := &t.e[slot]; e.used && e.gen == index>>slotBits {
		return e
	}
	return nil
}

func (t *indexTable) drop(index uint32) {
	if e := t.get(index); e != nil {
		*e = entry{gen: e.gen}
		t.free = append(t.free, index&slotMask)
	}
}
