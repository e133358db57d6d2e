package sim

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/impair"
	"nethost/host/kernel"
	"nethost/registry"
	"nethost/sdk"
)

// World is a set of nodes, the network between them and a clock.
type World struct {
	now    time.Duration
	seed   uint64
	rng    *rand.Rand
	nodes  []*Node
	byName map[string]*Node
	byAddr map[netip.AddrPort]*Node
	byID   map[sdk.NodeID]*Node      // the first that was added
	links  map[[2]*Node]*impair.Link // by sender and receiver
	broken map[[2]*Node]bool         // links that lose datagrams which leave in one piece
	queue  eventQueue
	seq    uint64
	hash   hash.Hash
	check  func(*World) error // after every step, when set
	err    error              // first invariant that failed

	routes    uint64            // counts changes of routes anywhere
	looked    uint64            // ... and of those that Invariants looked at
	changedAt time.Duration     // when links or nodes last came, went, or changed
	holesAt   uint64            // routes when Holes last looked, + 1
	verified  map[[64]byte]bool // signatures that were checked, when Sparing
	sparing   bool
}

// New makes an empty world.
func New(seed uint64) *World {
	return &World{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x6e6574686f7374)), byName: map[string]*Node{},
		byAddr: map[netip.AddrPort]*Node{}, byID: map[sdk.NodeID]*Node{}, links: map[[2]*Node]*impair.Link{}, broken: map[[2]*Node]bool{}, hash: sha256.New(), now: time.Second}
}

// Now is the virtual time.
func (w *World) Now() time.Duration { return w.now }

// Node finds a node by name; nil when there is none.
func (w *World) Node(name string) *Node { return w.byName[name] }

// Hash sums up every datagram and event so far.
func (w *World) Hash() string { return fmt.Sprintf("%x", w.hash.Sum(nil)[:8]) }

// NodeConfig describes a node to be added.
type NodeConfig struct {
	Name    string
	NoRelay bool
	// Network tells networks apart: nodes of different ones share no key.
	Network string
	// Network2 names a second network whose key the node has as well. Default
	// none.
	Network2 string
	// Modules by slot.
	Modules []sdk.Module
	// Batch is how long the node lets datagrams wait before it reads them, all
	// at once. 0: it reads each as it comes.
	Batch time.Duration
	// Identity is the name of the node whose key it runs under. Default Name.
	Identity string
	// Skew is how far its clock is ahead of the world's. Default 0.
	Skew time.Duration
	// Profile of failure detection. Default kernel.ProfileDefault.
	Profile kernel.Profile
	// Blind takes no account of the node's own health (kernel.Config.BlindToHealth).
	Blind bool
	// MaxMTU is the largest datagram looked for on each link. 0: none.
	MaxMTU int
}

// Add adds a node and starts it. Its identity follows from its name.
func (w *World) Add(cfg NodeConfig) (*Node, error) {
	if w.byName[cfg.Name] != nil {
		return nil, fmt.Errorf("node %s exists", cfg.Name)
	}
	if cfg.Identity == "" {
		cfg.Identity = cfg.Name
	}
	n := &Node{Name: cfg.Name, key: KeyOf(cfg.Identity), cfg: cfg, w: w,
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(len(w.nodes) >> 8), byte(len(w.nodes))}), 7700)}
	n.rid, n.pos = identity.RIDOf(n.ID()), len(w.nodes)
	w.nodes = append(w.nodes, n)
	w.byName[n.Name], w.byAddr[n.Addr] = n, n
	if w.byID[n.ID()] == nil {
		w.byID[n.ID()] = n
	}
	w.changed()
	return n, n.start()
}

// seedOf derives 32 bytes from words: identities and network keys of a world.
func seedOf(words ...string) (s [32]byte) {
	h := sha256.New()
	for _, x := range words {
		h.Write([]byte(x + "\x00"))
	}
	h.Sum(s[:0])
	return s
}

// KeyOf is the identity of the node called name.
func KeyOf(name string) *identity.Key { return identity.NewKey(seedOf("node", name)) }

// entropy is the world's dice as a reader.
type entropy struct{ rng *rand.Rand }

func (e entropy) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e.rng.Uint32())
	}
	return len(b), nil
}

// Run advances time by d, doing everything that falls due.
func (w *World) Run(d time.Duration) error {
	return w.RunUntil(w.now+d, nil)
}

// RunUntil advances to end, or until done reports true after a step.
func (w *World) RunUntil(end time.Duration, done func() bool) error {
	for w.err == nil {
		if done != nil && done() {
			return nil
		}
		if len(w.queue) == 0 || w.queue[0].at > end {
			break
		}
		e := heap.Pop(&w.queue).(*event)
		w.now = max(w.now, e.at)
		e.do()
		if w.check != nil && w.err == nil {
			w.err = w.check(w)
		}
	}
	if done == nil || !done() {
		w.now = max(w.now, end)
	}
	return w.err
}

// Check sets an invariant that is tested after every step.
func (w *World) Check(f func(*World) error) { w.check = f }

// at queues something for a time.
func (w *World) at(t time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, &event{t, w.seq, do})
}

// record adds to the trace hash.
func (w *World) record(kind string, n *Node, b []byte) {
	var t [8]byte
	binary.LittleEndian.PutUint64(t[:], uint64(w.now))
	w.hash.Write(t[:])
	w.hash.Write([]byte(kind + n.Name))
	w.hash.Write(b)
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type eventQueue []*event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

// tableOf makes the registry table of modules by slot.
func tableOf(mods []sdk.Module) (*registry.Table, []string) {
	t := registry.NewTable()
	var names []string
	for slot, m := range mods {
		d := m.Describe()
		names = append(names, d.Name)
		for _, s := range d.Subprotocols {
			t = t.With(registry.Entry{Line: registry.Line{ID: s.ID, Version: s.Version, MinPeer: s.MinPeer, Required: s.Required}, Slot: slot})
		}
	}
	return t, names
}
