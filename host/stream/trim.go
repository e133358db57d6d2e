package stream

import "time"

const (
	idleAfter  = time.Second // a Mux without work for so long gives memory back
	smallSlab  = 4           // entries of a slab that are kept
	smallSpare = 256         // bytes of scratch that are kept
)

// trim gives back what a burst made grow. It must not be called while packets wait
// for an acknowledgement.
func (m *Mux) trim() {
	m.fat = false
	if len(m.events) == 0 { // what was in them points into packets
		m.events, m.spare = nil, nil
	}
	m.sendPool.trim()
	m.recvPool.trim()
	m.idle, m.drops = nil, nil
	if len(m.streams) == 0 { // a map keeps its size
		m.streams = nil
	}
	if len(m.peer.skipped) == 0 {
		m.peer.skipped = nil
	}
	for i, q := range m.messages {
		if q.empty() {
			m.messages[i] = nil
		}
	}
	m.control.trim()
	if cap(m.scratch) > smallSpare {
		m.scratch = nil
	}
	m.log.trim()
	if cap(m.fates) > smallSlab {
		m.fates = nil
	}
	m.reorder.gone, m.reorder.n, m.reorder.first = nil, 0, 0
	for i := range m.heard {
		if g := &m.heard[i]; i >= m.nHeard {
			*g = heardGen{}
		} else if 2*len(g.ranges) <= cap(g.ranges) {
			g.ranges = append(g.ranges[:0:0], g.ranges...)
		}
	}
}

// trim lets go of the spare chunks, those that events alias among them: they are
// not used again.
func (p *pool) trim() {
	p.count(-len(p.free))
	if p.out != nil {
		p.count(-len(p.out.retired) - len(p.out.lent))
	}
	p.free, p.out = nil, nil
}

// trim frees the slabs of a log that holds no packet. Lost pieces of streams are
// items too, so those stay while there are any.
func (l *sentLog) trim() {
	if cap(l.packets) > smallSlab {
		l.packets, l.freePacket = nil, none
	}
	free := 0
	for i := l.freeItem; i != none; i = l.items[i].next {
		free++
	}
	if cap(l.items) > smallSlab && free == len(l.items) {
		l.items, l.freeItem = nil, none
	}
}
