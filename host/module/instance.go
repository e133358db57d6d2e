package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"nethost/sdk"
)

// errNoCarrier is wrapped when starting again would not help.
var errNoCarrier = errors.New("no carrier")

// open brings an instance to life.
func (s *supervisor) open(ctx context.Context) (Instance, uint64, error) {
	carrier := s.m.cfg.Carriers[s.spec.Kind]
	if carrier == nil {
		return nil, 0, fmt.Errorf("%w of kind %q is in this host", errNoCarrier, s.spec.Kind)
	}
	life := s.box.begin()
	if s.spec.Seed == [32]byte{} {
		// Drawn once: an instance that follows can begin where this one did
		// after its initialisation.
		s.m.random(s.spec.Seed[:])
	}
	spec := s.spec
	spec.Post = func(b []byte) { s.posted(life, b) }
	spec.Log = s.lim.line
	inst, err := carrier.Open(ctx, spec)
	return inst, life, err
}

// posted takes the results of Work, from any goroutine.
func (s *supervisor) posted(life uint64, b []byte) {
	posts, err := parsePosts(b)
	if err != nil {
		s.box.fail(life, err)
	}
	for i := range posts {
		s.box.post(life, sdk.Event{Kind: sdk.EvPosted, Ref: posts[i].Ref, Payload: posts[i].Payload})
	}
	s.poke()
}

// start hands a fresh instance its state, configuration and Start, and then tells
// the host. Network effects of these first batches wait until the host knows it.
func (s *supervisor) start(inst Instance, life uint64, reason sdk.StartReason) error {
	s.run.Lock()
	defer s.run.Unlock()
	if err := s.prime(inst, life, reason, s.previous); err != nil {
		return err
	}
	s.arrive(func() { s.m.cfg.Host.Up(s.slot) })
	return nil
}

// prime is start without telling anybody. The caller holds run.
func (s *supervisor) prime(inst Instance, life uint64, reason sdk.StartReason, previous string) error {
	s.setCurrent(inst)
	s.inst, s.life, s.seq, s.state, s.drained = inst, life, 0, nil, false
	s.meter, _ = inst.(Meter)
	s.tape = s.record(inst)
	grants := s.spec.Grants
	if grants.State > 0 && s.m.cfg.State != nil {
		s.state = s.m.cfg.State(s.spec.FullName())
	}
	if s.state == nil {
		grants.State = 0
	}
	grants.Secret = grants.Secret && s.m.cfg.Secret != nil
	s.gate = gate{grants: grants, holders: s.m.holders, sizes: map[string]int{}, canSign: s.m.cfg.Sign != nil, canAnnounce: s.m.cfg.Announced != nil}
	return s.first(reason, previous)
}

// arrive lets the host's events in and the first effects out. up tells the host. The
// caller holds run.
func (s *supervisor) arrive(up func()) {
	s.mu.Lock()
	s.cycle.up(s.m.cfg.Clock())
	s.mu.Unlock()
	s.box.admit()
	s.isUp = true
	up()
	if len(s.early) > 0 {
		s.m.cfg.Host.Apply(s.slot, s.early)
		s.early = nil
	}
	s.nowReady.Do(func() { close(s.ready) })
}

// first runs the batches that end with Start.
func (s *supervisor) first(reason sdk.StartReason, previous string) error {
	var evs []sdk.Event
	if s.state != nil {
		// Collected first: the module may write while it reads.
		err := s.state.Load(func(key, val []byte) {
			s.gate.loaded(key, val)
			evs = append(evs, sdk.Event{Kind: sdk.EvState, Payload: sdk.AppendStateEntry(nil, key, val)})
		})
		if err != nil {
			return fmt.Errorf("its state cannot be read: %w", err)
		}
	}
	g := &s.gate.grants
	start := sdk.Start{Reason: reason, Previous: previous, Self: s.m.cfg.Self, MemoryLimit: s.spec.Limits.Memory, StateLimit: g.State, Grants: g.List()}
	if g.Entropy {
		start.Entropy = make([]byte, 32)
		s.m.random(start.Entropy)
	}
	if g.Secret {
		key := s.m.cfg.Secret(s.spec.Publisher, s.spec.Name)
		start.Secret = key[:]
	}
	evs = append(evs, sdk.Event{Kind: sdk.EvConfig, Payload: sdk.AppendPairs(nil, s.spec.Config)},
		sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, start)})
	const recordHead, room = 32, sdk.MaxBatchBytes - 40 - 2*32
	for len(evs) > 0 {
		s.batch = s.batch[:0]
		for size := 0; len(evs) > 0 && len(s.batch) < sdk.MaxBatchEvents-1; evs = evs[1:] {
			size += recordHead + (len(evs[0].Payload)+7)&^7
			if size > room && len(s.batch) > 0 {
				break
			}
			s.batch = append(s.batch, entry{ev: evs[0]})
		}
		if err := s.hand(false); err != nil {
			return err
		}
	}
	return nil
}

// carryOut does what passed the gate. The caller holds run; s.mu is only taken
// for moments, never around a call of the host.
func (s *supervisor) carryOut(inline bool) error {
	g := &s.gate
	if g.drained {
		s.drained = true
		s.poke() // the goroutine may wait for just this
	}
	if len(g.ops) > 0 {
		if err := s.state.Apply(g.ops); err != nil {
			return fmt.Errorf("its state cannot be written: %w", err)
		}
	}
	for i := range g.notes {
		s.note(&g.notes[i])
	}
	for i := range g.posts {
		s.box.post(s.life, sdk.Event{Kind: sdk.EvPosted, Ref: g.posts[i].Ref, Payload: g.posts[i].Payload})
	}
	s.statements()
	for i := range g.denied {
		d := &g.denied[i]
		s.denied.Add(1)
		s.lim.denied(d)
		s.box.post(s.life, sdk.Event{Kind: sdk.EvDenied, Ref: d.ref, Arg: uint64(d.kind), Payload: []byte(d.grant)})
	}
	if len(g.commits) > 0 && inline {
		// The effects stay where they are: no batch runs before release.
		s.held = true
		s.poke()
		return nil
	}
	return s.release()
}

// release lets the network effects of the last batch go, after a sync when the
// module asked for one.
func (s *supervisor) release() error {
	g := &s.gate
	s.held = false
	if len(g.commits) > 0 {
		if err := s.state.Sync(); err != nil {
			return fmt.Errorf("its state cannot be made durable: %w", err)
		}
		for _, ref := range g.commits {
			s.box.post(s.life, sdk.Event{Kind: sdk.EvCommitted, Ref: ref})
		}
	}
	switch {
	case len(g.net) == 0:
	case s.isUp:
		// A timer may fire until the node has the cancellation, and what moves one
		// may be overtaken by the new expiry: that one must stay.
		for i := range g.net {
			if f := &g.net[i]; f.Kind == sdk.OpTimer && f.Arg != 0 {
				s.box.cancelTimer(f.Ref)
			}
		}
		s.m.cfg.Host.Apply(s.slot, g.net)
		for i := range g.net {
			if f := &g.net[i]; f.Kind == sdk.OpTimer && f.Arg == 0 {
				s.box.cancelTimer(f.Ref)
			}
		}
	default:
		for _, f := range g.net {
			f.Payload = bytes.Clone(f.Payload)
			s.early = append(s.early, f)
		}
	}
	return nil
}

// note takes a Log or a Count.
func (s *supervisor) note(f *sdk.Effect) {
	if f.Kind == sdk.OpLog {
		s.lim.line(sdk.LogLevel(min(f.Arg, uint64(sdk.LogError))), string(f.Payload[:min(len(f.Payload), sdk.MaxLogText)]))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.counters[string(f.Payload)]; known || len(s.counters) < maxCounters {
		s.counters[string(f.Payload)] += f.Arg
	}
}
