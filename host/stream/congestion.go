package stream

import "time"

const (
	packetSize    = 1200 // the size windows are counted in, in bytes
	initialWindow = 32 * packetSize
	minWindow     = 4 * packetSize
	maxWindow     = maxInFlight * packetSize
)

// newReno bounds the bytes in flight (RFC 9002, 7).
type newReno struct {
	window   int
	ssthresh int
	inFlight int           // bytes
	acked    int           // bytes acknowledged since the window last grew, in avoidance
	recovery time.Duration // packets sent until then belong to the last reduction
}

func newCongestion() newReno {
	return newReno{window: initialWindow, ssthresh: maxWindow, recovery: -1}
}

// room reports whether one more full packet may leave.
func (c *newReno) room() bool { return c.inFlight == 0 || c.inFlight+packetSize <= c.window }

// onAcked takes a packet that left the network. prior is what was in flight
// before this acknowledgement: a window that is not used does not grow.
func (c *newReno) onAcked(size int, sentAt time.Duration, prior int) {
	c.inFlight -= size
	switch {
	case sentAt <= c.recovery:
	case c.window < c.ssthresh:
		if 2*prior >= c.window {
			c.window = min(c.window+size, maxWindow)
		}
	case prior+3*packetSize >= c.window:
		if c.acked += size; c.acked >= c.window {
			c.acked -= c.window
			c.window = min(c.window+packetSize, maxWindow)
		}
	}
}

// onLost reacts to a lost packet, at most once for everything that was in flight
// at the same time.
func (c *newReno) onLost(sentAt, now time.Duration) {
	if sentAt <= c.recovery {
		return
	}
	c.recovery = now
	c.window = max(c.window/2, minWindow)
	c.ssthresh, c.acked = c.window, 0
}

// onPersistent starts over after nothing got through for several timeouts
// (RFC 9002, 7.6).
func (c *newReno) onPersistent() {
	c.window, c.acked = minWindow, 0
}

// pathChanged forgets what the old path could carry, but no window grown on it:
// losses up to now say nothing about the new path.
func (c *newReno) pathChanged(now time.Duration) {
	c.window = max(c.window, initialWindow)
	c.ssthresh = max(c.ssthresh, c.window)
	c.recovery = now
}
