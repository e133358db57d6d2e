package stream

import "time"

const (
	firstRTT    = 100 * time.Millisecond // assumed before the first sample
	granularity = time.Millisecond       // no timer is trusted to be finer (RFC 9002, 6.1.2)
	maxPTO      = time.Second            // a path that comes back is found within a second
	// maxPeerDelay bounds what a peer may subtract from our samples. It is more
	// than ackDelay, because timers of a busy host are late.
	maxPeerDelay = 25 * time.Millisecond
)

// rtt estimates the round trip (RFC 9002, 5).
type rtt struct {
	latest, smoothed, variance, lowest time.Duration
	firstAt                            time.Duration // time of the first sample
	sampled                            bool
}

// sample takes a round trip and how long the peer held the acknowledgement.
func (r *rtt) sample(took, delay, now time.Duration) {
	r.latest = took
	if !r.sampled {
		r.sampled, r.firstAt = true, now
		r.lowest, r.smoothed, r.variance = took, took, took/2
		return
	}
	r.lowest = min(r.lowest, took)
	if delay = min(delay, maxPeerDelay); took-delay >= r.lowest {
		took -= delay
	}
	r.variance += (max(r.smoothed-took, took-r.smoothed) - r.variance) / 4
	r.smoothed += (took - r.smoothed) / 8
}

// pathChanged keeps the estimate as a guess and forgets what the old path proved.
func (r *rtt) pathChanged() {
	if r.sampled {
		r.variance = max(r.variance, r.smoothed/2)
		r.lowest = time.Duration(1<<63 - 1)
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

// lossDelay is how long a packet may be overtaken before it counts as lost.
func (r *rtt) lossDelay() time.Duration {
	s, _ := r.values()
	return max(max(r.latest, s)*9/8, granularity)
}
