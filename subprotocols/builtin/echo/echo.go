// Package echo is subprotocol 0x0007: whatever arrives goes back. It is the
// smallest module that uses messages, streams and credit, so every carrier is
// tested with it. It keeps no state, needs no grant and knows nothing of packets.
package echo

import "nethost/sdk"

// ID is echo's subprotocol id.
const ID sdk.ID = 0x0007

// drainBudget bounds what one batch writes from held bytes, so that its effects
// stay under MaxEffectBytes however many streams get credit at once.
const drainBudget = 512 << 10

type module struct {
	streams  map[sdk.Ref]*stream
	ready    []*stream // hold bytes and got credit; in order of arrival
	draining bool
}

type stream struct {
	ref    sdk.Ref
	credit uint64 // bytes the far end still takes
	held   []byte // arrived, not yet written: at most the credit we gave
	fin    bool   // the far end ended its side
	queued bool   // is in module.ready
	done   bool   // ended or reset
}

// New returns a fresh echo.
func New() sdk.Module { return &module{streams: make(map[sdk.Ref]*stream)} }

func (m *module) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1, Minor: 0}
	return sdk.Descriptor{Name: "echo", Release: "1.0.0", Methods: []string{"echo"},
		Subprotocols: []sdk.Subprotocol{{ID: ID, Version: v, MinPeer: v}}}
}

func (m *module) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		env.Send(ev.Peer, ev.ID, sdk.Realtime, ev.Payload)
	case sdk.EvFlush:
		if m.draining || len(m.ready) > 0 {
			m.drain(env)
		}
	case sdk.EvDrain:
		m.draining = true
	default:
		m.stream(env, ev)
	}
}

// stream takes what happens to a stream.
func (m *module) stream(env *sdk.Env, ev *sdk.Event) {
	s := m.streams[ev.Ref]
	switch {
	case ev.Kind == sdk.EvStreamOpen:
		m.streams[ev.Ref] = &stream{ref: ev.Ref, credit: ev.Arg}
	case ev.Kind == sdk.EvStreamData && s != nil:
		s.fin = ev.FIN()
		n := 0
		if len(s.held) == 0 {
			n = m.write(env, s, ev.Payload, len(ev.Payload))
		}
		s.held = append(s.held, ev.Payload[n:]...)
	case ev.Kind == sdk.EvStreamCredit && s != nil:
		s.credit += ev.Arg
		if len(s.held) > 0 && !s.queued {
			s.queued, m.ready = true, append(m.ready, s)
		}
	case ev.Kind == sdk.EvStreamReset && s != nil:
		m.end(s)
	}
}

// write writes what credit and limit allow of b, which is all there is to write,
// and gives as much credit back. It returns how much that was.
func (m *module) write(env *sdk.Env, s *stream, b []byte, limit int) int {
	n := int(min(uint64(min(len(b), limit)), s.credit))
	fin := s.fin && n == len(b)
	if n > 0 || fin {
		env.Write(s.ref, b[:n], fin)
		s.credit -= uint64(n)
	}
	if fin {
		m.end(s)
	} else if n > 0 && !s.fin {
		env.Credit(s.ref, n)
	}
	return n
}

// drain writes held bytes. What the budget leaves over comes in the next batch,
// which the Post brings about.
func (m *module) drain(env *sdk.Env) {
	left, i := drainBudget, 0
	for i < len(m.ready) && left > 0 {
		s := m.ready[i]
		if !s.done {
			n := m.write(env, s, s.held, left)
			s.held, left = s.held[:copy(s.held, s.held[n:])], left-n
		}
		if s.done || len(s.held) == 0 || s.credit == 0 {
			s.queued = false
			i++
		}
	}
	m.ready = m.ready[:copy(m.ready, m.ready[i:])]
	if len(m.ready) > 0 {
		env.Post(env.NewRef(), nil)
	} else if m.draining && len(m.streams) == 0 {
		m.draining = false
		env.Drained()
	}
}

func (m *module) end(s *stream) {
	s.done = true
	delete(m.streams, s.ref)
}
