package sim

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// Link is one direction between two nodes.
type Link struct {
	Delay   time.Duration
	Jitter  time.Duration // uniform, added to Delay: reorders
	Loss    float64       // 0..1
	Dup     float64       // 0..1
	Cut     bool          // silently drops everything
	Sent    uint64        // datagrams given to the link
	Dropped uint64
}

// Connect puts a link in each direction between two nodes.
func (w *World) Connect(a, b *Node, l Link) {
	ab, ba := l, l
	w.links[[2]*Node{a, b}] = &ab
	w.links[[2]*Node{b, a}] = &ba
}

// Cut drops (or, with false, heals) both directions between two nodes.
func (w *World) Cut(a, b *Node, cut bool) error {
	ab, ba := w.links[[2]*Node{a, b}], w.links[[2]*Node{b, a}]
	if ab == nil || ba == nil {
		return fmt.Errorf("no link between %s and %s", a.Name, b.Name)
	}
	ab.Cut, ba.Cut = cut, cut
	return nil
}

// Deaf keeps a from hearing b, or (with false) lets it hear again; b hears a all
// the time.
func (w *World) Deaf(a, b *Node, deaf bool) error {
	l := w.links[[2]*Node{b, a}]
	if l == nil {
		return fmt.Errorf("no link between %s and %s", a.Name, b.Name)
	}
	l.Cut = deaf
	return nil
}

// capture is a datagram as an observer of the wire saw it.
type capture struct {
	from, to netip.AddrPort
	b        []byte
}

// maxCaptured bounds what a node remembers of the wire around it.
const maxCaptured = 100000

// transmit carries a datagram of from, as the link allows.
func (w *World) transmit(from *Node, to netip.AddrPort, b []byte) {
	dst := w.byAddr[to]
	if dst == nil {
		return
	}
	l := w.links[[2]*Node{from, dst}]
	if l == nil {
		return
	}
	l.Sent++
	w.record(">", from, b)
	copies := 1
	if l.Dup > 0 && w.rng.Float64() < l.Dup {
		copies = 2
	}
	for range copies {
		if l.Cut || l.Loss > 0 && w.rng.Float64() < l.Loss {
			l.Dropped++
			continue
		}
		d := l.Delay
		if l.Jitter > 0 {
			d += time.Duration(w.rng.Int64N(int64(l.Jitter)))
		}
		w.inject(dst, from.Addr, bytes.Clone(b), d)
	}
}

// inject delivers bytes to a node after a delay.
func (w *World) inject(dst *Node, from netip.AddrPort, b []byte, d time.Duration) {
	w.at(w.now+d, func() {
		if dst.k == nil {
			return
		}
		if len(dst.wire) < maxCaptured {
			dst.wire = append(dst.wire, capture{from, dst.Addr, bytes.Clone(b)})
		}
		w.record("<", dst, b)
		dst.datagram(b, from)
	})
}

// Replay gives a node every datagram it ever got once more, from where it came.
func (w *World) Replay(n *Node) int {
	seen := n.wire
	for _, c := range seen {
		w.inject(n, c.from, bytes.Clone(c.b), time.Millisecond)
	}
	return len(seen)
}
