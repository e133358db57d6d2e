package capability

import (
	"slices"
	"time"

	"nethost/sdk"
)

const (
	// maxWanted sessions are asked for at once with nodes that nobody told of.
	maxWanted = 4
	// maxRetry bounds the nodes remembered for having no capability module.
	maxRetry = 1 << 16
)

// retryAfter is how long a node is left alone with which no session came about.
func retryAfter(c sdk.Code) time.Duration {
	if c == sdk.UnsupportedID {
		return time.Hour // it has no capability module
	}
	return time.Minute
}

// route takes what the host says about which nodes can be reached (C4.1).
func (m *module) route(env *sdk.Env, ev *sdk.Event) {
	if len(ev.Payload) != len(sdk.NodeID{}) {
		return
	}
	id := sdk.NodeID(ev.Payload)
	if first := !m.routed; first {
		m.routed = true
		for _, other := range m.sorted() {
			m.show(m.nodes[other], m.nodes[other].a.tags)
		}
	}
	if ev.Flags&sdk.FlagFIN != 0 {
		delete(m.routes, id)
		delete(m.retry, id)
	} else {
		m.routes[id] = ev.Arg
	}
	if n := m.nodes[id]; n != nil {
		if _, reached := m.routes[id]; reached != n.visible && id != m.self {
			m.show(n, n.a.tags)
		}
	}
}

// sorted gives the nodes of which an announcement is held, in order.
func (m *module) sorted() []sdk.NodeID {
	ids := make([]sdk.NodeID, 0, len(m.nodes))
	for id := range m.nodes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, sdk.NodeID.Compare)
	return ids
}

// sweep drops what is too old, and asks for sessions with nodes that can be reached
// and of which nobody told: relays that know nothing of capability may stand between
// (C4.3).
func (m *module) sweep(env *sdk.Env) {
	env.After(m.sweeper, sweep)
	now := env.Now()
	for _, id := range m.sorted() {
		if n := m.nodes[id]; id != m.self && now-n.at >= n.a.ttl {
			env.Count("expired", 1)
			m.drop(id)
		}
	}
	if !m.connect {
		return
	}
	// What was asked for two sweeps ago came or will come by itself.
	var missing []sdk.NodeID
	for id := range m.routes {
		if m.nodes[id] == nil && id != m.self && now >= m.retry[id] {
			missing = append(missing, id)
		}
	}
	slices.SortFunc(missing, sdk.NodeID.Compare)
	if len(m.retry) > maxRetry {
		m.retry = map[sdk.NodeID]time.Duration{}
	}
	for _, id := range missing[:min(len(missing), maxWanted)] {
		if len(m.wanted) >= 1024 {
			m.wanted = map[sdk.Ref]sdk.NodeID{}
		}
		ref := env.NewRef()
		m.wanted[ref], m.retry[id] = id, now+time.Minute
		env.Connect(ref, id)
	}
}
