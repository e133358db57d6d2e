package module

import (
	"context"
	"fmt"
	"io"
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
	cfg   Config
	files files

	view    atomic.Pointer[view]
	pending atomic.Bool // an inline module may have something in its mailbox
	started bool
	ctx     context.Context // of everything that runs
	cancel  context.CancelFunc
	once    sync.Once
	closing chan struct{}

	ops     sync.Mutex    // held by what changes which versions run, for as long as it takes
	mu      sync.Mutex    // guards what follows and what units hold; never held around a call of the host
	slots   []*supervisor // nil: free
	units   []*unit
	entropy sync.Mutex // guards reads of cfg.Entropy
}

// unit is a module: the version that serves, and those that finish.
type unit struct {
	name string
	book *logbook
	sus  *suspects

	cur     *supervisor
	wanted  Spec     // the package that cur runs, as it was loaded
	back    *backup  // what cur took over from, if that may come back
	refused [32]byte // digest of the version that was rolled back
	waiting *Spec    // a version that needs approval
	widens  []string // what it asks for in addition
	lastErr string   // why the last new version does not serve
	old     int      // versions that finish
}

// view is what the packet path sees of the modules. It is never changed, only
// replaced.
type view struct {
	slots  []*supervisor // nil: free
	inline []*supervisor
	byID   map[sdk.ID][]string
}

// NewManager makes a manager without modules.
func NewManager(cfg Config) *Manager {
	m := &Manager{cfg: cfg, files: files{cfg.Crash, cfg.Kept}, closing: make(chan struct{})}
	m.view.Store(&view{})
	return m
}

// Add takes a module and gives its slot; slots count from 0.
func (m *Manager) Add(spec Spec) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.newUnit(spec.Name)
	u.wanted = spec
	err := m.files.keepArtifact(&spec)
	u.cur = m.newVersion(u, spec)
	if u.cur.off = m.cfg.Disabled != nil && m.cfg.Disabled(spec.Name); u.cur.off {
		u.cur.cycle.turn(end)
	}
	if err != nil { // opening it says the same, and it runs from where it is
		u.cur.tell(sdk.LogWarn, "its artifact cannot be kept: an upgrade in place could not be rolled back", "error", err)
	}
	m.publish()
	return u.cur.slot
}

func (m *Manager) newUnit(name string) *unit {
	u := &unit{name: name, book: &logbook{}, sus: &suspects{}}
	m.units = append(m.units, u)
	return u
}

// newVersion makes a verified version in a free slot. The caller holds mu, and
// publishes.
func (m *Manager) newVersion(u *unit, spec Spec) *supervisor {
	slot := slices.Index(m.slots, nil)
	if slot < 0 {
		slot = len(m.slots)
		m.slots = append(m.slots, nil)
	}
	s := newSupervisor(m, u, slot, spec)
	s.cycle.turn(verify)
	m.slots[slot] = s
	return s
}

// publish shows the packet path what changed. The caller holds mu.
func (m *Manager) publish() {
	v := &view{slots: slices.Clone(m.slots), byID: map[sdk.ID][]string{}}
	for _, s := range m.slots {
		if s != nil && s.spec.Limits.Inline {
			v.inline = append(v.inline, s)
		}
	}
	for _, u := range m.units {
		if u.cur == nil {
			continue
		}
		for _, p := range u.cur.spec.Subprotocols {
			if !slices.Contains(v.byID[p.ID], u.name) {
				v.byID[p.ID] = append(v.byID[p.ID], u.name)
			}
		}
	}
	m.view.Store(v)
}

// Start brings the modules to life, each on a goroutine of its own, and returns
// at once. ctx bounds their opening; Close ends them.
func (m *Manager) Start(ctx context.Context) {
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started = true
	for _, s := range m.slots {
		go s.supervise(m.ctx, nil)
	}
}

// Deliver queues an event for the module in a slot. It copies the payload and
// never blocks, so it may be called under the host's lock. What an inline module
// got runs at the next RunInline.
func (m *Manager) Deliver(slot int, ev sdk.Event) {
	v := m.view.Load()
	if slot < 0 || slot >= len(v.slots) || v.slots[slot] == nil {
		return
	}
	s := v.slots[slot]
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
		for _, s := range m.view.Load().inline {
			if !s.box.idle() {
				s.tryRun()
			}
		}
	}
}

// Close tells the modules to finish, waits until they have, and ends them. When
// ctx ends first they are cut off.
func (m *Manager) Close(ctx context.Context) {
	limit := maxDrain
	if end, ok := ctx.Deadline(); ok {
		limit = max(0, min(limit, time.Until(end)/2))
	}
	all := m.finish(limit)
	if !m.started {
		return
	}
	for _, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.cut()
		}
	}
}

// finish tells all modules once to finish, and gives them.
func (m *Manager) finish(limit time.Duration) []*supervisor {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(m.slots), func(s *supervisor) bool { return s == nil })
	m.once.Do(func() {
		close(m.closing)
		if m.cancel != nil {
			m.cancel()
		}
		for _, s := range all {
			s.stop(limit)
		}
	})
	return all
}

// Drain tells the modules to finish within a time, waits until they have or ctx
// ends, and names those that have not. Close must follow.
func (m *Manager) Drain(ctx context.Context, within time.Duration) (unfinished []string) {
	for _, s := range m.finish(within) {
		select {
		case <-s.done:
			if s.late.Load() {
				unfinished = append(unfinished, s.spec.Name)
			}
		case <-ctx.Done():
			unfinished = append(unfinished, s.spec.Name)
		}
	}
	return unfinished
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
func (m *Manager) holders(id sdk.ID) []string { return m.view.Load().byID[id] }

// random fills b. A node whose source of entropy fails must not go on with keys
// that can be guessed.
func (m *Manager) random(b []byte) {
	m.entropy.Lock()
	defer m.entropy.Unlock()
	if _, err := io.ReadFull(m.cfg.Entropy, b); err != nil {
		panic(fmt.Sprintf("module: the source of entropy failed: %v", err))
	}
}
