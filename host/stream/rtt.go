package stream

import "time"

const (
	firstRTT    = 100 * time.Millisecond // assumed before the first sample
	granularity = time.Millisecond       // no timer is trusted to be finer (RFC 9002, 6.1.2)
	maxPTO      = time.Second            // a path that comes back is found within a second
	// maxPeerDelay bounds what a peer may subtract from our samples. It is more
	// than ackDelay, because timers of a busy host are late.
	maxPeerDelay = 25 * time.Millisecond
	// lowestFor is how long a shortest round trip is believed, at least: paths
	// get longer without telling.
	lowestFor = time.Minute
)

// rtt estimates the round trip (RFC 9002, 5).
type rtt struct {
	latest, smoothed, variance time.Duration
	lowest, before             time.Duration // shortest since lowestAt, and in the minute before
	lowestAt                   time.Duration
	firstAt                    time.Duration // time of the first sample
	sampled                    bool
}

// sample takes a round trip and how long the peer held the acknowledgement.
func (r *rtt) sample(took, delay, now time.Duration) {
	r.latest = took
	if !r.sampled {
		r.sampled, r.firstAt, r.lowestAt = true, now, now
		r.lowest, r.before, r.smoothed, r.variance = took, never, took, took/2
		return
	}
	if now-r.lowestAt > lowestFor {
		r.before, r.lowest, r.lowestAt = r.lowest, took, now
	}
	r.lowest = min(r.lowest, took)
	if delay = min(delay, maxPeerDelay); took-delay >= r.shortest() {
		took -= delay
	}
	r.variance += (max(r.smoothed-took, took-r.smoothed) - r.variance) / 4
	r.smoothed += (took - r.smoothed) / 8
}

// shortest is the round trip of the path without queues, as far as it showed.
func (r *rtt) shortest() time.Duration { return min(r.lowest, r.before) }

// pathChanged keeps the estimate as a guess and forgets what the old path proved.
func (r *rtt) pathChanged() {
	if r.sampled {
		r.variance = max(r.variance, r.smoothed/2)
		r.lowest, r.before = never, never
	}
}

func (r *rtt) values() (smoothed, variance time.Duration) {
	if !r.sampled {
		return firstRTT, firstRTT / 2
	}
	return r.smoothed, r.variance
}

// pto is the probe timeout without backoff (RFC 9002, 6.2.1).
func (r *rtt) pto() time.Duration {
	s, v := r.values()
	return s + max(4*v, granularity) + ackDelay
}

// lossDelay is how long a packet may be overtaken before it counts as lost, on a
// path that keeps the order.
func (r *rtt) lossDelay() time.Duration {
	s, _ := r.values()
	return max(max(r.latest, s)*9/8, granularity)
}
