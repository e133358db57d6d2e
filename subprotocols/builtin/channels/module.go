package channels

import (
	"encoding/binary"
	"fmt"
	"time"

	"nethost/sdk"
	"nethost/sdk/token"
)

// ID is the subprotocol id.
const ID sdk.ID = 0x0A00

// Ids of the modules that this one asks.
const (
	capabilityID sdk.ID = 0x0C00
	identityID   sdk.ID = 0x0C10
)

// Limits of a node.
const (
	maxTopics = 4096
	maxSubs   = 1024 // of applications
	maxCalls  = 2048
	maxWants  = 512 // distinct patterns
	maxDowns  = 4096
	maxUps    = 4096
	maxRsubs  = 4096 // of one node
	maxSeats  = 8192 // of one node
	// maxHeld bounds the answers that a node or an application has not taken, in
	// bytes.
	maxHeld = 1 << 20
	// maxQueued and maxKept bound what waits for slow ones, and what is retained, of
	// all channels, in bytes. An event that waits for two counts twice.
	maxQueued = 64 << 20
	maxKept   = 16 << 20
	// maxVerdicts bounds the tokens found good that are remembered.
	maxVerdicts = 1 << 15
	// batchBytes bounds what one batch writes, and batchPushes how often an event is
	// put into a ring in one batch.
	batchBytes  = 512 << 10
	batchPushes = 20000
)

// Times.
const (
	// warm is how long after its first event a channel keeps events for subscribers
	// that were there before it and have still to find it, at most warmEvents of them
	// and warmBytes.
	warm       = 5 * time.Second
	warmEvents = 1024
	warmBytes  = 256 << 10
	// linger is how long a channel is announced that nobody publishes to any more.
	linger = time.Minute
	// tick is how often what is too old goes.
	tick       = time.Second
	retryFirst = 100 * time.Millisecond
	retryLast  = 10 * time.Second
)

type module struct {
	self     sdk.NodeID
	epoch    uint32
	access   string
	hasState bool
	hasWall  bool
	badState int

	pol    policies
	floors token.Floors
	cache  *token.Cache
	// current is false while the module identity has not heard what its neighbours
	// know: what needs a token waits so long.
	current  bool
	identity watcher
	wall     int64 // Unix seconds of this batch, 0 without the grant

	topics  []*topic // by name
	lastNum uint32
	maxSeq  uint64 // of channels that are no more
	told    []string
	downs   []*down // by ref
	subs    []*sub  // by ref
	lastSub uint32
	ups     []*up // by node
	wants   []*want
	calls   map[sdk.Ref]*call
	order   []sdk.Ref // of calls, ascending
	peers   map[sdk.Peer]sdk.NodeID
	byNode  map[sdk.NodeID]sdk.Peer
	byRef   map[sdk.Ref]any // *down, *up, *want, *watcher by their streams
	dials   map[sdk.Ref]sdk.NodeID

	queued, kept int
	left, pushes int // of this batch
	timer        sdk.Ref
	timerAt      time.Duration // 0: not armed
	pending      sdk.Ref
	waits        bool // there is more to do at once
	pressed      bool // a ring is half full that could be emptied now
	peerScratch  []sdk.Peer
	counts       []tally // of this batch
	logs         int     // lines of this batch
	draining     bool
}

// New returns a fresh channels module.
func New() sdk.Module {
	m := &module{access: "open", current: true, calls: map[sdk.Ref]*call{}, peers: map[sdk.Peer]sdk.NodeID{}, byNode: map[sdk.NodeID]sdk.Peer{},
		byRef: map[sdk.Ref]any{}, dials: map[sdk.Ref]sdk.NodeID{}}
	m.pol.base = defaultPolicy(m.access)
	m.cache = token.NewCache(&m.floors, maxVerdicts)
	return m
}

// Describe implements sdk.Module.
func (m *module) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "channels", Release: "1.0.0", Methods: []string{"ls", "show", "roster", "policy", "policy-set", "policy-rm", "pub", "sub"},
		Subprotocols: []sdk.Subprotocol{{ID: ID, Version: v, MinPeer: v}}}
}

// Handle implements sdk.Module.
func (m *module) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvState:
		m.load(ev.Payload)
	case sdk.EvConfig:
		m.configure(env, ev.Payload)
	case sdk.EvStart:
		m.start(env, ev.Payload)
	case sdk.EvPeerUp:
		m.peerUp(env, ev)
	case sdk.EvPeerDown:
		m.peerDown(env, ev)
	case sdk.EvConnectFailed:
		m.connectFailed(env, ev)
	case sdk.EvMessage:
		m.message(env, ev)
	case sdk.EvDropped:
		m.count("sends_dropped", ev.Arg)
	case sdk.EvStreamOpen:
		m.open(env, ev)
	case sdk.EvStreamData, sdk.EvStreamCredit, sdk.EvStreamReset:
		m.stream(env, ev)
	case sdk.EvDenied:
		m.denied(env, ev)
	case sdk.EvTimer:
		if ev.Ref == m.timer {
			m.timerAt = 0
		}
	case sdk.EvPosted:
		if ev.Ref == m.pending {
			m.pending = 0
		}
	case sdk.EvDrain:
		m.draining = true
	case sdk.EvFlush:
		m.flush(env)
	}
}

const keyEpoch = "epoch"

func (m *module) load(b []byte) {
	key, val, err := sdk.ParseStateEntry(b)
	switch {
	case err != nil:
	case string(key) == keyEpoch && len(val) == 4:
		m.epoch = binary.LittleEndian.Uint32(val)
	default:
		p, err := parsePolicy(val, m.pol.base)
		if err != nil {
			m.badState++
			return
		}
		m.pol.put(p)
	}
}

func (m *module) configure(env *sdk.Env, b []byte) {
	pairs, _ := sdk.ParsePairs(b)
	for _, p := range pairs {
		switch {
		case p.Key != "access" || p.Value == "":
		case p.Value == "open" || p.Value == "token":
			m.pol.base.Access = p.Value
		default:
			env.Log(sdk.LogError, fmt.Sprintf("access %q: want open or token; nobody is permitted anything", p.Value))
			m.pol.base.Access = "token"
		}
	}
}

func (m *module) start(env *sdk.Env, b []byte) {
	s, err := sdk.ParseStart(b)
	if err != nil {
		return
	}
	m.self, m.hasState, m.timer = s.Self, s.StateLimit > 0, env.NewRef()
	m.epoch++
	if !m.hasState {
		// Sequences must not begin again under an epoch that was used.
		m.epoch = uint32(env.Wall().Unix())
		env.Log(sdk.LogWarn, "without the grant state policies are forgotten at each restart: give it with [grants.channels] state = \"1MiB\"")
	} else {
		env.Put([]byte(keyEpoch), binary.LittleEndian.AppendUint32(nil, m.epoch))
	}
	if m.badState > 0 {
		env.Log(sdk.LogError, fmt.Sprintf("%d entries of the state are no policies and were left out", m.badState))
	}
	m.identity.retryAt = env.Now() + 1 // watched from the first flush on
}

func (m *module) peerUp(env *sdk.Env, ev *sdk.Event) {
	p, err := sdk.ParsePeerInfo(ev.Payload)
	if err != nil || ev.ID != ID {
		return
	}
	m.peers[ev.Peer], m.byNode[p.Node] = p.Node, ev.Peer
	if u := m.up(p.Node); u != nil {
		u.retryAt, u.wait, u.dialling = env.Now(), 0, false
	}
}

func (m *module) peerDown(env *sdk.Env, ev *sdk.Event) {
	node, ok := m.peers[ev.Peer]
	if !ok || ev.ID != ID {
		return
	}
	delete(m.peers, ev.Peer)
	if m.byNode[node] == ev.Peer {
		delete(m.byNode, node)
	}
	if u := m.up(node); u != nil && u.peer == ev.Peer {
		m.lostUp(env, u)
	}
}

// flush does the work of a batch. What is too much for one is gone on with in the
// next.
func (m *module) flush(env *sdk.Env) {
	m.wall = 0
	if w := env.Wall(); !w.IsZero() {
		m.wall = w.Unix()
	}
	m.left, m.pushes, m.waits, m.pressed = batchBytes, batchPushes, false, false
	if m.timerAt == 0 {
		m.sweep(env)
	}
	m.watchers(env)
	m.pump(env)
	m.join(env)
	m.announce(env)
	for i := range m.downs {
		m.drain(env, m.downs[i])
		m.downs[i].release(env)
	}
	m.cutSlow(env)
	m.write(env)
	m.tell(env)
	if m.draining {
		m.draining = false
		m.leave(env)
		return
	}
	if m.waits && m.pending == 0 {
		m.pending = env.NewRef()
		env.Post(m.pending, nil)
	}
	m.arm(env)
}

// tally is a counter of this batch: an effect for each count could be more than a
// batch holds.
type tally struct {
	name string
	n    uint64
}

func (m *module) count(name string, n uint64) {
	for i := range m.counts {
		if m.counts[i].name == name {
			m.counts[i].n += n
			return
		}
	}
	m.counts = append(m.counts, tally{name, n})
}

func (m *module) tell(env *sdk.Env) {
	for _, c := range m.counts {
		env.Count(c.name, c.n)
	}
	m.counts, m.logs = m.counts[:0], 0
}

// warn logs what a peer may bring about as often as it likes.
func (m *module) warn(env *sdk.Env, text string) {
	if m.logs++; m.logs <= 4 {
		env.Log(sdk.LogWarn, text)
	}
}

// arm sets the timer to what is due next.
func (m *module) arm(env *sdk.Env) {
	now := env.Now()
	next := now + tick
	if !m.busy() {
		next = 0
	}
	due := func(at time.Duration) {
		if at > now && (next == 0 || at < next) {
			next = at
		}
	}
	due(m.identity.retryAt)
	for _, w := range m.wants {
		due(w.retryAt)
	}
	for _, u := range m.ups {
		if !u.dialling && u.ref == 0 {
			due(u.retryAt)
		}
	}
	for _, ref := range m.order {
		due(m.calls[ref].due)
	}
	if next > 0 && (m.timerAt == 0 || next < m.timerAt) {
		m.timerAt = max(next, now+sdk.MinTimer)
		env.After(m.timer, m.timerAt-now)
	}
}

// busy says that something ages here.
func (m *module) busy() bool { return len(m.topics) > 0 }

// sweep forgets channels that nobody publishes to any more, and what was retained too
// long.
func (m *module) sweep(env *sdk.Env) {
	for i := 0; i < len(m.topics); {
		t := m.topics[i]
		m.trim(env, t)
		if t.pubs == 0 && len(t.kept) == 0 && env.Now()-t.closed >= linger {
			m.drop(env, t)
			continue
		}
		i++
	}
}

// leave ends everything: the node stops.
func (m *module) leave(env *sdk.Env) {
	const why = "the node is stopping"
	for _, ref := range m.order {
		env.Reset(ref, sdk.Draining, why)
	}
	for _, d := range m.downs {
		env.Reset(d.ref, sdk.Draining, why)
	}
	for _, u := range m.ups {
		if u.ref != 0 {
			env.Reset(u.ref, sdk.Cancelled, why)
		}
	}
	m.calls, m.order, m.downs, m.ups, m.subs, m.wants, m.topics = map[sdk.Ref]*call{}, nil, nil, nil, nil, nil, nil
	m.byRef = map[sdk.Ref]any{}
	env.Drained()
}
