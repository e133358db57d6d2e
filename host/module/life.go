package module

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"nethost/sdk"
)

// living is an instance that was made before its supervisor runs.
type living struct{ inst Instance }

// supervise runs until this version is to finish, or cannot go on. first is an
// instance that has started already, nil for none.
func (s *supervisor) supervise(ctx context.Context, first *living) {
	defer close(s.done)
	defer s.m.ended(s)
	defer s.settle()
	if s.off {
		s.tell(sdk.LogInfo, fmt.Sprintf("module stays down: it was disabled; `nethost module enable %s` starts it", s.spec.Name))
		return
	}
	s.awaitCallees(ctx)
	reason := s.reason
	for {
		var err error
		if first != nil {
			err = s.serveUntilBuried(first.inst)
			first = nil
		} else {
			err = s.live(ctx, reason)
		}
		if err == nil {
			s.turnTo(end)
			return
		}
		s.settle()
		pause, again := s.crashed(err)
		if !again {
			return
		}
		reason, s.previous = sdk.StartRestart, ""
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.halt:
			timer.Stop()
			s.turnTo(end)
			return
		}
	}
}

func (s *supervisor) turnTo(c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cycle.turn(c)
}

func (s *supervisor) phase() Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cycle.phase
}

// crashed decides what follows an instance's death, and tells the operator.
func (s *supervisor) crashed(err error) (pause time.Duration, again bool) {
	var dice [8]byte
	s.m.random(dice[:])
	back := s.m.fallBack(s)
	s.mu.Lock()
	s.lastErr = err.Error()
	switch {
	case errors.Is(err, errNoCarrier):
		s.cycle.turn(fail)
	case back:
		s.cycle.turn(giveUp)
	default:
		pause, again = s.cycle.crashed(s.m.cfg.Clock(), binary.LittleEndian.Uint64(dice[:]))
	}
	s.mu.Unlock()
	switch {
	case back:
		s.tell(sdk.LogError, fmt.Sprintf("the new version %s crashed within %v: the one before comes back", s.spec.Release, rollbackWithin), "error", err)
	case again:
		s.tell(sdk.LogWarn, "module crashed", "error", err, "restart_in", pause)
	case errors.Is(err, errNoCarrier):
		s.tell(sdk.LogError, "module cannot run", "error", err)
	default:
		s.tell(sdk.LogError, fmt.Sprintf("module is in quarantine after %d crashes in %v: mend it, then `nethost module enable %s`", quarantineAfter, quarantineWindow, s.spec.Name), "error", err)
	}
	return pause, again
}

// live is the life of one instance. nil means that this version was to finish.
func (s *supervisor) live(ctx context.Context, reason sdk.StartReason) error {
	s.turnTo(begin)
	inst, life, err := s.open(ctx)
	if s.stopped() {
		if inst != nil {
			inst.Close()
		}
		s.box.end()
		return nil
	}
	if err == nil {
		if err = s.start(inst, life, reason); err == nil {
			s.settle()
			return s.serveUntilBuried(inst)
		}
	}
	return s.end(inst, err)
}

// serveUntilBuried is the life of an instance that has started.
func (s *supervisor) serveUntilBuried(inst Instance) error { return s.end(inst, s.serve(inst)) }

// end buries an instance. An error that does not matter any more becomes nil.
func (s *supervisor) end(inst Instance, err error) error {
	if err != nil {
		s.autopsy(err)
	}
	s.bury(inst)
	if s.stopped() {
		if err != nil {
			s.tell(sdk.LogWarn, "module failed while it was finishing", "error", err)
		}
		return nil
	}
	return err
}

// bury ends an instance: nobody uses it any more, its streams and timers go, and
// so does what it had not taken.
func (s *supervisor) bury(inst Instance) {
	s.run.Lock()
	wasUp := s.isUp
	s.inst, s.isUp, s.held, s.fault, s.early = nil, false, false, nil, nil
	s.stash, s.spoilt, s.handed, s.batch = nil, nil, false, nil
	s.tape.close()
	s.gate, s.tape = gate{}, nil
	s.forgive()
	s.run.Unlock()
	s.setCurrent(nil)
	if inst != nil {
		if err := inst.Close(); err != nil {
			s.log.Warn("module did not close cleanly", "error", err)
		}
		s.burnt(inst)
	}
	if wasUp && !s.m.closed() {
		s.m.cfg.Host.Down(s.slot)
		s.m.RunInline()
	}
	s.box.end()
}

func (s *supervisor) setCurrent(inst Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = inst
}
