package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"nethost/sdk"
)

// BeatID is what Beat answers to: an id of the range for private use.
const BeatID sdk.ID = 0xf0be

// Beat is a module that sends numbered messages at a steady pace, and notes when
// those of others come: it measures the gap that a change of the network leaves.
type Beat struct {
	to    sdk.NodeID
	every time.Duration
	peers map[sdk.NodeID]sdk.Peer
	want  bool // to is looked for
	on    bool
	seq   uint64

	last    time.Duration
	longest time.Duration
	seen    []uint64
}

// Describe names the module.
func (b *Beat) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "beat", Release: "1.0.0", Subprotocols: []sdk.Subprotocol{{ID: BeatID, Version: v, MinPeer: v}}}
}

// Handle takes one event.
func (b *Beat) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvStart:
		b.peers = map[sdk.NodeID]sdk.Peer{}
		env.After(2, time.Millisecond)
	case sdk.EvPeerUp:
		if info, err := sdk.ParsePeerInfo(ev.Payload); err == nil {
			b.peers[info.Node] = ev.Peer
		}
	case sdk.EvTimer:
		b.beat(env)
		env.After(2, max(b.every, time.Millisecond))
	case sdk.EvMessage:
		if b.last > 0 {
			b.longest = max(b.longest, env.Now()-b.last)
		}
		b.last = env.Now()
		if len(ev.Payload) == 8 {
			b.seen = append(b.seen, binary.LittleEndian.Uint64(ev.Payload))
		}
	}
}

func (b *Beat) beat(env *sdk.Env) {
	if b.want {
		b.want = false
		env.Connect(1, b.to)
	}
	if p, ok := b.peers[b.to]; ok && b.on {
		b.seq++
		env.Send(p, BeatID, sdk.Realtime, binary.LittleEndian.AppendUint64(nil, b.seq))
	}
}

// Start makes the module send to a node from now on.
func (b *Beat) Start(to sdk.NodeID, every time.Duration) {
	b.to, b.every, b.want, b.on = to, every, true, true
}

// Stop ends that.
func (b *Beat) Stop() { b.on = false }

// Mark forgets what was heard so far.
func (b *Beat) Mark() { b.longest, b.seen = 0, nil }

// Heard gives the longest time between two messages since Mark, and how many of the
// numbers between the first and the last never came.
func (b *Beat) Heard() (longest time.Duration, got, lost int) {
	if len(b.seen) == 0 {
		return b.longest, 0, 0
	}
	lo, hi := slices.Min(b.seen), slices.Max(b.seen)
	return b.longest, len(b.seen), int(hi-lo+1) - len(b.seen)
}

// Silence is how long ago the last message came.
func (b *Beat) Silence(now time.Duration) time.Duration { return now - b.last }
