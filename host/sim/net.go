package sim

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/host/wire"
)

// Connect puts a link in each direction between two nodes, both alike.
func (w *World) Connect(a, b *Node, c impair.Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	for _, ends := range [2][2]*Node{{a, b}, {b, a}} {
		w.links[ends] = impair.New(c, w.seedOf(ends))
	}
	return nil
}

// seedOf gives each direction dice of its own: another link or node does not
// change what this one does.
func (w *World) seedOf(ends [2]*Node) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s", w.seed, ends[0].Name, ends[1].Name)
	return h.Sum64()
}

// Link is the direction from a to b, to look at or to change; an error when
// there is none.
func (w *World) Link(a, b *Node) (*impair.Link, error) {
	if l := w.links[[2]*Node{a, b}]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("no link from %s to %s", a.Name, b.Name)
}

// Cut drops (or, with false, heals) both directions between two nodes.
func (w *World) Cut(a, b *Node, cut bool) error {
	ab, err := w.Link(a, b)
	if err != nil {
		return err
	}
	ba, err := w.Link(b, a)
	if err != nil {
		return err
	}
	ab.Cut, ba.Cut = cut, cut
	w.changed()
	return nil
}

// Deaf keeps a from hearing b, or (with false) lets it hear again; b hears a all
// the time.
func (w *World) Deaf(a, b *Node, deaf bool) error {
	l, err := w.Link(b, a)
	if err == nil {
		l.Cut = deaf
		w.changed()
	}
	return err
}

// Move gives the node another address, as when a machine changes networks.
func (n *Node) Move() {
	a := n.Addr.Addr().As4()
	a[0]++
	n.readdress(netip.AddrPortFrom(netip.AddrFrom4(a), n.Addr.Port()))
}

// Rebind gives the node another port at its address, as a NAT does that has
// forgotten its binding.
func (n *Node) Rebind() {
	n.readdress(netip.AddrPortFrom(n.Addr.Addr(), n.Addr.Port()+1))
}

// readdress makes the node's datagrams come from another address from now on. The
// old one no longer reaches it, not even with what is under way.
func (n *Node) readdress(a netip.AddrPort) {
	delete(n.w.byAddr, n.Addr)
	n.Addr = a
	n.w.byAddr[a] = n
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
	if from.drops(b) {
		return
	}
	from.stats.count(b)
	w.record(">", from, b)
	copies, n := l.Pass(w.now, len(b))
	for _, c := range copies[:n] {
		if c.Fate == impair.Passed {
			w.inject(dst, from.Addr, to, bytes.Clone(b), c.At)
		}
	}
}

// inject delivers bytes to the address of a node at a time, if it has that
// address then.
func (w *World) inject(dst *Node, from, to netip.AddrPort, b []byte, at time.Duration) {
	w.at(at, func() {
		if dst.k == nil || dst.Addr != to {
			return
		}
		if len(dst.wire) < maxCaptured && !w.sparing {
			dst.wire = append(dst.wire, capture{from, to, bytes.Clone(b)})
		}
		w.record("<", dst, b)
		dst.datagram(b, from)
	})
}

// datagram gives the node a datagram: at once, or, where it reads in batches,
// together with all that comes in the time until it reads.
func (n *Node) datagram(b []byte, from netip.AddrPort) {
	if n.w.now < n.paused {
		if len(n.backlog) < socketBuffer {
			n.backlog = append(n.backlog, wire.Train{Addr: from, Bytes: b})
		}
		return
	}
	if n.cfg.Batch == 0 {
		n.step(kernel.Input{Kind: kernel.InDatagram, Datagram: b, From: from})
		return
	}
	n.inbox = append(n.inbox, wire.Train{Addr: from, Bytes: b})
	if len(n.inbox) > 1 {
		return // reading is due already
	}
	life := n.life
	n.w.at(n.w.now+n.cfg.Batch, func() {
		trains := n.inbox
		n.inbox = nil
		if n.life == life {
			n.step(kernel.Input{Kind: kernel.InTrains, Trains: trains})
		}
	})
}

// Replay gives a node every datagram it ever got once more, from where it came.
func (w *World) Replay(n *Node) int {
	seen := n.wire
	for _, c := range seen {
		w.inject(n, c.from, n.Addr, bytes.Clone(c.b), w.now+time.Millisecond)
	}
	return len(seen)
}
