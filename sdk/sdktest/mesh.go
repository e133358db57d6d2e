package sdktest

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// Mesh is many nodes that run one and the same module, with sessions between those
// that a test links: what a protocol does among several is tried in virtual time,
// the same in every run. Messages and streams arrive at once and in order, credit is
// kept, Sign and Verify are the real thing.
type Mesh struct {
	Nodes []*MeshNode

	t    testing.TB
	name string
	id   sdk.ID
	v    sdk.Version
	now  time.Duration
	// Sent counts the bytes written between nodes.
	Sent  uint64
	mates []*Mesh // what runs on the same nodes, this one among them
}

// MeshNode is one node of a Mesh.
type MeshNode struct {
	// ID is the node's id, Key the private half.
	ID  sdk.NodeID
	Key ed25519.PrivateKey
	// State is the module's key-value state.
	State map[string][]byte
	// Counters are what the module counted, Log what it logged.
	Counters map[string]uint64
	Log      []string
	// Effects holds the effects that are none of a Mesh's business, Connect among
	// them.
	Effects []sdk.Effect

	m       *Mesh
	index   int
	inst    Instance
	up      bool
	seq     uint64
	queue   []sdk.Event
	w       abi.Writer
	timers  map[sdk.Ref]time.Duration
	peers   map[int]sdk.Peer // by index of the other
	nodes   map[sdk.Peer]int
	last    sdk.Peer
	lastRef sdk.Ref
	streams map[sdk.Ref]*meshPipe
}

// meshPipe is one end of a stream.
type meshPipe struct {
	far    *MeshNode // nil: an application
	farRef sdk.Ref
	credit uint64 // what this end may write
	app    *MeshCall
}

// MeshCall is an application's stream with a module.
type MeshCall struct {
	Got       []byte
	FIN       bool
	WasReset  bool
	ResetCode sdk.Code
	ResetText string

	n   *MeshNode
	ref sdk.Ref
}

// NewMesh makes n nodes with a module each and starts them. The module's first id
// is what peers agree on.
func NewMesh(t testing.TB, n int, module func() sdk.Module, config ...sdk.Pair) *Mesh {
	return NewMeshOver(t, n, module().Describe(), func(int) Instance { return InProcess(module()) }, config...)
}

// NewMeshOver is NewMesh with instances behind any carrier.
func NewMeshOver(t testing.TB, n int, d sdk.Descriptor, open func(i int) Instance, config ...sdk.Pair) *Mesh {
	m := &Mesh{t: t, name: d.Name, id: d.Subprotocols[0].ID, v: d.Subprotocols[0].Version}
	for i := range n {
		key := ed25519.NewKeyFromSeed(append(make([]byte, 28), byte(i>>8), byte(i), 77, 1))
		m.Nodes = append(m.Nodes, &MeshNode{ID: sdk.NodeID(key.Public().(ed25519.PublicKey)), Key: key, State: map[string][]byte{}, m: m, index: i})
	}
	for i := range m.Nodes {
		m.start(i, open(i), sdk.StartFresh, config)
	}
	return m
}

// Start brings up a module on a node, which has none, with the state it has.
func (m *Mesh) Start(i int, module sdk.Module, reason sdk.StartReason, config ...sdk.Pair) {
	m.start(i, InProcess(module), reason, config)
}

func (m *Mesh) start(i int, inst Instance, reason sdk.StartReason, config []sdk.Pair) {
	n := m.Nodes[i]
	m.t.Cleanup(func() { inst.Close() })
	n.inst, n.up, n.seq, n.queue = inst, true, 0, nil
	n.Counters, n.timers, n.peers, n.nodes, n.streams = map[string]uint64{}, map[sdk.Ref]time.Duration{}, map[int]sdk.Peer{}, map[sdk.Peer]int{}, map[sdk.Ref]*meshPipe{}
	keys := make([]string, 0, len(n.State))
	for k := range n.State {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		n.Queue(sdk.Event{Kind: sdk.EvState, Payload: sdk.AppendStateEntry(nil, []byte(k), n.State[k])})
	}
	n.Queue(sdk.Event{Kind: sdk.EvConfig, Payload: sdk.AppendPairs(nil, config)})
	n.Queue(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: reason, Self: n.ID, StateLimit: 16 << 20,
		Grants: []string{"state", "sign", "connect", "wall"}})})
	m.Run()
}

// Stop ends a node: its neighbours lose it.
func (m *Mesh) Stop(i int) {
	for j := range m.Nodes {
		m.Cut(i, j)
	}
	m.Nodes[i].up, m.Nodes[i].queue = false, nil
}

// Link brings up a session between two nodes.
func (m *Mesh) Link(i, j int) {
	a, b := m.Nodes[i], m.Nodes[j]
	if _, linked := a.peers[j]; linked || !a.up || !b.up {
		return
	}
	for _, e := range [2][2]*MeshNode{{a, b}, {b, a}} {
		n, far := e[0], e[1]
		n.last++
		n.peers[far.index], n.nodes[n.last] = n.last, far.index
		n.Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: n.last, ID: m.id, Version: m.v, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: far.ID, RTT: time.Millisecond, MTU: 1100})})
	}
}

// Cut ends the session between two nodes.
func (m *Mesh) Cut(i, j int) {
	a, b := m.Nodes[i], m.Nodes[j]
	if _, linked := a.peers[j]; !linked {
		return
	}
	for _, e := range [2][2]*MeshNode{{a, b}, {b, a}} {
		n, far := e[0], e[1]
		var refs []sdk.Ref
		for ref, p := range n.streams {
			if p.far == far {
				refs = append(refs, ref)
			}
		}
		slices.Sort(refs)
		for _, ref := range refs {
			delete(n.streams, ref)
			n.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: ref, Arg: uint64(sdk.PeerGone)})
		}
		n.Queue(sdk.Event{Kind: sdk.EvPeerDown, Peer: n.peers[far.index], ID: m.id, Arg: uint64(sdk.DownDead)})
		delete(n.nodes, n.peers[far.index])
		delete(n.peers, far.index)
	}
}

// Queue adds a raw event for the node's module.
func (n *MeshNode) Queue(e sdk.Event) {
	if n.up {
		e.Payload = bytes.Clone(e.Payload)
		n.queue = append(n.queue, e)
	}
}

// Peer gives the node's handle for another one, 0 when they are not linked.
func (n *MeshNode) Peer(j int) sdk.Peer { return n.peers[j] }

// Now is the virtual time.
func (m *Mesh) Now() time.Duration { return m.now }

// Run delivers everything that is under way.
func (m *Mesh) Run() {
	m.t.Helper()
	for round := 0; ; round++ {
		busy := false
		for _, n := range m.everything() {
			if n.up && len(n.queue) > 0 {
				busy = true
				n.batch()
			}
		}
		if !busy {
			return
		}
		if round == maxRounds {
			m.t.Fatalf("sdktest: the nodes still talk after %d rounds", maxRounds)
		}
	}
}

// Advance moves the virtual time by d and fires the timers on the way.
func (m *Mesh) Advance(d time.Duration) {
	m.t.Helper()
	for end := m.now + d; ; {
		var n *MeshNode
		var ref sdk.Ref
		at := end + 1
		for _, c := range m.everything() {
			if !c.up {
				continue
			}
			for r, t := range c.timers {
				if t < at || t == at && c == n && r < ref {
					n, ref, at = c, r, t
				}
			}
		}
		if n == nil {
			m.setNow(end)
			return
		}
		m.setNow(max(m.now, at))
		delete(n.timers, ref)
		n.Queue(sdk.Event{Kind: sdk.EvTimer, Ref: ref})
		m.Run()
	}
}

// Open opens a stream to the module of a node as an application.
func (m *Mesh) Open(i int, method string, meta []byte) *MeshCall {
	n := m.Nodes[i]
	return n.open(sdk.Open{From: sdk.FromApp, Method: method, Meta: meta}, 0, nil, 0)
}

// Call opens a stream, writes request with FIN, and runs the mesh.
func (m *Mesh) Call(i int, method string, request []byte) *MeshCall {
	m.t.Helper()
	c := m.Open(i, method, nil)
	c.Write(request, true)
	m.Run()
	return c
}

// Dial opens a stream to the module of node i as node j, by hand: a test plays a
// peer that does not keep the protocol.
func (m *Mesh) Dial(j, i int, method string) *MeshCall {
	n := m.Nodes[i]
	return n.open(sdk.Open{From: sdk.FromPeer, Principal: m.Nodes[j].ID[:], Method: method}, n.peers[j], nil, 0)
}

// Write writes to the module.
func (c *MeshCall) Write(b []byte, fin bool) {
	for part := range slices.Chunk(b, sdk.MaxStreamData) {
		c.n.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: c.ref, Payload: part})
	}
	if fin {
		c.n.Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: c.ref, Flags: sdk.FlagFIN})
	}
}

// Cancel resets the stream from the application's side.
func (c *MeshCall) Cancel() {
	delete(c.n.streams, c.ref)
	c.n.Queue(sdk.Event{Kind: sdk.EvStreamReset, Ref: c.ref, Arg: uint64(sdk.Cancelled)})
}

func (n *MeshNode) open(o sdk.Open, p sdk.Peer, far *MeshNode, farRef sdk.Ref) *MeshCall {
	n.lastRef += 2
	pipe := &meshPipe{far: far, farRef: farRef, credit: sdk.InitialCredit}
	var c *MeshCall
	if far == nil {
		c = &MeshCall{n: n, ref: n.lastRef}
		pipe.app = c
		pipe.credit = 1 << 40
	}
	n.streams[n.lastRef] = pipe
	n.Queue(sdk.Event{Kind: sdk.EvStreamOpen, Ref: n.lastRef, Peer: p, ID: n.m.id, Version: n.m.v, Arg: pipe.credit, Payload: sdk.AppendOpen(nil, o)})
	return c
}

func (n *MeshNode) batch() {
	m := n.m
	m.t.Helper()
	n.seq++
	n.w.ResetEvents(n.seq, m.now, int64(1_700_000_000*time.Second+m.now))
	k := 0
	for k < len(n.queue) && n.w.Event(n.queue[k]) {
		k++
	}
	n.queue = append([]sdk.Event(nil), n.queue[k:]...)
	n.w.Event(sdk.Event{Kind: sdk.EvFlush})
	effects, err := n.inst.Deliver(n.w.Bytes())
	if err != nil {
		m.t.Fatalf("sdktest: node %d: %v", n.index, err)
	}
	if len(effects) == 0 {
		return
	}
	_, r, err := abi.Parse(bytes.Clone(effects), sdk.MaxEffectBytes)
	if err != nil {
		m.t.Fatalf("sdktest: node %d: %v", n.index, err)
	}
	for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
		n.apply(f)
	}
}
