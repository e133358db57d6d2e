package measure

import (
	"time"

	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/host/sim"
)

// ScaleResult is what observing the mesh costs each node.
type ScaleResult struct {
	Nodes     int
	Reachable time.Duration // from the start until every node had a way to every other; 0: never
	Start     Cost          // from the start until then
	Steady    Cost          // afterwards, with nothing to say
}

// Cost is control traffic sent by a node, on average and by the one that sent most,
// in UDP payload.
type Cost struct {
	Packets, Bytes float64 // a second
	MostBytes      float64
}

// Scale starts n nodes at once, with degree neighbours on average, and measures
// over whole rounds of 16 intervals of waves, after which everything was repeated.
func Scale(n, degree int, seed uint64, rounds int) (r ScaleResult, err error) {
	r.Nodes = n
	w := sim.New(seed)
	w.Sparing()
	nodes, err := w.Populate(n, sim.NodeConfig{}, nil)
	if err == nil {
		err = w.Random(nodes, min(degree, n-1), seed)
	}
	if err != nil {
		return r, err
	}
	r.Reachable, err = untilReached(w, 30*time.Second)
	if err != nil {
		return r, err
	}
	r.Start = cost(nodes, nil, r.Reachable)
	interval := kernel.DefaultWaveInterval
	if err := w.Run(4*interval + 2*time.Second); err != nil { // changes are repeated for 3 intervals
		return r, err
	}
	before := sent(nodes)
	span := time.Duration(rounds*16) * interval
	if err := w.Run(span); err != nil {
		return r, err
	}
	r.Steady = cost(nodes, before, span)
	return r, nil
}

// Line starts nodes in a line and measures until all reach one another, with the
// invariants checked after every step.
func Line(n int, seed uint64) (time.Duration, error) {
	w := sim.New(seed)
	w.Sparing()
	w.Check(sim.Invariants)
	nodes, err := w.Populate(n, sim.NodeConfig{}, nil)
	if err == nil {
		err = w.Line(nodes, impair.Config{Delay: time.Millisecond})
	}
	if err != nil {
		return 0, err
	}
	return untilReached(w, 30*time.Second)
}

// untilReached runs until every node has a way to every other.
func untilReached(w *sim.World, within time.Duration) (time.Duration, error) {
	begin := w.Now()
	for w.Now() < begin+within {
		if err := w.Run(10 * time.Millisecond); err != nil {
			return 0, err
		}
		if n, _ := w.Unreached(); n == 0 {
			return w.Now() - begin, nil
		}
	}
	return 0, nil
}

func sent(nodes []*sim.Node) (all []sim.Traffic) {
	for _, n := range nodes {
		all = append(all, n.Sent())
	}
	return all
}

// cost is what nodes sent since before, in a span.
func cost(nodes []*sim.Node, before []sim.Traffic, span time.Duration) (c Cost) {
	if span <= 0 {
		return c
	}
	for i, t := range sent(nodes) {
		if before != nil {
			t.Packets -= before[i].Packets
			t.Bytes -= before[i].Bytes
		}
		b := float64(t.Bytes) / span.Seconds()
		c.Packets += float64(t.Packets) / span.Seconds() / float64(len(nodes))
		c.Bytes += b / float64(len(nodes))
		c.MostBytes = max(c.MostBytes, b)
	}
	return c
}
