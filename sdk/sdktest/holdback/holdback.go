// Package holdback is a module for tests of carriers: it sends with TrySend what it is
// told to, and keeps what it may not send.
package holdback

import (
	"time"

	"nethost/sdk"
)

// ID is what it answers to.
const ID sdk.ID = 0xf002

// Subprotocols is what it speaks.
func Subprotocols() []sdk.Subprotocol {
	one := sdk.Version{Major: 1}
	return []sdk.Subprotocol{{ID: ID, Version: one, MinPeer: one}}
}

type module struct {
	queue []string           // not taken yet
	under map[sdk.Ref]string // handed over, and perhaps not taken
}

// New makes one. A message to it, "bulk TEXT" or "realtime TEXT", goes back to its
// sender in that class by TrySend, good for a second. What was not taken goes
// again when there is room.
func New() sdk.Module { return &module{under: map[sdk.Ref]string{}} }

func (m *module) Describe() sdk.Descriptor {
	return sdk.Descriptor{Name: "holdback", Release: "1.0.0", Subprotocols: Subprotocols()}
}

func (m *module) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		m.try(env, ev.Peer, string(ev.Payload))
	case sdk.EvWouldBlock:
		m.queue = append(m.queue, m.under[ev.Ref])
		delete(m.under, ev.Ref)
	case sdk.EvWritable:
		again := m.queue
		m.queue = nil
		for _, text := range again {
			m.try(env, ev.Peer, text)
		}
	}
}

func (m *module) try(env *sdk.Env, p sdk.Peer, text string) {
	c := sdk.Realtime
	if text[0] == 'b' {
		c = sdk.Bulk
	}
	ref := env.NewRef()
	if env.TrySend(ref, p, ID, c, time.Second, []byte(text)) {
		m.under[ref] = text
	} else {
		m.queue = append(m.queue, text)
	}
}
