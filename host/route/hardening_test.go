package route

import (
	"testing"
	"time"
)

// TestShares is R7.6: one neighbour that makes up nodes fills the table, and nodes
// that others speak of are known all the same, before and after.
func TestShares(t *testing.T) {
	const room = 256
	d := newDesk(t, Config{MaxOrigins: room}, 1, 2, 3)
	for i := range 20 {
		d.hear(2, wave(1000+i, 1, 1, 100, 1))
	}
	refused := 0
	for i := range 4 * room {
		d.now += 10 * time.Millisecond // within its share of signature checks
		if v := d.hear(1, wave(2000+i, 1, 1, 100, 1)); v == RefuseRate {
			t.Fatal("the flood did not get through to the table")
		}
		if n, _, _ := d.Known(); n > room {
			t.Fatalf("%d nodes are known, of at most %d", n, room)
		}
	}
	for i := range 20 {
		d.hear(2, wave(3000+i, 1, 1, 100, 1))
		d.hear(3, wave(4000+i, 1, 1, 100, 1))
	}
	for i := range 20 {
		for _, origin := range []int{1000 + i, 3000 + i, 4000 + i} {
			if d.via(origin) == 0 {
				refused++
			}
		}
	}
	n, full, evicted := d.Known()
	if refused > 0 || n != room || full == 0 || evicted != 40 {
		t.Errorf("%d honest nodes are not known; %d known, %d refused, %d had to make room", refused, n, full, evicted)
	}
	d.NeighborDown(1, d.now)
	for end := d.now + 120*DefaultInterval; d.now < end; d.Out() {
		d.wait(max(d.Deadline()-d.now, time.Millisecond))
	}
	if n, _, _ := d.Known(); n != 0 {
		t.Errorf("%d nodes are known long after all was quiet", n)
	}
	for _, nb := range d.nbrs {
		if nb.charged != 0 {
			t.Errorf("neighbour %d is charged with %d", nb.n, nb.charged)
		}
	}
}

// TestForgottenDistance is R7.6: an origin that had to make room is measured, when
// it comes back, against the distance it had.
func TestForgottenDistance(t *testing.T) {
	d := newDesk(t, Config{MaxOrigins: 4}, 1, 2)
	for i := range 4 {
		d.hear(1, wave(10+i, 1, 5, 100, 1))
	}
	d.hear(2, wave(20, 1, 1, 100, 1)) // 13 makes room
	d.wantVia(13, 0)
	d.hear(1, wave(12, 1, 6, 100, 1)) // nothing new
	d.MaxOrigins(5)
	d.hear(1, wave(13, 1, 5, 500, 3)) // longer than the route that others may still use
	d.wantVia(13, 0)
	d.hear(1, wave(13, 1, 6, 500, 3))
	d.wantVia(13, 1)
}

// MaxOrigins makes room.
func (d *desk) MaxOrigins(n int) { d.cfg.MaxOrigins = n }

// TestCheckedOnce is R1.3: while a statement is checked, others that say it wait for
// the same check; one that left meanwhile is not believed.
func TestCheckedOnce(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2, 3)
	w := wave(9, 1, 1, 100, 1)
	far := w
	far.Metric = 5000
	if d.OnWave(1, &w, d.now) != Verify || d.OnWave(2, &far, d.now) != Done || d.OnWave(3, &far, d.now) != Done {
		t.Fatal("want one check")
	}
	far.Metric = 4000
	d.OnWave(2, &far, d.now) // what it said last counts
	d.NeighborDown(3, d.now)
	d.NeighborUp(3, idOf(3), 100, 1200, d.now)
	d.Verified(1, &w, true, d.now)
	r := d.Routes()
	if len(r) != 1 || r[0].Next != 1 || len(r[0].Alternates) != 0 || len(d.byNode[idOf(9)].entries) != 2 {
		t.Fatalf("routes %+v", r)
	}
	if e := d.byNode[idOf(9)].entries[1]; e.via.n != 2 || e.metric != 4000 {
		t.Errorf("neighbour %d offers %d", e.via.n, e.metric)
	}
	if len(d.checks) != 0 {
		t.Error("the check is still awaited")
	}
	bad := wave(9, 1, 2, 1, 1)
	bad.Sig[0] ^= 1
	d.OnWave(1, &bad, d.now)
	d.OnWave(2, &bad, d.now)
	if d.Verified(1, &bad, false, d.now) != RefuseForged || d.Routes()[0].Seq != 1 || len(d.checks) != 0 {
		t.Error("a forged wave changed something")
	}
	d.OnWave(1, &bad, d.now)
	if d.Unchecked(&bad); d.OnWave(2, &bad, d.now) != Verify {
		t.Error("a check that was never made is awaited for ever")
	}
}

// TestRollback is R1.7 and R1.8: who speaks from an old incarnation is told the
// newest statement, goes on above it, and that is told to all.
func TestRollback(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.hear(2, wave(9, 7, 3, 100, 1))
	d.said(9)
	if d.hear(1, wave(9, 2, 8, 100, 1)) != RefuseStale {
		t.Fatal("not refused")
	}
	s := d.said(9).waves[1]
	if len(s) != 1 || s[0].Incarnation != 7 || s[0].Metric != Infinity || s[0].Sig != wave(9, 7, 3, 0, 0).Sig {
		t.Fatalf("answered with %+v", s)
	}
	d.hear(1, wave(9, 2, 9, 100, 1))
	if s := d.said(9).waves[1]; len(s) != 0 {
		t.Error("answered twice within 250 ms")
	}

	// The statement makes no route, wherever it comes.
	d = newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 2, 8, 100, 1))
	d.hear(2, s[0])
	if d.Incarnation(idOf(9)) != 7 || d.via(9) != 1 || len(d.byNode[idOf(9)].entries) != 1 {
		t.Error("a statement must be known, and offer nothing")
	}

	// The origin itself.
	ours := wave(0, 7, 3, Infinity, 1)
	if d.hear(1, ours) != Verify {
		t.Fatal("not looked at")
	}
	inc, ok := d.Outdone()
	if !ok || inc != 7 {
		t.Fatalf("outdone by %d, %v", inc, ok)
	}
	if _, ok := d.Outdone(); ok {
		t.Error("said twice")
	}
	d.Reincarnate(8, d.now)
	if seq := d.sign(); seq != 1 {
		t.Fatalf("signed sequence %d", seq)
	}
	if s := d.said(0).waves; len(s[1]) != 1 || len(s[2]) != 1 || s[1][0].Incarnation != 8 {
		t.Errorf("told %+v", s)
	}
	if d.hear(1, ours) != Done {
		t.Error("an old wave of ours is looked at again")
	}
	forged := ours
	forged.Incarnation = 1 << 40
	if d.hear(1, forged); d.above != 0 {
		t.Error("a forged wave moved our incarnation")
	}
}

// TestAvoid is R4.6: behind a neighbour that is avoided for a destination another
// is used, for that destination alone; where none is feasible, one becomes so
// although the avoided one hears of the new sequence first.
func TestAvoid(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 1, 1, 100, 1))
	d.hear(1, wave(8, 1, 1, 100, 1))
	d.hear(2, wave(9, 1, 1, 5000, 1)) // not feasible
	d.wantVia(9, 1)
	d.said(9)
	d.Avoid(ridOf(9), 1, true, d.now)
	d.wantVia(9, 1)
	if len(d.said(9).requests[2]) != 1 {
		t.Error("no new sequence was asked for")
	}
	d.hear(1, wave(9, 1, 257, 100, 1))
	d.hear(2, wave(9, 1, 257, 5000, 1))
	d.wantVia(9, 2)
	d.wantVia(8, 1)
	d.now += 3 * time.Second
	d.hear(1, wave(9, 1, 258, 100, 1))
	d.hear(2, wave(9, 1, 258, 5000, 1))
	d.wantVia(9, 2)
	d.Avoid(ridOf(9), 1, false, d.now)
	d.hear(1, wave(9, 1, 259, 100, 1))
	d.wantVia(9, 1)
	d.Avoid(ridOf(9), 1, true, d.now)
	d.NeighborDown(1, d.now)
	d.NeighborUp(1, idOf(1), 100, 1200, d.now)
	d.hear(1, wave(9, 1, 260, 100, 1))
	d.wantVia(9, 1) // another life: nothing is known against it
	if len(d.byNode[idOf(9)].shun) != 0 {
		t.Error("a neighbour that left is avoided")
	}
}

// TestAvoidedBeforeSuspect is R4.6: where there is a choice between a neighbour that is
// avoided and one that answers nobody, the avoided one is used, whatever the metrics.
func TestAvoidedBeforeSuspect(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	d.hear(1, wave(9, 1, 1, 100, 1))
	d.hear(2, wave(9, 1, 1, 150, 1))
	d.wantVia(9, 1)
	d.NeighborSuspect(1, true, d.now)
	d.wantVia(9, 2)
	d.Avoid(ridOf(9), 2, true, d.now)
	d.wantVia(9, 2)
	d.NeighborSuspect(1, false, d.now)
	d.wantVia(9, 1)
	d.NeighborSuspect(1, true, d.now)
	d.wantVia(9, 2)
}
