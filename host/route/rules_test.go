package route

import (
	"math"
	"testing"
	"time"

	"nethost/host/wire"
)

// TestRefused is R1.2, R1.3, R1.5 and R1.7.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		w    wire.Wave
		want WaveVerdict
	}{
		"good":                      {wave(9, 1, 1, 100, 1), Verify},
		"good, of the neighbour":    {wave(1, 1, 1, 0, 0), Verify},
		"no incarnation":            {wave(9, 0, 1, 100, 1), Refuse},
		"no sequence":               {wave(9, 1, 0, 100, 1), Refuse},
		"infinite, of the origin":   {wave(1, 1, 1, Infinity, 0), Refuse},
		"a statement on nobody":     {wave(9, 1, 1, Infinity, 1), Done},
		"radius 255":                {wave(9, 1, 1, 100, 255), Refuse},
		"too far":                   {wave(9, 1, 1, 100, wire.MaxTTL), Refuse},
		"claims to be the origin":   {wave(9, 1, 1, 100, 0), Refuse},
		"the origin claims a route": {wave(1, 1, 1, 100, 1), Refuse},
		"free of cost":              {wave(9, 1, 1, 0, 1), Refuse},
		"our own":                   {wave(0, 1, 1, 100, 1), Done},
		"ours, but not from us":     {wave(0, 1, 7, 100, 1), Verify},
	} {
		d := newDesk(t, Config{}, 1)
		if got := d.hear(1, c.w); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
		if c.want != Verify && len(d.Routes()) > 0 {
			t.Errorf("%s: a route came of it", name)
		}
	}
	d := newDesk(t, Config{})
	if w := wave(9, 1, 1, 100, 1); d.OnWave(5, &w, d.now) != Refuse {
		t.Error("a wave of no neighbour was not refused")
	}
}

// TestForged is R1.3: whatever of the signed part is changed, the signature must
// be checked, and a bad one changes nothing.
func TestForged(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	good := wave(9, 1, 5, 100, 1)
	if d.hear(1, good) != Verify || d.hear(1, good) != Done || d.hear(2, good) != Done {
		t.Fatal("a wave must be checked once")
	}
	for name, forge := range map[string]func(w *wire.Wave){
		"sequence":    func(w *wire.Wave) { w.Seq = 6 },
		"incarnation": func(w *wire.Wave) { w.Incarnation = 2 },
		"digest":      func(w *wire.Wave) { w.Digest[3] = 1 },
		"signature":   func(w *wire.Wave) { w.Sig[0] ^= 1 },
		"origin":      func(w *wire.Wave) { w.Origin = idOf(8) },
	} {
		w := good
		w.Metric = 1
		forge(&w)
		if v := d.hear(2, w); v != Verify {
			t.Errorf("forged %s: verdict %d, want Verify", name, v)
		}
	}
	r := d.Routes()
	if len(r) != 1 || r[0].Seq != 5 || r[0].Incarnation != 1 || r[0].Metric != 200 || d.Incarnation(idOf(8)) != 0 {
		t.Errorf("forged waves changed the table: %+v", r)
	}
}

// TestOvertaken is R1.4.
func TestOvertaken(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 2, 5, 500, 1))
	d.hear(1, wave(9, 2, 4, 100, 1))
	if r := d.Routes(); r[0].Seq != 5 || r[0].Metric != 600 {
		t.Errorf("an overtaken wave was taken: %+v", r)
	}
	if d.hear(2, wave(9, 1, 9, 100, 1)) != RefuseStale {
		t.Error("a wave of an older incarnation was not refused")
	}
	d.hear(2, wave(9, 3, 1, 9000, 1))
	if d.Incarnation(idOf(9)) != 3 || d.via(9) != 1 {
		t.Error("a restarted origin must not lose the route that still serves")
	}
}

// TestPassedOn is R1.6 and R2.1.
func TestPassedOn(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2, 9)
	d.hear(1, wave(9, 1, 1, 400, 2))
	if s := d.said(9); len(s.waves) != 0 {
		t.Error("a change was told before 5 ms were over")
	}
	d.wait(coalesce)
	s := d.said(9)
	if len(s.waves) != 1 || len(s.waves[2]) != 1 {
		t.Fatalf("the wave went to %v, want neighbour 2 alone", s.waves)
	}
	w, in := s.waves[2][0], wave(9, 1, 1, 400, 2)
	if w.Metric != 500 || w.Hops != 3 || w.MTU != 1200 || w.Sig != in.Sig || w.Digest != in.Digest {
		t.Errorf("passed on as %+v", w)
	}
	d.NeighborUp(3, idOf(3), 100, 1250, d.now)
	out := d.Out()
	var own, other wire.Wave
	for _, m := range out {
		if w, _ := wire.ParseWave(m.Payload[1:]); m.To == 3 && w.Origin == idOf(0) {
			own = w
		} else if m.To == 3 && w.Origin == idOf(9) {
			other = w
		}
	}
	if own.MTU != 65535 || own.Hops != 0 || own.Metric != 0 || other.MTU != 1200 || other.Metric != 500 { // R8.1
		t.Errorf("a new neighbour was told %+v and %+v", own, other)
	}
	d.hear(1, wave(8, 1, 1, 400, wire.MaxTTL-1))
	d.wait(coalesce)
	if d.wantVia(8, 1); len(d.said(8).waves) > 0 {
		t.Error("a wave went farther than 63 hops")
	}
}

// TestRadius is R3.2 and R3.3.
func TestRadius(t *testing.T) {
	for seq, want := range map[uint64]uint8{1: 63, 2: 2, 3: 2, 4: 4, 8: 4, 12: 4, 16: 16, 32: 16, 256: 16, 257: 63, 258: 2, 513: 63, math.MaxUint64: 2} {
		if got := radius(seq); got != want {
			t.Errorf("sequence %d travels %d hops, want %d", seq, got, want)
		}
	}
	for _, c := range []struct {
		seq  uint64
		hops uint8 // our distance
		want bool
	}{{2, 2, false}, {4, 2, true}, {4, 3, true}, {4, 4, false}, {16, 15, true}, {16, 16, false}, {257, 62, true}} {
		d := newDesk(t, Config{}, 1, 2)
		d.hear(1, wave(9, 1, c.seq-1, 100, c.hops-1))
		d.wait(coalesce)
		d.said(9)
		d.hear(1, wave(9, 1, c.seq, 100, c.hops-1))
		d.wait(coalesce)
		if got := len(d.said(9).waves[2]) > 0; got != c.want {
			t.Errorf("sequence %d at distance %d: passed on %v, want %v", c.seq, c.hops, got, c.want)
		}
		d.hear(1, wave(9, 1, c.seq+1, 100000, c.hops-1))
		d.wait(coalesce)
		if len(d.said(9).waves[2]) == 0 {
			t.Errorf("a change of metric stopped at the radius of %d", c.seq+1)
		}
	}
	// A change that waits for its 5 ms is not forgotten over a new sequence.
	d := newDesk(t, Config{}, 1, 2, 3)
	d.hear(1, wave(9, 1, 2, 100, 9))
	d.wait(coalesce)
	d.OnRetract(1, wire.Retract{Origin: idOf(9), Incarnation: 1}, d.now)
	d.said(9)
	d.hear(1, wave(9, 1, 3, 100, 9))
	d.hear(1, wave(9, 1, 5, 100, 9))
	d.wait(coalesce)
	if len(d.said(9).waves[2]) == 0 {
		t.Error("the return of a lost route was taken for a mere refresh")
	}
	// A new incarnation is news even when its sequence is the one told last.
	d.hear(1, wave(9, 2, 5, 100, 9))
	d.wait(coalesce)
	if len(d.said(9).waves[2]) == 0 {
		t.Error("a new incarnation was taken for a mere refresh")
	}
}

// TestOwnWaves is R3.1.
func TestOwnWaves(t *testing.T) {
	d := newDesk(t, Config{}, 1)
	d.wait(2*DefaultInterval + time.Second)
	if s := d.said(0); len(s.waves[1]) != 2 || s.waves[1][0].Seq != 2 || s.waves[1][1].Seq != 3 {
		t.Errorf("own waves: %+v", s.waves)
	}
}

// TestFeasible is R4.1 and R4.2.
func TestFeasible(t *testing.T) {
	fd := distance{2, 7, 500}
	for _, c := range []struct {
		inc, seq uint64
		metric   uint32
		want     bool
	}{{2, 7, 499, true}, {2, 7, 500, false}, {2, 7, 501, false}, {2, 8, 9999, true}, {2, 6, 1, false}, {3, 1, 9999, true}, {1, 99, 1, false}} {
		o := &origin{fd: fd, hasFD: true}
		e := &entry{via: &neighbor{cost: 100}, inc: c.inc, seq: c.seq, metric: c.metric}
		if got := o.feasible(e); got != c.want {
			t.Errorf("(%d, %d, %d) against (2, 7, 500): %v, want %v", c.inc, c.seq, c.metric, got, c.want)
		}
		if (&origin{}).feasible(e) != true {
			t.Error("without a feasibility distance everything is feasible")
		}
	}
	// The distance never gets worse, whatever happens to the route.
	d := newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 1, 1, 100, 1))
	d.NeighborCost(1, 50000, d.now)
	d.hear(2, wave(9, 1, 1, 200, 1))
	if d.wantVia(9, 1); d.byNode[idOf(9)].fd != (distance{1, 1, 200}) {
		t.Errorf("feasibility distance %+v", d.byNode[idOf(9)].fd)
	}
	d.NeighborDown(1, d.now)
	d.wantVia(9, 0)
	d.hear(2, wave(9, 1, 2, 5000, 1))
	if d.wantVia(9, 2); d.byNode[idOf(9)].fd != (distance{1, 2, 5100}) {
		t.Errorf("feasibility distance %+v", d.byNode[idOf(9)].fd)
	}
}

// TestSelection is R2.3, R2.4 and R4.3.
func TestSelection(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2, 3)
	d.hear(1, wave(9, 1, 1, 1000, 1))
	d.hear(2, wave(9, 1, 1, 900, 1)) // better, but by less than an eighth
	d.wantVia(9, 1)
	d.hear(3, wave(9, 1, 1, 700, 1))
	d.wantVia(9, 3)
	if r := d.Routes()[0]; r.Next != 3 || len(r.Alternates) != 0 {
		t.Errorf("alternates that are not feasible are listed: %+v", r)
	}
	d.hear(1, wave(9, 1, 2, 500, 1))
	d.hear(2, wave(9, 1, 2, 450, 1))
	d.hear(3, wave(9, 1, 2, 460, 1))
	if r := d.Routes()[0]; r.Next != 1 || len(r.Alternates) != 2 || r.Alternates[0] != 2 || r.Alternates[1] != 3 {
		t.Errorf("alternates by metric: %+v", r)
	}
	d.NeighborSuspect(1, true, d.now)
	d.wantVia(9, 2)
	d.NeighborSuspect(2, true, d.now)
	d.wantVia(9, 3)
	d.NeighborSuspect(3, true, d.now)
	if d.via(9) == 0 {
		t.Error("suspicion alone lost the route")
	}
	d.NeighborSuspect(1, false, d.now)
	d.wantVia(9, 1)
	d.NeighborCost(1, 110, d.now)
	if d.find(1).cost != 100 {
		t.Error("a small change of cost counted")
	}
	d.NeighborCost(1, 0, d.now)
	d.NeighborUp(4, idOf(4), 0, 1200, d.now)
	if d.find(1).cost != 1 || d.find(4).cost != 1 {
		t.Error("a link cannot be free: feasibility distances must fall along a path")
	}
}

// TestKept is R4.4: a next hop that got worse stays, and a sequence is asked for.
func TestKept(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 1, 1, 100, 1))
	d.wait(coalesce)
	d.said(9)
	d.hear(1, wave(9, 1, 1, 5000, 1))
	d.wantVia(9, 1)
	s := d.said(9)
	if len(s.requests[1]) != 1 || s.requests[1][0].Seq != 2 || len(s.retracts) != 0 {
		t.Errorf("%+v", s)
	}
	d.hear(1, wave(9, 1, 2, 5000, 1))
	if r := d.Routes()[0]; r.Metric != 5100 {
		t.Errorf("%+v", r)
	}
}
