package channels

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
	"nethost/sdk/token"
)

// pass is a right that was looked at: who, to do what, with which channel.
type pass struct {
	free  bool // no token is needed
	node  sdk.NodeID
	scope token.Scope
	name  string
	key   token.Key
	chain token.Chain
}

// proof is a chain as somebody showed it.
type proof struct {
	raw   []byte
	chain token.Chain
}

func parseProof(raw []byte) (proof, error) {
	if len(raw) == 0 {
		return proof{}, nil
	}
	c, err := token.ParseChain(raw)
	return proof{slices.Clone(raw), c}, err
}

func parseProofText(s string) (proof, error) {
	if s == "" {
		return proof{}, nil
	}
	c, err := token.ParseText(s)
	if err != nil {
		return proof{}, err
	}
	return proof{c.Append(nil), c}, nil
}

var errNoToken = errors.New("it needs a token, and none was given")

// admit looks at a right for the first time (A1 to A3).
func (m *module) admit(node sdk.NodeID, scope token.Scope, ch string, pr *proof) (pass, error) {
	p := m.pol.of(ch)
	w := pass{node: node, scope: scope, name: ch, chain: pr.chain}
	switch {
	case !p.guarded() || slices.Contains(p.Roots, node):
		w.free = true
		return w, nil
	case len(pr.chain) == 0:
		return w, fmt.Errorf("channel %q: to %s %w", ch, scope, errNoToken)
	}
	w.key = token.KeyOf(node, scope, ch, pr.raw)
	return w, m.still(&w, p)
}

// still looks at it again, at every use (A4). A kept verdict costs no signature.
func (m *module) still(w *pass, p *Policy) error {
	if w.free || m.cache.Good(&w.key, m.wall) {
		return nil
	}
	var wall time.Time
	if m.wall != 0 {
		wall = time.Unix(m.wall, 0)
	}
	err := m.cache.Verify(&w.key, w.chain, token.Request{Presenter: w.node, Scope: w.scope, Resource: w.name, Roots: p.Roots, Wall: wall})
	if err != nil {
		return fmt.Errorf("channel %q: %w", w.name, err)
	}
	return nil
}

// forgetVerdicts: they were found under other roots.
func (m *module) forgetVerdicts() { m.cache = token.NewCache(&m.floors, maxVerdicts) }

// readmit looks at a seat as if its node came now.
func (m *module) readmit(s *seat) (pass, error) {
	w, err := pass{}, errNoToken
	for _, r := range s.d.subs {
		if s.holds(r) {
			if w, err = m.admit(s.d.node, token.Subscribe, s.t.name, &r.proof); err == nil {
				return w, nil
			}
		}
	}
	return w, err
}

// readmitLocal does the same for a subscription of this node.
func (m *module) readmitLocal(l *local) error {
	w, err := m.admit(m.self, token.Subscribe, l.pass.name, &l.s.proof)
	if err == nil {
		*l.pass = w
	}
	return err
}

// held says that a right can not be told yet, because floors may be missing.
func (m *module) held(w *pass) bool { return !w.free && !m.current }

// watcher is the stream on which identity tells its floors.
type watcher struct {
	ref     sdk.Ref
	in      []byte
	retryAt time.Duration // 0: it is open
	warned  bool
}

// floorLine is a line of identity.watch.
type floorLine struct {
	Floor   []byte `json:"floor"`
	Current *bool  `json:"current"`
}

// floorsHeard takes what identity tells.
func (m *module) floorsHeard(env *sdk.Env, line []byte) {
	var l floorLine
	if json.Unmarshal(line, &l) != nil {
		return
	}
	if l.Current != nil {
		m.current = *l.Current
	}
	if len(l.Floor) == 0 {
		return
	}
	f, err := token.ParseFloor(l.Floor)
	if err == nil && m.floors.Put(f) {
		m.recheck(env)
	}
}

// recheck takes the seats and publishers away whose tokens are void now (A5).
func (m *module) recheck(env *sdk.Env) {
	for _, t := range m.topics {
		for _, s := range slices.Clone(t.seats) {
			if err := m.still(&s.pass, &t.pol); err != nil {
				m.count("revoked", 1)
				m.unseat(s, sdk.PermissionDenied, err.Error())
			}
		}
	}
	for _, u := range m.ups {
		for _, r := range u.remotes {
			m.checkRemote(env, u, r)
		}
	}
}

// watchers opens the stream to identity again when it is due.
func (m *module) watchers(env *sdk.Env) {
	w := &m.identity
	if w.retryAt == 0 || env.Now() < w.retryAt {
		return
	}
	w.retryAt, w.in = 0, nil
	w.ref = env.OpenModule(identityID, sdk.Open{Method: "watch"})
	env.Write(w.ref, nil, true)
	m.byRef[w.ref] = w
}

// identityLost: without identity there are no floors.
func (m *module) identityLost(env *sdk.Env, why string) {
	w := &m.identity
	delete(m.byRef, w.ref)
	w.ref, w.retryAt = 0, env.Now()+time.Minute
	if !w.warned {
		w.warned = true
		env.Log(sdk.LogWarn, "the module identity does not tell which tokens are revoked ("+why+"): run it, and give [grants.channels] call = [\"capability\", \"identity\"]")
	}
}
