package identity

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
	"nethost/sdk/token"
)

// ID is the subprotocol id.
const ID sdk.ID = 0x0C10

const (
	maxIssuers = 16384
	maxRequest = 4 << 10
	maxHeld    = 4 << 20
	maxCalls   = 1024
	batchBytes = 256 << 10
	// recheck is how often a node that is not current looks again: a neighbour that
	// does not answer is given up after a while.
	recheck = time.Second
)

type module struct {
	gossip   *gossip.Engine
	floors   token.Floors
	reserved []sdk.NodeID // issuers that always have room
	hasState bool
	bad      int // damaged entries of the state

	calls    map[sdk.Ref]*call
	order    []sdk.Ref
	news     []token.Floor
	current  bool
	timer    sdk.Ref
	armed    bool
	pending  sdk.Ref
	draining bool
}

// call is a question under way.
type call struct {
	ref    sdk.Ref
	o      sdk.Origin
	method string
	in     []byte
	credit uint64
	out    []byte
	done   bool
	watch  bool
}

// New returns a fresh identity module.
func New() sdk.Module {
	m := &module{calls: map[sdk.Ref]*call{}, current: true}
	m.gossip = gossip.New(gossip.Config{ID: ID, MaxBody: token.FloorLen, Parse: statement, Admit: m.admit, Accept: m.accept, Body: m.body})
	return m
}

// Describe implements sdk.Module.
func (m *module) Describe() sdk.Descriptor {
	v := sdk.Version{Major: 1}
	return sdk.Descriptor{Name: "identity", Release: "1.0.0", Methods: []string{"floors", "publish", "watch"},
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
	case sdk.EvConfig:
		m.configure(env, ev.Payload)
	case sdk.EvStart:
		m.start(env, ev.Payload)
	case sdk.EvStreamOpen, sdk.EvStreamData, sdk.EvStreamCredit, sdk.EvStreamReset:
		m.stream(env, ev)
	case sdk.EvTimer:
		if ev.Ref == m.timer {
			m.armed = false
		}
	case sdk.EvPosted:
		m.gossip.Posted(ev)
		if ev.Ref == m.pending {
			m.pending = 0
		}
	case sdk.EvDrain:
		m.draining = true
	case sdk.EvFlush:
		m.flush(env)
	}
}

func (m *module) load(b []byte) {
	_, val, err := sdk.ParseStateEntry(b)
	if err != nil {
		return
	}
	f, err := token.ParseFloor(val)
	if err != nil {
		m.bad++
		return
	}
	m.floors.Put(f) // it was verified before it was written
}

func (m *module) configure(env *sdk.Env, b []byte) {
	pairs, _ := sdk.ParsePairs(b)
	for _, p := range pairs {
		if p.Key != "issuers" {
			continue
		}
		for w := range strings.FieldsFuncSeq(p.Value, func(r rune) bool { return r == ' ' || r == ',' }) {
			id, err := sdk.ParseNodeID(w)
			if err != nil {
				env.Log(sdk.LogError, "issuers: "+err.Error())
				continue
			}
			m.reserved = append(m.reserved, id)
		}
	}
}

func (m *module) start(env *sdk.Env, b []byte) {
	s, err := sdk.ParseStart(b)
	if err != nil {
		return
	}
	m.hasState, m.timer = s.StateLimit > 0, env.NewRef()
	m.gossip.Start(env, s.Self)
	for _, f := range m.floors.All() {
		m.gossip.Put(gossip.Key(f.Issuer), gossip.Version{f.Generation, f.Seq})
	}
	if !m.hasState {
		env.Log(sdk.LogWarn, "without the grant state revocations are forgotten at each restart: give it with [grants.identity] state = \"8MiB\"")
	}
	if m.bad > 0 {
		env.Log(sdk.LogError, fmt.Sprintf("%d entries of the state are no floors and were left out", m.bad))
	}
}

func statement(b []byte) (gossip.Statement, error) {
	f, err := token.ParseFloor(b)
	if err != nil {
		return gossip.Statement{}, err
	}
	return gossip.Statement{Key: gossip.Key(f.Issuer), Version: gossip.Version{f.Generation, f.Seq}, Signer: f.Issuer, Sig: f.Sig, Signed: f.Signed()}, nil
}

// admit keeps room (I4).
func (m *module) admit(s *gossip.Statement, _ time.Duration) bool {
	issuer := sdk.NodeID(s.Key)
	_, known := m.floors.Get(issuer)
	return known || m.floors.Len() < maxIssuers || slices.Contains(m.reserved, issuer)
}

func (m *module) accept(env *sdk.Env, _ *gossip.Statement, body []byte, _ time.Duration) {
	if f, err := token.ParseFloor(body); err == nil {
		m.take(env, f)
	}
}

// take keeps a floor that was verified, and reports whether it is news (I2).
func (m *module) take(env *sdk.Env, f token.Floor) bool {
	if !m.floors.Put(f) {
		return false
	}
	if m.hasState {
		env.Put(append([]byte("floor/"), f.Issuer[:]...), f.Append(nil))
	}
	m.news = append(m.news, f)
	return true
}

func (m *module) body(k gossip.Key, _ time.Duration) ([]byte, time.Duration) {
	f, _ := m.floors.Get(sdk.NodeID(k))
	return f.Append(nil), 0
}

func (m *module) flush(env *sdk.Env) {
	m.gossip.Flush(env)
	m.tell(env)
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

// line is one floor in an answer.
type line struct {
	Issuer     string `json:"issuer,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Seq        uint64 `json:"seq,omitempty"`
	Floor      []byte `json:"floor,omitempty"`
	Current    *bool  `json:"current,omitempty"`
}

func lineOf(f token.Floor) line {
	return line{Issuer: f.Issuer.String(), Generation: f.Generation, Seq: f.Seq, Floor: f.Append(nil)}
}

func (c *call) line(l line) {
	b, _ := json.Marshal(l)
	c.out = append(append(c.out, b...), '\n')
}

// tell lets watchers know what changed. A floor goes out before the word that the
// node is current.
func (m *module) tell(env *sdk.Env) {
	was := m.current
	m.current = m.gossip.Compared(env.Now())
	if !m.current && !m.armed {
		m.armed = true
		env.After(m.timer, recheck)
	}
	for _, ref := range m.order {
		c := m.calls[ref]
		if !c.watch {
			continue
		}
		for _, f := range m.news {
			c.line(lineOf(f))
		}
		if was != m.current {
			c.line(line{Current: &m.current})
		}
	}
	m.news = nil
}
