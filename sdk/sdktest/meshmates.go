package sdktest

import (
	"time"

	"nethost/sdk"
)

// capabilityID is the id whose holder hears what the others announce.
const capabilityID sdk.ID = 0x0C00

// Beside makes two meshes one: nodes of the same index are the same node, with a
// module of each. Modules open streams to one another, the holder of 0x0C00 hears
// what the others announce, and time is the same. Sessions and stops are still made
// in each mesh: BothLink and BothCut do it in all.
func (m *Mesh) Beside(other *Mesh) {
	if m.mates == nil {
		m.mates = []*Mesh{m}
	}
	m.mates = append(m.mates, other)
	for _, x := range m.mates {
		x.mates, x.now = m.mates, m.now
	}
	m.Run()
}

// BothLink is Link in all meshes that are beside each other.
func (m *Mesh) BothLink(i, j int) {
	for _, x := range m.together() {
		x.Link(i, j)
	}
}

// BothCut is Cut in all meshes that are beside each other.
func (m *Mesh) BothCut(i, j int) {
	for _, x := range m.together() {
		x.Cut(i, j)
	}
}

func (m *Mesh) together() []*Mesh {
	if m.mates == nil {
		return []*Mesh{m}
	}
	return m.mates
}

func (m *Mesh) everything() []*MeshNode {
	if m.mates == nil {
		return m.Nodes
	}
	var all []*MeshNode
	for _, x := range m.mates {
		all = append(all, x.Nodes...)
	}
	return all
}

func (m *Mesh) setNow(now time.Duration) {
	for _, x := range m.together() {
		x.now = now
	}
}

// mate gives the module on the same node that holds an id; nil: none that runs.
func (n *MeshNode) mate(id sdk.ID) *MeshNode {
	for _, x := range n.m.mates {
		if x.id == id && n.index < len(x.Nodes) && x.Nodes[n.index].up {
			return x.Nodes[n.index]
		}
	}
	return nil
}

// openMate opens a stream to another module of the node.
func (n *MeshNode) openMate(f sdk.Effect, o sdk.Open) {
	far := n.mate(f.ID)
	if far == nil {
		n.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: f.Ref, Arg: uint64(sdk.NotFound), Payload: []byte("no module here answers to " + f.ID.String())})
		return
	}
	o.From, o.Principal = sdk.FromModule, []byte(n.m.name)
	far.open(o, 0, n, f.Ref)
	n.streams[f.Ref] = &meshPipe{far: far, farRef: far.lastRef, credit: sdk.InitialCredit}
}

// announced tells the holder of capability.
func (n *MeshNode) announced(f sdk.Effect) {
	n.Effects = append(n.Effects, f)
	if far := n.mate(capabilityID); far != nil && far != n {
		far.Queue(sdk.Event{Kind: sdk.EvAnnounceChanged, ID: n.m.id, Version: n.m.v, Payload: f.Payload})
	}
}

// OpenSlow opens a stream as an application that takes credit bytes and then no more
// until Grant.
func (m *Mesh) OpenSlow(i int, method string, credit uint64) *MeshCall {
	return m.Nodes[i].slow(sdk.Open{From: sdk.FromApp, Method: method}, 0, credit)
}

// DialSlow is Dial for a peer that takes credit bytes and then no more until Grant.
func (m *Mesh) DialSlow(j, i int, method string, credit uint64) *MeshCall {
	n := m.Nodes[i]
	return n.slow(sdk.Open{From: sdk.FromPeer, Principal: m.Nodes[j].ID[:], Method: method}, n.peers[j], credit)
}

func (n *MeshNode) slow(o sdk.Open, p sdk.Peer, credit uint64) *MeshCall {
	c := n.open(o, p, nil, 0)
	n.streams[c.ref].credit = credit
	n.queue[len(n.queue)-1].Arg = credit
	return c
}

// Grant lets the module write n bytes more.
func (c *MeshCall) Grant(n uint64) {
	if p := c.n.streams[c.ref]; p != nil {
		p.credit += n
		c.n.Queue(sdk.Event{Kind: sdk.EvStreamCredit, Ref: c.ref, Arg: n})
	}
}

// LastPeerStream gives the reference of the stream that a node's module opened last
// to another node, and that is open; 0: none.
func (m *Mesh) LastPeerStream(i int) sdk.Ref {
	var last sdk.Ref
	for ref, p := range m.Nodes[i].streams {
		if ref%2 == 1 && p.far != nil && p.far.m == m {
			last = max(last, ref)
		}
	}
	return last
}
