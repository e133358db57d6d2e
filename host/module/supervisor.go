package module

import (
	"context"
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
	u    *unit
	slot int
	spec Spec
	log  *slog.Logger
	lim  *limiter
	box  *mailbox
	wake chan struct{} // holds a token when there is something to look at
	done chan struct{} // closed when the goroutine ended

	settled  chan struct{} // closed when the first start came to an end
	settling sync.Once
	halt     chan struct{} // closed when this version is to finish
	haltOnce sync.Once
	ready    chan struct{} // closed when the first instance takes events
	nowReady sync.Once
	off      bool            // it must not start; written before the goroutine begins
	fell     bool            // the version before comes back; guarded by Manager.mu
	reason   sdk.StartReason // of its first instance
	previous string          // the release that one takes over from
	drainFor time.Duration   // how long it may take; written before halt is closed

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
	tape    *tape       // its record, nil without one
	later   *time.Timer // pokes when a debt is paid; nil before the first

	budget *budget          // has its own lock
	handed bool             // a batch is being handled, or the instance died of it
	stash  []entry          // taken and not handed over: a suspect is between, see quarantine
	alone  bool             // the batch is a suspect and nothing else
	spoilt map[sdk.Ref]bool // streams that poison came on
	looked time.Duration    // when memory was asked for

	mu       sync.Mutex // a leaf; guards what follows
	cycle    lifecycle
	lastErr  string
	counters map[string]uint64
	current  Instance // inst, for whoever has to end it from outside

	signs signer

	events, effects, denied, poisoned, memory atomic.Uint64
	busy, spent                               atomic.Int64 // spent: by instances outside this process that have ended
	late                                      atomic.Bool  // it did not finish in time
}

func newSupervisor(m *Manager, u *unit, slot int, spec Spec) *supervisor {
	log := m.cfg.Log.With("module", spec.Name)
	return &supervisor{m: m, u: u, slot: slot, spec: spec, log: log, reason: sdk.StartFresh, lim: &limiter{log: log, now: m.cfg.Clock, book: u.book},
		box: newMailbox(spec.Limits.Mailbox), wake: make(chan struct{}, 1), done: make(chan struct{}), halt: make(chan struct{}), ready: make(chan struct{}), settled: make(chan struct{}), counters: map[string]uint64{}, budget: newBudget(spec.Limits)}
}

// tell is a line of the host about the module: for the node's log, and for the
// module's own.
func (s *supervisor) tell(level sdk.LogLevel, text string, more ...any) {
	s.log.Log(context.Background(), slog.Level(level)-4, text, more...)
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != nil && more[i+1] != "" {
			text += fmt.Sprintf(" %v=%v", more[i], more[i+1])
		}
	}
	s.u.book.add(slog.Level(level)-4, text)
}

// stop makes this version finish within limit. It does not wait.
func (s *supervisor) stop(limit time.Duration) {
	s.haltOnce.Do(func() {
		s.drainFor = limit
		close(s.halt)
	})
}

func (s *supervisor) stopped() bool {
	select {
	case <-s.halt:
		return true
	default:
		return false
	}
}

// poke makes the goroutine look. It never blocks.
func (s *supervisor) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
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
		case <-s.halt:
			return s.drain()
		}
	}
}

// pump runs batches until there are none, or this version is to finish.
func (s *supervisor) pump() error {
	for !s.stopped() {
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

// drain asks the module to finish, runs it until it says it has and its streams are
// closed, and stops it.
func (s *supervisor) drain() error {
	s.turnTo(drain)
	s.m.cfg.Host.Draining(s.slot)
	limit := s.drainFor
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
		if drained && !more && s.m.cfg.Host.Streams(s.slot) == 0 {
			break
		}
		if more {
			select {
			case <-timer.C:
				late = true
				s.late.Store(true)
			default:
			}
			continue
		}
		select {
		case <-s.wake:
		case <-timer.C:
			late = true
			s.late.Store(true)
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
	if len(s.stash) > 0 {
		s.batch, s.stash = append(s.batch[:0], s.stash...), s.stash[:0]
	} else {
		var err error
		if s.batch, err = s.box.take(s.batch); err != nil {
			s.fault = err
			return blocked, err
		}
	}
	if len(s.batch) == 0 {
		return empty, nil
	}
	if s.u.sus.any.Load() {
		if s.quarantine(); len(s.batch) == 0 {
			return ran, nil // all of it was poison
		}
	}
	if s.fault = s.hand(inline); s.fault != nil {
		return blocked, s.fault
	}
	if s.alone {
		s.alone = false
		s.u.sus.survived(&s.batch[0].ev)
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
	began := s.m.cfg.Clock()
	s.w.ResetEvents(s.seq, began, wall)
	for i := range s.batch {
		if !s.w.Event(s.batch[i].ev) {
			return fmt.Errorf("module: %v event does not fit its batch", s.batch[i].ev.Kind)
		}
	}
	s.w.Event(sdk.Event{Kind: sdk.EvFlush})
	s.events.Add(uint64(len(s.batch)))
	s.handed = true
	s.tape.events(s.w.Bytes())
	effects, err := s.inst.Deliver(s.w.Bytes())
	s.account(began)
	if s.meter != nil {
		s.budget.spend(s.m.cfg.Clock(), s.meter.Used(), s.batch)
	}
	if err == nil && effects != nil {
		err = s.gate.check(effects, s.seq)
	}
	s.tape.answer(effects, err)
	if err != nil {
		return err
	}
	s.handed = false
	if effects == nil {
		return nil
	}
	s.effects.Add(uint64(s.gate.total))
	return s.carryOut(inline)
}

// Sizer is implemented by instances that know how much memory they hold, in bytes.
// It is asked between batches.
type Sizer interface{ Memory() uint64 }

// account books the batch that began at a time. The caller holds run.
func (s *supervisor) account(began time.Duration) {
	now := s.m.cfg.Clock()
	s.busy.Add(int64(now - began))
	if now >= s.looked {
		s.looked = now + time.Second
		if z, ok := s.inst.(Sizer); ok {
			s.memory.Store(z.Memory())
		}
	}
}
