package liveness

import "time"

// How our own health is judged (L8).
const (
	maxScore    = 8
	onTime      = 3 * time.Millisecond  // a timer this late says nothing
	strained    = 10 * time.Millisecond // one later than this says that we are slow
	scoreGap    = 50 * time.Millisecond // one stall counts once
	scorePeriod = time.Second           // one point heals in so long without strain
)

// Health is how well the node itself keeps up, shared by the detectors of all its
// neighbours: one that is short of processor time, or cut off, must not blame them
// (Lifeguard, Dadgar et al. 2018, "local health multiplier"). The zero value is a
// node in good health.
type Health struct {
	score  int
	last   time.Duration // of the last point
	healed time.Duration // since when points heal
	late   time.Duration // largest lateness seen
}

// Timer notes that a timer ran so late.
func (h *Health) Timer(late, now time.Duration) {
	h.heal(now)
	if late > onTime {
		h.late = max(h.late, late)
	}
	if late > strained {
		h.worse(now)
	}
}

// Silent notes that a neighbour fell silent while others, of which there are so
// many, were silent as well: most of them at once means that it is us.
func (h *Health) Silent(others, neighbors int, now time.Duration) {
	h.heal(now)
	if others >= 1 && 2*(others+1) > neighbors {
		h.worse(now)
	}
}

func (h *Health) worse(now time.Duration) {
	if h.score > 0 && now-h.last < scoreGap {
		return
	}
	h.score = min(h.score+1, maxScore)
	h.last, h.healed = now, now
}

func (h *Health) heal(now time.Duration) {
	for h.score > 0 && now-h.healed >= scorePeriod {
		h.score--
		h.healed += scorePeriod
	}
}

// Factor is what all timeouts are multiplied with now: 1 in good health, 9 at most.
func (h *Health) Factor(now time.Duration) time.Duration {
	h.heal(now)
	return time.Duration(1 + h.score)
}

// Latest is the largest lateness of a timer so far.
func (h *Health) Latest() time.Duration { return h.late }
