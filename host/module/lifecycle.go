package module

import "fmt"

// Phase is where a version of a module is in its life (SPEC.md L1). A package
// that was refused has no life: it is a Rejection.
type Phase uint8

// The phases.
const (
	StateDiscovered    Phase = iota // found, nothing is known about it
	StateNeedsApproval              // it asks for more than the version that serves has; that one goes on
	StateVerified                   // accepted, not started yet
	StateStarting                   // an instance is being opened
	StateReady                      // it takes events
	StateBackoff                    // it crashed and will be started again
	StateDraining                   // it was told to finish
	StateStopped                    // it ended as it should
	StateQuarantined                // it crashed too often and stays down
	StateFailed                     // it cannot run here
	phases                          // how many there are
)

var phaseNames = [phases]string{"discovered", "needs-approval", "verified", "starting", "ready", "restarting", "draining", "stopped", "quarantined", "failed"}

// String names the phase.
func (p Phase) String() string {
	if p < phases {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// over reports that no instance follows unless the operator says so.
func (p Phase) over() bool {
	return p == StateStopped || p == StateQuarantined || p == StateFailed
}

// change is what happens to a version of a module.
type change uint8

const (
	verify  change = iota // its package was accepted
	widen                 // ... but it asks for more than was granted before
	approve               // the operator agreed
	begin                 // an instance is being opened
	come                  // the instance takes events
	crash                 // the instance died, or would not start
	giveUp                // ... too often, or soon after it took over from another version
	fail                  // it cannot run here, however often it is started
	drain                 // it is told to finish
	end                   // it has finished, or is not wanted any more
	enable                // the operator wants it again
	changes               // how many there are
)

var changeNames = [changes]string{"verify", "widen", "approve", "begin", "come", "crash", "give up", "fail", "drain", "end", "enable"}

func (c change) String() string { return changeNames[c] }

// after is the whole machine (L1): the phase that follows a change, and false where
// the change cannot happen.
func (p Phase) after(c change) (Phase, bool) {
	switch p {
	case StateDiscovered:
		switch c {
		case verify:
			return StateVerified, true
		case widen:
			return StateNeedsApproval, true
		case fail:
			return StateFailed, true
		}
	case StateNeedsApproval:
		switch c {
		case approve:
			return StateVerified, true
		case end:
			return StateStopped, true
		}
	case StateVerified:
		switch c {
		case begin:
			return StateStarting, true
		case end:
			return StateStopped, true
		}
	case StateStarting:
		switch c {
		case come:
			return StateReady, true
		case drain:
			return StateDraining, true
		case fail:
			return StateFailed, true
		}
		return p.died(c)
	case StateReady:
		if c == drain {
			return StateDraining, true
		}
		return p.died(c)
	case StateBackoff:
		switch c {
		case begin:
			return StateStarting, true
		case end:
			return StateStopped, true
		}
	case StateDraining: // it is not started again, however it ends
		switch c {
		case crash, end:
			return StateStopped, true
		}
	case StateStopped, StateQuarantined, StateFailed:
		switch {
		case c == enable:
			return StateVerified, true
		case c == end && p != StateStopped:
			return StateStopped, true
		}
	}
	return p, false
}

// died is after for an instance that is being opened or takes events.
func (p Phase) died(c change) (Phase, bool) {
	switch c {
	case crash:
		return StateBackoff, true
	case giveUp:
		return StateQuarantined, true
	case end:
		return StateStopped, true
	}
	return p, false
}
