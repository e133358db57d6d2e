package stream

import "time"

// cubic is how the window grows in congestion avoidance (RFC 9438). All of it is
// integers: a fused multiplication would make two processors disagree.
type cubic struct {
	origin   int           // the window at the plateau, in bytes
	epoch    time.Duration // when this avoidance began; 0: with the next growth
	k        int           // milliseconds from epoch to origin
	estimate int           // what Reno would have (4.3), in bytes
	credit   int           // bytes acknowledged towards the next packet of estimate
}

const (
	cubicMostMS = 60_000 // keeps the cube within 64 bits
	// renoGain of renoOf is 3(1-beta)/(1+beta), the additive increase that makes
	// beta as fair as halving (4.3).
	renoGain, renoOf = 9, 17
)

// reduced notes a reduction of window.
func (c *cubic) reduced(window, mss int) {
	if window < c.origin { // another flow takes its share: give up more (4.7)
		c.origin = window * (100 + beta) / 200
	} else {
		c.origin = window
	}
	c.epoch = 0
}

// grow returns the window after size bytes of it were acknowledged.
func (c *cubic) grow(window, size, mss int, now, srtt time.Duration) int {
	if c.epoch == 0 {
		c.epoch, c.estimate, c.credit = max(now, 1), window, 0
		c.origin = max(c.origin, window)
		// K = cbrt((origin - window) / C), C = 0.4 packets/s^3 (4.2)
		c.k = cubeRoot((c.origin - window) / mss * 10 / 4 * 1_000_000_000)
	}
	t := int(min((now-c.epoch+srtt)/time.Millisecond, cubicMostMS)) - c.k
	t = min(max(t, -cubicMostMS), cubicMostMS)
	target := c.origin + t*t*t/1_000_000*4/10*mss/1000
	target = min(max(target, window), window*3/2)
	c.credit += size
	if c.credit >= window {
		c.credit -= window
		gain := mss * renoGain / renoOf
		if c.estimate >= c.origin {
			gain = mss
		}
		c.estimate += gain
	}
	if c.estimate > target {
		return max(window, c.estimate)
	}
	return window + (target-window)*size/window
}

// cubeRoot is the integer cube root.
func cubeRoot(v int) int {
	r := 0
	for bit := 1 << 20; bit > 0; bit >>= 1 {
		if n := r | bit; n*n*n <= v {
			r = n
		}
	}
	return r
}
