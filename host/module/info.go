package module

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"nethost/sdk"
)

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
	Poisoned                 uint64            // events dropped because they crash it
	Mailbox                  int               // events waiting
	MailboxMax               int               // messages that may wait
	Counters                 map[string]uint64 // the module's own
	Busy                     time.Duration     // spent in its batches, by the clock
	Memory                   uint64            // bytes, when its carrier knows them
	Finishing                int               // earlier versions that are not done yet
	Waiting                  string            // release of a version that needs approval
	Widens                   []string          // what that one asks for in addition
	Upgrade                  string            // why the last new version does not serve
	Usage                    Usage             // CPU alone when the carrier does not meter batches; 0 when it knows not even that
}

// List describes the modules, in the order they were added.
func (m *Manager) List() []Info {
	m.mu.Lock()
	units := make([]unit, 0, len(m.units))
	for _, u := range m.units {
		units = append(units, *u)
	}
	m.mu.Unlock()
	out := make([]Info, 0, len(units))
	for i := range units {
		out = append(out, units[i].info())
	}
	return out
}

func (u *unit) info() Info {
	s := u.cur
	i := Info{Name: u.name, Release: s.spec.Release, Publisher: s.spec.Publisher, Kind: s.spec.Kind,
		Methods: s.spec.Methods, Subprotocols: s.spec.Subprotocols, Grants: s.spec.Grants.List(),
		Events: s.events.Load(), Effects: s.effects.Load(), Denied: s.denied.Load(), Poisoned: s.poisoned.Load(),
		MailboxMax: s.box.max, Busy: time.Duration(s.busy.Load()), Memory: s.memory.Load(), Finishing: u.old,
		Widens: u.widens, Upgrade: u.lastErr}
	if u.waiting != nil {
		i.Waiting = u.waiting.Release
	}
	i.Mailbox, i.Dropped = s.box.depth()
	i.Usage = s.budget.usage(s.m.cfg.Clock())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.budget.unmetered() {
		i.Usage.CPU = time.Duration(s.spent.Load()) + s.burning()
	}
	i.State, i.Restarts, i.LastError, i.Counters = s.cycle.phase, s.cycle.restarts, s.lastErr, maps.Clone(s.counters)
	return i
}

// Spec is the version that a slot stands for.
func (m *Manager) Spec(slot int) (Spec, bool) {
	v := m.view.Load()
	if slot < 0 || slot >= len(v.slots) || v.slots[slot] == nil {
		return Spec{}, false
	}
	return v.slots[slot].spec, true
}

// Specs are the packages that serve, as they were loaded, in the order they were
// added.
func (m *Manager) Specs() (all []Spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.units {
		all = append(all, u.wanted)
	}
	return all
}

func (m *Manager) unitOf(name string) *unit {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

// UnknownError is about a module that is not on this node.
type UnknownError struct {
	Name  string
	Known []string
}

func (e *UnknownError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("no module %q: this node has none; start it with --plugins DIR", e.Name)
	}
	return fmt.Sprintf("no module %q on this node: it has %s", e.Name, strings.Join(e.Known, ", "))
}

func (m *Manager) unknown(name string) error {
	e := &UnknownError{Name: name}
	for _, i := range m.List() {
		e.Known = append(e.Known, i.Name)
	}
	return e
}
