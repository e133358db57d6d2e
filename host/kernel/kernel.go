package kernel

import (
	"encoding/binary"
	"net/netip"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/route"
	"nethost/host/session"
	"nethost/host/stream"
	"nethost/host/wire"
	"nethost/registry"
	"nethost/sdk"
)

// Kernel is one node. Its owner calls Step and nothing else concurrently; the
// read methods of status.go belong to the same owner.
type Kernel struct {
	cfg   Config
	self  sdk.NodeID
	rid   wire.RID
	local *session.Local
	admit *session.Admission
	out   *Output
	now   time.Duration

	index  indexTable
	peers  map[sdk.NodeID]*peer
	byRID  map[wire.RID]*peer
	byNum  []*peer // by peer.num, which is also the route.Neighbor; nil = free
	handle map[sdk.Peer]*peer
	last   sdk.Peer // last handle given out
	dirty  []*peer
	spare  []*peer // the other array of dirty

	table    *route.Table
	waves    timer // the route table's deadline
	spread   spread
	reg      *registry.Table
	epoch    uint32
	ours     registry.Manifest
	leaving  []int                  // slots that another version took over from, newest last
	refusals map[sdk.NodeID]refusal // peers that a required id keeps away
	mods     []modSlot
	apps     map[uint64]*pipe
	dials    map[netip.AddrPort]*anchor
	order    []netip.AddrPort // of dials, for determinism
	timers   timers
	jobs     int
	down     bool
	busy     bool // Input.Busy
	held     []*peer
	// mayHold says that this Step need not send what is written.
	mayHold bool

	health    liveness.Health // our own
	neighbors int             // peers with a detector
	judged    map[sdk.NodeID]*reputation
	judgeAt   timer
	repairs   int // jumps of our incarnation, and when the last were
	jumps     []time.Duration
	twin      bool
	arrived   *peer // the neighbour that the packet in hand came through; nil: straight from its sender

	fragments stream.Buffers // of all peers
	memory    stream.Memory  // likewise
	invites   invites
	counters  Counters
	rules     *rules
	strangers [8]stranger
	relayed   bucket        // of all neighbours
	keysAt    time.Duration // when the network keys changed last
}

// New returns a kernel at time now. It fails on an incomplete Config only.
func New(cfg Config, now time.Duration) (*Kernel, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	k := &Kernel{cfg: cfg, self: cfg.Key.ID(), rid: identity.RIDOf(cfg.Key.ID()),
		peers: map[sdk.NodeID]*peer{}, byRID: map[wire.RID]*peer{}, handle: map[sdk.Peer]*peer{},
		apps: map[uint64]*pipe{}, dials: map[netip.AddrPort]*anchor{}, now: now, epoch: 1,
		judged: map[sdk.NodeID]*reputation{}, refusals: map[sdk.NodeID]refusal{}}
	k.table = route.New(route.Config{Self: k.self, Incarnation: cfg.Static.Incarnation, FirstRound: k.random32() & 0xffff,
		Interval: cfg.WaveInterval}, now)
	local, err := cfg.newLocal()
	if err != nil {
		return nil, err
	}
	k.local, k.admit = local, session.NewAdmission(local, k.random)
	pol := cfg.Policy
	pol.NoRelay = pol.NoRelay || cfg.NoRelay
	k.rules = newRules(&pol)
	k.table.SetRelay(!k.rules.noRelay(), now)
	k.memory.Max = cfg.Memory
	k.waves.fire = func(now time.Duration) { k.table.OnTimer(now) }
	k.judgeAt.fire = k.forgive
	k.setTable(cfg.Table)
	return k, nil
}

// Self is the node's id.
func (k *Kernel) Self() sdk.NodeID { return k.self }

// Step feeds one input at time now, which never runs backwards, and fills out
// with everything the node wants done. out is reset first.
func (k *Kernel) Step(now time.Duration, in *Input, out *Output) {
	out.reset()
	k.now, k.out, k.busy = now, out, in.Busy
	if k.mayHold = in.Kind == InAppWrite && in.Lazy; !k.mayHold {
		k.release()
	}
	k.fragments.Recycle() // what the last Output pointed at
	switch in.Kind {
	case InTick:
	case InDatagram:
		var r relaying
		k.receive(in.Datagram, in.From, &r)
	case InTrains:
		k.receiveTrains(in.Trains)
	case InLinkError:
		k.linkError(in.From, in.Datagram)
	case InRefused:
		k.refused(in.From, int(min(in.N, maxMTU)))
	case InJob:
		k.jobs--
		in.Job.done(k)
	case InEffects:
		k.applyEffects(in.Slot, in.Effects)
	case InModuleUp:
		k.nameModule(in.Slot, in.Text)
		k.moduleUp(in.Slot)
	case InModuleSwap:
		k.moduleSwap(in)
	case InModuleAdopt:
		k.adopt(in.Other, in.Slot, in.Refs)
	case InModuleDrain:
		k.moduleDrain(in.Slot)
	case InModuleDown:
		k.moduleDown(in.Slot)
	case InTable:
		k.setTable(in.Table)
	case InDial:
		k.addDial(in.From, in.Node)
	case InAppOpen:
		k.appOpen(in)
	case InAppWrite:
		if in.N > 0 {
			k.appCredit(in.App, in.N)
		}
		k.appWrite(in.App, in.Data, in.FIN)
	case InAppCredit:
		k.appCredit(in.App, in.N)
	case InAppReset:
		k.appReset(in.App, in.Code, in.Text)
	case InUndial:
		k.removeDial(in.From)
	case InInvites:
		k.setInvites(in.Invites)
	case InShutdown:
		k.shutdown()
	case InPolicy:
		k.setPolicy(in.Policy)
	case InKeys:
		k.setKeys(in.Keys)
	case InTrace:
		k.askTrace(in.Node, in.Dest, in.N)
	}
	if late := now - k.timers.next(); late > 0 {
		k.health.Timer(late, now)
	}
	k.timers.run(now)
	k.settle()
}

// NextDeadline is when Step must be called again at the latest.
func (k *Kernel) NextDeadline() time.Duration {
	if len(k.dirty) > 0 || len(k.spread.rest) > 0 {
		return k.now
	}
	if len(k.held) > 0 {
		return min(k.now+time.Millisecond, k.timers.next())
	}
	return k.timers.next()
}

// Counters gives the node's counters.
func (k *Kernel) Counters() Counters { return k.counters }

// settle does what the input left to do: routing messages, then the send queues
// of every peer that was touched, then deadlines.
func (k *Kernel) settle() {
	k.settleRoutes()
	dirty := k.dirty
	k.dirty, k.spare = k.spare[:0], dirty
	for _, p := range dirty {
		p.dirty = false
		if !p.gone {
			k.flush(p)
		}
	}
	k.timers.set(&k.waves, k.table.Deadline())
}

const (
	holdFlight = 4        // packets under way, so that an acknowledgement comes soon
	holdBytes  = 64 << 10 // a train
)

// written marks a peer that was written to: its packets leave now, or with the next
// Step when many small writes come one after the other.
func (k *Kernel) written(p *peer, n int, fin bool) {
	p.heldBytes += n
	if !k.mayHold || fin || p.heldBytes >= holdBytes || p.mux.InFlight() < holdFlight {
		k.touch(p)
		return
	}
	k.out.Lazy = true
	if !p.held {
		p.held = true
		k.held = append(k.held, p)
	}
}

// release lets what was held go.
func (k *Kernel) release() {
	for i, p := range k.held {
		p.held = false
		k.touch(p)
		k.held[i] = nil
	}
	k.held = k.held[:0]
}

// touch marks a peer whose queues or deadlines changed.
func (k *Kernel) touch(p *peer) {
	if !p.dirty && !p.gone {
		p.dirty = true
		k.dirty = append(k.dirty, p)
	}
}

// Job is work too slow for the lock: Diffie-Hellman or a signature. The owner
// calls Run, from any goroutine, and gives the Job back as an Input.
type Job struct {
	run  func()
	done func(k *Kernel)
}

// Run does the work.
func (j *Job) Run() { j.run() }

// job asks for work off the lock; false when too much is under way.
func (k *Kernel) job(run func(), done func(k *Kernel)) bool {
	if k.jobs >= maxJobs {
		k.drop(DropBusy)
		return false
	}
	k.jobs++
	k.out.Jobs = append(k.out.Jobs, &Job{run, done})
	return true
}

// random gives n fresh bytes. A failing entropy source is a broken machine: the
// node must not go on with predictable keys.
func (k *Kernel) random(b []byte) {
	if _, err := readFull(k.cfg.Entropy, b); err != nil {
		panic("kernel: entropy source failed: " + err.Error())
	}
}

func (k *Kernel) random32() uint32 {
	var b [4]byte
	k.random(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (k *Kernel) trace(kind TraceKind, node sdk.NodeID, addr netip.AddrPort, text string) {
	k.out.Trace = append(k.out.Trace, Trace{kind, node, addr, text})
}

// shutdown says goodbye to every peer, the neighbours last: they forward the
// others' goodbyes until they have heard their own. The node answers nothing
// afterwards.
func (k *Kernel) shutdown() {
	k.down = true
	for _, direct := range []bool{false, true} {
		for _, p := range k.byNum {
			if p != nil && p.cur != nil && (p.det != nil) == direct {
				p.mux.Control(wire.AppendGoodbye(nil, wire.Goodbye{Reason: uint8(sdk.DownGoodbye)}))
				p.dirty = false
				k.flush(p)
			}
		}
	}
}
