// Package ring holds datagrams that wait for a network which is busy: a bounded
// ring for each destination and class, served in turns.
//
// A queue that only bounds its length gives old data first and all of it late
// ("bufferbloat"). So what waited longer than the sojourn bound is dropped from the
// head, where the oldest is, and data in a hurry goes before bulk data. The rings
// share one bound of bytes; the longest pays when it is reached, so that one
// destination cannot take the place of the others (RFC 8290, 4.1, with lanes for
// flows).
//
// A Queue is a value without clock or lock: time is an argument.
package ring

import (
	"net/netip"
	"time"

	"nethost/host/wire"
)

// Defaults of Config.
const (
	DefaultBytes   = 1 << 20
	DefaultSojourn = 5 * time.Millisecond
)

const (
	// quantum is what a lane may send in a turn, in bytes (deficit round robin,
	// Shreedhar and Varghese 1995): a longer train is paid for with later turns.
	quantum = 16 << 10
	// urgentTurns is how many trains in a hurry go before one that is not.
	urgentTurns = 8
)

// Config bounds a Queue. Zero fields take the default.
type Config struct {
	Bytes   int           // of all datagrams together
	Sojourn time.Duration // how long one may wait
}

// Stats count datagrams that were dropped, and say what waits.
type Stats struct {
	Late     uint64 // waited longer than Sojourn
	Overflow uint64 // dropped to keep within Bytes
	Bytes    int
}

// Queue is the rings of one link. The zero value is not usable: call New.
type Queue struct {
	cfg    Config
	lanes  map[laneKey]*lane
	turns  [2][]*lane // by class: lanes that hold something, the next one first
	streak int        // trains in a hurry since the last other one
	bytes  int
	free   [][]byte
	stats  Stats
}

type laneKey struct {
	addr netip.AddrPort
	bulk bool
}

type lane struct {
	key     laneKey
	entries []entry // a ring: from head, n of them
	head, n int
	bytes   int
	credit  int // bytes that may still go in this turn
}

type entry struct {
	train wire.Train
	at    time.Duration
}

// New returns an empty queue.
func New(cfg Config) *Queue {
	if cfg.Bytes <= 0 {
		cfg.Bytes = DefaultBytes
	}
	if cfg.Sojourn <= 0 {
		cfg.Sojourn = DefaultSojourn
	}
	return &Queue{cfg: cfg, lanes: map[laneKey]*lane{}}
}

// Empty reports whether nothing waits.
func (q *Queue) Empty() bool { return q.bytes == 0 }

// Stats gives the counters.
func (q *Queue) Stats() Stats {
	s := q.stats
	s.Bytes = q.bytes
	return s
}

// Push copies a train into its ring. Empty ones are ignored: nobody sends any.
func (q *Queue) Push(now time.Duration, t wire.Train, bulk bool) {
	if len(t.Bytes) == 0 {
		return
	}
	key := laneKey{t.Addr, bulk}
	l := q.lanes[key]
	if l == nil {
		l = &lane{key: key}
		q.lanes[key] = l
	}
	if l.n == 0 {
		l.credit = quantum
		q.turns[class(bulk)] = append(q.turns[class(bulk)], l)
	}
	var b []byte
	if n := len(q.free); n > 0 {
		b, q.free = q.free[n-1], q.free[:n-1]
	}
	t.Bytes = append(b[:0], t.Bytes...)
	l.push(entry{t, now})
	q.bytes += len(t.Bytes)
	for q.bytes > q.cfg.Bytes {
		longest := l
		for _, turns := range q.turns {
			for _, x := range turns {
				if x.bytes > longest.bytes {
					longest = x
				}
			}
		}
		q.stats.Overflow += uint64(q.discard(longest))
	}
}

// Pop takes the train whose turn it is; its bytes are the caller's until it gives
// them back with Done. False: nothing waits.
func (q *Queue) Pop(now time.Duration) (wire.Train, bool) {
	for {
		l := q.next()
		if l == nil {
			return wire.Train{}, false
		}
		if l.credit <= 0 {
			q.settle(l)
			continue
		}
		if e := &l.entries[l.head]; now-e.at > q.cfg.Sojourn {
			q.stats.Late += uint64(q.discard(l))
			continue
		}
		e := l.pop()
		q.bytes -= len(e.train.Bytes)
		if l.credit -= len(e.train.Bytes); l.key.bulk {
			q.streak = 0
		} else {
			q.streak++
		}
		q.settle(l)
		return e.train, true
	}
}

// Done takes back the memory of a train that Pop gave.
func (q *Queue) Done(t wire.Train) {
	if len(q.free) < 64 && cap(t.Bytes) <= 64<<10 {
		q.free = append(q.free, t.Bytes[:0])
	}
}

func class(bulk bool) int {
	if bulk {
		return 1
	}
	return 0
}

// next is the lane whose turn it is.
func (q *Queue) next() *lane {
	c := 0
	if len(q.turns[0]) == 0 || q.streak >= urgentTurns && len(q.turns[1]) > 0 {
		c = 1
	}
	if len(q.turns[c]) == 0 {
		return nil
	}
	return q.turns[c][0]
}

// settle moves a lane that has had its turn, or has nothing more, out of the way.
func (q *Queue) settle(l *lane) {
	turns := q.turns[class(l.key.bulk)]
	if len(turns) == 0 || l.n > 0 && l.credit > 0 {
		return
	}
	for i, x := range turns {
		if x == l {
			turns = append(turns[:i], turns[i+1:]...)
			break
		}
	}
	if l.n > 0 {
		l.credit += quantum
		turns = append(turns, l)
	} else {
		delete(q.lanes, l.key)
	}
	q.turns[class(l.key.bulk)] = turns
}

// discard drops the oldest train of a lane, and says how many datagrams it was.
func (q *Queue) discard(l *lane) int {
	e := l.pop()
	q.bytes -= len(e.train.Bytes)
	n := e.train.Count()
	q.Done(e.train)
	q.settle(l)
	return n
}

func (l *lane) push(e entry) {
	if l.n == len(l.entries) {
		grown := make([]entry, max(8, 2*len(l.entries)))
		for i := range l.n {
			grown[i] = l.entries[(l.head+i)%len(l.entries)]
		}
		l.entries, l.head = grown, 0
	}
	l.entries[(l.head+l.n)%len(l.entries)] = e
	l.n++
	l.bytes += len(e.train.Bytes)
}

func (l *lane) pop() entry {
	e := l.entries[l.head]
	l.entries[l.head] = entry{}
	l.head = (l.head + 1) % len(l.entries)
	l.n--
	l.bytes -= len(e.train.Bytes)
	return e
}
