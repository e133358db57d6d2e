package sim

import (
	"fmt"
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/kernel"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// Node is one kernel and what surrounds it.
type Node struct {
	Name    string
	Addr    netip.AddrPort
	key     *identity.Key
	w       *World
	cfg     NodeConfig
	inc     uint64
	k       *kernel.Kernel // nil while the node is down
	out     kernel.Output
	todo    []kernel.Input // jobs and effects that a step gave rise to
	mods    []*moduleRun
	armed   time.Duration // earliest deadline queued
	life    int           // counts starts: queued events of an earlier life do nothing
	apps    map[uint64]*App
	next    uint64
	held    *App
	begun   []*App // transfers that go on, in the order in which they began
	wire    []capture
	dials   []*Node
	rid     wire.RID
	pos     int           // in World.nodes
	paused  time.Duration // it does nothing before
	events  []Event
	backlog []wire.Train // what its socket holds meanwhile
	grey    bool         // it drops what it should forward ...
	greyTo  *Node        // ... to this node; nil: to anybody
	routes  uint64       // changes of its routes
	stats   Traffic
	inbox   []wire.Train // what came since the node last read
	trace   []string
	hops    []kernel.Hop // answers to trace questions
	table   *registry.Table
	told    []string // what modules heard of peers
}

// moduleRun is a module with its mailbox, run inline.
type moduleRun struct {
	mod   sdk.Module
	gone  bool // its ids left the manifest
	inst  *Instance
	w     abi.Writer // events
	queue []sdk.Event
	seq   uint64
}

// ID is the node's identity.
func (n *Node) ID() sdk.NodeID { return n.key.ID() }

// Kernel gives access to listings and counters; nil while the node is down.
func (n *Node) Kernel() *kernel.Kernel { return n.k }

// start brings the node up under the next incarnation.
func (n *Node) start() error {
	n.inc++
	n.life++
	static := identity.NewStatic(n.key, seedOf("static", n.Name, fmt.Sprint(n.inc)), n.inc)
	table, names := tableOf(n.cfg.Modules)
	k, err := kernel.New(kernel.Config{Key: n.key, Static: static, NetworkKey: identity.NetworkKey(seedOf("network", n.cfg.Network)),
		NetworkKey2: n.cfg.key2(), MaxMTU: n.cfg.MaxMTU,
		Entropy: entropy{n.w.rng}, Table: table, Modules: names, NoRelay: n.cfg.NoRelay,
		Profile: n.cfg.Profile, BlindToHealth: n.cfg.Blind, Verify: n.w.verifier()}, n.now())
	if err != nil {
		return err
	}
	n.k, n.armed, n.apps, n.mods, n.table = k, 1<<62, map[uint64]*App{}, nil, table
	for slot, m := range n.cfg.Modules {
		r := &moduleRun{mod: m, inst: NewInstance(m)}
		n.mods = append(n.mods, r)
		start := sdk.Start{Reason: sdk.StartFresh, Self: n.ID()}
		r.queue = append(r.queue, sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, start)})
		n.step(kernel.Input{Kind: kernel.InModuleUp, Slot: slot})
	}
	n.step(kernel.Input{Kind: kernel.InTick})
	return nil
}

// key2 is the second current network key, zero for none.
func (c *NodeConfig) key2() (k identity.NetworkKey) {
	if c.Network2 != "" {
		k = seedOf("network", c.Network2)
	}
	return k
}

// Kill stops the node without a word; Stop says goodbye first.
func (n *Node) Kill() {
	n.k = nil
	n.life++
	n.w.changed()
}

// Stop says goodbye to the neighbours and ends the node.
func (n *Node) Stop() {
	if n.k != nil {
		n.step(kernel.Input{Kind: kernel.InShutdown})
		n.Kill()
	}
}

// Restart brings a dead node back with the same identity.
func (n *Node) Restart() error {
	if n.k != nil {
		n.Kill()
	}
	return n.start()
}

// Dial makes the node keep a session with another's address.
func (n *Node) Dial(to *Node) {
	n.dials = append(n.dials, to)
	n.w.changed()
	n.step(kernel.Input{Kind: kernel.InDial, From: to.Addr})
}

// Misdial makes the node keep trying an address at which nobody answers, as
// another's.
func (n *Node) Misdial(to *Node) {
	dead := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 9, 9}), 7700)
	n.step(kernel.Input{Kind: kernel.InDial, From: dead, Node: to.ID()})
}

// Held says what became of the stream that was opened and left.
func (n *Node) Held() string {
	switch {
	case n.held == nil:
		return "no stream was opened"
	case n.held.Err != "":
		return n.held.Err
	case n.held.Opened:
		return "open"
	}
	return "waiting"
}

// SetModules replaces the modules of a running node: ids come and go.
func (n *Node) SetModules(mods []sdk.Module) {
	for slot := range n.mods {
		n.step(kernel.Input{Kind: kernel.InModuleDown, Slot: slot})
	}
	n.mods = nil
	n.cfg.Modules = mods
	table, _ := tableOf(mods)
	for _, m := range mods {
		r := &moduleRun{mod: m, inst: NewInstance(m)}
		n.mods = append(n.mods, r)
	}
	n.table = table
	n.step(kernel.Input{Kind: kernel.InTable, Table: table})
	for slot := range mods {
		n.step(kernel.Input{Kind: kernel.InModuleUp, Slot: slot})
	}
}

// step runs the kernel with an input and everything that follows from it at once:
// jobs, module batches, and their effects.
func (n *Node) step(in kernel.Input) {
	if n.k == nil || n.w.now < n.paused && in.Kind == kernel.InTick {
		return
	}
	n.todo = append(n.todo, in)
	if len(n.todo) > 1 {
		return // an outer step takes it
	}
	for len(n.todo) > 0 {
		in := n.todo[0]
		n.k.Step(n.now(), &in, &n.out)
		if n.out.Incarnation > 0 {
			n.inc = n.out.Incarnation
		}
		n.perform()
		n.todo = n.todo[1:]
		if len(n.todo) == 0 {
			n.runModules()
		}
	}
	if v := n.k.RouteChanges(); v != n.routes {
		n.routes = v
		n.w.routes++
	}
	n.arm()
}

// perform does what a step wanted done.
func (n *Node) perform() {
	for _, d := range n.out.Datagrams {
		if d.Count() > 1 && n.w.broken[[2]*Node{n, n.w.byAddr[d.Addr]}] {
			continue
		}
		for more := true; more; {
			var b []byte
			b, more = d.Cut()
			n.w.transmit(n, d.Addr, b)
		}
	}
	for _, j := range n.out.Jobs {
		j.Run()
		n.todo = append(n.todo, kernel.Input{Kind: kernel.InJob, Job: j})
	}
	for _, d := range n.out.Deliveries {
		ev := d.Event
		ev.Payload = append([]byte(nil), ev.Payload...)
		n.hear(&ev)
		n.mods[d.Slot].queue = append(n.mods[d.Slot].queue, ev)
	}
	n.hops = append(n.hops, n.out.Hops...)
	for _, t := range n.out.Trace {
		line := string(t.Kind)
		if m := n.w.nameOf(t.Node); m != "" {
			line += " " + m
		}
		if t.Text != "" {
			line += " (" + t.Text + ")"
		}
		n.trace = append(n.trace, line)
		n.verdict(&t)
		n.w.record("!", n, []byte(line))
	}
	for _, ev := range n.out.Apps {
		n.appEvent(ev)
	}
}

// runModules gives every module its queue as one batch and queues the effects.
func (n *Node) runModules() {
	for slot, r := range n.mods {
		if len(r.queue) == 0 {
			continue
		}
		n.todo = append(n.todo, kernel.Input{Kind: kernel.InEffects, Slot: slot, Effects: r.batch(n.now())})
	}
}

// batch runs one batch of the queue through the module and gives its effects. A
// module that breaks the contract in a simulation is a broken test: it panics.
func (r *moduleRun) batch(now time.Duration) []sdk.Effect {
	r.seq++
	r.w.ResetEvents(r.seq, now, 0)
	for len(r.queue) > 0 && r.w.Event(r.queue[0]) {
		r.queue = r.queue[1:]
	}
	r.w.Event(sdk.Event{Kind: sdk.EvFlush})
	out, err := r.inst.Deliver(r.w.Bytes())
	if err != nil {
		panic(err)
	}
	if out == nil {
		return nil
	}
	_, rd, err := abi.Parse(append([]byte(nil), out...), sdk.MaxEffectBytes)
	if err != nil {
		panic(err)
	}
	var effects []sdk.Effect
	for e, ok := rd.NextEffect(); ok; e, ok = rd.NextEffect() {
		if e.Kind == sdk.OpPost {
			r.queue = append(r.queue, sdk.Event{Kind: sdk.EvPosted, Ref: e.Ref, Payload: e.Payload})
			continue
		}
		effects = append(effects, e)
	}
	return effects
}

// arm queues the next deadline, unless an earlier one is queued.
func (n *Node) arm() {
	next := max(n.k.NextDeadline(), n.now())
	if next >= n.armed || next == 1<<63-1 {
		return
	}
	n.armed = next
	life := n.life
	n.w.at(next-n.cfg.Skew, func() {
		if n.life != life || n.armed != next {
			return
		}
		n.armed = 1 << 62
		n.step(kernel.Input{Kind: kernel.InTick})
	})
}

func (w *World) nameOf(id sdk.NodeID) string {
	if n := w.byID[id]; n != nil {
		return n.Name
	}
	return ""
}
