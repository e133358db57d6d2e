package pmtu

import (
	"testing"
	"time"
)

// trial feeds a Trains with packets in virtual time.
type trial struct {
	Trains
	now time.Duration
	off int // how often it turned trains off
}

// send sends n packets of a size at one moment, each lost or not, and lets a
// millisecond pass.
func (t *trial) send(n, size int, train bool, lost func(i int) bool) {
	for i := range n {
		if t.Fate(size, train, lost(i), t.now, t.now+10*ms) {
			t.off++
		}
	}
	t.now += ms
}

func all(int) bool  { return true }
func none(int) bool { return false }

// TestTrainsLost: P4.2.
func TestTrainsLost(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *trial)
		want int
	}{
		{"trains lost, a lone packet between got through", func(t *trial) {
			t.send(10, 1200, true, all)
			t.send(1, 60, false, none)
			t.send(2, 1200, true, all)
		}, 1},
		{"the lone packet's fate is known first", func(t *trial) {
			t.now += ms
			at := t.now
			t.Fate(60, false, false, at, at+10*ms)
			t.now -= ms
			t.send(11, 1200, true, all)
			t.now += ms
			t.send(1, 1200, true, all)
		}, 1},
		{"eleven are too few", func(t *trial) {
			t.send(9, 1200, true, all)
			t.send(1, 60, false, none)
			t.send(2, 1200, true, all)
		}, 0},
		{"an outage takes both", func(t *trial) {
			t.send(1, 60, false, none)
			t.send(10, 1200, true, all)
			t.send(5, 60, false, all)
			t.send(10, 1200, true, all)
			t.send(1, 60, false, none)
		}, 0},
		{"one train got through between", func(t *trial) {
			t.send(10, 1200, true, all)
			t.send(1, 60, false, none)
			t.send(1, 1200, true, none)
			t.send(10, 1200, true, all)
		}, 0},
		{"large ones, and a lone one as large got through", func(t *trial) {
			t.send(10, 8972, true, all)
			t.send(1, 8972, false, none)
			t.send(2, 8972, true, all)
		}, 1},
		{"large and small ones do not add up", func(t *trial) {
			t.send(10, 8972, true, all)
			t.send(1, 8972, false, none)
			t.send(10, 1200, true, all)
		}, 0},
		{"lost for their size", func(t *trial) {
			t.send(10, 1300, true, all)
			t.send(1, 60, false, none)
			t.send(10, 1300, true, all)
		}, 0},
	} {
		tr := &trial{now: time.Second}
		if c.run(tr); tr.off != c.want || tr.Off(tr.now) != (c.want > 0) {
			t.Errorf("%s: turned off %d times, want %d", c.name, tr.off, c.want)
		}
	}
}

// TestTrainsRate: P4.3, links that lose some of the trains.
func TestTrainsRate(t *testing.T) {
	every := func(n int) func(int) bool {
		k := 0
		return func(int) bool { k++; return k%n == 0 }
	}
	for _, c := range []struct {
		name           string
		trains, single func(int) bool
		want           bool
	}{
		{"a third of the trains, nothing else", every(3), none, true},
		{"a third of both", every(3), every(3), false},
		{"a twentieth of the trains, as a full queue takes", every(20), none, false},
		{"nothing", none, none, false},
		{"half of the trains, a twentieth of the others", every(2), every(20), true},
		{"half of the trains, a sixth of the others", every(2), every(6), false},
	} {
		tr := &trial{now: time.Second}
		for range 3000 {
			tr.send(8, 1400, true, c.trains)
			tr.send(2, 100, false, c.single)
		}
		if (tr.off > 0) != c.want {
			t.Errorf("%s: turned off %d times, want %v", c.name, tr.off, c.want)
		}
	}
	// One bad moment is none: it takes two windows of half a second.
	tr := &trial{now: time.Second}
	half := every(2)
	for i := range 3000 {
		lost := none
		if i%1000 < 200 {
			lost = half
		}
		tr.send(8, 1400, true, lost)
		tr.send(2, 100, false, none)
	}
	if tr.off > 0 {
		t.Error("a short congestion turned trains off")
	}
}

// TestTrainsAgain: P4.4.
func TestTrainsAgain(t *testing.T) {
	tr := &trial{now: time.Second}
	fail := func() {
		tr.send(10, 1200, true, all)
		tr.send(1, 60, false, none)
		tr.send(2, 1200, true, all)
	}
	wait := trainsOff
	for range 12 {
		fail()
		if at := tr.now + 9*ms; !tr.Off(at+wait-10*ms) || tr.Off(at+wait) {
			t.Fatalf("off until %v, want %v from %v", tr.Until(), wait, at)
		}
		fail() // while they are off nothing counts
		tr.now = tr.Until()
		wait = min(2*wait, maxOff)
	}
	if tr.off != 12 {
		t.Errorf("turned off %d times", tr.off)
	}
	tr.PathChanged()
	if fail(); tr.Until() > tr.now+trainsOff+10*ms {
		t.Error("a change of the path does not forgive")
	}
}
