package measure

import (
	"fmt"
	"time"

	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/host/sim"
	"nethost/sdk"
)

// Fault is what happens to the relay on the path.
type Fault int

// The faults.
const (
	Silent Fault = iota // it stops without a word: SIGSTOP, or power off
	Grey                // it goes on answering its neighbours and forwards nothing
	Cut                 // its link to the destination fails
)

// String names the fault.
func (f Fault) String() string {
	return [...]string{"silent death of the relay", "grey relay", "cut behind the relay"}[f]
}

// GapResult is what a fault of a relay did to a flow of messages.
type GapResult struct {
	Longest   time.Duration // without a message at the destination
	Got, Lost int           // messages
	Reported  int           // first hops reported as grey, at the source
}

const lan = 200 * time.Microsecond // delay of a link in these experiments

// world makes nodes with a beat each.
func world(seed uint64, n int, cfg sim.NodeConfig) (*sim.World, []*sim.Node, []*sim.Beat, error) {
	w := sim.New(seed)
	w.Check(sim.All(sim.Invariants, sim.Bounded))
	var beats []*sim.Beat
	nodes, err := w.Populate(n, cfg, func() []sdk.Module {
		b := &sim.Beat{}
		beats = append(beats, b)
		return []sdk.Module{b}
	})
	return w, nodes, beats, err
}

// Diamond sends every millisecond from A to B through one of two relays, and breaks
// the one on the path.
func Diamond(seed uint64, profile kernel.Profile, fault Fault) (GapResult, error) {
	w, n, beats, err := world(seed, 4, sim.NodeConfig{Profile: profile})
	if err != nil {
		return GapResult{}, err
	}
	a, b := n[0], n[3]
	for _, relay := range n[1:3] {
		for _, end := range []*sim.Node{a, b} {
			if err := w.Join(end, relay, impair.Config{Delay: lan}); err != nil {
				return GapResult{}, err
			}
		}
	}
	return breakPath(w, a, b, beats[0], beats[3], fault)
}

// Ring sends between two nodes of a ring, three hops apart, and breaks the next
// hop: no alternate is feasible until the destination has given a new sequence.
func Ring(seed uint64, nodes int, profile kernel.Profile, fault Fault) (GapResult, error) {
	w, n, beats, err := world(seed, nodes, sim.NodeConfig{Profile: profile})
	if err == nil {
		err = w.Ring(n, impair.Config{Delay: lan})
	}
	if err != nil {
		return GapResult{}, err
	}
	to := nodes/2 - 1
	return breakPath(w, n[0], n[to], beats[0], beats[to], fault)
}

func breakPath(w *sim.World, a, b *sim.Node, from, to *sim.Beat, fault Fault) (r GapResult, err error) {
	if err := w.Run(5 * time.Second); err != nil {
		return r, err
	}
	from.Start(b.ID(), time.Millisecond)
	if err := w.Run(5 * time.Second); err != nil {
		return r, err
	}
	hop := a.NextHop(b)
	if hop == nil || hop == b {
		return r, fmt.Errorf("measure: %s does not reach %s through a relay", a.Name, b.Name)
	}
	to.Mark()
	if err := w.Run(100 * time.Millisecond); err != nil {
		return r, err
	}
	switch fault {
	case Grey:
		hop.Grey(true, nil)
	case Cut:
		next := hop.NextHop(b)
		if err := w.Cut(hop, next, true); err != nil {
			return r, err
		}
	default:
		hop.Pause(time.Hour)
	}
	if err := w.Run(3 * time.Second); err != nil {
		return r, err
	}
	r.Longest, r.Got, r.Lost = to.Heard()
	if silence := to.Silence(w.Now()); silence > r.Longest {
		r.Longest = silence // it never came back
	}
	for _, p := range a.Kernel().Peers(a.Now()) {
		r.Reported += len(p.Grey)
	}
	return r, nil
}
