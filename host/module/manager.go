package module

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nethost/sdk"
)

// maxDrain is how long a module may take to finish when the manager closes.
const maxDrain = 2 * time.Second

// Manager runs the modules of a node. Add them, then Start; the other methods are
// safe for concurrent use after that.
type Manager struct {
	cfg    Config
	mods   []*supervisor
	inline []*supervisor
	byID   map[sdk.ID][]string

	pending  atomic.Bool // an inline module may have something in its mailbox
	started  bool
	cancel   context.CancelFunc
	once     sync.Once
	closing  chan struct{}
	drainFor time.Duration // written before closing is closed

	entropy sync.Mutex // guards reads of cfg.Entropy
}

// NewManager makes a manager without modules.
func NewManager(cfg Config) *Manager {
	return &Manager{cfg: cfg, byID: map[sdk.ID][]string{}, closing: make(chan struct{})}
}

// Add takes a module and gives its slot; slots count from 0.
func (m *Manager) Add(spec Spec) int {
	s := newSupervisor(m, len(m.mods), spec)
	m.mods = append(m.mods, s)
	if spec.Limits.Inline {
		m.inline = append(m.inline, s)
	}
	for _, p := range spec.Subprotocols {
		if !slices.Contains(m.byID[p.ID], spec.Name) {
			m.byID[p.ID] = append(m.byID[p.ID], spec.Name)
		}
	}
	return s.slot
}

// Start brings the modules to life, each on a goroutine of its own, and returns
// at once. ctx bounds their opening; Close ends them.
func (m *Manager) Start(ctx context.Context) {
	ctx, m.cancel = context.WithCancel(ctx)
	m.started = true
	for _, s := range m.mods {
		go s.supervise(ctx)
	}
}

// Deliver queues an event for the module in a slot. It copies the payload and
// never blocks, so it may be called under the host's lock. What an inline module
// got runs at the next RunInline.
func (m *Manager) Deliver(slot int, ev sdk.Event) {
	if slot < 0 || slot >= len(m.mods) {
		return
	}
	s := m.mods[slot]
	s.box.put(ev)
	if s.spec.Limits.Inline {
		m.pending.Store(true)
	} else {
		s.poke()
	}
}

// RunInline runs what was delivered to inline modules, on the caller's goroutine,
// except where another one is at it. The host calls it after each step, without
// its lock.
func (m *Manager) RunInline() {
	for m.pending.Load() && m.pending.Swap(false) {
		for _, s := range m.inline {
			if !s.box.idle() {
				s.tryRun()
			}
		}
	}
}

// Close tells the modules to finish, waits until they have, and ends them. When
// ctx ends first they are cut off.
func (m *Manager) Close(ctx context.Context) {
	m.once.Do(func() {
		m.drainFor = maxDrain
		if end, ok := ctx.Deadline(); ok {
			m.drainFor = max(0, min(m.drainFor, time.Until(end)/2))
		}
		close(m.closing)
		if m.cancel != nil {
			m.cancel()
		}
	})
	if !m.started {
		return
	}
	for _, s := range m.mods {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.cut()
		}
	}
}

// cut ends an instance that does not end by itself.
func (s *supervisor) cut() {
	s.mu.Lock()
	inst := s.current
	s.mu.Unlock()
	if inst != nil {
		inst.Close()
		s.log.Warn("module did not finish in time and was cut off")
	}
}

func (m *Manager) closed() bool {
	select {
	case <-m.closing:
		return true
	default:
		return false
	}
}

// holders names the modules that answer to an id.
func (m *Manager) holders(id sdk.ID) []string { return m.byID[id] }

// random fills b. A node whose source of entropy fails must not go on with keys
// that can be guessed.
func (m *Manager) random(b []byte) {
	m.entropy.Lock()
	defer m.entropy.Unlock()
	if _, err := io.ReadFull(m.cfg.Entropy, b); err != nil {
		panic(fmt.Sprintf("module: the source of entropy failed: %v", err))
	}
}

// Info is what a listing says about a module.
type Info struct {
	Name, Release, Publisher string
	Kind                     Kind
	State                    Phase
	Methods                  []string
	Subprotocols             []sdk.Subprotocol
	Grants                   []string
	Restarts                 uint64
	LastError                string            // why it crashed last, or cannot run
	Events, Effects          uint64            // handed over, and what came of it
	Denied                   uint64            // effects refused
	Dropped                  uint64            // messages dropped at a full mailbox
	Mailbox                  int               // events waiting
	Counters                 map[string]uint64 // the module's own
	Usage                    Usage             // all zero when the carrier does not meter
}

// List describes the modules, by slot.
func (m *Manager) List() []Info {
	out := make([]Info, 0, len(m.mods))
	for _, s := range m.mods {
		i := Info{Name: s.spec.Name, Release: s.spec.Release, Publisher: s.spec.Publisher, Kind: s.spec.Kind,
			Methods: s.spec.Methods, Subprotocols: s.spec.Subprotocols, Grants: s.spec.Grants.List(),
			Events: s.events.Load(), Effects: s.effects.Load(), Denied: s.denied.Load()}
		i.Mailbox, i.Dropped = s.box.depth()
		i.Usage = s.budget.usage(m.cfg.Clock())
		s.mu.Lock()
		i.State, i.Restarts, i.LastError, i.Counters = s.cycle.phase, s.cycle.restarts, s.lastErr, maps.Clone(s.counters)
		s.mu.Unlock()
		out = append(out, i)
	}
	return out
}
