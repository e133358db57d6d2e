package channels

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
	"nethost/sdk/token"
)

// origin is one publisher of one channel.
type origin struct {
	channel string
	node    sdk.NodeID
	epoch   uint32
}

// sub is a subscription of an application.
type sub struct {
	ref     uint32
	c       *call
	pattern string
	group   string
	proof   proof
	frames  bool // records, not JSON
	parents bool
	size    int // of the ring, in events
	limit   uint64
	sent    uint64
	since   time.Duration
	ring    []item
	bytes   int
	dropped uint64
	cutWhy  string // its stream ends, for being slow
	cursors map[cursorKey]cursor
}

type cursorKey struct {
	channel string
	node    sdk.NodeID
}

// cursor is the last sequence that a subscription got.
type cursor struct {
	epoch uint32
	seq   uint64
}

// maxCursors bounds the publishers of channels that a subscription tells apart.
const maxCursors = 1 << 16

// item waits for an application: an event of this node (e) or of another one.
type item struct {
	from   origin
	e      *event
	seq    uint64 // without e
	body   []byte
	pass   *pass // to be looked at once more when it is written; nil: none
	single bool  // others of its group got the events between
}

func (i *item) size() int {
	if i.e != nil {
		return len(i.e.frame)
	}
	return len(i.body)
}

func (s *sub) max() int { return s.size }

// push puts an event into a subscription's ring. A full ring loses its oldest event,
// unless the policy says that the subscriber is let go (S1, S2).
func (m *module) push(s *sub, it item) {
	if s.cutWhy != "" {
		return
	}
	n := it.size()
	for len(s.ring) > 0 && (len(s.ring) >= s.size || s.bytes+n > maxRingBytes || m.queued+n > maxQueued) {
		if m.pol.of(it.from.channel).Slow == "disconnect" {
			s.cutWhy = fmt.Sprintf("channel %q: %d events waited, more than the ring holds", it.from.channel, len(s.ring))
			return
		}
		old := s.ring[0].size()
		s.ring, s.bytes, m.queued = s.ring[1:], s.bytes-old, m.queued-old
		s.dropped++
	}
	s.ring = append(s.ring, it)
	s.bytes, m.queued = s.bytes+n, m.queued+n
	if s.half() && s.c.credit > 0 && (it.pass == nil || !m.held(it.pass)) {
		m.pressed = true
	}
}

// fresh reports whether a subscription has not had a sequence, and counts what lies
// between (S3).
func (s *sub) fresh(from *origin, seq uint64, single bool) (missed uint64, ok bool) {
	k := cursorKey{from.channel, from.node}
	c, known := s.cursors[k]
	if known && c.epoch == from.epoch {
		if seq <= c.seq {
			return 0, false
		}
		if !single {
			missed = seq - c.seq - 1
		}
	}
	if len(s.cursors) >= maxCursors && !known {
		s.cursors = map[cursorKey]cursor{}
	}
	s.cursors[k] = cursor{from.epoch, seq}
	return missed, true
}

// begin sets where a subscription starts with a publisher, unless it was there
// before.
func (s *sub) begin(from *origin, next uint64) {
	k := cursorKey{from.channel, from.node}
	if c, known := s.cursors[k]; !known || c.epoch != from.epoch {
		s.cursors[k] = cursor{from.epoch, next - 1}
	}
}

// attachLocal puts a subscription of this node beside a topic of this node.
func (m *module) attachLocal(env *sdk.Env, s *sub, t *topic) {
	w, err := m.admit(m.self, token.Subscribe, t.name, &s.proof)
	if err != nil {
		m.count("refused", 1)
		s.notice(&channel.Notice{Notice: "refused", Channel: t.name, Publisher: m.self.String(), Code: uint32(sdk.PermissionDenied), Text: err.Error()})
		return
	}
	from := origin{t.name, m.self, m.epoch}
	old := m.replay(env, t, s.since)
	next := t.seq + 1
	if len(old) > 0 {
		next = old[0].seq
	}
	s.begin(&from, next)
	l := local{s, &w}
	if s.group == "" {
		t.locals = append(t.locals, l)
	} else {
		g := t.groupOf(s.group)
		if len(g.members) > 0 {
			old = nil
		}
		g.members = append(g.members, member{local: l})
	}
	for _, e := range old {
		m.push(s, item{from: from, e: e, pass: l.pass, single: s.group != ""})
	}
	s.notice(&channel.Notice{Notice: "joined", Channel: t.name, Publisher: m.self.String()})
}

// addSub begins a subscription.
func (m *module) addSub(env *sdk.Env, c *call, h *channel.Subscribe, pr proof) {
	m.lastSub++
	s := &sub{ref: m.lastSub, c: c, pattern: h.Pattern, group: h.Group, proof: pr, frames: h.Format == channel.Frames, parents: h.Parents,
		size: cmp.Or(h.Ring, defaultRing), limit: h.Max, since: env.Now(), cursors: map[cursorKey]cursor{}}
	c.sub = s
	m.subs = append(m.subs, s)
	s.notice(&channel.Notice{Notice: "ready"})
	for _, t := range m.topics {
		if name.Match(s.pattern, t.name) {
			m.attachLocal(env, s, t)
		}
	}
	m.want(s)
}

// endSub ends it.
func (m *module) endSub(env *sdk.Env, s *sub) {
	m.queued -= s.bytes
	s.ring, s.bytes = nil, 0
	m.subs = slices.DeleteFunc(m.subs, func(x *sub) bool { return x == s })
	for _, t := range m.topics {
		t.locals = slices.DeleteFunc(t.locals, func(l local) bool { return l.s == s })
		t.leaveGroups(func(w *member) bool { return w.local.s == s })
	}
	for _, u := range m.ups {
		u.forget(s)
	}
	m.unwant(env, s)
}

// notice tells an application something that is no event.
func (s *sub) notice(n *channel.Notice) {
	if len(s.c.out) > maxHeld {
		return // it does not read; what it missed shows in the events
	}
	if s.frames {
		s.c.out = channel.AppendNotice(s.c.out, n)
	} else {
		s.c.out = channel.AppendLine(s.c.out, n)
	}
}

// format moves events from the ring to the application's stream.
func (m *module) format(s *sub) {
	n := 0
	for n < len(s.ring) && len(s.c.out) < maxOut && uint64(len(s.c.out)) < s.c.credit && (s.limit == 0 || s.sent < s.limit) {
		it := &s.ring[n]
		if it.pass != nil && m.held(it.pass) {
			break
		}
		n++
		s.bytes, m.queued = s.bytes-it.size(), m.queued-it.size()
		seq, hops, body := it.seq, uint8(1), it.body
		if it.e != nil {
			seq, hops, body = it.e.seq, it.e.hops, it.e.body()
		}
		if it.pass != nil && m.still(it.pass, m.pol.of(it.from.channel)) != nil {
			continue
		}
		missed, ok := s.fresh(&it.from, seq, it.single)
		if !ok {
			continue
		}
		ev := channel.Event{EventID: channel.EventID{Channel: it.from.channel, Publisher: it.from.node, Epoch: it.from.epoch, Seq: seq}, Hops: hops, Missed: missed}
		var err error
		if ev.Parent, ev.Data, err = channel.ParseBody(body); err != nil {
			continue // a body that comes from elsewhere was parsed before
		}
		if !s.parents {
			ev.Parent = nil
		}
		if s.frames {
			s.c.out = channel.AppendEvent(s.c.out, &ev)
		} else {
			s.c.out = channel.AppendLine(s.c.out, channel.LineOf(&ev))
		}
		s.sent++
	}
	if s.ring = s.ring[n:]; len(s.ring) == 0 {
		s.ring = nil
	}
	if s.limit > 0 && s.sent >= s.limit {
		s.c.done = true
	}
}
