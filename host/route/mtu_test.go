package route

import (
	"fmt"
	"testing"
	"time"

	"nethost/host/wire"
)

// told gives the MTUs that neighbour n was told of an origin since the last call.
func (d *desk) told(origin, n int) (mtus []int) {
	for _, w := range d.said(origin).waves[n] {
		mtus = append(mtus, int(w.MTU))
	}
	return mtus
}

func (d *desk) wantTold(origin, n int, want ...int) {
	d.t.Helper()
	if got := d.told(origin, n); fmt.Sprint(got) != fmt.Sprint(want) {
		d.t.Errorf("at %v neighbour %d was told the MTUs %v of %d, want %v", d.now, n, got, origin, want)
	}
}

func (d *desk) wantMTU(origin, want int) {
	d.t.Helper()
	if got := d.MTU(ridOf(origin)); got != want {
		d.t.Errorf("the MTU towards %d is %d, want %d", origin, got, want)
	}
}

func waveMTU(origin int, seq uint64, metric uint32, mtu uint16) wire.Wave {
	w := wave(origin, 1, seq, metric, 1)
	w.MTU = mtu
	return w
}

// TestMTU is R8.1 and R8.2.
func TestMTU(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2, 3)
	d.wantMTU(9, 0)
	d.NeighborMTU(1, 9000, d.now)
	d.NeighborMTU(2, 9000, d.now)
	d.NeighborMTU(7, 9000, d.now) // nobody
	own := wave(1, 1, 1, 0, 0)
	own.MTU = ownMTU
	d.hear(1, own)
	d.wantMTU(1, 9000) // the link itself
	d.hear(1, waveMTU(9, 1, 100, 4000))
	d.wantMTU(9, 4000)
	d.wait(coalesce)
	d.wantTold(9, 3, 4000) // of the own way, not of the link to 3
	d.hear(2, waveMTU(9, 1, 101, 8000))
	d.wantMTU(9, 4000)
	d.wantVia(9, 1) // a larger MTU is no reason to go another way
	d.hear(1, waveMTU(8, 1, 100, 0))
	d.wantMTU(8, 1200)
	d.hear(1, waveMTU(9, 1, 100, 60000))
	d.wantMTU(9, 9000)
	if r := d.Routes(); len(r) != 3 || r[0].MTU == 0 {
		t.Errorf("%+v", r)
	}
	d.NeighborDown(1, d.now)
	d.NeighborDown(2, d.now)
	d.wantMTU(9, 0)
}

// TestMTUTold is R8.3.
func TestMTUTold(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.NeighborMTU(1, 9000, d.now)
	d.hear(1, waveMTU(9, 2, 100, 8000)) // a sequence that travels two hops
	d.hear(1, waveMTU(8, 2, 100, 9000))
	d.wait(coalesce)
	d.wantTold(9, 2, 8000)
	if d.Deadline() < d.now+time.Second {
		t.Errorf("something waits at %v", d.Deadline())
	}
	d.NeighborMTU(1, 1200, d.now) // a black hole on the link
	d.wantMTU(9, 1200)
	d.wantTold(9, 2)
	d.wait(coalesce)
	d.wantTold(9, 2, 1200)
	// Rises: the first at once, then one round in a second, of the last value.
	d.NeighborMTU(1, 1400, d.now)
	d.wait(coalesce)
	d.wantTold(9, 2, 1400)
	for mtu := uint16(1500); mtu < 3000; mtu += 100 {
		d.NeighborMTU(1, mtu, d.now)
		d.wait(10 * time.Millisecond)
	}
	d.wantTold(9, 2)
	d.wait(time.Second)
	d.wantTold(9, 2, 2900)
	// A fall at once, the next one of that second later, but to 1200 at once.
	d.wait(5 * time.Second)
	d.said(9)
	d.hear(1, waveMTU(9, 2, 100, 2000))
	d.wait(coalesce)
	d.wantTold(9, 2, 2000)
	d.hear(1, waveMTU(9, 2, 100, 1900))
	d.wait(coalesce)
	d.wantTold(9, 2, 1900)
	d.hear(1, waveMTU(9, 2, 100, 1800))
	d.wait(coalesce)
	d.wantTold(9, 2)
	d.hear(1, waveMTU(9, 2, 100, 1200))
	d.wait(coalesce)
	d.wantTold(9, 2, 1200)
	// A neighbour whose word changes with every message costs two messages a second.
	d.wait(5 * time.Second)
	d.said(9)
	for i := range 2000 {
		d.hear(1, waveMTU(9, 2, 100, uint16(1200+i%2*100)))
		d.wait(5 * time.Millisecond)
	}
	if n := len(d.told(9, 2)); n < 1 || n > 22 {
		t.Errorf("told %d times in ten seconds", n)
	}
	// What went and came back is not told.
	d.wait(5 * time.Second)
	d.said(8)
	d.NeighborMTU(1, 5000, d.now)
	d.NeighborMTU(1, 2900, d.now)
	d.wait(2 * time.Second)
	d.wantTold(8, 2)
	// Lost messages are repeated in the next interval (R6.3).
	d.NeighborMTU(1, 1300, d.now)
	d.wait(coalesce)
	d.said(8)
	d.wait(DefaultInterval + coalesce)
	if got := d.told(8, 2); len(got) == 0 || got[0] != 1300 {
		t.Errorf("repeated: %v", got)
	}
	// A node that relays for nobody tells nobody.
	d = newDesk(t, Config{RelayOff: true}, 1, 2)
	d.hear(1, waveMTU(9, 2, 100, 1200))
	d.NeighborMTU(1, 9000, d.now)
	d.hear(1, waveMTU(9, 2, 100, 8000))
	d.wait(2 * time.Second)
	d.wantTold(9, 2)
	d.wantMTU(9, 8000)
}

// TestMTUOfKeptRoute is R8.4: the next hop got worse, its offer is kept, and its
// MTU fell as well.
func TestMTUOfKeptRoute(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.NeighborMTU(1, 9000, d.now)
	d.hear(1, waveMTU(9, 2, 100, 8000))
	d.wait(coalesce)
	d.said(9)
	d.hear(1, waveMTU(9, 2, 5000, 1300))
	if r := d.Routes(); r[0].Metric != 200 {
		t.Fatalf("the route was not kept: %+v", r)
	}
	d.wantMTU(9, 1300)
	d.wait(coalesce)
	d.wantTold(9, 2, 1300)
}

// TestMTUWithPendingChange: a change that is about to be told tells the MTU of then.
func TestMTUWithPendingChange(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.NeighborMTU(1, 9000, d.now)
	d.hear(1, waveMTU(9, 2, 100, 8000))
	d.NeighborMTU(1, 1300, d.now)
	d.NeighborMTU(1, 1250, d.now)
	d.wait(2 * time.Second)
	d.wantTold(9, 2, 1250)
	// ... one that a sequence's radius would have kept from being told as well.
	d.hear(1, func() wire.Wave { w := wave(7, 1, 1, 100, 9); w.MTU = 9000; return w }())
	d.wait(time.Second)
	d.said(7)
	w := wave(7, 1, 2, 100, 9)
	w.MTU = 9000
	d.hear(1, w)
	d.NeighborMTU(1, 1200, d.now)
	d.wait(coalesce)
	d.wantTold(7, 2, 1200)
}

// TestMeshMTU: whatever happens to links, their MTUs and messages, once there is
// peace every node knows the least MTU on the way its packets take (R8.1, R8.3).
func TestMeshMTU(t *testing.T) {
	far := 0
	for seed := range uint64(trials / 2) {
		r := newMesh(seed, 0).rng
		m := newMesh(seed, 3+r.IntN(8))
		m.loss, m.delay = r.Float64()*0.5, time.Duration(r.Int64N(int64(100*time.Millisecond)))
		fail := func(err error) {
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		pair := func() (int, int) {
			i := r.IntN(len(m.nodes))
			return i, (i + 1 + r.IntN(len(m.nodes)-1)) % len(m.nodes)
		}
		for i := range len(m.nodes) - 1 { // a row, and some more
			m.up(i, i+1, 1000, 0)
		}
		for range 80 {
			i, j := pair()
			switch r.IntN(8) {
			case 0:
				m.up(i, j, uint32(1+r.IntN(20000)), time.Millisecond)
			case 1:
				m.down(i, j, time.Millisecond)
			default:
				mtu := uint16(1200 + r.IntN(8000))
				if r.IntN(3) == 0 {
					mtu = wire.BaseMTU
				}
				m.nodes[i].t.NeighborMTU(Neighbor(j+1), mtu, m.now)
				m.settle(i)
			}
			fail(m.run(m.now + time.Duration(r.Int64N(int64(2*time.Second)))))
		}
		m.loss, m.delay = 0, time.Millisecond
		fail(m.run(m.now + DefaultInterval + 5*time.Second))
		fail(m.settled())
		for a := range m.nodes {
			for b := range m.nodes {
				path, _ := m.walk(a, b)
				if a == b || path[len(path)-1] != b {
					continue
				}
				want := 65535
				for i := range len(path) - 1 {
					want = min(want, int(m.nodes[path[i]].t.find(Neighbor(path[i+1]+1)).mtu))
				}
				if got := m.nodes[a].t.MTU(ridOf(b)); got != want {
					t.Errorf("seed %d: the MTU from %d to %d by %v is %d, want %d", seed, a, b, path, got, want)
				}
				far = max(far, len(path)-1)
			}
		}
	}
	if far < 4 {
		t.Errorf("the longest way had %d hops", far)
	}
}
