package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
)

// salvo is a module of scripts (0x1500) that sends messages. A call of "send N SIZE
// CLASS WITHIN" makes it send N to each of its peers, "try ..." with TrySend, holding
// back what is not taken. "report" tells what came of it, on both sides.
type salvo struct {
	peers        []sdk.Peer
	text         map[sdk.Ref][]byte
	good, broken int
	dropped      map[string]uint64
	waiting      []shot
	under        map[sdk.Ref]shot
	blocked      int
	writable     int
}

// shot is a message.
type shot struct {
	peer   sdk.Peer
	number int
	size   int
	class  sdk.Class
	within time.Duration
}

const salvoID sdk.ID = 0x1500

func newSalvo() *salvo {
	return &salvo{text: map[sdk.Ref][]byte{}, dropped: map[string]uint64{}, under: map[sdk.Ref]shot{}}
}

func (s *salvo) Describe() sdk.Descriptor {
	one := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "salvo", Subprotocols: []sdk.Subprotocol{{ID: salvoID, Version: one, MinPeer: one}}}
}

func (s *salvo) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvPeerUp:
		s.peers = append(s.peers, ev.Peer)
	case sdk.EvPeerDown:
		s.peers = slices.DeleteFunc(s.peers, func(p sdk.Peer) bool { return p == ev.Peer })
	case sdk.EvMessage:
		if intact(ev.Payload) {
			s.good++
		} else {
			s.broken++
		}
	case sdk.EvDropped:
		d, err := sdk.ParseDrop(ev.Payload)
		if err != nil {
			panic(err)
		}
		s.dropped[d.Reason] += ev.Arg
	case sdk.EvWouldBlock:
		s.blocked++
		s.waiting = append(s.waiting, s.under[ev.Ref])
		delete(s.under, ev.Ref)
	case sdk.EvWritable:
		s.writable++
		again := s.waiting
		s.waiting = nil
		for _, m := range again {
			s.try(env, m)
		}
	case sdk.EvStreamData:
		env.Credit(ev.Ref, len(ev.Payload))
		s.text[ev.Ref] = append(s.text[ev.Ref], ev.Payload...)
		if ev.FIN() {
			env.Write(ev.Ref, []byte(s.told(env, string(s.text[ev.Ref]))), true)
			delete(s.text, ev.Ref)
		}
	}
}

// told does what a call asks for.
func (s *salvo) told(env *sdk.Env, text string) string {
	if text == "report" {
		return s.report()
	}
	var verb, class, within string
	var m shot
	var n int
	if _, err := fmt.Sscan(text, &verb, &n, &m.size, &class, &within); err != nil {
		return err.Error()
	}
	m.within, _ = time.ParseDuration(within)
	if class == "bulk" {
		m.class = sdk.Bulk
	}
	for m.number = range n {
		for _, m.peer = range s.peers {
			switch {
			case verb == "try":
				s.try(env, m)
			case m.within > 0:
				env.SendWithin(m.within, m.peer, salvoID, m.class, m.bytes())
			default:
				env.Send(m.peer, salvoID, m.class, m.bytes())
			}
		}
	}
	return "ok"
}

func (s *salvo) try(env *sdk.Env, m shot) {
	ref := env.NewRef()
	if env.TrySend(ref, m.peer, salvoID, m.class, m.within, m.bytes()) {
		s.under[ref] = m
	} else {
		s.waiting = append(s.waiting, m)
	}
}

func (s *salvo) report() string {
	lines := []string{fmt.Sprintf("got %d messages, %d broken", s.good, s.broken)}
	for _, reason := range slices.Sorted(keysOf(s.dropped)) {
		lines = append(lines, fmt.Sprintf("dropped %d: %s", s.dropped[reason], reason))
	}
	if s.blocked > 0 {
		lines = append(lines, fmt.Sprintf("%d would block, told of room: %v, still waiting: %d", s.blocked, s.writable > 0, len(s.waiting)))
	}
	return strings.Join(lines, "\n")
}

func keysOf(m map[string]uint64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// bytes has a pattern that begins with the number: a byte lost, doubled or of another
// message shows.
func (m *shot) bytes() []byte {
	b := make([]byte, m.size)
	for i := range b {
		b[i] = byte(m.number + i*7 + i>>8)
	}
	return b
}

func intact(b []byte) bool {
	for i := range b {
		if b[i] != byte(int(b[0])+i*7+i>>8) {
			return false
		}
	}
	return true
}
