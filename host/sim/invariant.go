package sim

import (
	"bytes"
	"fmt"

	"nethost/host/wire"
)

// Invariants is what must hold after every step, whatever the network did: no
// forwarding loop.
func Invariants(w *World) error {
	if w.looked == w.routes+1 {
		return nil // nothing changed that it speaks of
	}
	w.looked = w.routes + 1
	seen := make([]int, len(w.nodes)) // by node: the walk that came by last, or done
	walk := 0
	for _, dst := range w.nodes {
		first := walk
		for _, src := range w.nodes {
			walk++
			for at := src; at != nil && at != dst && at.k != nil && seen[at.pos] <= first; at = at.NextHop(dst) {
				seen[at.pos] = walk
				if next := at.NextHop(dst); next != nil && next != dst && next.k != nil && seen[next.pos] == walk {
					return fmt.Errorf("forwarding loop towards %s through %s at %v", dst.Name, next.Name, w.now)
				}
			}
		}
	}
	return nil
}

// NextHop is the neighbour a node would forward to; nil when it knows none.
func (n *Node) NextHop(dst *Node) *Node {
	id, ok := n.k.NextHopTo(dst.rid)
	if !ok {
		return nil
	}
	return n.w.byID[id]
}

// Nonces checks that no node ever sealed two packets under one index and
// counter: what every node got on the wire is compared. It costs much: call it
// once, at the end.
func Nonces(w *World) error {
	type nonce struct {
		to      *Node
		index   uint32
		counter uint64
	}
	seen := map[nonce][]byte{}
	for _, n := range w.nodes {
		for _, c := range n.wire {
			h, rest, ok := wire.ParseHop(c.b)
			if !ok || wire.IsHandshake(rest) || h.Type != wire.TypeLocal {
				continue
			}
			index, counter, sealed, ok := wire.ParseSession(rest)
			if !ok {
				continue
			}
			key := nonce{n, index, counter}
			if before, ok := seen[key]; ok && !bytes.Equal(before, sealed) {
				return fmt.Errorf("%s got two packets under index %08x counter %d", n.Name, index, counter)
			}
			seen[key] = sealed
		}
	}
	return nil
}
