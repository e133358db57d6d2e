package pmtu

import "time"

// holeLosses is how many packets make a black hole.
const holeLosses = 6

// BlackHole tells large packets that a path has stopped carrying from packets that
// congestion took (P3.2). Search uses one for a link; one by itself watches a path
// through relays, of which only the far end is heard. The zero value is usable.
type BlackHole struct {
	// Base is the size that every path carries, in bytes. 0 is 1200.
	Base int

	lost    [holeLosses]fate // the evidence
	n       int
	small   fate // arrived, though it was sent after the first of lost
	latest  fate // above the base, acknowledged, and sent last
	largest fate // ... the largest of about a second
}

// fate is a packet's size and when it was sent; size 0 is none.
type fate struct {
	size int
	sent time.Duration
}

// clears reports that the arrival of f shows that l was not lost for its size.
func (f fate) clears(l fate) bool { return f.size >= l.size && f.sent >= l.sent }

// Acked takes word that a packet arrived. True: there is a black hole.
func (h *BlackHole) Acked(size int, sent time.Duration) bool {
	f := fate{size, sent}
	if size > h.base() {
		if sent >= h.latest.sent {
			h.latest = f
		}
		if size >= h.largest.size || sent > h.largest.sent+time.Second {
			h.largest = f
		}
		kept := 0
		for _, l := range h.lost[:h.n] {
			if !f.clears(l) {
				h.lost[kept] = l
				kept++
			}
		}
		h.n = kept
	}
	if h.n > 0 {
		if first, _, least := h.evidence(); sent >= first && size < least && (h.small.sent < first || h.small.size == 0 || h.small.size >= least) {
			h.small = f
		}
	}
	return h.found()
}

// Lost takes word that a packet was lost. True: there is a black hole.
func (h *BlackHole) Lost(size int, sent time.Duration) bool {
	l := fate{size, sent}
	if size <= h.base() || h.latest.clears(l) || h.largest.clears(l) {
		return false
	}
	switch {
	case h.n < len(h.lost):
		h.lost[h.n] = l
		h.n++
	case sent > h.lost[h.n-1].sent:
		h.lost[h.n-1] = l
	}
	return h.found()
}

// evidence gives when the first and the last of lost were sent, and the least size.
func (h *BlackHole) evidence() (first, last time.Duration, least int) {
	first, last, least = h.lost[0].sent, h.lost[0].sent, h.lost[0].size
	for _, l := range h.lost[:h.n] {
		first, last, least = min(first, l.sent), max(last, l.sent), min(least, l.size)
	}
	return first, last, least
}

// found: an outage ends for large and small packets alike, so one that was lost
// after a small one got through is what tells a hole from it.
func (h *BlackHole) found() bool {
	if h.n < len(h.lost) || h.small.size == 0 {
		return false
	}
	first, last, least := h.evidence()
	return first <= h.small.sent && h.small.sent < last && h.small.size < least
}

func (h *BlackHole) base() int {
	if h.Base == 0 {
		return Base
	}
	return h.Base
}
