package module

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
)

const (
	// upgradeDrain is how long a version may take to finish that another took over from.
	upgradeDrain = 30 * time.Second
	// openWithin is how long a new version may take until it can take a batch.
	openWithin = 30 * time.Second
	// quietTurns bounds the batches that the old version gets while the new one
	// waits to take over.
	quietTurns = 64
)

// backup is the version that another took over from.
type backup struct {
	spec  Spec
	until time.Duration // after that it does not come back by itself
}

// Reloaded is what became of one module in a Sync.
type Reloaded struct {
	Name string
	// What is "added", "upgraded", "removed", "unchanged", "disabled",
	// "needs-approval" or "failed".
	What     string
	From, To string        // releases
	Err      error         // why it failed: what served goes on
	Pause    time.Duration // how long nothing was handled, when one version took over from another
}

// errServing is wrapped by what failed without harm.
var errServing = errors.New("the version that serves goes on")

// Sync makes the modules those of specs: new ones are started, changed ones take
// over from what serves, the others finish. force names modules to load anew even
// if nothing changed. Modules whose package is in the folders keep stay as they
// are: the package is there and was refused.
func (m *Manager) Sync(ctx context.Context, specs []Spec, force []string, keep []string) []Reloaded {
	m.ops.Lock()
	defer m.ops.Unlock()
	var out []Reloaded
	m.mu.Lock()
	units := slices.Clone(m.units)
	m.mu.Unlock()
	for _, u := range units {
		if !slices.ContainsFunc(specs, func(s Spec) bool { return s.Name == u.name }) && !slices.Contains(keep, u.cur.spec.Dir) {
			from := u.cur.spec.Release
			m.remove(ctx, u)
			out = append(out, Reloaded{Name: u.name, What: "removed", From: from})
		}
	}
	for _, spec := range specs {
		out = append(out, m.sync(ctx, spec, slices.Contains(force, spec.Name), false))
	}
	return out
}

// sync is Sync for one module; approved says that the operator has agreed to what it
// asks for. The caller holds ops.
func (m *Manager) sync(ctx context.Context, spec Spec, force, approved bool) Reloaded {
	u := m.unitOf(spec.Name)
	if u == nil {
		if err := m.conflict(spec); err != nil {
			return Reloaded{Name: spec.Name, What: "failed", To: spec.Release, Err: err}
		}
		if m.add(ctx, spec); m.unitOf(spec.Name).cur.phase() == StateStopped {
			return Reloaded{Name: spec.Name, What: "disabled", To: spec.Release}
		}
		return Reloaded{Name: spec.Name, What: "added", To: spec.Release}
	}
	c := Reloaded{Name: spec.Name, What: "unchanged", From: u.cur.spec.Release, To: spec.Release}
	m.mu.Lock()
	same := samePackage(u.wanted, spec)
	if same { // it may be pinned now, or trusted under another label
		u.wanted.Standing = spec.Standing
		u.waiting, u.widens = nil, nil
	}
	waits := u.waiting != nil && samePackage(*u.waiting, spec)
	bad := u.refused != [32]byte{} && u.refused == spec.Digest
	m.mu.Unlock()
	switch {
	case u.cur.phase() == StateStopped && !force:
		c.What = "disabled"
		return c
	case (same || bad) && !force:
		return c
	}
	if err := m.conflict(spec); err != nil {
		c.What, c.Err = "failed", err
		return c
	}
	if m.cfg.Widens != nil && !approved {
		if more := m.cfg.Widens(u.wanted, spec); len(more) > 0 {
			m.mu.Lock()
			u.waiting, u.widens = &spec, more
			m.mu.Unlock()
			c.What = "needs-approval"
			if waits && !force {
				return c // it was told
			}
			u.cur.tell(sdk.LogWarn, fmt.Sprintf("version %s needs approval: it asks for more than version %s has", spec.Release, u.cur.spec.Release), "more", strings.Join(more, ", "))
			return c
		}
	}
	c.What = "upgraded"
	if c.Pause, c.Err = m.upgrade(ctx, u, spec); c.Err != nil {
		c.What = "failed"
	}
	return c
}

// samePackage reports whether two loads are of one package under one configuration,
// whatever a listing says of them.
func samePackage(a, b Spec) bool {
	a.Standing, b.Standing = Standing{}, Standing{}
	return reflect.DeepEqual(a, b)
}

// conflict refuses a version whose ids another module holds.
func (m *Manager) conflict(spec Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.units {
		for _, p := range u.cur.spec.Subprotocols {
			if u.name != spec.Name && slices.ContainsFunc(spec.Subprotocols, func(q sdk.Subprotocol) bool { return q.ID == p.ID && q.Version.Major == p.Version.Major }) {
				return fmt.Errorf("%v major %d is held by module %s already: remove one of the two", p.ID, p.Version.Major, u.name)
			}
		}
	}
	return nil
}

// Approve takes a version that the operator has agreed to, whatever it asks for: it
// takes over from what serves, or starts where nothing does.
func (m *Manager) Approve(ctx context.Context, spec Spec) Reloaded {
	m.ops.Lock()
	defer m.ops.Unlock()
	u := m.unitOf(spec.Name)
	if u != nil {
		m.mu.Lock()
		if u.waiting != nil && u.waiting.Digest == spec.Digest {
			u.refused = [32]byte{}
		}
		m.mu.Unlock()
	}
	return m.sync(ctx, spec, false, true)
}

// add starts a module that was not there. The caller holds ops.
func (m *Manager) add(ctx context.Context, spec Spec) {
	s := m.slots[m.Add(spec)]
	go s.supervise(m.ctx, nil)
	s.wait(ctx)
}

// wait returns when the version takes events, or has ended.
func (s *supervisor) wait(ctx context.Context) {
	select {
	case <-s.ready:
	case <-s.done:
	case <-ctx.Done():
	}
}

// remove ends a module for good. The caller holds ops.
func (m *Manager) remove(ctx context.Context, u *unit) {
	s := u.cur
	s.stop(upgradeDrain)
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cut()
		<-s.done
	}
	m.mu.Lock()
	m.units = slices.DeleteFunc(m.units, func(o *unit) bool { return o == u })
	m.mu.Unlock()
	m.free(s)
	m.files.forgetArtifacts(u.name)
}

// free gives a slot back that the node does not know any more.
func (m *Manager) free(s *supervisor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.slot < len(m.slots) && m.slots[s.slot] == s {
		m.slots[s.slot] = nil
	}
	m.publish()
}

// ended sees to a version whose goroutine ends: the node forgets it, and the version
// before comes back where that was decided.
func (m *Manager) ended(s *supervisor) {
	if m.closed() {
		return
	}
	m.mu.Lock()
	current := s.u.cur == s
	if !current {
		s.u.old--
	}
	m.mu.Unlock()
	switch {
	case current && s.fell:
		go m.rollback(s)
	case current:
		m.cfg.Host.Gone(s.slot)
		m.RunInline()
	default:
		m.cfg.Host.Gone(s.slot)
		m.RunInline()
		m.free(s)
	}
}

// fallBack reports whether a crash of a version brings back the one before (L3.6).
func (m *Manager) fallBack(s *supervisor) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.fell = s.u.cur == s && s.u.back != nil && m.cfg.Clock() < s.u.back.until && !m.closed()
	return s.fell
}

// rollback brings back the version that bad took over from.
func (m *Manager) rollback(bad *supervisor) {
	m.ops.Lock()
	defer m.ops.Unlock()
	m.mu.Lock()
	u := bad.u
	if u.cur != bad || u.back == nil || m.closed() {
		m.mu.Unlock()
		return
	}
	spec := u.back.spec
	u.refused, u.back = bad.spec.Digest, nil
	u.lastErr = fmt.Sprintf("version %s crashed within %v of taking over and was rolled back: %s", bad.spec.Release, rollbackWithin, bad.lastError())
	n := m.newVersion(u, spec)
	n.reason = sdk.StartRestart
	bad.mu.Lock()
	n.cycle.restarts = bad.cycle.restarts + 1
	bad.mu.Unlock()
	u.cur = n
	m.publish()
	m.mu.Unlock()
	go n.supervise(m.ctx, nil)
	// The ids stay in the manifest until somebody answers to them again.
	n.wait(m.ctx)
	m.cfg.Host.Gone(bad.slot)
	m.RunInline()
	m.free(bad)
}

func (s *supervisor) lastError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// Enable starts a module anew that is in quarantine, failed or was disabled, and
// forgets its crashes (L2.4).
func (m *Manager) Enable(ctx context.Context, name string) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	u := m.unitOf(name)
	if u == nil {
		return m.unknown(name)
	}
	old := u.cur
	if p := old.phase(); !p.over() {
		return fmt.Errorf("module %s is %v: nothing to enable", name, p)
	}
	select {
	case <-old.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	n := m.replace(u, old.spec)
	n.reason = sdk.StartRestart
	old.mu.Lock()
	n.cycle = old.cycle
	old.mu.Unlock()
	n.cycle.turn(enable)
	go n.supervise(m.ctx, nil)
	n.wait(ctx)
	m.free(old)
	if p := n.phase(); p != StateReady {
		return fmt.Errorf("module %s is %v: %s", name, p, n.lastError())
	}
	return nil
}

// replace makes a version current in place of one that has ended.
func (m *Manager) replace(u *unit, spec Spec) *supervisor {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.newVersion(u, spec)
	u.cur, u.back = n, nil
	m.publish()
	return n
}

// Disable makes a module finish, and keeps it down until Enable.
func (m *Manager) Disable(ctx context.Context, name string) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	u := m.unitOf(name)
	if u == nil {
		return m.unknown(name)
	}
	s := u.cur
	if s.phase().over() {
		s.turnTo(end) // out of quarantine, so that it stays down
		return nil
	}
	s.stop(upgradeDrain)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
