package liveness

import (
	"testing"
	"time"
)

func TestHealth(t *testing.T) { // L8
	var h Health
	if h.Timer(10*msec, time.Second); h.Factor(time.Second) != 1 {
		t.Error("10 ms late is not late")
	}
	now := time.Second
	for range 20 {
		now += 100 * msec
		h.Timer(11*msec, now)
		h.Timer(11*msec, now+49*msec) // the same stall
	}
	if h.Factor(now) != 9 || h.Latest() != 11*msec {
		t.Errorf("factor %d, latest %v", h.Factor(now), h.Latest())
	}
	if f := h.Factor(now + 2*time.Second); f != 7 {
		t.Errorf("factor %d after 2 s", f)
	}
	if f := h.Factor(now + time.Hour); f != 1 {
		t.Errorf("factor %d after an hour", f)
	}
	for _, c := range []struct{ others, of, want int }{{0, 1, 1}, {0, 2, 1}, {1, 2, 2}, {1, 3, 2}, {1, 4, 1}, {2, 4, 2}, {2, 5, 2}} {
		var h Health
		if h.Silent(c.others, c.of, now); h.Factor(now) != time.Duration(c.want) {
			t.Errorf("%d of %d besides one silent: factor %d, want %d", c.others, c.of, h.Factor(now), c.want)
		}
	}
}

// TestScaled is L8: every time but the gaps within a burst is longer for a node in
// bad health, and as it was before once it is well.
func TestScaled(t *testing.T) {
	var h Health
	h.Timer(20*msec, 0)
	d := New(Config{Health: &h}, 0)
	d.RTT(msec, 100*time.Microsecond)
	play(t, d, []step{
		{0, "sent", None, Alive},
		{20 * msec, "tick", Probe, Alive},
		{40 * msec, "tick", Probe, Alive},
		{45 * msec, "tick", Probe, Alive},
		{50 * msec, "tick", Probe, Alive},
		{62 * msec, "tick", Suspected, Suspect},
	})
	for d.State() == Suspect {
		d.OnTimer(d.Deadline())
	}
	if d.unheard != 0 || h.Factor(300*msec) != 2 {
		t.Fatal("the silence began at 0")
	}
	blind := New(Config{Health: &h, Blind: true}, 0)
	blind.RTT(msec, 100*time.Microsecond)
	if blind.Sent(0); blind.Deadline() != 10*msec {
		t.Errorf("a detector that is blind to its health waits %v", blind.Deadline())
	}
	if blind.OnTimer(5*time.Second) != Probe {
		t.Error("... and excuses a late timer")
	}
}

func TestProfiles(t *testing.T) { // L9
	for dead, at := range map[time.Duration]time.Duration{0: 150 * msec, FastDead: 50 * msec} {
		d := New(Config{Dead: dead}, 0)
		d.RTT(msec, 100*time.Microsecond)
		d.Sent(0)
		var suspect, died time.Duration
		for died == 0 {
			now := d.Deadline()
			switch d.OnTimer(now) {
			case Suspected:
				suspect = now
			case Died:
				died = now
			}
		}
		if suspect != 36*msec || died != at {
			t.Errorf("suspect at %v, dead at %v", suspect, died)
		}
	}
}

func TestWhy(t *testing.T) {
	d := fast(0)
	want := func(c Cause, since time.Duration) {
		t.Helper()
		if got, at := d.Why(); got != c || at != since {
			t.Errorf("%v since %v, want %v since %v", got, at, c, since)
		}
	}
	d.Sent(0)
	want(NoCause, 0)
	d.OnTimer(10 * msec)
	want(Unanswered, 0)
	for d.State() == Alive {
		d.OnTimer(d.Deadline())
	}
	want(BurstFailed, 0)
	d.Heard(60 * msec)
	want(NoCause, 0)
	d.Hint(70 * msec)
	want(Unreachable, 70*msec)
	if !d.Silent() {
		t.Error("not silent")
	}
}
