package session

import "time"

// Bounds of Admission (S2.3, S2.4).
const (
	SeenEphemerals    = 65536
	MaxHalfOpen       = 1024
	HalfOpenPerSource = 8
	HalfOpenAge       = 5 * time.Second
)

// ephemeral is the part of an ephemeral key that is remembered: enough that no
// two honest ones ever share it.
type ephemeral [16]byte

// Admission bounds what strangers can make us do: one answer for each m1, and
// few handshakes half open at once. The zero value is ready; memory grows to
// about 3 MB under load and no further.
type Admission struct {
	seen map[ephemeral]struct{}
	ring []ephemeral
	at   int

	slots   []halfOpen
	free    []uint32
	sources map[uint64]int
	open    int
}

type halfOpen struct {
	source uint64
	until  time.Duration
	gen    uint32
	used   bool
}

// Token names a half-open handshake. The zero value names none.
type Token struct{ slot, gen uint32 }

// Seen reports whether an m1 with this ephemeral key came before, as far as the
// last SeenEphemerals tell, and remembers it. Ask it after mac1 was good.
func (a *Admission) Seen(key [32]byte) bool {
	e := ephemeral(key[:])
	if _, ok := a.seen[e]; ok {
		return true
	}
	if a.seen == nil {
		a.seen = map[ephemeral]struct{}{}
	}
	if len(a.ring) < SeenEphemerals {
		a.ring = append(a.ring, e)
	} else {
		delete(a.seen, a.ring[a.at])
		a.ring[a.at] = e
		a.at = (a.at + 1) % SeenEphemerals
	}
	a.seen[e] = struct{}{}
	return false
}

// Begin takes a place for a handshake that source asked for, or reports false
// when there is none. End gives it back; after HalfOpenAge it comes back by
// itself.
func (a *Admission) Begin(source uint64, now time.Duration) (Token, bool) {
	if a.open >= MaxHalfOpen || a.sources[source] >= HalfOpenPerSource {
		a.Expire(now)
		if a.open >= MaxHalfOpen || a.sources[source] >= HalfOpenPerSource {
			return Token{}, false
		}
	}
	if a.sources == nil {
		a.sources = map[uint64]int{}
	}
	var i uint32
	if n := len(a.free); n > 0 {
		i, a.free = a.free[n-1], a.free[:n-1]
	} else {
		i = uint32(len(a.slots))
		a.slots = append(a.slots, halfOpen{})
	}
	s := &a.slots[i]
	*s = halfOpen{source: source, until: now + HalfOpenAge, gen: s.gen + 1, used: true}
	a.sources[source]++
	a.open++
	return Token{i, s.gen}, true
}

// End gives a place back. A token that is over already does nothing.
func (a *Admission) End(t Token) {
	if int(t.slot) < len(a.slots) && a.slots[t.slot].used && a.slots[t.slot].gen == t.gen {
		a.release(t.slot)
	}
}

// Expire gives back the places of handshakes that took too long.
func (a *Admission) Expire(now time.Duration) {
	for i := range a.slots {
		if a.slots[i].used && now >= a.slots[i].until {
			a.release(uint32(i))
		}
	}
}

// HalfOpen is how many handshakes are half open.
func (a *Admission) HalfOpen() int { return a.open }

func (a *Admission) release(i uint32) {
	s := &a.slots[i]
	s.used = false
	if a.sources[s.source]--; a.sources[s.source] == 0 {
		delete(a.sources, s.source)
	}
	a.free = append(a.free, i)
	a.open--
}
