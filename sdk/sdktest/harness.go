package sdktest

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// maxRounds bounds how many batches in a row a module may bring about by itself
// (Post, Commit, streams to itself) before the test is failed as a loop.
const maxRounds = 100000

// Message is a datagram message that the module sent.
type Message struct {
	Peer    sdk.Peer
	ID      sdk.ID
	Class   sdk.Class
	Payload []byte
}

// Harness plays the host for one module. Its methods queue events; Run delivers
// them in batches, applies the effects, and goes on until nothing is left to
// deliver. A breach of the contract fails the test at once.
type Harness struct {
	// Sent holds the messages the module sent, Effects every effect, in order.
	// A test may clear both.
	Sent    []Message
	Effects []sdk.Effect
	// State is the module's key-value state.
	State map[string][]byte

	t       testing.TB
	inst    Instance
	now     time.Duration
	wall    int64
	seq     uint64
	queue   []sdk.Event
	w       abi.Writer
	timers  map[sdk.Ref]time.Duration
	streams map[sdk.Ref]*Stream
	opened  []*Stream
	lastRef sdk.Ref
	last    sdk.Peer
	peers   map[sdk.Peer]agreed
	stopped bool
	full    map[fullQueue]bool // true: the module was told
}

type agreed struct {
	id sdk.ID
	v  sdk.Version
}

// NewHarness drives a module in this process.
func NewHarness(t testing.TB, m sdk.Module) *Harness { return NewHarnessOver(t, InProcess(m)) }

// NewHarnessOver drives an instance behind any carrier. It closes the instance
// when the test ends.
func NewHarnessOver(t testing.TB, inst Instance) *Harness {
	t.Cleanup(func() { inst.Close() })
	return &Harness{t: t, inst: inst, State: map[string][]byte{}, timers: map[sdk.Ref]time.Duration{},
		streams: map[sdk.Ref]*Stream{}, peers: map[sdk.Peer]agreed{}}
}

// Start delivers what a fresh instance gets: the state it has, its configuration
// and Start. The zero Start means StartFresh without grants.
func (h *Harness) Start(s sdk.Start, config ...sdk.Pair) {
	h.t.Helper()
	keys := make([]string, 0, len(h.State))
	for k := range h.State {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		h.Queue(sdk.Event{Kind: sdk.EvState, Payload: sdk.AppendStateEntry(nil, []byte(k), h.State[k])})
	}
	if s.Reason == 0 {
		s.Reason = sdk.StartFresh
	}
	h.Queue(sdk.Event{Kind: sdk.EvConfig, Payload: sdk.AppendPairs(nil, config)})
	h.Queue(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, s)})
	h.Run()
}

// Now is the virtual time.
func (h *Harness) Now() time.Duration { return h.now }

// SetWall gives the module the grant wall, with this Unix time in nanoseconds; it
// advances with the virtual time.
func (h *Harness) SetWall(ns int64) { h.wall = ns }

// PeerUp brings up a session with node on which id was agreed at version v.
func (h *Harness) PeerUp(node sdk.NodeID, id sdk.ID, v sdk.Version) sdk.Peer {
	h.last++
	h.peers[h.last] = agreed{id, v}
	h.Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: h.last, ID: id, Version: v,
		Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: node, RTT: time.Millisecond, MTU: 1100})})
	return h.last
}

// PeerDown resets the streams with p and ends its session.
func (h *Harness) PeerDown(p sdk.Peer, r sdk.DownReason) {
	for _, s := range h.byRef() {
		if s.Peer == p {
			s.Reset(sdk.PeerGone, "")
		}
	}
	h.Queue(sdk.Event{Kind: sdk.EvPeerDown, Peer: p, ID: h.peers[p].id, Arg: uint64(r)})
	delete(h.peers, p)
}

// Message delivers a datagram message from p.
func (h *Harness) Message(p sdk.Peer, b []byte) {
	a := h.peers[p]
	h.Queue(sdk.Event{Kind: sdk.EvMessage, Peer: p, ID: a.id, Version: a.v, Payload: b})
}

// Queue adds a raw event. The payload is copied.
func (h *Harness) Queue(e sdk.Event) {
	if h.stopped {
		h.t.Fatalf("sdktest: event %v after Stop", e.Kind)
	}
	e.Payload = bytes.Clone(e.Payload)
	h.queue = append(h.queue, e)
}

// Stop delivers Stop, after which the module gets nothing more.
func (h *Harness) Stop() {
	h.t.Helper()
	h.Queue(sdk.Event{Kind: sdk.EvStop})
	h.Run()
	h.stopped = true
}

// Run delivers everything queued, and one batch holding only Flush when nothing
// is.
func (h *Harness) Run() {
	h.t.Helper()
	h.batch()
	for round := 0; len(h.queue) > 0; round++ {
		if round == maxRounds {
			h.t.Fatalf("sdktest: the module still makes events for itself after %d batches", maxRounds)
		}
		h.batch()
	}
}

// Advance moves the virtual time by d and fires the timers on the way, each at
// its own time, in order of deadline and then of ref.
func (h *Harness) Advance(d time.Duration) {
	h.t.Helper()
	end := h.now + d
	for {
		ref, at := h.nextTimer()
		if ref == 0 || at > end {
			break
		}
		h.step(at)
		delete(h.timers, ref)
		h.Queue(sdk.Event{Kind: sdk.EvTimer, Ref: ref})
		h.Run()
	}
	h.step(end)
}

// Timers is the number of armed timers.
func (h *Harness) Timers() int { return len(h.timers) }

// Restart throws the instance away, as after a crash, and drives next instead:
// streams are reset, timers vanish, peers come up again with the same handles,
// and the state is what was committed.
func (h *Harness) Restart(next Instance, s sdk.Start) {
	h.t.Helper()
	h.inst.Close()
	h.t.Cleanup(func() { next.Close() })
	h.inst, h.queue, h.seq = next, nil, 0
	clear(h.timers)
	for _, st := range h.byRef() {
		st.ResetCode, st.WasReset = sdk.ModuleRestarted, true
	}
	clear(h.streams)
	s.Reason = sdk.StartRestart
	h.Start(s)
	for p := sdk.Peer(1); p <= h.last; p++ {
		if a, ok := h.peers[p]; ok {
			h.Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: p, ID: a.id, Version: a.v,
				Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{RTT: time.Millisecond, MTU: 1100})})
		}
	}
	h.Run()
}

func (h *Harness) step(to time.Duration) {
	if h.wall != 0 {
		h.wall += int64(to - h.now)
	}
	h.now = to
}

func (h *Harness) nextTimer() (ref sdk.Ref, at time.Duration) {
	for r, d := range h.timers {
		if ref == 0 || d < at || d == at && r < ref {
			ref, at = r, d
		}
	}
	return ref, at
}

func (h *Harness) byRef() []*Stream {
	all := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Stream) int { return cmp.Compare(a.Ref, b.Ref) })
	return all
}

// batch delivers as much of the queue as one batch holds, and applies what comes
// back.
func (h *Harness) batch() {
	h.t.Helper()
	h.seq++
	h.w.ResetEvents(h.seq, h.now, h.wall)
	n := 0
	for n < len(h.queue) && h.w.Event(h.queue[n]) {
		n++
	}
	if n == 0 && len(h.queue) > 0 {
		h.t.Fatalf("sdktest: event %v with %d bytes does not fit a batch", h.queue[0].Kind, len(h.queue[0].Payload))
	}
	h.queue = append(h.queue[:0], h.queue[n:]...)
	h.w.Event(sdk.Event{Kind: sdk.EvFlush})
	effects, err := h.inst.Deliver(h.w.Bytes())
	if err != nil {
		h.t.Fatalf("sdktest: batch %d: the instance died: %v", h.seq, err)
	}
	if len(effects) == 0 {
		return
	}
	hd, r, err := abi.Parse(effects, sdk.MaxEffectBytes)
	if err != nil {
		h.t.Fatalf("sdktest: batch %d: malformed effects: %v", h.seq, err)
	}
	if hd.Seq != h.seq {
		h.t.Fatalf("sdktest: effects carry sequence %d, want %d", hd.Seq, h.seq)
	}
	if hd.Records > sdk.MaxEffects {
		h.t.Fatalf("sdktest: %d effects in one batch, the limit is %d", hd.Records, sdk.MaxEffects)
	}
	for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
		f.Payload = bytes.Clone(f.Payload)
		h.Effects = append(h.Effects, f)
		h.apply(f)
	}
	if r.Err() != nil {
		h.t.Fatalf("sdktest: batch %d: malformed effects: %v", h.seq, r.Err())
	}
}
