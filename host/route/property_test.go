package route

import (
	"fmt"
	"testing"
	"time"
)

// trial lets a random mesh live through trouble, checking for loops after every
// step, and then lets it rest and compares it with a flood fill.
func trial(seed uint64) error {
	r := newMesh(seed, 0).rng
	m := newMesh(seed, 2+r.IntN(11))
	m.loss, m.delay, m.lie = r.Float64()*r.Float64()*0.7, time.Duration(r.Int64N(int64(150*time.Millisecond))), r.Float64()*0.05
	if r.IntN(4) == 0 {
		for _, s := range m.nodes {
			s.relay = r.IntN(4) != 0
		}
		for i := range m.nodes {
			m.boot(i)
		}
	}
	cost := func() uint32 { return uint32(1 + r.IntN(1+r.IntN(20000))) }
	const lag = 150 * time.Millisecond
	pair := func() (int, int) {
		i := r.IntN(len(m.nodes))
		return i, (i + 1 + r.IntN(len(m.nodes)-1)) % len(m.nodes)
	}
	for range len(m.nodes) * (1 + r.IntN(2)) {
		i, j := pair()
		m.up(i, j, cost(), lag)
	}
	for range 60 + r.IntN(60) {
		i, j := pair()
		switch r.IntN(12) {
		case 0, 1, 2:
			m.down(i, j, lag)
		case 3, 4, 5:
			m.up(i, j, cost(), lag)
		case 6, 7:
			m.nodes[i].t.NeighborCost(Neighbor(j+1), cost(), m.now)
			m.settle(i)
		case 8, 9:
			m.nodes[i].t.NeighborSuspect(Neighbor(j+1), r.IntN(2) == 0, m.now)
			m.settle(i)
		case 10:
			if r.IntN(4) == 0 {
				m.restart(i, lag)
			}
		case 11: // a packet that a neighbour has no way for
			for d := range m.nodes {
				if n := m.hop(i, d); n >= 0 && m.nodes[n].session[i] != 0 && m.hop(n, d) < 0 {
					m.nodes[n].t.NoRoute(Neighbor(i+1), ridOf(d), m.now)
					m.settle(n)
				}
			}
		}
		if err := m.check(i); err != nil {
			return err
		}
		pause := time.Duration(r.Int64N(int64(time.Second)))
		if r.IntN(10) == 0 {
			pause *= 20
		}
		if err := m.run(m.now + pause); err != nil {
			return err
		}
	}
	// Rest: no more trouble, sessions that only one side has end, doubts end.
	m.loss, m.lie, m.delay = 0, 0, 20*time.Millisecond
	if err := m.run(m.now + time.Second); err != nil {
		return err
	}
	for i, s := range m.nodes {
		for j, session := range s.session {
			if session != 0 && m.nodes[j].session[i] != session {
				m.down(i, j, 0)
			} else if session != 0 {
				s.t.NeighborSuspect(Neighbor(j+1), false, m.now)
				m.settle(i)
			}
		}
	}
	if err := m.run(m.now + DefaultInterval + 3*time.Second); err != nil {
		return err
	}
	return m.settled()
}

// TestMesh is the property that all rules serve (R4, R5, R6.3): no loop at any
// instant, and after trouble everything that is connected is reachable within an
// interval and a bit.
func TestMesh(t *testing.T) {
	for seed := range uint64(trials) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if err := trial(seed); err != nil {
				t.Error(err)
			}
		})
	}
}
