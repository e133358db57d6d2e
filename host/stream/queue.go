package stream

import "nethost/sdk"

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
	id    sdk.ID
	flags uint8
	size  int
}

func (q *queue) push(id sdk.ID, flags uint8, b []byte) bool {
	if q.n >= q.maxN || q.used+len(b) > q.maxB {
		return false
	}
	if q.n == len(q.recs) {
		recs := make([]queued, max(16, 2*q.n))
		for i := range q.n {
			recs[i] = q.recs[(q.head+i)%len(q.recs)]
		}
		q.recs, q.head = recs, 0
	}
	if need := q.used + len(b); need > len(q.buf) {
		buf := make([]byte, max(2048, 2*len(q.buf), need))
		q.copyOut(buf[:0:len(buf)], q.used)
		q.buf, q.at = buf, 0
	}
	q.recs[(q.head+q.n)%len(q.recs)] = queued{id, flags, len(b)}
	q.n++
	if len(b) > 0 {
		to := (q.at + q.used) % len(q.buf)
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

func (q *queue) empty() bool   { return q.n == 0 }
func (q *queue) front() queued { return q.recs[q.head] }

// pop removes the first message and appends its bytes to b.
func (q *queue) pop(b []byte) []byte {
	n := q.front().size
	b = q.copyOut(b, n)
	q.drop()
	return b
}

// drop removes the first message.
func (q *queue) drop() {
	n := q.front().size
	q.split = split{}
	q.head = (q.head + 1) % len(q.recs)
	q.n--
	if q.used -= n; q.used > 0 {
		q.at = (q.at + n) % len(q.buf)
	} else {
		q.at = 0
	}
}
