package capability

import (
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
)

// admit is asked before the signature of a newer announcement is checked.
func (m *module) admit(s *gossip.Statement, age time.Duration) bool {
	id := sdk.NodeID(s.Key)
	if age >= maxTTL {
		return false
	}
	if m.nodes[id] != nil || id == m.self || len(m.nodes) < maxNodes && m.bytes < maxBytes {
		return true
	}
	// Full: who cannot be reached makes room.
	if w := m.worst(); !w.IsZero() {
		m.drop(w)
		return true
	}
	return false
}

// worst is the oldest announcement that nobody sees.
func (m *module) worst() sdk.NodeID {
	var worst sdk.NodeID
	for id, n := range m.nodes {
		w := m.nodes[worst]
		if !n.visible && id != m.self && (w == nil || n.at < w.at || n.at == w.at && id.Compare(worst) < 0) {
			worst = id
		}
	}
	return worst
}

// accept takes a verified announcement.
func (m *module) accept(env *sdk.Env, s *gossip.Statement, body []byte, age time.Duration) {
	text := string(body)
	a, err := parseAnnouncement(text)
	if err != nil {
		return
	}
	if a.node == m.self { // of an earlier life whose state was lost
		m.raise(env, a.version[0]+1)
		return
	}
	m.keep(a, text, env.Now()-age)
}

// body gives an announcement to the gossip.
func (m *module) body(k gossip.Key, now time.Duration) ([]byte, time.Duration) {
	n := m.nodes[sdk.NodeID(k)]
	if n == nil {
		return nil, 0
	}
	return []byte(n.body), now - n.at
}

func (m *module) keep(a announcement, body string, at time.Duration) {
	n := m.nodes[a.node]
	if n == nil {
		n = &node{}
		m.nodes[a.node] = n
	}
	m.bytes += len(body) - len(n.body)
	old := n.a.tags
	n.a, n.body, n.at = a, body, at
	m.show(n, old)
}

// show puts a node into the index when it can be reached.
func (m *module) show(n *node, old []string) {
	id, was := n.a.node, n.visible
	_, reached := m.routes[id]
	n.visible = id == m.self || !m.routed || reached
	switch {
	case n.visible:
		m.x.put(id, n.a.tags)
	case was:
		m.x.remove(id)
	}
	if was || n.visible {
		m.changed = append(m.changed, change{id: id, old: old, now: n.a.tags, had: was, has: n.visible})
	}
}

// drop forgets an announcement.
func (m *module) drop(id sdk.NodeID) {
	n := m.nodes[id]
	if n == nil {
		return
	}
	if n.visible {
		m.x.remove(id)
		m.changed = append(m.changed, change{id: id, old: n.a.tags, had: true})
	}
	m.bytes -= len(n.body)
	delete(m.nodes, id)
	m.gossip.Remove(gossip.Key(id))
}
