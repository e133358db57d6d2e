package module

import (
	"fmt"
	"time"
)

// Phase is where a module is in its life. A package that was found and not
// verified has no life: it is a Rejection.
type Phase uint8

// The phases.
const (
	StateVerified    Phase = iota // accepted, not started yet
	StateStarting                 // an instance is being opened
	StateReady                    // it takes events
	StateBackoff                  // it crashed and will be started again
	StateDraining                 // it was told to finish
	StateStopped                  // it ended as it should
	StateQuarantined              // it crashed too often and stays down
	StateFailed                   // it cannot run here
)

var phaseNames = [...]string{"verified", "starting", "ready", "restarting", "draining", "stopped", "quarantined", "failed"}

// String names the phase.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

const (
	// quarantineAfter crashes within quarantineWindow keep a module down.
	quarantineAfter  = 5
	quarantineWindow = 5 * time.Minute
	firstBackoff     = 100 * time.Millisecond
	maxBackoff       = 30 * time.Second
)

// lifecycle decides what becomes of a module. It reads no clock and rolls no
// dice: both are arguments.
type lifecycle struct {
	phase    Phase
	restarts uint64
	recent   [quarantineAfter]time.Duration // when it crashed, oldest first
	crashes  int                            // how many of recent are used
	attempts int                            // crashes since it last ran well for a window
	upSince  time.Duration
}

// starting notes that an instance is being opened.
func (l *lifecycle) starting() {
	if l.phase == StateBackoff {
		l.restarts++
	}
	l.phase = StateStarting
}

// up notes that the instance takes events.
func (l *lifecycle) up(now time.Duration) { l.phase, l.upSince = StateReady, now }

// draining notes that it was told to finish.
func (l *lifecycle) draining() { l.phase = StateDraining }

// stopped notes a clean end.
func (l *lifecycle) stopped() { l.phase = StateStopped }

// failed notes that it cannot run here, however often it is started.
func (l *lifecycle) failed() { l.phase = StateFailed }

// crashed notes a crash, an instance that would not start included. It gives the
// pause before the next start, or false when there is none: quarantine. dice is
// any random number.
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
		l.phase = StateQuarantined
		return 0, false
	}
	l.phase = StateBackoff
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
