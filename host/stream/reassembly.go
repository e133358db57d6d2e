package stream

import (
	"bytes"
	"slices"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// Bounds of what is kept of messages that are not complete (S8.5).
const (
	fragmentAge  = 250 * time.Millisecond
	maxHeld      = 256 << 10 // bytes of buffers
	maxPartial   = 32        // messages
	maxPieces    = 64        // pieces of one message with gaps between
	numberWindow = 1024      // numbers below the highest finished one that are told apart
	idleRecords  = 4         // records kept for reuse
)

// FragmentVerdict says what became of a fragment.
type FragmentVerdict uint8

// The verdicts.
const (
	FragmentHeld      FragmentVerdict = iota // kept; more is to come
	FragmentCompletes                        // the message is whole
	FragmentDuplicate                        // it was here already
	FragmentLate                             // of a message that is over: delivered, given up, or too old to tell
	FragmentConflict                         // it contradicts others: the message is given up
	FragmentCrowded                          // no memory is left on this node: the message is given up
)

// Buffers is the memory in which messages are put together, one for all peers of
// a node. The zero value is usable.
type Buffers struct {
	// Limit bounds what messages that are not complete hold on the whole node,
	// in bytes. Default 8 MiB.
	Limit int

	free [len(bufferSizes)][][]byte
	lent [][]byte // of messages that were handed out
	used int
}

// bufferSizes are the sizes of buffers. A message moves to the next one as its
// bytes arrive, so that a total that is claimed reserves nothing.
var bufferSizes = [...]int{4 << 10, 16 << 10, wire.MaxMessage}

const (
	defaultLimit = 8 << 20
	idleBytes    = 256 << 10 // of each size kept for reuse
)

// sizeFor gives the index of the least buffer that holds n bytes.
func sizeFor(n int) int {
	i := 0
	for bufferSizes[i] < n {
		i++
	}
	return i
}

// get gives a buffer of a size; nil: the node holds too much already.
func (p *Buffers) get(size int) []byte {
	limit := p.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	if p.used+bufferSizes[size] > limit {
		return nil
	}
	p.used += bufferSizes[size]
	if n := len(p.free[size]); n > 0 {
		b := p.free[size][n-1]
		p.free[size] = p.free[size][:n-1]
		return b
	}
	return make([]byte, 0, bufferSizes[size])
}

// put takes a buffer back; nil is none.
func (p *Buffers) put(b []byte) {
	if b == nil {
		return
	}
	p.used -= cap(b)
	p.keep(b)
}

func (p *Buffers) keep(b []byte) {
	if i := sizeFor(cap(b)); len(p.free[i])*cap(b) < idleBytes {
		p.free[i] = append(p.free[i], b[:0])
	}
}

// Held is what messages that are not complete hold on the whole node, in bytes.
func (p *Buffers) Held() int { return p.used }

// lend keeps a buffer that holds a message which was handed out.
func (p *Buffers) lend(b []byte) {
	p.used -= cap(b)
	p.lent = append(p.lent, b)
}

// Recycle says that nobody looks any more at the messages handed out so far.
func (p *Buffers) Recycle() {
	for i, b := range p.lent {
		p.keep(b)
		p.lent[i] = nil
	}
	p.lent = p.lent[:0]
}

// ReassemblyStats are counters of a Reassembler.
type ReassemblyStats struct {
	Completed  uint64 // messages
	Expired    uint64 // messages given up after 250 ms
	Evicted    uint64 // messages given up for newer ones
	Crowded    uint64 // messages given up because the node held too much
	Conflicts  uint64 // messages given up because fragments contradicted each other
	Duplicates uint64 // fragments
	Late       uint64 // fragments of messages that were over
}

// Reassembler puts the messages of one peer together that came in fragments. It
// is bounded in bytes, messages and time, whatever arrives; the oldest message
// gives way first.
type Reassembler struct {
	pool  *Buffers
	parts []*partial // oldest first
	spare []*partial
	held  int // bytes of buffers
	over  numbers
	stats ReassemblyStats
}

// partial is a message that is not complete.
type partial struct {
	number uint64
	at     time.Duration // of its first fragment
	id     sdk.ID
	flags  uint8
	total  uint32
	have   uint32
	buf    []byte // up to the highest byte that arrived
	n      int
	pieces [maxPieces]extent // in order, with gaps between
}

// extent is the bytes from, including, to, excluding.
type extent struct{ from, to uint32 }

// NewReassembler makes one that takes its memory from a pool.
func NewReassembler(pool *Buffers) *Reassembler { return &Reassembler{pool: pool} }

// Add takes a fragment. The message it completes is valid until the next
// Buffers.Recycle; the caller may write into it.
func (r *Reassembler) Add(f *wire.Frame, now time.Duration) ([]byte, FragmentVerdict) {
	r.Expire(now)
	p := r.find(f.Stream)
	if p == nil {
		if r.over.has(f.Stream) {
			r.stats.Late++
			return nil, FragmentLate
		}
		p = r.begin(f, now)
	}
	v := FragmentConflict
	if p.id == f.ID && p.flags == f.Flags && p.total == f.Total {
		v = r.place(p, uint32(f.Offset), f.Payload)
	}
	switch {
	case v == FragmentDuplicate:
		r.stats.Duplicates++
	case v == FragmentConflict:
		r.stats.Conflicts++
		r.discard(p)
	case v == FragmentCrowded:
		r.stats.Crowded++
		r.discard(p)
	case p.have == p.total:
		r.stats.Completed++
		msg := p.buf
		r.held -= cap(p.buf)
		r.pool.lend(p.buf)
		p.buf = nil
		r.discard(p)
		return msg, FragmentCompletes
	}
	return nil, v
}

// find looks for a message under way, the newest first.
func (r *Reassembler) find(number uint64) *partial {
	for i := len(r.parts) - 1; i >= 0; i-- {
		if r.parts[i].number == number {
			return r.parts[i]
		}
	}
	return nil
}

func (r *Reassembler) begin(f *wire.Frame, now time.Duration) *partial {
	if len(r.parts) == maxPartial {
		r.stats.Evicted++
		r.discard(r.parts[0])
	}
	var p *partial
	if n := len(r.spare); n > 0 {
		p = r.spare[n-1]
		r.spare = r.spare[:n-1]
	} else {
		p = new(partial)
	}
	p.number, p.at, p.id, p.flags, p.total, p.have, p.n = f.Stream, now, f.ID, f.Flags, f.Total, 0, 0
	r.parts = append(r.parts, p)
	return p
}

// place copies the bytes of a fragment to where they belong.
func (r *Reassembler) place(p *partial, from uint32, b []byte) FragmentVerdict {
	s := extent{from, from + uint32(len(b))}
	i := p.n // of the first piece that ends behind from; most fragments are the last so far
	for i > 0 && p.pieces[i-1].to > from {
		i--
	}
	if i < p.n && p.pieces[i].from < s.to {
		if p.pieces[i].from <= from && s.to <= p.pieces[i].to && bytes.Equal(p.buf[from:s.to], b) {
			return FragmentDuplicate
		}
		return FragmentConflict
	}
	left, right := i > 0 && p.pieces[i-1].to == from, i < p.n && p.pieces[i].from == s.to
	if !left && !right && p.n == maxPieces {
		return FragmentConflict
	}
	if !r.grow(p, int(s.to)) {
		return FragmentCrowded
	}
	copy(p.buf[from:], b)
	p.have += uint32(len(b))
	switch {
	case left && right:
		p.pieces[i-1].to = p.pieces[i].to
		copy(p.pieces[i:p.n], p.pieces[i+1:p.n])
		p.n--
	case left:
		p.pieces[i-1].to = s.to
	case right:
		p.pieces[i].from = from
	default:
		copy(p.pieces[i+1:p.n+1], p.pieces[i:p.n])
		p.pieces[i] = s
		p.n++
	}
	return FragmentHeld
}

// grow makes room for the bytes below end, at the cost of older messages.
func (r *Reassembler) grow(p *partial, end int) bool {
	if end > cap(p.buf) {
		size := sizeFor(end)
		for r.held+bufferSizes[size] > maxHeld {
			oldest := r.parts[0]
			if oldest == p {
				oldest = r.parts[1] // p alone never holds so much
			}
			r.stats.Evicted++
			r.discard(oldest)
		}
		b := r.pool.get(size)
		if b == nil {
			return false
		}
		r.held += cap(b) - cap(p.buf)
		b = append(b, p.buf...)
		r.pool.put(p.buf)
		p.buf = b
	}
	if end > len(p.buf) {
		p.buf = p.buf[:end]
	}
	return true
}

// discard ends a message: what else comes of it is late.
func (r *Reassembler) discard(p *partial) {
	r.held -= cap(p.buf)
	r.pool.put(p.buf)
	p.buf = nil
	r.over.add(p.number)
	r.parts = slices.DeleteFunc(r.parts, func(q *partial) bool { return q == p })
	if len(r.spare) < idleRecords {
		r.spare = append(r.spare, p)
	}
}

// Expire gives up messages that are older than 250 ms.
func (r *Reassembler) Expire(now time.Duration) {
	for len(r.parts) > 0 && now-r.parts[0].at >= fragmentAge {
		r.stats.Expired++
		r.discard(r.parts[0])
	}
}

// Deadline is when Expire has something to do.
func (r *Reassembler) Deadline() time.Duration {
	if len(r.parts) == 0 {
		return never
	}
	return r.parts[0].at + fragmentAge
}

// Clear gives up everything and returns its memory.
func (r *Reassembler) Clear() {
	for len(r.parts) > 0 {
		r.discard(r.parts[0])
	}
	r.spare = nil
}

// Stats returns the counters.
func (r *Reassembler) Stats() ReassemblyStats { return r.stats }

// numbers remembers which messages are over: the highest number, one bit for each
// of those below, and everything lower.
type numbers struct {
	top  uint64
	bits [numberWindow / 64]uint64
}

func (n *numbers) has(x uint64) bool {
	switch {
	case x > n.top:
		return false
	case n.top-x >= numberWindow:
		return true
	}
	return n.bits[x/64%uint64(len(n.bits))]>>(x%64)&1 != 0
}

func (n *numbers) add(x uint64) {
	if x > n.top {
		if x-n.top >= numberWindow {
			clear(n.bits[:])
		} else {
			for y := n.top + 1; y < x; y++ {
				n.bits[y/64%uint64(len(n.bits))] &^= 1 << (y % 64)
			}
		}
		n.top = x
	}
	if n.top-x < numberWindow {
		n.bits[x/64%uint64(len(n.bits))] |= 1 << (x % 64)
	}
}
