package route

import (
	"cmp"
	"math"
	"slices"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// Neighbor is the kernel's handle of a direct neighbour.
type Neighbor uint32

// Infinity is the metric of no route.
const Infinity = uint32(math.MaxUint32)

// Never is the deadline of a table that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// Constants of the protocol (SPEC.md).
const (
	DefaultInterval = 15 * time.Second
	maxOrigins      = 65536
	maxAlternates   = 4 // next hops listed and kept ready for a destination
	coalesce        = 5 * time.Millisecond
	retractAgain    = 50 * time.Millisecond
	seqRequestEvery = 250 * time.Millisecond
	seqRequestTries = 8
	maxSuspectAsks  = 256  // origins asked for when one neighbour falls silent
	verifyRate      = 200  // signatures a second for each neighbour
	verifyBurst     = 2000 // ... and at once
	fullPeriod      = 256  // sequences 1, 257, 513, ... cross the whole mesh

	speakMax    = 64 // origins spoken of to every neighbour at once; the rest follows coalesce later
	tellAgain   = 3  // intervals after which a change is repeated
	roundMin    = 16 // origins repeated each interval at least ...
	roundLength = 16 // ... and so many intervals until all of them were
	askedFor    = 2 * time.Second
)

// maxPeriod is the longest pause between two waves about an origin, in intervals;
// lostKept is how long one without a route is remembered, with the distance that
// its return must be measured against.
const (
	maxPeriod = roundLength
	lostKept  = 2 * maxPeriod * 7 / 2
)

// Config of a Table.
type Config struct {
	Self        sdk.NodeID
	Incarnation uint64
	// Interval between waves. Default 15 s.
	Interval time.Duration
	// RelayOff keeps the node from passing on the waves of others: nobody
	// routes through it.
	RelayOff bool
	// FirstRound sets the first sequence of an incarnation, 1 + 256 FirstRound: drawn
	// at random it tells two nodes with one identity apart (R3.1). Default 0.
	FirstRound uint32
	// MaxOrigins bounds the nodes that are known. Default 65536.
	MaxOrigins int
}

// Table is the routing state of one node. Its owner is the kernel.
type Table struct {
	cfg     Config
	own     ownWave
	nbrs    []*neighbor // by handle
	origins []*origin   // by NodeID
	byNode  map[sdk.NodeID]*origin
	byRID   map[wire.RID]*origin

	pending  []*origin     // to be advertised when flushAt comes
	later    []*origin     // to be said again, a few at a time
	paceAt   time.Duration // when the next few may
	flushAt  time.Duration
	retracts []*origin // to be retracted once more at retractAt
	retryAt  time.Duration
	sweepAt  time.Duration
	mtuLater []*origin // whose MTU is told at mtuAt
	mtuAt    time.Duration
	mtuNext  time.Duration // soonest next mtuAt
	out      []Send
	sent     []Send // the slice given out last
	changes  []wire.RID
	told     []wire.RID
	spoken   int    // origins whose loss was spoken of since the last Messages
	turn     int    // of origins: who is repeated next
	version  uint64 // changes so far
	checks   map[statement][]heard
	above    uint64 // highest incarnation of ours that somebody else spoke from; 0: none
	gone     forgotten
	full     uint64 // waves refused for want of room
	evicted  uint64
	last     struct { // what encoded made last
		wave    wire.Wave
		payload []byte
	}
}

// neighbor is a direct neighbour.
type neighbor struct {
	n        Neighbor
	id       sdk.NodeID
	cost     uint32
	mtu      uint16
	suspect  bool
	tokens   float64
	tokensAt time.Duration

	charged int       // origins that it brought
	brought []*origin // those, and some that are not its any more, by age

	introducing bool // it hears every route we have, from cursor on
	repeating   bool // ... once more, a few at a time
	cursor      int  // of origins
	again       int  // introductions to be repeated
	corrected   time.Duration
}

// New makes an empty table.
func New(cfg Config, now time.Duration) *Table {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.MaxOrigins <= 0 {
		cfg.MaxOrigins = maxOrigins
	}
	return &Table{cfg: cfg, checks: map[statement][]heard{}, byNode: map[sdk.NodeID]*origin{}, byRID: map[wire.RID]*origin{}, flushAt: Never, paceAt: Never, retryAt: Never, mtuAt: Never,
		sweepAt: now + cfg.Interval, own: ownWave{want: true, nextAt: now + cfg.Interval, seq: cfg.firstSeq()}}
}

func (c *Config) firstSeq() uint64 { return 1 + fullPeriod*uint64(c.FirstRound) }

// Pending reports that Messages, Changes or Sign has something.
func (t *Table) Pending() bool { return len(t.out) > 0 || len(t.changes) > 0 || t.own.want }

// Messages gives what is to be said since the last call, in that order. It is valid
// until the next call.
func (t *Table) Messages() []Send {
	out := t.out
	clear(t.sent) // a burst must not keep its payloads for ever
	if cap(t.sent) > keepSends {
		t.sent = nil
	}
	t.out, t.sent, t.spoken = t.sent[:0], out, 0
	return out
}

// keepSends is how many messages the next burst finds room for.
const keepSends = 256

// Changes gives the destinations whose next hop changed since the last call.
func (t *Table) Changes() []wire.RID {
	c := t.changes
	t.version += uint64(len(c))
	t.changes, t.told = t.told[:0], c
	return c
}

// Version counts the changes that Changes has given so far.
func (t *Table) Version() uint64 { return t.version }

// Lookup finds the next hop towards a routing id.
func (t *Table) Lookup(dest wire.RID) (Neighbor, bool) {
	if o := t.byRID[dest]; o != nil && o.best != nil {
		return o.best.via.n, true
	}
	return 0, false
}

// Incarnation is the highest one known of a node, 0 if none.
func (t *Table) Incarnation(id sdk.NodeID) uint64 {
	if o := t.byNode[id]; o != nil {
		return o.newest.Incarnation
	}
	return 0
}

// Route is a destination as listings show it.
type Route struct {
	Dest             sdk.NodeID
	Next             Neighbor
	Metric           uint32 // microseconds
	Hops             uint8
	MTU              uint16
	Alternates       []Neighbor // feasible ones, best first
	Incarnation, Seq uint64
	Age              time.Duration // how long ago the wave came, at the last sweep or message
}

// Routes lists the reachable destinations by NodeID.
func (t *Table) Routes() []Route {
	var list []Route
	for _, o := range t.origins {
		if o.best == nil {
			continue
		}
		b := o.best
		r := Route{Dest: o.id, Next: b.via.n, Metric: b.total(), Hops: b.hops, MTU: b.mtu(), Incarnation: b.inc, Seq: b.seq, Age: o.now - b.at}
		for _, e := range o.entries {
			if e != b && o.feasible(e) && e.total() < Infinity && len(r.Alternates) < maxAlternates-1 {
				r.Alternates = append(r.Alternates, e.via.n)
			}
		}
		list = append(list, r)
	}
	return list
}

// Deadline is when OnTimer must be called.
func (t *Table) Deadline() time.Duration {
	d := min(t.flushAt, t.paceAt, t.retryAt, t.sweepAt, t.mtuAt)
	if !t.own.want && !t.own.signing {
		d = min(d, t.own.nextAt)
	}
	return d
}

// OnTimer does what is due.
func (t *Table) OnTimer(now time.Duration) {
	if now >= t.own.nextAt && !t.own.want && !t.own.signing {
		t.own.seq++
		t.own.want = true
		t.own.nextAt = now + t.cfg.Interval
	}
	if now >= t.mtuAt {
		t.tellLater(now)
	}
	if now >= t.flushAt {
		t.flush(now)
	}
	if now >= t.paceAt {
		t.pace(now)
	}
	if now >= t.retryAt {
		t.retry(now)
	}
	if now >= t.sweepAt {
		t.sweep(now)
	}
}

// NeighborUp adds a direct neighbour: it hears our wave and every route we have.
// mtu is what the link carries from here to the neighbour.
func (t *Table) NeighborUp(n Neighbor, id sdk.NodeID, cost uint32, mtu uint16, now time.Duration) {
	if t.find(n) != nil {
		return
	}
	nb := &neighbor{n: n, id: id, cost: max(cost, 1), mtu: mtu, tokens: verifyBurst, tokensAt: now}
	i, _ := slices.BinarySearchFunc(t.nbrs, n, func(x *neighbor, n Neighbor) int { return cmp.Compare(x.n, n) })
	t.nbrs = slices.Insert(t.nbrs, i, nb)
	t.sendOwn(nb)
	if !t.cfg.RelayOff {
		nb.again = tellAgain
		t.introduce(nb, now)
	}
}

// NeighborCost changes a link's cost, in microseconds.
func (t *Table) NeighborCost(n Neighbor, cost uint32, now time.Duration) {
	nb := t.find(n)
	if cost = max(cost, 1); nb == nil || !differs(cost, nb.cost) {
		return
	}
	nb.cost = cost
	t.reselectVia(nb, now)
}

// NeighborSuspect moves traffic away from a neighbour that fell silent, or lets
// it come back. Where no alternate is feasible the route stays, and the origin is
// asked for a new sequence at once: by the time the neighbour is dead, or long
// before, an alternate has become feasible.
func (t *Table) NeighborSuspect(n Neighbor, suspect bool, now time.Duration) {
	nb := t.find(n)
	if nb == nil || nb.suspect == suspect {
		return
	}
	nb.suspect = suspect
	t.reselectVia(nb, now)
	if !suspect || len(t.nbrs) == 1 {
		return
	}
	asked := 0
	for _, o := range t.origins {
		if o.best != nil && o.best.via == nb && o.id != nb.id && now >= o.requestAt && asked < maxSuspectAsks {
			asked++
			t.request(o, now)
		}
	}
}

// NeighborDown forgets a neighbour and everything learnt from it.
func (t *Table) NeighborDown(n Neighbor, now time.Duration) {
	nb := t.find(n)
	if nb == nil {
		return
	}
	t.nbrs = slices.DeleteFunc(t.nbrs, func(x *neighbor) bool { return x == nb })
	t.left(nb)
	for _, o := range t.origins {
		if o.asker == nb {
			o.asker = nil
		}
		o.shun = slices.DeleteFunc(o.shun, func(x *neighbor) bool { return x == nb })
		if o.remove(nb) {
			t.reselect(o, now)
		}
	}
}

// NoRoute says that a neighbour sent us a packet for a destination that it cannot
// reach through us. It missed our retraction, so it hears it again (R5.4).
func (t *Table) NoRoute(n Neighbor, dest wire.RID, now time.Duration) {
	nb, o := t.find(n), t.byRID[dest]
	if nb == nil || o == nil || nb.id == o.id || o.best != nil && o.best.via != nb && !t.cfg.RelayOff || now < nb.corrected {
		return
	}
	nb.corrected = now + coalesce
	t.retractTo(o, nb)
}

func (t *Table) find(n Neighbor) *neighbor {
	i, ok := slices.BinarySearchFunc(t.nbrs, n, func(x *neighbor, n Neighbor) int { return cmp.Compare(x.n, n) })
	if !ok {
		return nil
	}
	return t.nbrs[i]
}

// encoded gives the bytes of a wave. Most go to every neighbour alike: they share
// them.
func (t *Table) encoded(w wire.Wave) []byte {
	if t.last.payload == nil || t.last.wave != w {
		t.last.wave, t.last.payload = w, wire.AppendWave(make([]byte, 0, wire.WaveSize), w)
	}
	return t.last.payload
}

func (t *Table) send(nb *neighbor, payload []byte) {
	t.out = append(t.out, Send{To: nb.n, Payload: payload})
}

// reselectVia looks again at every origin a neighbour offers a route to.
func (t *Table) reselectVia(nb *neighbor, now time.Duration) {
	for _, o := range t.origins {
		if slices.ContainsFunc(o.entries, func(e *entry) bool { return e.via == nb }) {
			t.reselect(o, now)
		}
	}
}

// differs reports a change worth acting on: more than an eighth.
func differs(a, b uint32) bool {
	hi, lo := max(a, b), min(a, b)
	return hi-lo > hi/8
}
