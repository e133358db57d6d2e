package stream

import (
	"testing"
	"time"
)

// share is the first flow's part of what all got.
func share(g []float64) (first, sum float64) {
	for _, x := range g {
		sum += x
	}
	return g[0] / sum, sum
}

// TestFairness: two flows of ours, the second starting when the first has the path,
// and one of ours against NewReno to the letter (S5.3).
func TestFairness(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		path        path
		ours, other float64 // bounds of our first flow's share
	}{
		{"50 Mbit/s, 10 ms, queue 1 BDP", path{rate: 50e6, rtt: 10 * ms, queue: 62500}, 0.6, 0.75},
		{"50 Mbit/s, 10 ms, queue 1/2 BDP", path{rate: 50e6, rtt: 10 * ms, queue: 31250}, 0.65, 0.85},
		{"50 Mbit/s, 10 ms, queue 4 BDP", path{rate: 50e6, rtt: 10 * ms, queue: 250000}, 0.65, 0.75},
		{"50 Mbit/s, 40 ms, queue 1 BDP", path{rate: 50e6, rtt: 40 * ms, queue: 250000}, 0.65, 0.85},
		{"50 Mbit/s, 40 ms, queue 1/8 BDP", path{rate: 50e6, rtt: 40 * ms, queue: 31250}, 0.75, 0.95},
		{"50 Mbit/s, 2 ms, queue 2 ms", path{rate: 50e6, rtt: 2 * ms, queue: 12500}, 0.75, 0.95},
		{"50 Mbit/s, 2 ms, queue 20 ms", path{rate: 50e6, rtt: 2 * ms, queue: 125000}, 0.6, 0.75},
		{"10 Mbit/s, 20 ms, queue 1 BDP", path{rate: 10e6, rtt: 20 * ms, queue: 25000}, 0.6, 0.75},
		{"50 Mbit/s, 10 ms, loss 1%", path{rate: 50e6, rtt: 10 * ms, queue: 62500, loss: 0.01}, 0.7, 0.99},
		{"50 Mbit/s, 10 ms, marks", path{rate: 50e6, rtt: 10 * ms, queue: 125000, mark: 62500}, 0.6, 0}, // it would not heed marks
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.path, 3)
			l.flow(0)
			l.flow(2 * time.Second)
			ours, sum := share(l.goodput(8*time.Second, 20*time.Second))
			t.Logf("two of ours: %.2f and %.2f, together %.2f of the rate; queue up to %v", ours, 1-ours, sum/float64(c.path.rate), l.deep)
			if max(ours, 1-ours) > c.ours || sum < 0.8*float64(c.path.rate) {
				t.Errorf("not fair, or idle")
			}
			if c.other == 0 {
				return
			}
			l = newLab(t, c.path, 3)
			l.flow(0)
			l.reno()
			other, sum := share(l.goodput(5*time.Second, 20*time.Second))
			t.Logf("against NewReno: %.2f, together %.2f of the rate", other, sum/float64(c.path.rate))
			if other > c.other || other < 0.3 {
				t.Errorf("a share of %.2f", other)
			}
		})
	}
}
