package stream

import "time"

const (
	// basePacket is the packet size assumed until SetPacketSize, in bytes.
	basePacket = 1200

	// What a reduction leaves of the window, in percent: after losses (RFC 9438,
	// 4.6), and after marks, which tell of shorter queues (RFC 8511).
	beta, betaMarked = 70, 85

	tolerated    = 50 // one lost byte in so many is not taken for congestion ...
	toleratedMin = 2  // ... nor so many packets
	lossMemory   = 512
	// A round trip that is longer than the shortest by an eighth, and by 4 ms to
	// 16 ms, has a queue in it (RFC 9406, 4.2).
	queueLeast, queueMost = 4 * time.Millisecond, 16 * time.Millisecond
	rttSamples            = 8 // so many samples make the minimum of a round (RFC 9406, 4.2)
	cssRounds             = 5 // rounds of conservative slow start (RFC 9406, 4.3)
	cssDivisor            = 4
	rateRounds            = 5 // the delivery rate is the best of five to ten rounds
)

// congestion bounds the bytes in flight: CUBIC (RFC 9438) with HyStart++
// (RFC 9406), but losses at random do not count as congestion: below two percent,
// while round trips show no queue, the window stays (S5.3).
type congestion struct {
	mss      int // bytes of a full packet
	window   int
	ssthresh int
	inFlight int
	recovery time.Duration // packets sent until then belong to the last reduction
	cubic    cubic
	undo     undo

	// What the packets since the last reduction say about loss, in bytes; both are
	// halved when they have grown to lossMemory packets or a window.
	lost, through int

	// The round under way ends when something sent after its start is
	// acknowledged.
	roundEnd   uint64 // send order
	roundStart time.Duration
	roundBytes int
	rounds     int
	rate       [2]int // best bytes a second of these rateRounds rounds, and of those before

	// Shortest round trips of this round and the one before; 0: not known.
	roundMin, lastMin time.Duration
	samples           int
	css               int           // rounds of conservative slow start, counted from 1; 0: not in it
	cssMin            time.Duration // round trip when it began
}

// undo is what a reduction would have to give back if all its losses turn out to
// be packets that were only late.
type undo struct {
	window, ssthresh int
	cubic            cubic
	since            time.Duration
	losses           int // declared since, and not yet known to be late
}

func newCongestion() congestion {
	c := congestion{mss: basePacket, recovery: -1}
	c.window, c.ssthresh = c.initialWindow(), c.maxWindow()
	return c
}

// initialWindow is 32 packets of the size that every path carries, or ten larger
// ones (RFC 9002, 7.2, has ten).
func (c *congestion) initialWindow() int { return max(32*basePacket, 10*c.mss) }
func (c *congestion) minWindow() int     { return 4 * c.mss }
func (c *congestion) maxWindow() int     { return maxInFlight * c.mss }
func (c *congestion) slowStart() bool    { return c.window < c.ssthresh }

// room reports whether one more full packet may leave.
func (c *congestion) room() bool { return c.inFlight == 0 || c.inFlight+c.mss <= c.window }

// resize takes another packet size. Windows are bytes and stay, within bounds.
func (c *congestion) resize(mss int) {
	untouched := c.window == c.initialWindow() && c.ssthresh == c.maxWindow()
	c.mss = mss
	if untouched {
		c.window, c.ssthresh = c.initialWindow(), c.maxWindow()
	}
	c.window = min(max(c.window, c.minWindow()), c.maxWindow())
	c.ssthresh = max(c.ssthresh, c.minWindow())
}

// onAcked takes a packet that left the network. prior is what was in flight
// before this acknowledgement: a window that is not used does not grow.
func (c *congestion) onAcked(size int, sentAt, now time.Duration, prior int, srtt time.Duration) {
	c.inFlight -= size
	c.roundBytes += size
	if sentAt > c.recovery {
		c.remember(size, 0)
	}
	switch {
	case sentAt <= c.recovery:
	case c.slowStart():
		if 2*prior < c.window {
			break
		}
		if c.css > 0 {
			size /= cssDivisor
		}
		c.window = min(c.window+size, c.maxWindow())
	case prior+max(3*c.mss, c.window/8) >= c.window:
		c.window = min(c.cubic.grow(c.window, size, c.mss, now, srtt), c.maxWindow())
	default:
		c.cubic.epoch = 0 // time in which the window was not used does not count
	}
}

func (c *congestion) remember(through, lost int) {
	c.through, c.lost = c.through+through, c.lost+lost
	if c.through+c.lost > max(lossMemory*c.mss, c.window) {
		c.through, c.lost = c.through/2, c.lost/2
	}
}

// onLost reacts to a lost packet, at most once for everything that was in flight
// at the same time. shortest is the shortest round trip of the path.
func (c *congestion) onLost(size int, sentAt, now, shortest time.Duration) {
	if sentAt <= c.recovery {
		c.undo.losses++
		return
	}
	c.remember(0, size)
	few := c.lost <= (c.lost+c.through)/tolerated+toleratedMin*c.mss
	if few && !c.queued(shortest) {
		return
	}
	floor := 0
	if few { // the queue is ours to drain, what the path delivers is ours to keep
		floor = c.delivered(shortest)
	}
	c.undo = undo{window: c.window, ssthresh: c.ssthresh, cubic: c.cubic, since: now, losses: 1}
	c.reduce(now, beta, floor)
}

// onMarked reacts to congestion marks on packets of which the newest was sent at
// sentAt, once a round trip. Relays set them as soon as anything waits.
func (c *congestion) onMarked(sentAt, now time.Duration) {
	if sentAt > c.recovery {
		c.undo = undo{}
		c.reduce(now, betaMarked, 0)
	}
}

func (c *congestion) reduce(now time.Duration, keep, floor int) {
	c.recovery, c.lost, c.through = now, 0, 0
	c.cubic.reduced(c.window, c.mss)
	w := c.window * keep / 100
	c.window = max(w, min(floor, c.window), c.minWindow())
	c.ssthresh, c.css = c.window, 0
}

// onLate takes a packet that was declared lost at lostAt and arrived after all.
func (c *congestion) onLate(size int, lostAt time.Duration) {
	c.lost = max(c.lost-size, 0)
	c.through += size
	if c.undo.losses == 0 || lostAt < c.undo.since {
		return
	}
	if c.undo.losses--; c.undo.losses == 0 {
		c.window, c.ssthresh = max(c.window, c.undo.window), max(c.ssthresh, c.undo.ssthresh)
		c.cubic = c.undo.cubic
		c.cubic.epoch = 0
	}
}

// queued reports whether round trips show a queue.
func (c *congestion) queued(shortest time.Duration) bool {
	recent := c.lastMin
	if c.samples >= rttSamples && (recent == 0 || c.roundMin < recent) {
		recent = c.roundMin
	}
	return recent-shortest > queueDelay(shortest) // shortest may be never
}

func queueDelay(rtt time.Duration) time.Duration {
	return min(max(rtt/8, queueLeast), queueMost)
}

// delivered is what the path holds without a queue: delivery rate by shortest
// round trip, in bytes.
func (c *congestion) delivered(shortest time.Duration) int {
	return int(int64(max(c.rate[0], c.rate[1])) * int64(min(shortest, time.Second)/time.Microsecond) / 1e6)
}

// sample takes a round trip for HyStart++ and the signs of a queue.
func (c *congestion) sample(took time.Duration) {
	if c.samples == 0 || took < c.roundMin {
		c.roundMin = took
	}
	c.samples++
	if c.samples < rttSamples || c.lastMin == 0 || !c.slowStart() {
		return
	}
	switch {
	case c.css == 0 && c.roundMin >= c.lastMin+queueDelay(c.lastMin):
		c.css, c.cssMin = 1, c.roundMin
	case c.css > 0 && c.roundMin < c.cssMin:
		c.css = 0 // it was no queue
	}
}

// endRound begins the next round: it ends when the packet with the order next is
// acknowledged, the first that is yet to be sent.
func (c *congestion) endRound(next uint64, now time.Duration) {
	if took := now - c.roundStart; c.roundEnd > 0 && took > 0 {
		perSecond := int(int64(c.roundBytes) * int64(time.Second) / int64(took))
		c.rate[0] = max(c.rate[0], perSecond)
		if c.rounds++; c.rounds%rateRounds == 0 {
			c.rate[1], c.rate[0] = c.rate[0], perSecond
		}
	}
	c.roundEnd, c.roundStart, c.roundBytes = next, now, 0
	if c.css > 0 && c.slowStart() {
		if c.css++; c.css > cssRounds {
			c.ssthresh, c.css = c.window, 0
		}
	}
	if c.samples >= rttSamples {
		c.lastMin, c.samples = c.roundMin, 0
	}
}

// onPersistent starts over after nothing got through for several timeouts
// (RFC 9002, 7.6).
func (c *congestion) onPersistent() {
	c.window, c.undo, c.css = c.minWindow(), undo{}, 0
	c.cubic.epoch = 0
}

// pathChanged forgets what the old path could carry, but no window grown on it:
// losses up to now say nothing about the new path.
func (c *congestion) pathChanged(now time.Duration) {
	c.window = max(c.window, c.initialWindow())
	c.ssthresh = max(c.ssthresh, c.window)
	c.recovery, c.undo, c.cubic.epoch = now, undo{}, 0
	c.lost, c.through, c.rate = 0, 0, [2]int{}
	c.roundMin, c.lastMin, c.samples, c.css = 0, 0, 0, 0
}
