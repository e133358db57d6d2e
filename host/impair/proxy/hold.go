package proxy

import "time"

// packet is a datagram on its way out.
type packet struct {
	b []byte
	c *client
}

// held is a packet that waits for its time.
type held struct {
	at  time.Duration
	seq uint64 // equal times keep their order
	packet
}

func (h *held) before(o *held) bool { return h.at < o.at || h.at == o.at && h.seq < o.seq }

// queue holds packets by time: a binary heap without interfaces, so that nothing is
// allocated once it has grown.
type queue struct {
	heap []held
	seq  uint64
}

func (q *queue) push(at time.Duration, p packet) {
	q.seq++
	q.heap = append(q.heap, held{at, q.seq, p})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(&q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

// pop takes the first packet out. The queue must not be empty.
func (q *queue) pop() packet {
	p := q.heap[0].packet
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = held{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		first := i
		for down := 2*i + 1; down <= 2*i+2 && down < last; down++ {
			if q.heap[down].before(&q.heap[first]) {
				first = down
			}
		}
		if first == i {
			return p
		}
		q.heap[i], q.heap[first] = q.heap[first], q.heap[i]
		i = first
	}
}

// cellSizes are the sizes of buffer in which packets wait: most, jumbo frames, the
// largest.
var cellSizes = [...]int{2048, 9216, 65536}

// pool lends buffers for packets that wait, up to a bound on the whole, and takes
// them back.
type pool struct {
	free  [len(cellSizes)][][]byte
	bytes int // made so far
}

// copyOf gives a copy of b in a buffer of the pool; false when that would pass
// maxHeld.
func (p *pool) copyOf(b []byte) ([]byte, bool) {
	class := 0
	for cellSizes[class] < len(b) {
		class++
	}
	free := &p.free[class]
	if len(*free) == 0 {
		if p.bytes+cellSizes[class] > maxHeld {
			return nil, false
		}
		p.bytes += cellSizes[class]
		*free = append(*free, make([]byte, cellSizes[class]))
	}
	last := len(*free) - 1
	cell := (*free)[last]
	*free = (*free)[:last]
	return cell[:copy(cell, b)], true
}

// release takes a buffer back.
func (p *pool) release(b []byte) {
	for class, size := range cellSizes {
		if cap(b) == size {
			p.free[class] = append(p.free[class], b[:size])
		}
	}
}
