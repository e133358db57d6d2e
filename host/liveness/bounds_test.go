package liveness

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHintOnALongLink (L7): a hint is no proof. A probe sent because of it must
// have had the time to be answered before the neighbour can be DEAD.
func TestHintOnALongLink(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		d := New(Config{}, 0)
		d.RTT(200*msec, 5*msec)
		if waiting {
			d.Sent(0)
		}
		d.Hint(100 * msec)
		answer := Never
		for d.State() != Alive {
			if at := d.Deadline(); at < answer {
				if d.OnTimer(at) == Probe {
					answer = min(answer, at+200*msec)
				}
				if d.State() == Dead {
					t.Fatalf("waiting %v: dead at %v, the answer to the probe was due at %v", waiting, at, answer)
				}
				continue
			}
			d.Heard(answer)
		}
	}
}

// TestAnsweredWithinBounds (L3, L4): with the default dead, a neighbour that
// answers everything within srtt + 4 rttvar is never suspected, idle or not.
func TestAnsweredWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		srtt := time.Duration(rapid.IntRange(50, 200_000).Draw(t, "srtt us")) * time.Microsecond
		rttvar := srtt * time.Duration(rapid.IntRange(0, 100).Draw(t, "var %")) / 100
		bound := min(srtt+4*rttvar, time.Second)
		d := New(Config{}, 0)
		d.RTT(srtt, rttvar)
		now, answer := time.Duration(0), Never
		for range 30 {
			at := now + time.Duration(rapid.IntRange(0, 1_500_000).Draw(t, "pause us"))*time.Microsecond
			for min(d.Deadline(), answer) <= at {
				if answer <= d.Deadline() {
					d.Heard(answer)
					answer = Never
					continue
				}
				now = d.Deadline()
				if d.OnTimer(now) == Probe {
					answer = min(answer, now+bound)
				}
				if d.State() != Alive {
					t.Fatalf("%v at %v: srtt %v, rttvar %v, every packet answered within %v", d.State(), now, srtt, rttvar, bound)
				}
			}
			now = at
			d.Sent(now)
			answer = min(answer, now+bound)
		}
	})
}

// TestFarNeighbor: whatever the round trip up to 900 ms, a neighbour of which
// nothing is known yet outlives its first exchange.
func TestFarNeighbor(t *testing.T) {
	for rtt := msec; rtt <= 900*msec; rtt += msec {
		d := New(Config{}, 0)
		d.Sent(0)
		for d.Deadline() < rtt {
			d.OnTimer(d.Deadline())
			if d.State() != Alive {
				t.Fatalf("%v at a round trip of %v that nobody measured", d.State(), rtt)
			}
		}
		d.Heard(rtt)
	}
}
