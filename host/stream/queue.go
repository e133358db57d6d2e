package stream

import (
	"time"

	"nethost/sdk"
)

// queue is a bounded FIFO of messages, copied into one ring of bytes.
type queue struct {
	recs       []queued // ring
	buf        []byte   // ring
	head, n    int      // records
	at, used   int      // bytes
	maxN, maxB int
	split      split // of the first message
}

type queued struct {
	at    time.Duration // when it was queued
	until time.Duration // when it is worth nothing any more
	size  int32
	id    sdk.ID
	flags uint8
}

func (q *queue) push(id sdk.ID, flags uint8, b []byte, now, until time.Duration) bool {
	if q.n >= q.maxN || q.used+len(b) > q.maxB {
		return false
	}
	if q.n == len(q.recs) {
		recs := make([]queued, max(4, 2*q.n))
		for i := range q.n {
			recs[i] = q.recs[(q.head+i)%len(q.recs)]
		}
		q.recs, q.head = recs, 0
	}
	if need := q.used + len(b); need > len(q.buf) {
		buf := make([]byte, max(128, 2*len(q.buf), need))
		q.copyOut(buf[:0:len(buf)], q.used)
		q.buf, q.at = buf, 0
	}
	to := q.head + q.n
	if to >= len(q.recs) {
		to -= len(q.recs)
	}
	q.recs[to] = queued{now, until, int32(len(b)), id, flags}
	q.n++
	if len(b) > 0 {
		to := q.at + q.used
		if to >= len(q.buf) {
			to -= len(q.buf)
		}
		k := copy(q.buf[to:], b)
		copy(q.buf, b[k:])
		q.used += len(b)
	}
	return true
}

// copyOut appends the first n bytes of the ring to b.
func (q *queue) copyOut(b []byte, n int) []byte {
	if n == 0 {
		return b
	}
	k := min(n, len(q.buf)-q.at)
	b = append(b, q.buf[q.at:q.at+k]...)
	return append(b, q.buf[:n-k]...)
}

// roomy reports that the queue is at most half full.
func (q *queue) roomy() bool { return q == nil || 2*q.n <= q.maxN && 2*q.used <= q.maxB }

func (q *queue) empty() bool    { return q == nil || q.n == 0 }
func (q *queue) front() *queued { return &q.recs[q.head] }

// pop removes the first message and appends its bytes to b.
func (q *queue) pop(b []byte) []byte {
	b = q.copyOut(b, int(q.front().size))
	q.drop()
	return b
}

// drop removes the first message.
func (q *queue) drop() {
	n := int(q.front().size)
	q.split = split{}
	if q.head++; q.head == len(q.recs) {
		q.head = 0
	}
	q.n--
	if q.used -= n; q.used > 0 {
		if q.at += n; q.at >= len(q.buf) {
			q.at -= len(q.buf)
		}
	} else {
		q.at = 0
	}
}

// trim frees the rings of an empty queue, unless they are small.
func (q *queue) trim() {
	if q.n == 0 && (len(q.buf) > 128 || len(q.recs) > 4) {
		q.recs, q.buf, q.head, q.at = nil, nil, 0, 0
	}
}

// Dropped counts messages of one subprotocol that waited longer than
// Config.Sojourn, or than their sender allowed.
type Dropped struct {
	ID    sdk.ID
	Flags uint8 // epoch and class bits of their frames
	N     uint64
}

// maxDropped bounds the subprotocols that are told apart between two calls of
// Dropped; the last entry then counts those of others as well.
const maxDropped = 64

func (m *Mux) dropped(q *queued) {
	m.stats.StaleMessages++
	for i := range m.drops {
		if d := &m.drops[i]; d.ID == q.id && d.Flags == q.flags || i == maxDropped-1 {
			d.N++
			return
		}
	}
	m.drops = append(m.drops, Dropped{q.id, q.flags, 1})
}

// Dropped returns which messages were dropped, because they had waited too long,
// since the last call. The slice is valid until the next call of Fill.
func (m *Mux) Dropped() []Dropped {
	d := m.drops
	m.drops = m.drops[:0]
	return d
}
