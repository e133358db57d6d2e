package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"nethost/host/impair"
)

// swarm is a world whose invariants hold after every step: no loop, no black hole
// once the network has been as it is for 20 s (a lost address is dialled again after
// 15 s at most), no table that knows more than there is.
func swarm(t *testing.T, n int) (*World, []*Node) {
	t.Helper()
	w := New(1)
	w.Check(All(Invariants, Holes(20*time.Second), Bounded))
	nodes, err := w.Populate(n, NodeConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w, nodes
}

func run(t *testing.T, w *World, d time.Duration) {
	t.Helper()
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
}

// reached wants every pair in one part of the network to have a way.
func reached(t *testing.T, w *World) {
	t.Helper()
	if n, first := w.Unreached(); n > 0 {
		t.Errorf("%s (%d pairs)", first, n)
	}
}

// TestLineOf50: all pairs reach one another within 2 s of a cold start.
func TestLineOf50(t *testing.T) {
	w, nodes := swarm(t, 50)
	w.Sparing()
	if err := w.Line(nodes, impair.Config{Delay: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	begin := w.Now()
	for n := 1; n > 0 && w.Now() < begin+2*time.Second; n, _ = w.Unreached() {
		run(t, w, 50*time.Millisecond)
	}
	reached(t, w)
}

// TestGridParts: a grid is cut in two, heals, and loses links that come and go.
func TestGridParts(t *testing.T) {
	w, nodes := swarm(t, 16)
	if err := w.Grid(nodes, 4, impair.Config{Delay: time.Millisecond, Loss: 0.01}); err != nil {
		t.Fatal(err)
	}
	run(t, w, 3*time.Second)
	reached(t, w)
	middle := func(cut bool) {
		for i := 4; i < 8; i++ {
			if err := w.Cut(nodes[i], nodes[i+4], cut); err != nil {
				t.Fatal(err)
			}
		}
	}
	middle(true)
	run(t, w, 30*time.Second)
	if hop := nodes[0].NextHop(nodes[15]); hop != nil {
		t.Errorf("a way into the other part, through %s", hop.Name)
	}
	middle(false)
	run(t, w, 25*time.Second)
	reached(t, w)
	for i := range 10 { // one link flaps
		if err := w.Cut(nodes[5], nodes[6], i%2 == 0); err != nil {
			t.Fatal(err)
		}
		run(t, w, 400*time.Millisecond)
	}
	run(t, w, 25*time.Second)
	reached(t, w)
	if err := Nonces(w); err != nil {
		t.Error(err)
	}
}

// TestRandomFaults breaks random things of random networks.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(2) {
		w, nodes := swarm(t, 12)
		if err := w.Random(nodes, 4, seed); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 3))
		run(t, w, 3*time.Second)
		for range 15 {
			a, b := nodes[rng.IntN(12)], nodes[rng.IntN(12)]
			switch rng.IntN(6) {
			case 0:
				_ = w.Cut(a, b, true) // of two that have no link: nothing
			case 1:
				_ = w.Cut(a, b, false)
			case 2:
				a.Pause(time.Duration(rng.IntN(2000)) * time.Millisecond)
			case 3:
				if a.Kernel() != nil {
					a.Kill()
				}
			case 4:
				if a.Kernel() == nil {
					if err := a.Restart(); err != nil {
						t.Fatal(err)
					}
					for _, to := range a.dials {
						a.redial(to)
					}
				}
			case 5:
				a.Grey(!a.grey, nil)
			}
			run(t, w, time.Duration(rng.IntN(3000))*time.Millisecond)
		}
		run(t, w, 25*time.Second)
		reached(t, w)
		if err := Nonces(w); err != nil {
			t.Error(err)
		}
	}
}

// TestPaused: a node that was stopped for a while has lost nothing for good, and
// blames nobody when it goes on.
func TestPaused(t *testing.T) {
	w, nodes := swarm(t, 4)
	if err := w.Ring(nodes, impair.Config{Delay: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	run(t, w, 3*time.Second)
	for _, n := range nodes {
		n.ForgetTrace()
	}
	nodes[0].Pause(100 * time.Millisecond)
	run(t, w, 5*time.Second)
	if ev := nodes[0].Events(); len(ev) > 0 {
		t.Errorf("the node that was paused has the verdicts %+v", ev)
	}
	reached(t, w)
}
