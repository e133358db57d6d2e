package module

import "time"

const (
	// quarantineAfter crashes within quarantineWindow keep a module down.
	quarantineAfter  = 5
	quarantineWindow = 5 * time.Minute
	firstBackoff     = 100 * time.Millisecond
	maxBackoff       = 30 * time.Second
	// rollbackWithin is how soon after it took over a version must crash for the
	// one before to be brought back.
	rollbackWithin = 60 * time.Second
)

// lifecycle is a version's phase and its crashes. It reads no clock and rolls no
// dice: both are arguments.
type lifecycle struct {
	phase    Phase
	restarts uint64
	recent   [quarantineAfter]time.Duration // when it crashed, oldest first
	crashes  int                            // how many of recent are used
	attempts int                            // crashes since it last ran well for a window
	upSince  time.Duration
}

// turn makes a change, and reports whether it can happen now.
func (l *lifecycle) turn(c change) bool {
	next, ok := l.phase.after(c)
	if ok && c == begin && l.phase == StateBackoff {
		l.restarts++
	}
	if ok && c == enable {
		l.crashes, l.attempts = 0, 0
	}
	l.phase = next
	return ok
}

// up notes that the instance takes events.
func (l *lifecycle) up(now time.Duration) {
	l.turn(come)
	l.upSince = now
}

// crashed notes a crash, an instance that would not start included. It gives the
// pause before the next start (L2), or false when there is none: quarantine. dice
// is any random number.
func (l *lifecycle) crashed(now time.Duration, dice uint64) (pause time.Duration, again bool) {
	if l.phase == StateReady && now-l.upSince >= quarantineWindow {
		l.attempts = 0
	}
	if l.crashes == quarantineAfter {
		copy(l.recent[:], l.recent[1:])
		l.crashes--
	}
	l.recent[l.crashes] = now
	l.crashes++
	if l.crashes == quarantineAfter && now-l.recent[0] < quarantineWindow {
		l.turn(giveUp)
		return 0, false
	}
	l.turn(crash)
	l.attempts++
	return backoff(l.attempts, dice), true
}

// backoff is the pause after the nth crash: none, then 0.1 s, doubled up to 30 s,
// give or take a quarter so that modules that fell together do not rise together.
func backoff(n int, dice uint64) time.Duration {
	if n <= 1 {
		return 0
	}
	d := maxBackoff
	if n-2 < 9 { // 0.1 s << 9 is above 30 s
		d = min(d, firstBackoff<<(n-2))
	}
	return min(maxBackoff, d-d/4+time.Duration(dice%uint64(d/2+1)))
}
