package route

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// mesh is tables that exchange messages under virtual time, over links that lose,
// delay and reorder them.
type mesh struct {
	rng   *rand.Rand
	now   time.Duration
	nodes []*station
	queue events
	seq   uint64
	loss  float64
	delay time.Duration // at most
	byRID map[wire.RID]int
	lie   float64 // share of waves that are forged on the way
}

// station is a table and its links. The handle of a neighbour is its number + 1.
type station struct {
	t       *Table
	id      sdk.NodeID
	inc     uint64
	relay   bool
	session []int // by station: the session it has with it, 0 = none
	next    []int // by station: the next hop after the last step, -1 = none
	life    int
	timer   time.Duration // deadline that is queued
}

type event struct {
	at  time.Duration
	seq uint64
	run func() (stepped int)
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

func idOf(i int) (id sdk.NodeID) {
	id[0], id[1], id[2] = byte(i*37), byte(i), byte(i>>8)
	id[31] = 7
	return id
}

// sign stands for ed25519: what counts is that a signature fits one statement.
func sign(w *wire.Wave) (sig [64]byte) {
	h := fnv.New64a()
	h.Write(wire.WaveSigned(nil, w))
	copy(sig[:], fmt.Sprintf("%016x", h.Sum64()))
	return sig
}

func newMesh(seed uint64, n int) *mesh {
	m := &mesh{rng: rand.New(rand.NewPCG(seed, 1)), now: time.Second, delay: 20 * time.Millisecond, byRID: map[wire.RID]int{}}
	for i := range n {
		s := &station{id: idOf(i), relay: true, session: make([]int, n), next: make([]int, n)}
		m.nodes = append(m.nodes, s)
		m.byRID[identity.RIDOf(s.id)] = i
		m.boot(i)
	}
	return m
}

// boot starts a station with an empty table and the next incarnation.
func (m *mesh) boot(i int) {
	s := m.nodes[i]
	s.inc++
	s.life++
	s.timer = Never
	s.t = New(Config{Self: s.id, Incarnation: s.inc, RelayOff: !s.relay}, m.now)
	clear(s.session)
	for j := range s.next {
		s.next[j] = -1
	}
	m.settle(i)
}

func (m *mesh) at(at time.Duration, run func() int) {
	m.seq++
	heap.Push(&m.queue, event{at, m.seq, run})
}

// settle signs, sends and arms what a step of a table left to do.
func (m *mesh) settle(i int) {
	s := m.nodes[i]
	if w, ok := s.t.Sign(); ok {
		w.Sig = sign(&w)
		life := s.life
		m.at(m.now+time.Duration(m.rng.Int64N(int64(time.Millisecond))), func() int {
			if s.life == life {
				s.t.Signed(&w, m.now)
			}
			return i
		})
	}
	for _, out := range s.t.Out() {
		m.transmit(i, int(out.To)-1, out.Payload)
	}
	if d := s.t.Deadline(); d < s.timer {
		s.timer = d
		life := s.life
		m.at(max(d, m.now), func() int {
			if s.life == life && s.timer == d {
				s.timer = Never
				s.t.OnTimer(m.now)
			}
			return i
		})
	}
}

func (m *mesh) transmit(i, j int, b []byte) {
	session := m.nodes[i].session[j]
	if session == 0 || m.rng.Float64() < m.loss {
		return
	}
	m.at(m.now+time.Duration(m.rng.Int64N(int64(m.delay)+1)), func() int {
		if m.nodes[j].session[i] == session {
			m.deliver(i, j, b)
		}
		return j
	})
}

// deliver gives a core message of station i to station j, as a kernel would.
func (m *mesh) deliver(i, j int, b []byte) {
	s, from := m.nodes[j], Neighbor(i+1)
	switch b[0] {
	case wire.MsgWave:
		w, ok := wire.ParseWave(b[1:])
		if !ok {
			panic("a table sent a malformed wave")
		}
		if m.rng.Float64() < m.lie {
			w.Seq += 1 + m.rng.Uint64N(3)
		}
		if s.t.OnWave(from, &w, m.now) != Verify {
			return
		}
		session := s.session[i]
		m.at(m.now+time.Duration(m.rng.Int64N(int64(time.Millisecond))), func() int {
			if s.session[i] == session && session != 0 {
				s.t.Verified(from, &w, sign(&w) == w.Sig, m.now)
			}
			return j
		})
	case wire.MsgRetract:
		r, _ := wire.ParseRetract(b[1:])
		s.t.OnRetract(from, r, m.now)
	case wire.MsgSeqRequest:
		r, _ := wire.ParseSeqRequest(b[1:])
		s.t.OnSeqRequest(from, r, m.now)
	default:
		panic("a table sent a message of another kind")
	}
}

// up makes a session between two stations, down ends one; the sides notice within
// lag of each other.
func (m *mesh) up(i, j int, cost uint32, lag time.Duration) {
	m.seq++
	session := int(m.seq)
	for _, pair := range [2][2]int{{i, j}, {j, i}} {
		a, b := pair[0], pair[1]
		life, other := m.nodes[a].life, m.nodes[b].life
		m.at(m.now+time.Duration(m.rng.Int64N(int64(lag)+1)), func() int {
			if s := m.nodes[a]; s.life == life && m.nodes[b].life == other && s.session[b] == 0 {
				s.session[b] = session
				s.t.NeighborUp(Neighbor(b+1), m.nodes[b].id, cost, 1200, m.now)
			}
			return a
		})
	}
}

func (m *mesh) down(i, j int, lag time.Duration) {
	for _, pair := range [2][2]int{{i, j}, {j, i}} {
		a, b := pair[0], pair[1]
		session := m.nodes[a].session[b]
		m.at(m.now+time.Duration(m.rng.Int64N(int64(lag)+1)), func() int {
			if s := m.nodes[a]; session != 0 && s.session[b] == session {
				s.session[b] = 0
				s.t.NeighborDown(Neighbor(b+1), m.now)
			}
			return a
		})
	}
}

// restart boots a station anew; its neighbours notice within lag.
func (m *mesh) restart(i int, lag time.Duration) {
	for j := range m.nodes {
		m.down(i, j, lag)
	}
	m.boot(i)
}

// run takes every step until a time and checks after each one.
func (m *mesh) run(until time.Duration) error {
	for len(m.queue) > 0 && m.queue[0].at <= until {
		e := heap.Pop(&m.queue).(event)
		m.now = max(m.now, e.at)
		i := e.run()
		m.settle(i)
		if err := m.check(i); err != nil {
			return err
		}
	}
	m.now = until
	return nil
}

// check walks towards every destination whose next hop changed at a station in
// the step just made: if there is a loop, that change closed it (R4).
func (m *mesh) check(i int) error {
	s := m.nodes[i]
	for _, rid := range s.t.Changes() {
		if m.byRID[rid] == i {
			return fmt.Errorf("%d has a route to itself", i)
		}
	}
	for d := range m.nodes {
		next := m.hop(i, d)
		if d == i || next == s.next[d] {
			continue
		}
		s.next[d] = next
		if path, ok := m.walk(i, d); !ok {
			return fmt.Errorf("at %v a loop towards %d: %v", m.now, d, path)
		}
	}
	return nil
}

func (m *mesh) hop(i, d int) int {
	n, ok := m.nodes[i].t.Lookup(identity.RIDOf(m.nodes[d].id))
	if !ok {
		return -1
	}
	return int(n) - 1
}

// walk follows the next hops; false: they run in a circle. A packet to a
// neighbour that lost the session is dropped there and goes no further.
func (m *mesh) walk(from, d int) (path []int, ok bool) {
	seen := make([]bool, len(m.nodes))
	for at := from; at != d; {
		if path = append(path, at); seen[at] {
			return path, false
		}
		seen[at] = true
		next := m.hop(at, d)
		if next < 0 || m.nodes[at].session[next] == 0 || m.nodes[at].session[next] != m.nodes[next].session[at] {
			return path, true
		}
		at = next
	}
	return append(path, d), true
}

// settled checks that what is connected is reachable, and nothing else.
func (m *mesh) settled() error {
	for a := range m.nodes {
		dist := m.flood(a)
		for b := range m.nodes {
			if a == b {
				continue
			}
			path, _ := m.walk(a, b)
			arrives := path[len(path)-1] == b
			if dist[b] != arrives {
				return fmt.Errorf("%d to %d: connected %v, reachable %v by %v", a, b, dist[b], arrives, path)
			}
			if !dist[b] && m.hop(a, b) >= 0 {
				return fmt.Errorf("%d has a route to %d, which is not connected", a, b)
			}
		}
	}
	return nil
}

// flood is the dumb twin: who can be reached from a, over stations that relay?
func (m *mesh) flood(a int) []bool {
	seen := make([]bool, len(m.nodes))
	seen[a] = true
	for todo := []int{a}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if at != a && !m.nodes[at].relay {
			continue
		}
		for b, s := range m.nodes[at].session {
			if s != 0 && m.nodes[b].session[at] == s && !seen[b] {
				seen[b] = true
				todo = append(todo, b)
			}
		}
	}
	return seen
}
