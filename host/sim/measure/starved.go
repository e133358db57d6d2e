package measure

import (
	"math/rand/v2"
	"slices"
	"time"

	"nethost/host/impair"
	"nethost/host/liveness"
	"nethost/host/sim"
)

// StarvedConfig describes a replica of the experiment of the Lifeguard paper: some
// nodes get too little processor time, and the question is whom that kills.
type StarvedConfig struct {
	Nodes   int  // default 20; all are neighbours of one another
	Starved int  // of them
	Blind   bool // own health is not looked at
	Seed    uint64
	Span    time.Duration // default 30 s
}

// StarvedResult is what came of it.
type StarvedResult struct {
	FalseDead    int             // verdicts "dead" on nodes that were well
	FalseSuspect int             // suspicions of nodes that were well
	AtHealthy    int             // ... of FalseDead, by nodes that were well themselves
	Detection    []time.Duration // from a real death to each verdict "dead" of a healthy node, sorted
	Undetected   int             // healthy nodes that never noticed it
}

// Percentile of the times of detection; p from 0 to 1.
func (r *StarvedResult) Percentile(p float64) time.Duration {
	if len(r.Detection) == 0 {
		return 0
	}
	return r.Detection[min(len(r.Detection)-1, int(p*float64(len(r.Detection))))]
}

// Starved runs the experiment: the starved nodes stop for 50 ms to 5 s (the spread
// is even on a logarithmic scale) and run for 1 to 100 ms in between. At the end one
// healthy node dies.
func Starved(cfg StarvedConfig) (r StarvedResult, err error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 20
	}
	if cfg.Span == 0 {
		cfg.Span = 30 * time.Second
	}
	w := sim.New(cfg.Seed)
	w.Sparing()
	nodes, err := w.Populate(cfg.Nodes, sim.NodeConfig{Blind: cfg.Blind}, nil)
	if err != nil {
		return r, err
	}
	for i, a := range nodes {
		for _, b := range nodes[:i] {
			if err := w.Join(a, b, impair.Config{Delay: lan}); err != nil {
				return r, err
			}
		}
	}
	if err := w.Run(5 * time.Second); err != nil {
		return r, err
	}
	starved := nodes[:cfg.Starved]
	for _, n := range nodes {
		n.ForgetTrace()
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 11))
	for _, n := range starved {
		for at := time.Duration(0); at < cfg.Span; {
			stop := 50 * time.Millisecond << rng.IntN(7)
			stop = min(stop+time.Duration(rng.Int64N(int64(stop))), 5*time.Second)
			w.After(at, func() { n.Pause(stop) })
			at += stop + time.Duration(1+rng.IntN(100))*time.Millisecond
		}
	}
	victim := nodes[cfg.Nodes-1]
	if err := w.Run(cfg.Span); err != nil {
		return r, err
	}
	for i, n := range nodes {
		for _, e := range n.Events() {
			j := slices.IndexFunc(nodes, func(m *sim.Node) bool { return m.ID() == e.Node })
			if j < cfg.Starved {
				continue // of a node that did stop
			}
			switch e.State {
			case liveness.Dead:
				r.FalseDead++
				if i >= cfg.Starved {
					r.AtHealthy++
				}
			case liveness.Suspect:
				r.FalseSuspect++
			}
		}
		n.ForgetTrace()
	}
	died := w.Now()
	victim.Kill()
	if err := w.Run(20 * time.Second); err != nil {
		return r, err
	}
	for _, n := range nodes[cfg.Starved : cfg.Nodes-1] {
		found := false
		for _, e := range n.Events() {
			if e.Node == victim.ID() && e.State == liveness.Dead && !found {
				found = true
				r.Detection = append(r.Detection, e.At-died)
			}
		}
		if !found {
			r.Undetected++
		}
	}
	slices.Sort(r.Detection)
	return r, nil
}
