package stream

import (
	"math/bits"
	"time"
	"unsafe"
)

const (
	chunkSize   = 4096
	poolChunks  = 256 // chunks kept for reuse by one Mux
	firstChunks = 4   // chunk pointers a stream starts with
)

// chunk is a piece of a stream's buffer, with one bit for each byte: on the
// sending side the byte was acknowledged, on the receiving side it arrived. Bits
// instead of a list of ranges keep the cost of a frame and the memory of a stream
// fixed, whatever pattern of holes the peer makes.
type chunk struct {
	marks [chunkSize / 64]uint64
	data  [chunkSize]byte
}

// pool hands out chunks. Chunks that events may alias are retired: they come back
// when time has moved on twice.
type pool struct {
	free []*chunk
	out  *aliased // nil: none
	used int      // chunks held by streams
	made int      // chunks there are, with those that wait for reuse
	all  *Memory
}

// aliased are chunks that streams are done with and events may point into.
type aliased struct {
	retired, lent []*chunk
	lentAt        time.Duration
}

// Memory bounds what the streams of several Muxes hold together. It belongs to one
// goroutine, as they do.
type Memory struct {
	// Max is the bound, in bytes. 0: none but that of each Mux.
	Max  int
	made int // chunks
}

// Held is what streams hold now, in bytes, with what waits for reuse.
func (m *Memory) Held() int { return m.made * int(unsafe.Sizeof(chunk{})) }

// lacks reports whether there is no room for so many chunks more in streams: under
// the pool's own bound of bytes, or all pools'.
func (p *pool) lacks(more uint64, limit int) bool {
	if (p.used+int(more))*chunkSize > limit {
		return true
	}
	fresh := int(more) - len(p.free)
	return p.all != nil && p.all.Max > 0 && fresh > 0 && p.all.Held()+fresh*int(unsafe.Sizeof(chunk{})) > p.all.Max
}

// count notes that chunks were made, or given to the garbage collector.
func (p *pool) count(n int) {
	p.made += n
	if p.all != nil {
		p.all.made += n
	}
}

func (p *pool) get() *chunk {
	p.used++
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		c.marks = [chunkSize / 64]uint64{}
		return c
	}
	p.count(1)
	return new(chunk)
}

func (p *pool) put(c *chunk) {
	p.used--
	p.keep(c)
}

func (p *pool) keep(c *chunk) {
	if len(p.free) < poolChunks {
		p.free = append(p.free, c)
	} else {
		p.count(-1)
	}
}

func (p *pool) retire(c *chunk) {
	p.used--
	if p.out == nil {
		p.out = new(aliased)
	}
	p.out.retired = append(p.out.retired, c)
}

// recycle frees what was handed out at an earlier time. Whoever takes several
// packets at one time may keep the events of all of them.
func (p *pool) recycle(now time.Duration) {
	o := p.out
	if o == nil || len(o.lent)+len(o.retired) == 0 || now <= o.lentAt {
		return
	}
	for i, c := range o.lent {
		p.keep(c)
		o.lent[i] = nil
	}
	o.lent, o.retired, o.lentAt = o.retired, o.lent[:0], now
}

// span is the chunks of one direction of a stream: a ring indexed by chunk
// number, in which only chunks from low on can be present.
type span struct {
	ring []*chunk // length is a power of two
	low  uint64   // number of the lowest chunk that may be present
}

func (s *span) at(no uint64) *chunk {
	if no-s.low >= uint64(len(s.ring)) {
		return nil
	}
	return s.ring[no&uint64(len(s.ring)-1)]
}

// ensure returns the chunk with a number, making it.
func (s *span) ensure(no uint64, p *pool) *chunk {
	if need := no - s.low + 1; need > uint64(len(s.ring)) {
		s.grow(need)
	}
	slot := &s.ring[no&uint64(len(s.ring)-1)]
	if *slot == nil {
		*slot = p.get()
	}
	return *slot
}

func (s *span) grow(need uint64) {
	n := uint64(max(len(s.ring), firstChunks))
	for n < need {
		n *= 2
	}
	ring := make([]*chunk, n)
	for i := range uint64(len(s.ring)) {
		no := s.low + i
		ring[no&(n-1)] = s.ring[no&uint64(len(s.ring)-1)]
	}
	s.ring = ring
}

// missing counts the chunks that ensure would have to make for [off, off+n).
func (s *span) missing(off, n uint64) int {
	if n == 0 {
		return 0
	}
	miss := 0
	for no := off / chunkSize; no <= (off+n-1)/chunkSize; no++ {
		if s.at(no) == nil {
			miss++
		}
	}
	return miss
}

// release drops the chunks numbered below end and says that none below low will
// come back.
func (s *span) release(low, end uint64, drop func(*pool, *chunk), p *pool) {
	for no := s.low; no < end && no-s.low < uint64(len(s.ring)); no++ {
		if slot := &s.ring[no&uint64(len(s.ring)-1)]; *slot != nil {
			drop(p, *slot)
			*slot = nil
		}
	}
	s.low = max(s.low, low)
}

// copyIn stores b at off.
func (s *span) copyIn(off uint64, b []byte, p *pool) {
	for len(b) > 0 {
		c := s.ensure(off/chunkSize, p)
		n := copy(c.data[off%chunkSize:], b)
		b, off = b[n:], off+uint64(n)
	}
}

// appendTo appends [off, off+n) to b. Those chunks must be present.
func (s *span) appendTo(b []byte, off, n uint64) []byte {
	for n > 0 {
		at := off % chunkSize
		k := min(n, chunkSize-at)
		b = append(b, s.at(off / chunkSize).data[at:at+k]...)
		off, n = off+k, n-k
	}
	return b
}

// mark sets the bits of [off, off+n). Those chunks must be present.
func (s *span) mark(off, n uint64) {
	for n > 0 {
		at := off % chunkSize
		k := min(n, chunkSize-at)
		s.at(off/chunkSize).set(at, k)
		off, n = off+k, n-k
	}
}

// run returns how many bytes from off on, at most n, are marked.
func (s *span) run(off, n uint64) uint64 {
	got := uint64(0)
	for got < n {
		at := (off + got) % chunkSize
		c := s.at((off + got) / chunkSize)
		if c == nil {
			break
		}
		k := min(n-got, chunkSize-at)
		ones := c.count(at, k, ^uint64(0))
		if got += ones; ones < k {
			break
		}
	}
	return got
}

// gap returns how many bytes from off on, at most n, are not marked.
func (s *span) gap(off, n uint64) uint64 {
	got := uint64(0)
	for got < n {
		at := (off + got) % chunkSize
		k := min(n-got, chunkSize-at)
		c := s.at((off + got) / chunkSize)
		if c == nil {
			got += k
			continue
		}
		zeros := c.count(at, k, 0)
		if got += zeros; zeros < k {
			break
		}
	}
	return got
}

// set sets the bits [at, at+n).
func (c *chunk) set(at, n uint64) {
	for end := at + n; at < end; {
		k := min(end-at, 64-at%64)
		c.marks[at/64] |= (^uint64(0) >> (64 - k)) << (at % 64)
		at += k
	}
}

// count returns how many bits from at on, at most n, are those of same: all ones
// or all zeros.
func (c *chunk) count(at, n, same uint64) uint64 {
	i := at / 64
	got := 64 - at%64
	if differ := (c.marks[i] ^ same) >> (at % 64); differ != 0 {
		return min(uint64(bits.TrailingZeros64(differ)), n)
	}
	for got < n {
		i++
		if differ := c.marks[i] ^ same; differ != 0 {
			return min(got+uint64(bits.TrailingZeros64(differ)), n)
		}
		got += 64
	}
	return n
}
