package main

import (
	"encoding/binary"
	"sync"
	"time"

	"nethost/sdk"
)

// pulseID is what pulse answers to: an id of the range for private use.
const pulseID sdk.ID = 0xf0be

// pulse is a module that sends a numbered message every millisecond to one node,
// and notes when those of others come: it measures the gap that a fault leaves.
type pulse struct {
	to sdk.NodeID // zero: it only listens

	peer  sdk.Peer // to's, once it is there
	up    bool
	begun time.Duration // when the first was sent
	sent  uint64

	mu      sync.Mutex // the measurement looks in from outside
	last    time.Time  // when the latest came
	longest time.Duration
	seen    map[uint64]bool
}

// Describe names the module.
func (p *pulse) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "pulse", Release: "1.0.0", Subprotocols: []sdk.Subprotocol{{ID: pulseID, Version: v, MinPeer: v}}}
}

// Handle takes one event.
func (p *pulse) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvStart:
		if !p.to.IsZero() {
			env.Connect(1, p.to)
			env.After(2, time.Millisecond)
		}
	case sdk.EvConnectFailed:
		env.After(3, 200*time.Millisecond)
	case sdk.EvPeerUp:
		if info, err := sdk.ParsePeerInfo(ev.Payload); err == nil && info.Node == p.to {
			p.peer, p.up = ev.Peer, true
		}
	case sdk.EvTimer:
		if ev.Ref == 3 {
			env.Connect(1, p.to)
			return
		}
		p.send(env)
		env.After(2, time.Millisecond)
	case sdk.EvMessage:
		if len(ev.Payload) == 8 {
			p.came(binary.LittleEndian.Uint64(ev.Payload))
		}
	case sdk.EvDrain:
		env.Drained()
	}
}

// send sends what is due: a timer that runs late must not slow the flow down.
func (p *pulse) send(env *sdk.Env) {
	if !p.up {
		return
	}
	if p.begun == 0 {
		p.begun = env.Now()
	}
	for due := uint64((env.Now()-p.begun)/time.Millisecond) + 1; p.sent < due; {
		p.sent++
		env.Send(p.peer, pulseID, sdk.Realtime, binary.LittleEndian.AppendUint64(nil, p.sent))
	}
}

func (p *pulse) came(n uint64) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[uint64]bool{}
	}
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
	p.seen[n] = true
}

// mark forgets what came so far.
func (p *pulse) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = 0
	clear(p.seen)
}

// heard gives the longest time without a message since mark, that until now
// included, how many came, and how many between the first and the last did not.
func (p *pulse) heard() (longest time.Duration, got, lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lo, hi uint64
	for n := range p.seen {
		if lo == 0 || n < lo {
			lo = n
		}
		hi = max(hi, n)
	}
	longest = p.longest
	if !p.last.IsZero() {
		longest = max(longest, time.Since(p.last))
	}
	if got = len(p.seen); got > 0 {
		lost = int(hi-lo+1) - got
	}
	return longest, got, lost
}
