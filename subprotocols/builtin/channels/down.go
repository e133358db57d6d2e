package channels

import (
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
	"nethost/sdk/name"
	"nethost/sdk/token"
)

// down is a node that subscribes here.
type down struct {
	ref    sdk.Ref
	peer   sdk.Peer
	node   sdk.NodeID
	in     []byte
	owed   int // taken, and not credited
	credit uint64
	ctl    []byte // frames that go before all events
	out    []byte // what is on its way; the rest of a frame at most, between batches
	buf    []byte // under out
	subs   []*rsub
	seats  []*seat
	turn   int
	// budget bounds what a node may make us do: a subscription costs 1, a token 10.
	budget  float64
	at      time.Duration
	refused uint64
	sent    uint64
}

// rsub is a subscription of another node.
type rsub struct {
	ref     uint32
	pattern string
	group   string
	proof   proof
	since   time.Duration // it has waited since, by our clock
	denied  int
}

// seat is a node's place in the roster of a topic.
type seat struct {
	d    *down
	t    *topic
	pass pass
	// refs are its subscriptions that get every event; those in groups stand there.
	refs   []uint32
	ring   []ditem
	bytes  int
	missed uint64
	cut    bool // to be taken away at the end of the batch
}

// ditem waits for a node: an event for all of it or, with ref, for one subscription;
// a join when next is not 0.
type ditem struct {
	e    *event
	ref  uint32
	next uint64
}

func (i *ditem) size() int {
	if i.e == nil {
		return 0
	}
	return len(i.e.frame)
}

const (
	budgetRate = 2000.0 // a second
	budgetMax  = 10000.0
)

// spend takes n of a node's budget.
func (d *down) spend(now time.Duration, n float64) bool {
	d.budget = min(budgetMax, d.budget+(now-d.at).Seconds()*budgetRate)
	d.at = now
	if d.budget < n {
		return false
	}
	d.budget -= n
	return true
}

func (d *down) control(f *frame) { d.ctl = f.append(d.ctl) }

func (d *down) sub(ref uint32) *rsub {
	if i := slices.IndexFunc(d.subs, func(r *rsub) bool { return r.ref == ref }); i >= 0 {
		return d.subs[i]
	}
	return nil
}

// openDown takes a node's stream. A second one of the same session takes the place
// of the first.
func (m *module) openDown(env *sdk.Env, ev *sdk.Event, o *sdk.Open) {
	node, ok := m.peers[ev.Peer]
	switch {
	case o.Method != "join":
		env.Reset(ev.Ref, sdk.PermissionDenied, "channels lets other nodes join, and nothing else: ask there")
		return
	case !ok || len(o.Principal) != len(node) || sdk.NodeID(o.Principal) != node:
		env.Reset(ev.Ref, sdk.PeerGone, "no such peer")
		return
	case len(m.downs) >= maxDowns:
		m.count("refused", 1)
		env.Reset(ev.Ref, sdk.Overloaded, fmt.Sprintf("%d nodes have joined, the limit", maxDowns))
		return
	}
	if i := slices.IndexFunc(m.downs, func(d *down) bool { return d.node == node }); i >= 0 {
		old := m.downs[i]
		env.Reset(old.ref, sdk.Cancelled, "the node has joined again")
		m.lostDown(old)
	}
	d := &down{ref: ev.Ref, peer: ev.Peer, node: node, credit: ev.Arg, budget: budgetMax, at: env.Now()}
	m.downs = append(m.downs, d)
	m.byRef[ev.Ref] = d
}

func (m *module) lostDown(d *down) {
	for _, s := range slices.Clone(d.seats) {
		m.empty(s)
	}
	delete(m.byRef, d.ref)
	m.downs = slices.DeleteFunc(m.downs, func(x *down) bool { return x == d })
}

// badDown ends the stream of a node that breaks the protocol.
func (m *module) badDown(env *sdk.Env, d *down, code sdk.Code, why string) {
	m.count("malformed", 1)
	env.Reset(d.ref, code, why)
	m.lostDown(d)
}

// fromDown takes what a subscriber says.
func (m *module) fromDown(env *sdk.Env, d *down, ev *sdk.Event) {
	d.in = append(d.in, ev.Payload...)
	d.owed += len(ev.Payload)
	b := d.in
	for {
		rec, rest, err := takeFrame(b)
		if err != nil {
			m.badDown(env, d, sdk.InvalidArgument, err.Error())
			return
		}
		if b = rest; rec == nil {
			break
		}
		f, err := parseFrame(rec)
		if err != nil {
			m.badDown(env, d, sdk.InvalidArgument, err.Error())
			return
		}
		switch f.kind {
		case frSub:
			m.subscribe(env, d, &f)
		case frUnsub:
			m.unsubscribe(d, f.ref)
		case frRefuse:
			m.refusedBy(env, d, &f)
		default:
			m.badDown(env, d, sdk.InvalidArgument, fmt.Sprintf("frame %d is for subscribers", f.kind))
			return
		}
		if len(d.ctl) > 8*maxHeld {
			m.badDown(env, d, sdk.Overloaded, "it does not take the answers")
			return
		}
	}
	d.in = append(d.in[:0], b...)
	if ev.FIN() {
		env.Write(d.ref, nil, true)
		m.lostDown(d)
	}
}

// subscribe puts a subscription into the rosters (J2).
func (m *module) subscribe(env *sdk.Env, d *down, f *frame) {
	cost := 1.0
	if len(f.chain) > 0 {
		cost = 10
	}
	refuse := func(code sdk.Code, why string) {
		d.refused++
		m.count("refused", 1)
		d.control(&frame{kind: frDenied, ref: f.ref, code: code, text: cut(why)})
	}
	switch {
	case len(d.subs) >= maxRsubs:
		refuse(sdk.Overloaded, fmt.Sprintf("%d subscriptions of one node, the limit", maxRsubs))
		return
	case d.sub(f.ref) != nil:
		refuse(sdk.InvalidArgument, "this reference is taken")
		return
	case !d.spend(env.Now(), cost):
		refuse(sdk.Overloaded, "too many subscriptions at once: try again in a second")
		return
	}
	pr, err := parseProof(f.chain)
	if err != nil {
		refuse(sdk.InvalidArgument, err.Error())
		return
	}
	r := &rsub{ref: f.ref, pattern: f.name, group: f.group, proof: pr, since: env.Now() - time.Duration(f.age)*time.Millisecond}
	d.subs = append(d.subs, r)
	if !name.IsPattern(r.pattern) {
		if t := m.topic(r.pattern); t != nil {
			m.attach(env, d, r, t)
		}
		return
	}
	for _, t := range m.topics {
		if name.Match(r.pattern, t.name) {
			m.attach(env, d, r, t)
		}
	}
}

func cut(s string) string { return s[:min(len(s), maxText)] }

// attach seats a subscription at a topic, or tells its node why not.
func (m *module) attach(env *sdk.Env, d *down, r *rsub, t *topic) {
	if t.pol.Visibility == "local" {
		return
	}
	deny := func(code sdk.Code, why string) {
		m.count("refused", 1)
		d.refused++
		// A pattern may stand for many channels; their names are not to be had for asking.
		if r.denied++; r.denied <= 16 {
			d.control(&frame{kind: frDenied, ref: r.ref, code: code, name: t.name, text: cut(why)})
		}
	}
	if len(r.proof.chain) > 0 && t.pol.guarded() && !d.spend(env.Now(), 10) {
		deny(sdk.Overloaded, "too many tokens at once: try again in a second")
		return
	}
	w, err := m.admit(d.node, token.Subscribe, t.name, &r.proof)
	if err != nil {
		deny(sdk.PermissionDenied, err.Error())
		return
	}
	i := slices.IndexFunc(d.seats, func(s *seat) bool { return s.t == t })
	if i < 0 {
		if len(d.seats) >= maxSeats {
			deny(sdk.Overloaded, fmt.Sprintf("%d channels for one node, the limit", maxSeats))
			return
		}
		s := &seat{d: d, t: t, pass: w}
		at, _ := slices.BinarySearchFunc(d.seats, s, func(a, b *seat) int { return b.t.pol.Priority - a.t.pol.Priority })
		d.seats = slices.Insert(d.seats, at, s)
		t.seats = append(t.seats, s)
		m.declare(s)
		i = at
	}
	s := d.seats[i]
	s.cut = false
	if m.still(&s.pass, &t.pol) != nil {
		s.pass = w
	}
	old := m.replay(env, t, r.since)
	next := t.seq + 1
	if len(old) > 0 {
		next = old[0].seq
	}
	s.ring = append(s.ring, ditem{ref: r.ref, next: next})
	if r.group == "" {
		s.refs = append(s.refs, r.ref)
		for _, e := range old {
			m.enqueue(s, ditem{e: e, ref: r.ref})
		}
		return
	}
	g := t.groupOf(r.group)
	first := len(g.members) == 0
	g.members = append(g.members, member{seat: s, ref: r.ref})
	if first { // what waits is for one of them, and this one is there
		for _, e := range old {
			m.enqueue(s, ditem{e: e, ref: r.ref})
		}
	}
}

// declare tells a node what a channel's number means.
func (m *module) declare(s *seat) {
	s.d.control(&frame{kind: frChannel, num: s.t.num, epoch: m.epoch, reliable: s.t.pol.Reliable, name: s.t.name, chain: s.t.proof.raw})
}

func (m *module) unsubscribe(d *down, ref uint32) {
	d.subs = slices.DeleteFunc(d.subs, func(r *rsub) bool { return r.ref == ref })
	for _, s := range slices.Clone(d.seats) {
		s.refs = slices.DeleteFunc(s.refs, func(r uint32) bool { return r == ref })
		s.t.leaveGroups(func(w *member) bool { return w.seat == s && w.ref == ref })
		if len(s.refs) == 0 && !s.t.inGroups(s) {
			m.empty(s)
		}
	}
}

func (t *topic) inGroups(s *seat) bool {
	return slices.ContainsFunc(t.groups, func(g *group) bool {
		return slices.ContainsFunc(g.members, func(w member) bool { return w.seat == s })
	})
}

// empty takes a seat away.
func (m *module) empty(s *seat) {
	m.queued -= s.bytes
	s.ring, s.bytes = nil, 0
	is := func(x *seat) bool { return x == s }
	s.d.seats = slices.DeleteFunc(s.d.seats, is)
	s.t.seats = slices.DeleteFunc(s.t.seats, is)
	s.t.leaveGroups(func(w *member) bool { return w.seat == s })
}

// unseat takes a seat away and tells its node why.
func (m *module) unseat(s *seat, code sdk.Code, why string) {
	for _, r := range s.d.subs {
		if name.Match(r.pattern, s.t.name) {
			s.d.control(&frame{kind: frDenied, ref: r.ref, code: code, name: s.t.name, text: cut(why)})
		}
	}
	s.d.control(&frame{kind: frGone, num: s.t.num})
	m.empty(s)
}

// refusedBy: a receiver does not take a channel from us (A3).
func (m *module) refusedBy(env *sdk.Env, d *down, f *frame) {
	i := slices.IndexFunc(d.seats, func(s *seat) bool { return s.t.num == f.num })
	if i < 0 {
		return
	}
	m.count("publisher_refused", 1)
	m.warn(env, fmt.Sprintf("node %s takes no events of channel %q: %s", d.node.Short(), d.seats[i].t.name, f.text))
	m.empty(d.seats[i])
}

// rematch seats who is not seated: something has changed that may have kept them
// out.
func (m *module) rematch(env *sdk.Env, t *topic) {
	for _, d := range m.downs {
		for _, r := range d.subs {
			if name.Match(r.pattern, t.name) && !slices.ContainsFunc(t.seats, func(s *seat) bool { return s.d == d && s.holds(r) }) {
				m.attach(env, d, r, t)
			}
		}
	}
}

func (s *seat) holds(r *rsub) bool {
	return slices.Contains(s.refs, r.ref) || slices.ContainsFunc(s.t.groups, func(g *group) bool {
		return slices.ContainsFunc(g.members, func(w member) bool { return w.seat == s && w.ref == r.ref })
	})
}
