package liveness

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const msec = time.Millisecond

// step is one thing that happens to a detector, and what it must lead to.
type step struct {
	at   time.Duration
	do   string // sent, heard, hint, tick
	want Action
	then State
}

func play(t *testing.T, d *Detector, steps []step) {
	t.Helper()
	for i, s := range steps {
		got := None
		switch s.do {
		case "sent":
			d.Sent(s.at)
		case "heard":
			d.Heard(s.at)
		case "hint":
			d.Hint(s.at)
		case "tick":
			if dl := d.Deadline(); dl != s.at {
				t.Fatalf("step %d: the deadline is %v, want %v", i, dl, s.at)
			}
			got = d.OnTimer(s.at)
		}
		if got != s.want || d.State() != s.then {
			t.Fatalf("step %d (%s at %v): action %v and %v, want %v and %v", i, s.do, s.at, got, d.State(), s.want, s.then)
		}
	}
}

func fast(now time.Duration) *Detector {
	d := New(Config{}, now)
	d.RTT(msec, 100*time.Microsecond)
	return d
}

func TestSilentDeath(t *testing.T) { // L2, L3, L4
	play(t, fast(0), []step{
		{0, "sent", None, Alive},
		{10 * msec, "tick", Probe, Alive},
		{20 * msec, "tick", Probe, Alive}, // burst
		{25 * msec, "tick", Probe, Alive},
		{30 * msec, "tick", Probe, Alive},
		{36 * msec, "tick", Suspected, Suspect},
		{46 * msec, "tick", Probe, Suspect},
		{56 * msec, "tick", Probe, Suspect},
		{66 * msec, "tick", Probe, Suspect},
		{76 * msec, "tick", Probe, Suspect},
		{86 * msec, "tick", Probe, Suspect},
		{96 * msec, "tick", Probe, Suspect},
		{106 * msec, "tick", Probe, Suspect},
		{116 * msec, "tick", Probe, Suspect},
		{126 * msec, "tick", Probe, Suspect},
		{136 * msec, "tick", Probe, Suspect},
		{146 * msec, "tick", Probe, Suspect},
		{150 * msec, "tick", Died, Dead},
		{151 * msec, "heard", None, Dead},
	})
}

func TestLifted(t *testing.T) { // L1
	d := fast(0)
	d.Sent(0)
	for d.State() == Alive {
		d.OnTimer(d.Deadline())
	}
	if !d.Heard(40 * msec) {
		t.Error("Heard did not report that the suspicion is lifted")
	}
	if d.Heard(41 * msec) {
		t.Error("Heard reported a lifted suspicion where there was none")
	}
	play(t, d, []step{{41*msec + time.Second, "tick", Probe, Alive}}) // idle again, L6
}

func TestIdle(t *testing.T) { // L6
	d := fast(0)
	if d.Deadline() != time.Second {
		t.Errorf("an idle link is probed at %v", d.Deadline())
	}
	d.SetActive(true)
	play(t, d, []step{{250 * msec, "tick", Probe, Alive}, {260 * msec, "tick", Probe, Alive}, {261 * msec, "heard", None, Alive},
		{511 * msec, "tick", Probe, Alive}})
}

func TestHint(t *testing.T) { // L7
	d := fast(0)
	play(t, d, []step{{5 * msec, "hint", None, Suspect}, {5 * msec, "tick", Probe, Suspect}, {15 * msec, "tick", Probe, Suspect}})
	d.Heard(16 * msec)
	if d.State() != Alive {
		t.Error("a hint is no proof: a packet lifts it")
	}
}

func TestLateTimer(t *testing.T) { // L5
	d := fast(0)
	d.Sent(0)
	if a := d.OnTimer(100 * msec); a != None || d.State() != Alive {
		t.Fatalf("a timer 90 ms late: %v, %v", a, d.State())
	}
	play(t, d, []step{{110 * msec, "tick", Probe, Alive}})
	// Once a silence: the second late timer counts.
	if a := d.OnTimer(300 * msec); a != Probe {
		t.Errorf("second late timer: %v", a)
	}
}

// TestNeverAccusesTheLiving: whatever is sent when, a neighbour that answers
// within its round trip is never suspected.
func TestNeverAccusesTheLiving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rtt := time.Duration(rapid.IntRange(50, 80_000).Draw(t, "rtt us")) * time.Microsecond
		d := New(Config{Dead: 2 * time.Second}, 0)
		d.RTT(rtt, rtt/8)
		now := time.Duration(0)
		var answers []time.Duration
		for range 200 {
			now += time.Duration(rapid.IntRange(0, 30_000).Draw(t, "pause us")) * time.Microsecond
			for d.Deadline() <= now || len(answers) > 0 && answers[0] <= now {
				if len(answers) > 0 && answers[0] <= d.Deadline() {
					d.Heard(answers[0])
					answers = answers[1:]
					continue
				}
				at := d.Deadline()
				if d.OnTimer(at) != None {
					answers = append(answers, at+rtt)
				}
				if d.State() != Alive {
					t.Fatalf("%v at %v with a round trip of %v", d.State(), at, rtt)
				}
			}
			d.Sent(now)
			answers = append(answers, now+rtt)
		}
	})
}

// TestAlwaysFindsTheDead: after the last packet, death is declared within dead,
// give or take one probe, whatever came before.
func TestAlwaysFindsTheDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := fast(0)
		now := time.Duration(0)
		for range rapid.IntRange(0, 20).Draw(t, "heard") {
			now += time.Duration(rapid.IntRange(0, 9_000).Draw(t, "us")) * time.Microsecond
			d.Sent(now)
			d.Heard(now)
		}
		sent := now
		d.Sent(now)
		for steps := 0; d.State() != Dead; steps++ {
			if steps > 100 {
				t.Fatal("never")
			}
			now = d.Deadline()
			d.OnTimer(now)
		}
		if took := now - sent; took != DefaultDead {
			t.Fatalf("declared dead after %v", took)
		}
	})
}

// TestStallsAreOurs: a machine that stalls again and again gives nobody up for the
// time that it did not run, and still finds the dead once it runs. L5
func TestStallsAreOurs(t *testing.T) {
	d, now := fast(0), time.Duration(0)
	d.Sent(0)
	for range 8 {
		now = d.Deadline() + 150*msec
		if d.OnTimer(now); d.State() == Dead {
			t.Fatalf("dead at %v, of which nearly all was stalled", now)
		}
	}
	for stalled := now; d.State() != Dead; now = d.Deadline() {
		if d.OnTimer(d.Deadline()); d.Deadline() != Never && d.Deadline() > stalled+2*DefaultDead {
			t.Fatal("the dead was never found")
		}
	}
}
