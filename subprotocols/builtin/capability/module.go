package capability

import (
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
)

// ID is capability's subprotocol id.
const ID sdk.ID = 0x0C00

const (
	// lifetime is how long an announcement holds; a third of it passes between two.
	lifetime = 30 * time.Minute
	// maxBurst announcements may follow one another at once, pace apart later.
	maxBurst = 10
	pace     = 100 * time.Millisecond
	// maxNodes and maxBytes bound the announcements held.
	maxNodes = 16384
	maxBytes = 64 << 20
	// sweep is how often what is too old goes, and what is missing is looked for.
	sweep = 3 * time.Second
)

// Keys of the state.
const (
	keyIncarnation = "incarnation"
	keyTags        = "tags"
)

// module is one node's view of all.
type module struct {
	self   sdk.NodeID
	gossip *gossip.Engine
	x      *index
	nodes  map[sdk.NodeID]*node
	bytes  int

	// What goes into our own announcement.
	slots    map[slotKey][]string
	operator []string
	mine     []string // as last signed
	version  gossip.Version
	dirty    bool
	signing  sdk.Ref
	unsigned *announcement
	signedAt time.Duration
	tokens   int
	tokensAt time.Duration

	routes  map[sdk.NodeID]uint64 // cost in us
	routed  bool                  // the host tells routes
	wanted  map[sdk.Ref]sdk.NodeID
	retry   map[sdk.NodeID]time.Duration
	connect bool

	calls   map[sdk.Ref]*call
	order   []sdk.Ref // of calls, ascending
	changed []change

	timer, sweeper sdk.Ref
	pending        sdk.Ref
	draining       bool
	hasState       bool
	badState       bool
}

type slotKey struct {
	id    sdk.ID
	major uint8
}

// node is an announcement that is held.
type node struct {
	a       announcement
	body    string
	at      time.Duration // when it was made, by our clock
	visible bool
}

// change is a node that came, went or has other tags.
type change struct {
	id       sdk.NodeID
	old, now []string
	had, has bool
}

// New returns a fresh capability module.
func New() sdk.Module {
	m := &module{x: newIndex(), nodes: map[sdk.NodeID]*node{}, slots: map[slotKey][]string{}, routes: map[sdk.NodeID]uint64{},
		wanted: map[sdk.Ref]sdk.NodeID{}, retry: map[sdk.NodeID]time.Duration{}, calls: map[sdk.Ref]*call{}, tokens: maxBurst}
	m.gossip = gossip.New(gossip.Config{ID: ID, MaxBody: MaxAnnouncement, Parse: statement, Admit: m.admit, Accept: m.accept, Body: m.body})
	return m
}

// Describe implements sdk.Module.
func (m *module) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: moduleID, Release: "1.0.0", Methods: []string{"ls", "show", "find", "watch", "tag-add", "tag-rm", "tags", "check", "explain", "stats"},
		Subprotocols: []sdk.Subprotocol{{ID: ID, Version: v, MinPeer: v}}}
}

// Handle implements sdk.Module.
func (m *module) Handle(env *sdk.Env, ev *sdk.Event) {
	if m.gossip.Handle(env, ev) {
		return
	}
	switch ev.Kind {
	case sdk.EvState:
		m.load(ev.Payload)
	case sdk.EvStart:
		m.start(env, ev.Payload)
	case sdk.EvAnnounceChanged:
		m.slot(env, ev)
	case sdk.EvRoute:
		m.route(env, ev)
	case sdk.EvSigned:
		m.signed(env, ev)
	case sdk.EvConnectFailed:
		if id, ok := m.wanted[ev.Ref]; ok {
			delete(m.wanted, ev.Ref)
			m.retry[id] = env.Now() + retryAfter(sdk.Code(ev.Arg))
		}
	case sdk.EvDenied:
		m.denied(env, ev)
	case sdk.EvTimer:
		if ev.Ref == m.sweeper {
			m.sweep(env)
		}
	case sdk.EvPosted:
		m.gossip.Posted(ev)
		if ev.Ref == m.pending {
			m.pending = 0
		}
	case sdk.EvStreamOpen, sdk.EvStreamData, sdk.EvStreamCredit, sdk.EvStreamReset:
		m.stream(env, ev)
	case sdk.EvDrain:
		m.draining = true
	case sdk.EvFlush:
		m.flush(env)
	}
}

func (m *module) flush(env *sdk.Env) {
	m.announce(env)
	m.gossip.Flush(env)
	m.tellWatchers()
	m.write(env)
	if m.draining {
		m.draining = false
		for _, ref := range m.order {
			env.Reset(ref, sdk.Draining, "the node is stopping")
		}
		m.calls, m.order = map[sdk.Ref]*call{}, nil
		env.Drained()
	}
}

// load takes a state entry of an earlier life.
func (m *module) load(b []byte) {
	key, val, err := sdk.ParseStateEntry(b)
	switch {
	case err != nil:
	case string(key) == keyIncarnation && len(val) == 8:
		m.version[0] = binary.LittleEndian.Uint64(val)
	case string(key) == keyTags:
		tags, err := sdk.ParseTags(val)
		if err == nil && !slices.ContainsFunc(tags, func(t string) bool { return operatorFault(t) != "" }) {
			m.operator = merge(tags)
			return
		}
		m.badState = true
	}
}

func (m *module) start(env *sdk.Env, b []byte) {
	s, err := sdk.ParseStart(b)
	if err != nil {
		return
	}
	if m.badState {
		env.Log(sdk.LogError, "the operator's tags in the state are damaged and were dropped: add them again with `nethost cap tag add`")
	}
	m.self, m.hasState, m.dirty = s.Self, s.StateLimit > 0, true
	m.connect = slices.Contains(s.Grants, "connect")
	m.timer, m.sweeper = env.NewRef(), env.NewRef()
	env.After(m.sweeper, sweep)
	m.gossip.Start(env, m.self)
	m.raise(env, m.version[0]+1)
	if !m.hasState {
		env.Log(sdk.LogWarn, "without the grant state the node's operator tags are forgotten at each restart: give it with [grants.capability] state = \"1MiB\"")
	}
}

// raise begins a new incarnation (C2.4).
func (m *module) raise(env *sdk.Env, n uint64) {
	m.version = gossip.Version{n, 0}
	m.dirty, m.mine = true, nil
	if m.hasState {
		env.Put([]byte(keyIncarnation), binary.LittleEndian.AppendUint64(nil, n))
	}
}

// slot takes the tags of the node or of a module on it.
func (m *module) slot(env *sdk.Env, ev *sdk.Event) {
	tags, err := sdk.ParseTags(ev.Payload)
	if err != nil {
		return
	}
	kept := tags[:0]
	for _, t := range tags {
		key, _, _ := splitTag(t)
		owner, ok := reserved(key)
		switch err := checkTag(t); {
		case err != nil:
			env.Log(sdk.LogWarn, "a tag of the module that holds "+ev.ID.String()+" was left out: "+err.Error())
		case ok && owner != ev.ID:
			env.Count("reserved", 1)
			env.Log(sdk.LogWarn, "the module that holds "+ev.ID.String()+" announces "+t+", which belongs to "+owner.String()+": left out")
		default:
			kept = append(kept, t)
			continue
		}
	}
	k := slotKey{ev.ID, ev.Version.Major}
	if len(kept) == 0 {
		delete(m.slots, k)
	} else {
		m.slots[k] = kept
	}
	m.dirty = true
}

// own merges what this node says about itself.
func (m *module) own() []string {
	all := [][]string{m.operator}
	for _, s := range m.slots {
		all = append(all, s)
	}
	return merge(all...) // sorted, so the order of the slots does not show
}

// announce signs a new announcement when there is something new to say.
func (m *module) announce(env *sdk.Env) {
	now := env.Now()
	if due := m.version[1] > 0 && now-m.signedAt >= lifetime/3; due {
		m.dirty, m.mine = true, nil
	}
	if !m.dirty || m.signing != 0 || m.self.IsZero() {
		return
	}
	tags := m.own()
	if m.mine != nil && slices.Equal(tags, m.mine) {
		m.dirty = false
		return
	}
	if n := int((now - m.tokensAt) / pace); n > 0 {
		m.tokens, m.tokensAt = min(maxBurst, m.tokens+n), now
	}
	if m.tokens == 0 {
		env.After(m.timer, pace)
		return
	}
	m.tokens--
	tags = m.fit(env, tags)
	m.version[1]++
	m.unsigned = &announcement{node: m.self, version: m.version, ttl: lifetime, tags: tags}
	m.signing, m.dirty, m.mine = env.NewRef(), false, tags
	env.Sign(m.signing, m.unsigned.appendBody(nil))
}

// fit cuts tags that no announcement can hold.
func (m *module) fit(env *sdk.Env, tags []string) []string {
	size := headLen + sigLen
	for i, t := range tags {
		if size += 2 + len(t); i == MaxTags || size > MaxAnnouncement {
			env.Log(sdk.LogError, "this node has "+strconv.Itoa(len(tags))+" tags, more than an announcement holds: those from "+t+" on are left out")
			return tags[:i]
		}
	}
	return tags
}

// signed puts our new announcement among the others.
func (m *module) signed(env *sdk.Env, ev *sdk.Event) {
	if ev.Ref != m.signing || len(ev.Payload) != sigLen {
		return
	}
	m.signing = 0
	a := m.unsigned
	if m.unsigned = nil; a.version[0] != m.version[0] {
		m.dirty, m.mine = true, nil // the incarnation was raised meanwhile
		return
	}
	copy(a.sig[:], ev.Payload)
	m.signedAt = env.Now()
	m.keep(*a, string(a.append(nil)), env.Now())
	m.gossip.Put(gossip.Key(m.self), a.version)
}

func (m *module) denied(env *sdk.Env, ev *sdk.Event) {
	switch {
	case ev.Ref == m.signing && m.signing != 0:
		m.signing, m.unsigned = 0, nil
		if string(ev.Payload) == "OVERLOADED" {
			m.dirty, m.mine = true, nil
			env.After(m.timer, pace)
			return
		}
		env.Log(sdk.LogError, "this node cannot announce itself, nobody will find it: give the grant with [grants.capability] sign = true")
	case sdk.EffectKind(ev.Arg) == sdk.OpConnect:
		m.connect = false
		delete(m.wanted, ev.Ref)
	}
}
