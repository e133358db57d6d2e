package bus

import "sync"

// shard is one ring: events by sequence number, their bytes in an arena that is
// used round and round. An event's bytes never wrap; what is left over at the
// arena's end stays unused until the next round.
type shard struct {
	mu      sync.Mutex
	slots   []slot // slot of sequence s is s % len
	data    []byte
	oldest  uint64        // first sequence still here
	next    uint64        // sequence of the next event
	write   int           // where in data the next event goes
	refused uint64        // events that met a full ring, for Sample
	reader  chan struct{} // closed when a consumer has read; nil when nobody waits
	count   Counters
	_       [64]byte // the next shard's lock is on a cache line of its own
}

type slot struct{ off, len int }

// place finds where n bytes go, which is nowhere while an event lies there. n is 1 or
// more, so that equal offsets mean a full arena.
func (s *shard) place(n int) (at int, ok bool) {
	if s.next-s.oldest == uint64(len(s.slots)) {
		return 0, false
	}
	if s.next == s.oldest {
		return 0, n <= len(s.data)
	}
	first := s.slots[s.oldest%uint64(len(s.slots))].off
	if s.write <= first {
		return s.write, first-s.write >= n
	}
	if len(s.data)-s.write >= n { // the free room is the end and the beginning
		return s.write, true
	}
	return 0, first >= n
}

func (s *shard) put(at int, b []byte) {
	copy(s.data[at:], b)
	s.slots[s.next%uint64(len(s.slots))] = slot{at, len(b)}
	s.write = at + room(b)
	s.next++
	s.count.Published++
}

// room is what an event takes: an empty one takes a byte.
func room(b []byte) int { return max(len(b), 1) }

// slowest is the lowest cursor of all consumers at this shard; next without any.
func (s *shard) slowest(cs []*Consumer, i int) uint64 {
	low := s.next
	for _, c := range cs {
		low = min(low, c.cursor[i])
	}
	return low
}
