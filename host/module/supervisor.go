package module

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

const (
	// inlineTurns bounds the batches that one RunInline does for a module
	// before the module's own goroutine goes on: the reader has other work.
	inlineTurns = 8
	// maxCounters bounds the counters a module may name.
	maxCounters = 256
)

// supervisor keeps one module alive. Its goroutine opens, restarts and ends
// instances; batches run on that goroutine or, for an inline module, on one that
// called RunInline. Whoever holds run works with the instance; nobody waits for
// run while holding a lock of the host.
type supervisor struct {
	m    *Manager
	slot int
	spec Spec
	log  *slog.Logger
	lim  *limiter
	box  *mailbox
	wake chan struct{} // holds a token when there is something to look at
	done chan struct{} // closed when the goroutine ended

	settled  chan struct{} // closed when the first start came to an end
	settling sync.Once

	run     sync.Mutex // guards what follows, and calls of inst.Deliver
	inst    Instance
	life    uint64 // the mailbox's number of inst
	state   State  // nil without the grant
	seq     uint64
	w       abi.Writer
	batch   []entry
	gate    gate
	fault   error // inst is dead and its goroutine must see to it
	held    bool  // effects wait for a sync, which the goroutine does
	isUp    bool  // the host knows inst
	early   []sdk.Effect
	drained bool
	meter   Meter       // inst, when it knows what it costs
	later   *time.Timer // pokes when a debt is paid; nil before the first

	budget *budget // has its own lock

	mu       sync.Mutex // a leaf; guards what follows
	cycle    lifecycle
	lastErr  string
	counters map[string]uint64
	current  Instance // inst, for whoever has to end it from outside

	signs signer

	events, effects, denied atomic.Uint64
}

func newSupervisor(m *Manager, slot int, spec Spec) *supervisor {
	log := m.cfg.Log.With("module", spec.Name)
	return &supervisor{m: m, slot: slot, spec: spec, log: log, lim: &limiter{log: log, now: m.cfg.Clock},
		box: newMailbox(spec.Limits.Mailbox), wake: make(chan struct{}, 1), done: make(chan struct{}),
		settled: make(chan struct{}), counters: map[string]uint64{}, budget: newBudget(spec.Limits)}
}

// poke makes the goroutine look. It never blocks.
func (s *supervisor) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// supervise runs until the manager closes.
func (s *supervisor) supervise(ctx context.Context) {
	defer close(s.done)
	defer s.settle()
	s.awaitCallees(ctx)
	reason := sdk.StartFresh
	for {
		err := s.live(ctx, reason)
		if err == nil {
			s.turnTo((*lifecycle).stopped)
			return
		}
		s.settle()
		pause, again := s.crashed(err)
		if !again {
			s.m.cfg.Host.Gone(s.slot)
			s.m.RunInline()
			return
		}
		reason = sdk.StartRestart
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.m.closing:
			timer.Stop()
			s.turnTo((*lifecycle).stopped)
			return
		}
	}
}

func (s *supervisor) turnTo(step func(*lifecycle)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step(&s.cycle)
}

// crashed decides what follows an instance's death, and tells the operator.
func (s *supervisor) crashed(err error) (pause time.Duration, again bool) {
	var dice [8]byte
	s.m.random(dice[:])
	s.mu.Lock()
	s.lastErr = err.Error()
	if errors.Is(err, errNoCarrier) {
		s.cycle.failed()
	} else {
		pause, again = s.cycle.crashed(s.m.cfg.Clock(), binary.LittleEndian.Uint64(dice[:]))
	}
	s.mu.Unlock()
	switch {
	case again:
		s.log.Warn("module crashed", "error", err, "restart_in", pause)
	case errors.Is(err, errNoCarrier):
		s.log.Error("module cannot run", "error", err)
	default:
		s.log.Error(fmt.Sprintf("module is in quarantine after %d crashes in %v: mend it and restart the node", quarantineAfter, quarantineWindow), "error", err)
	}
	return pause, again
}

// live is the life of one instance. nil means that the manager closes.
func (s *supervisor) live(ctx context.Context, reason sdk.StartReason) error {
	s.turnTo((*lifecycle).starting)
	inst, life, err := s.open(ctx)
	if s.m.closed() {
		if inst != nil {
			inst.Close()
		}
		s.box.end()
		return nil
	}
	if err == nil {
		if err = s.start(inst, life, reason); err == nil {
			s.settle()
			err = s.serve(inst)
		}
	}
	s.bury(inst)
	if s.m.closed() {
		if err != nil {
			s.log.Warn("module failed while the node was stopping", "error", err)
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
	s.gate = gate{}
	s.forgive()
	s.run.Unlock()
	s.setCurrent(nil)
	if inst != nil {
		if err := inst.Close(); err != nil {
			s.log.Warn("module did not close cleanly", "error", err)
		}
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

// serve runs batches until the instance dies or the manager closes. An instance
// that ends while it is idle is found out by an empty batch, so that it is
// restarted at once and not when somebody needs it.
func (s *supervisor) serve(inst Instance) error {
	var ended <-chan struct{}
	if e, ok := inst.(Exiter); ok {
		ended = e.Done()
	}
	for {
		if err := s.pump(); err != nil {
			return err
		}
		select {
		case <-s.wake:
		case <-ended:
			s.run.Lock()
			s.batch = s.batch[:0]
			err := s.hand(false)
			s.run.Unlock()
			if err == nil {
				err = fmt.Errorf("%w: it ended by itself", ErrGone)
			}
			return err
		case <-s.m.closing:
			return s.drain()
		}
	}
}

// pump runs batches until there are none, or the manager closes.
func (s *supervisor) pump() error {
	for !s.m.closed() {
		if more, err := s.step(); err != nil || !more {
			return err
		}
	}
	return nil
}

// step runs one batch on the goroutine. It reports whether there may be more.
func (s *supervisor) step() (more bool, err error) {
	s.run.Lock()
	res, err := s.turn(false)
	s.run.Unlock()
	s.m.RunInline()
	return res == ran || res != owing && !s.box.idle(), err
}

// drain asks the module to finish, runs it until it says it has, and stops it.
func (s *supervisor) drain() error {
	s.turnTo((*lifecycle).draining)
	limit := s.m.drainFor
	s.box.put(sdk.Event{Kind: sdk.EvDrain, Arg: uint64(limit)})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for late := false; !late; {
		more, err := s.step()
		if err != nil {
			return err
		}
		s.run.Lock()
		drained := s.drained
		s.run.Unlock()
		if drained {
			break
		}
		if more {
			select {
			case <-timer.C:
				late = true
			default:
			}
			continue
		}
		select {
		case <-s.wake:
		case <-timer.C:
			late = true
		}
	}
	s.run.Lock()
	defer s.run.Unlock()
	if s.held { // an inline turn left effects that wait for a sync
		if err := s.release(); err != nil {
			return err
		}
	}
	s.batch = append(s.batch[:0], entry{ev: sdk.Event{Kind: sdk.EvStop}})
	return s.hand(false)
}

// tryRun is RunInline for one module.
func (s *supervisor) tryRun() {
	for range inlineTurns {
		if !s.run.TryLock() {
			return // whoever holds it looks at the mailbox afterwards
		}
		res, err := s.turn(true)
		s.run.Unlock()
		if err != nil || res == blocked {
			s.poke()
			return
		}
		if res == owing || res == empty && s.box.idle() {
			return
		}
	}
	s.poke()
}

// result is what a turn came to.
type result uint8

const (
	empty   result = iota // nothing was there to do
	ran                   // a batch ran
	blocked               // there is no instance, or it waits for a sync
	owing                 // it is over its soft budget, and a timer runs
)

// turn runs one batch. The caller holds run. inline says that it is not the
// supervisor's goroutine, and must not wait for a disk.
func (s *supervisor) turn(inline bool) (result, error) {
	if s.fault != nil {
		return blocked, s.fault
	}
	if s.inst == nil {
		return empty, nil
	}
	if s.held {
		if inline {
			return blocked, nil
		}
		if s.fault = s.release(); s.fault != nil {
			return blocked, s.fault
		}
	}
	if s.owes() {
		return owing, nil
	}
	var err error
	if s.batch, err = s.box.take(s.batch); err != nil {
		s.fault = err
		return blocked, err
	}
	if len(s.batch) == 0 {
		return empty, nil
	}
	if s.fault = s.hand(inline); s.fault != nil {
		return blocked, s.fault
	}
	return ran, nil
}

// hand gives s.batch to the instance and carries its effects out.
func (s *supervisor) hand(inline bool) error {
	s.seq++
	var wall int64
	if s.spec.Grants.Wall {
		wall = time.Now().UnixNano()
	}
	s.w.ResetEvents(s.seq, s.m.cfg.Clock(), wall)
	for i := range s.batch {
		if !s.w.Event(s.batch[i].ev) {
			return fmt.Errorf("module: %v event does not fit its batch", s.batch[i].ev.Kind)
		}
	}
	s.w.Event(sdk.Event{Kind: sdk.EvFlush})
	s.events.Add(uint64(len(s.batch)))
	effects, err := s.inst.Deliver(s.w.Bytes())
	if s.meter != nil {
		s.budget.spend(s.m.cfg.Clock(), s.meter.Used(), s.batch)
	}
	if err != nil || effects == nil {
		return err
	}
	if err := s.gate.check(effects, s.seq); err != nil {
		return err
	}
	s.effects.Add(uint64(s.gate.total))
	return s.carryOut(inline)
}
