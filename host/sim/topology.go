package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"nethost/host/impair"
	"nethost/sdk"
)

// Nodes lists the nodes in the order in which they were added.
func (w *World) Nodes() []*Node { return slices.Clone(w.nodes) }

// Populate adds n nodes n0, n1, ... with the settings of cfg. modules makes those of
// each; nil: none.
func (w *World) Populate(n int, cfg NodeConfig, modules func() []sdk.Module) ([]*Node, error) {
	var nodes []*Node
	for i := range n {
		cfg.Name = fmt.Sprintf("n%d", len(w.nodes))
		if modules != nil {
			cfg.Modules = modules()
		}
		x, err := w.Add(cfg)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		nodes = append(nodes, x)
	}
	return nodes, nil
}

// Join links two nodes, and the first dials the second.
func (w *World) Join(a, b *Node, c impair.Config) error {
	if err := w.Connect(a, b, c); err != nil {
		return err
	}
	a.Dial(b)
	return nil
}

// Line joins each node with the next; Ring the last with the first as well.
func (w *World) Line(nodes []*Node, c impair.Config) error {
	for i := 1; i < len(nodes); i++ {
		if err := w.Join(nodes[i], nodes[i-1], c); err != nil {
			return err
		}
	}
	return nil
}

// Ring is a line whose ends are joined.
func (w *World) Ring(nodes []*Node, c impair.Config) error {
	if err := w.Line(nodes, c); err != nil {
		return err
	}
	return w.Join(nodes[0], nodes[len(nodes)-1], c)
}

// Grid joins nodes in rows of width.
func (w *World) Grid(nodes []*Node, width int, c impair.Config) error {
	for i, n := range nodes {
		if i%width > 0 {
			if err := w.Join(n, nodes[i-1], c); err != nil {
				return err
			}
		}
		if i >= width {
			if err := w.Join(n, nodes[i-width], c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Random joins nodes so that all are connected and each has degree neighbours on
// average: a ring, and chords drawn from seed. Delays of links are 1 to 5 ms.
func (w *World) Random(nodes []*Node, degree int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	delay := func() impair.Config { return impair.Config{Delay: time.Duration(1+rng.IntN(5)) * time.Millisecond} }
	for i := range nodes {
		if err := w.Join(nodes[i], nodes[(i+1)%len(nodes)], delay()); err != nil {
			return err
		}
	}
	for left := len(nodes) * (degree - 2) / 2; left > 0; {
		a, b := nodes[rng.IntN(len(nodes))], nodes[rng.IntN(len(nodes))]
		if a == b || w.links[[2]*Node{a, b}] != nil {
			if len(nodes) <= degree+1 { // there may be no pair left
				left--
			}
			continue
		}
		if err := w.Join(a, b, delay()); err != nil {
			return err
		}
		left--
	}
	return nil
}

// linked reports that two nodes could be neighbours now: both run, one dials the
// other, and datagrams pass both ways.
func (w *World) linked(a, b *Node) bool {
	if a.k == nil || b.k == nil || !slices.Contains(a.dials, b) && !slices.Contains(b.dials, a) {
		return false
	}
	ab, ba := w.links[[2]*Node{a, b}], w.links[[2]*Node{b, a}]
	return ab != nil && ba != nil && !ab.Cut && !ba.Cut
}

// components gives each running node the number of its part of the network. One that
// does not relay, or is grey, joins nothing.
func (w *World) components() map[*Node]int {
	part := map[*Node]int{}
	next := 0
	for _, n := range w.nodes {
		if n.k == nil || part[n] > 0 || n.cfg.NoRelay || n.grey {
			continue
		}
		next++
		part[n] = next
		for todo := []*Node{n}; len(todo) > 0; todo = todo[1:] {
			for _, m := range w.nodes {
				if part[m] == 0 && m.k != nil && !m.cfg.NoRelay && !m.grey && w.linked(todo[0], m) {
					part[m] = next
					todo = append(todo, m)
				}
			}
		}
	}
	return part
}

// Unreached counts the pairs of nodes in one part of the network of which one has no
// way to the other, and names the first.
func (w *World) Unreached() (pairs int, first string) {
	part := w.components()
	for _, dst := range w.nodes {
		for _, src := range w.nodes {
			if src == dst || part[src] == 0 || part[src] != part[dst] {
				continue
			}
			at := src
			for hops := 0; at != nil && at != dst && at.k != nil && hops <= len(w.nodes); hops++ {
				at = at.NextHop(dst)
			}
			if at != dst {
				if pairs++; pairs == 1 {
					first = fmt.Sprintf("%s has no way to %s at %v", src.Name, dst.Name, w.now)
				}
			}
		}
	}
	return pairs, first
}

// Holes makes an invariant of reachability: once the network has been as it is for
// so long, every node has a way to every other that is in the same part of it.
func Holes(after time.Duration) func(*World) error {
	return func(w *World) error {
		if w.now-w.changedAt < after || w.holesAt == w.routes+1 {
			return nil
		}
		w.holesAt = w.routes + 1
		if n, first := w.Unreached(); n > 0 {
			return fmt.Errorf("black hole: %s, though the network has not changed for %v (%d pairs)", first, after, n)
		}
		return nil
	}
}

// All makes one invariant of several.
func All(checks ...func(*World) error) func(*World) error {
	return func(w *World) error {
		for _, f := range checks {
			if err := f(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// Bounded checks that no node knows more than there is.
func Bounded(w *World) error {
	for _, n := range w.nodes {
		if n.k == nil {
			continue
		}
		if s := n.k.Swarm(n.now()); s.Origins >= len(w.nodes) {
			return fmt.Errorf("%s knows %d other nodes of %d", n.Name, s.Origins, len(w.nodes)-1)
		}
		if got := len(n.k.Peers(n.now())); got >= len(w.nodes) {
			return fmt.Errorf("%s has %d sessions", n.Name, got)
		}
	}
	return nil
}
