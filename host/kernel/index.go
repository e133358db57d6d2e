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
	hello  bool             // the peer's Hello came and fits our association
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
