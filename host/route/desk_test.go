package route

import (
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
)

const trials = 60

func ridOf(i int) wire.RID { return identity.RIDOf(idOf(i)) }

// desk is one table whose neighbours are played by the test. Neighbour i has
// handle i and id idOf(i); origins are other numbers.
type desk struct {
	*Table
	t   *testing.T
	now time.Duration
}

func newDesk(t *testing.T, cfg Config, nbrs ...int) *desk {
	cfg.Self, cfg.Incarnation = idOf(0), 1
	d := &desk{New(cfg, time.Second), t, time.Second}
	for _, i := range nbrs {
		d.NeighborUp(Neighbor(i), idOf(i), 100, 1200, d.now)
	}
	d.sign()
	d.Out()
	return d
}

// sign signs what the table wants signed; 0 = nothing.
func (d *desk) sign() uint64 {
	w, ok := d.Sign()
	if !ok {
		return 0
	}
	w.Sig = sign(&w)
	d.Signed(&w, d.now)
	return w.Seq
}

func wave(origin int, inc, seq uint64, metric uint32, hops uint8) wire.Wave {
	w := wire.Wave{Origin: idOf(origin), Incarnation: inc, Seq: seq, Metric: metric, Hops: hops, MTU: 1300}
	w.Sig = sign(&w)
	return w
}

// hear gives the table a wave and does the check it asks for.
func (d *desk) hear(from int, w wire.Wave) WaveVerdict {
	v := d.OnWave(Neighbor(from), &w, d.now)
	if v == Verify {
		d.Verified(Neighbor(from), &w, sign(&w) == w.Sig, d.now)
	}
	return v
}

// wait lets time pass, timer by timer.
func (d *desk) wait(span time.Duration) {
	end := d.now + span
	for at := d.Deadline(); at <= end; at = d.Deadline() {
		d.now = max(d.now, at)
		d.OnTimer(d.now)
		d.sign()
	}
	d.now = end
}

// via is the handle of the next hop, 0 = none.
func (d *desk) via(origin int) int {
	n, _ := d.Lookup(ridOf(origin))
	return int(n)
}

func (d *desk) wantVia(origin, want int) {
	d.t.Helper()
	if got := d.via(origin); got != want {
		d.t.Errorf("the next hop towards %d is %d, want %d", origin, got, want)
	}
}

// said counts what was sent since the last Out.
type said struct {
	waves    map[int][]wire.Wave // by neighbour
	retracts map[int]int
	requests map[int][]wire.SeqRequest
}

// said takes what went out about an origin.
func (d *desk) said(origin int) said {
	s := said{map[int][]wire.Wave{}, map[int]int{}, map[int][]wire.SeqRequest{}}
	for _, m := range d.Out() {
		to := int(m.To)
		if w, ok := wire.ParseWave(m.Payload[1:]); ok && m.Payload[0] == wire.MsgWave && w.Origin == idOf(origin) {
			s.waves[to] = append(s.waves[to], w)
		}
		if r, ok := wire.ParseRetract(m.Payload[1:]); ok && m.Payload[0] == wire.MsgRetract && r.Origin == idOf(origin) {
			s.retracts[to]++
		}
		if r, ok := wire.ParseSeqRequest(m.Payload[1:]); ok && m.Payload[0] == wire.MsgSeqRequest && r.Origin == idOf(origin) {
			s.requests[to] = append(s.requests[to], r)
		}
	}
	return s
}
