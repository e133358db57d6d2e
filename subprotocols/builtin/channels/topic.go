package channels

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
	"nethost/sdk/token"
)

// topic is a channel that this node publishes.
type topic struct {
	name    string
	num     uint32
	pol     Policy
	seq     uint64
	pubs    int // publishing applications
	created time.Duration
	closed  time.Duration // when the last one left
	kept    []*event
	bytes   int // of kept
	seats   []*seat
	locals  []local
	groups  []*group
	proof   proof // of our right to publish, for the receivers
	tokens  float64
	at      time.Duration // of tokens
	lost    uint64        // events that no member of a group could take
}

// event is one event of a topic, in the bytes all receivers get.
type event struct {
	seq   uint64
	hops  uint8
	at    time.Duration
	frame []byte // frEvent with its length; the body is its tail
}

const eventHead = 4 + 1 + 4 + 8 + 1

func (e *event) body() []byte { return e.frame[eventHead:] }

// local is a subscription of this node to a topic.
type local struct {
	s    *sub
	pass *pass
}

// group is a queue group: one member gets each event.
type group struct {
	name    string
	members []member
	next    int
}

// member is a subscription of this node, or one behind a seat.
type member struct {
	local local
	seat  *seat
	ref   uint32
}

func (m *module) topic(ch string) *topic {
	if i, ok := m.topicAt(ch); ok {
		return m.topics[i]
	}
	return nil
}

func (m *module) topicAt(ch string) (int, bool) {
	return slices.BinarySearchFunc(m.topics, ch, func(t *topic, s string) int { return strings.Compare(t.name, s) })
}

// create makes a topic, or says why not.
func (m *module) create(env *sdk.Env, ch string) (*topic, error) {
	if t := m.topic(ch); t != nil {
		return t, nil
	}
	if len(m.topics) >= maxTopics && !m.evict(env) {
		return nil, fmt.Errorf("%d channels are published here, the limit", maxTopics)
	}
	m.lastNum++
	t := &topic{name: ch, num: m.lastNum, pol: *m.pol.of(ch), created: env.Now(), closed: env.Now(), seq: m.maxSeq}
	t.tokens, t.at = burst(t.pol.Rate), env.Now()
	at, _ := m.topicAt(ch)
	m.topics = slices.Insert(m.topics, at, t)
	for _, d := range m.downs {
		for _, r := range d.subs {
			if name.Match(r.pattern, ch) {
				m.attach(env, d, r, t)
			}
		}
	}
	for _, s := range m.subs {
		if name.Match(s.pattern, ch) {
			m.attachLocal(env, s, t)
		}
	}
	return t, nil
}

// evict makes room: the topic goes that nobody publishes to for longest.
func (m *module) evict(env *sdk.Env) bool {
	var oldest *topic
	for _, t := range m.topics {
		if t.pubs == 0 && (oldest == nil || t.closed < oldest.closed) {
			oldest = t
		}
	}
	if oldest != nil {
		m.drop(env, oldest)
	}
	return oldest != nil
}

// drop forgets a topic. Its sequence is not used again in this epoch.
func (m *module) drop(_ *sdk.Env, t *topic) {
	m.maxSeq = max(m.maxSeq, t.seq)
	for _, s := range slices.Clone(t.seats) {
		s.d.control(&frame{kind: frGone, num: t.num})
		m.empty(s)
	}
	m.kept -= t.bytes
	if i, ok := m.topicAt(t.name); ok {
		m.topics = slices.Delete(m.topics, i, i+1)
	}
}

// audience is how many take part: applications of this node, and other nodes.
func (t *topic) audience() int {
	n := len(t.locals) + len(t.seats)
	for _, g := range t.groups {
		for i := range g.members {
			if g.members[i].seat == nil {
				n++
			}
		}
	}
	return n
}

// publish gives an event to all who are there now (P5). With nobody there it costs a
// number.
func (m *module) publish(env *sdk.Env, t *topic, parent *channel.EventID, data []byte) {
	t.seq++
	m.pushes--
	keeps := t.pol.Retain > 0 || t.pol.RetainS > 0 || env.Now()-t.created < warm
	if !keeps && len(t.seats) == 0 && len(t.locals) == 0 && len(t.groups) == 0 {
		return
	}
	f := frame{kind: frEvent, num: t.num, seq: t.seq, body: channel.AppendBody(make([]byte, 0, len(data)+128), parent, data)}
	e := &event{seq: t.seq, at: env.Now(), frame: f.append(make([]byte, 0, eventHead+len(f.body)))}
	if keeps {
		m.keep(env, t, e)
	}
	m.pushes -= len(t.seats) + len(t.locals)
	for i := range t.locals {
		l := &t.locals[i]
		m.push(l.s, item{from: origin{t.name, m.self, m.epoch}, e: e, pass: l.pass})
	}
	if t.pol.Reliable {
		for _, s := range t.seats {
			if len(s.refs) > 0 {
				m.enqueue(s, ditem{e: e})
			}
		}
	} else {
		m.cast(env, t, e)
	}
	for _, g := range t.groups {
		m.toGroup(env, t, g, e)
	}
}

// cast sends an unreliable event: one message, to many.
func (m *module) cast(env *sdk.Env, t *topic, e *event) {
	peers := m.peerScratch[:0]
	for _, s := range t.seats {
		if len(s.refs) == 0 || m.held(&s.pass) {
			continue
		}
		if m.still(&s.pass, &t.pol) != nil {
			s.cut = true
			continue
		}
		peers = append(peers, s.d.peer)
	}
	m.peerScratch = peers
	if len(peers) > 0 {
		m.left -= len(e.frame) + 4*len(peers)
		env.SendMany(ID, sdk.Realtime, peers, m.datagram(e.frame[4:]))
	}
}

// datagram is a frame as a message: the epoch before it.
func (m *module) datagram(f []byte) []byte {
	b := make([]byte, 0, len(f)+4)
	b = append(b, byte(m.epoch), byte(m.epoch>>8), byte(m.epoch>>16), byte(m.epoch>>24))
	return append(b, f...)
}

// toGroup gives an event to the next member that can take it (P6).
func (m *module) toGroup(env *sdk.Env, t *topic, g *group, e *event) {
	for range g.members {
		w := &g.members[g.next%len(g.members)]
		g.next++
		switch {
		case w.seat == nil && len(w.local.s.ring) < w.local.s.max():
			m.push(w.local.s, item{from: origin{t.name, m.self, m.epoch}, e: e, pass: w.local.pass, single: true})
			return
		case w.seat == nil || w.seat.cut || m.still(&w.seat.pass, &t.pol) != nil:
			continue
		case t.pol.Reliable && len(w.seat.ring) < t.pol.Ring:
			m.enqueue(w.seat, ditem{e: e, ref: w.ref})
			return
		case !t.pol.Reliable && !m.held(&w.seat.pass):
			m.left -= len(e.frame)
			f := frame{kind: frOne, ref: w.ref, num: t.num, seq: e.seq, hops: e.hops, body: e.body()}
			env.Send(w.seat.d.peer, ID, sdk.Realtime, m.datagram(f.append(nil)[4:]))
			return
		}
	}
	t.lost++
	m.count("group_lost", 1)
}

// keep retains an event (P4).
func (m *module) keep(env *sdk.Env, t *topic, e *event) {
	t.kept = append(t.kept, e)
	t.bytes += len(e.frame)
	m.kept += len(e.frame)
	m.trim(env, t)
}

// trim lets go what need not be retained any more.
func (m *module) trim(env *sdk.Env, t *topic) {
	n, size := len(t.kept), t.bytes
	for i := 0; n > 0; i++ {
		e := t.kept[i]
		young := n <= warmEvents && size <= warmBytes && env.Now()-t.created < warm
		if m.kept <= maxKept && (young || m.wanted(env, t, e, n, size)) {
			break
		}
		n, size, m.kept = n-1, size-len(e.frame), m.kept-len(e.frame)
	}
	if n < len(t.kept) {
		t.kept, t.bytes = slices.Clone(t.kept[len(t.kept)-n:]), size
	}
}

// wanted says that the policy retains e, behind which n-1 others are kept.
func (m *module) wanted(env *sdk.Env, t *topic, e *event, n, size int) bool {
	p := &t.pol
	if p.Retain == 0 && p.RetainS == 0 || size > maxRetainBytes {
		return false
	}
	most := p.Retain
	if most == 0 {
		most = maxRetain
	}
	return n <= most && (p.RetainS == 0 || env.Now()-e.at <= time.Duration(p.RetainS*float64(time.Second)))
}

// replay gives what somebody gets who asks now and has waited since.
func (m *module) replay(env *sdk.Env, t *topic, since time.Duration) []*event {
	m.trim(env, t)
	size := t.bytes
	for i, e := range t.kept {
		if e.at >= since || m.wanted(env, t, e, len(t.kept)-i, size) {
			return t.kept[i:]
		}
		size -= len(e.frame)
	}
	return nil
}

func burst(rate float64) float64 { return max(1, rate/20) }

// wait says how long a publisher has to wait for its next event (P3).
func (t *topic) wait(now time.Duration) time.Duration {
	if t.pol.Rate == 0 {
		return 0
	}
	t.tokens = min(burst(t.pol.Rate), t.tokens+(now-t.at).Seconds()*t.pol.Rate)
	t.at = now
	if t.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - t.tokens) / t.pol.Rate * float64(time.Second))
}

// groupOf gives a topic's group, made when need be.
func (t *topic) groupOf(s string) *group {
	i, ok := slices.BinarySearchFunc(t.groups, s, func(g *group, s string) int { return strings.Compare(g.name, s) })
	if !ok {
		t.groups = slices.Insert(t.groups, i, &group{name: s})
	}
	return t.groups[i]
}

// leaveGroups takes members away.
func (t *topic) leaveGroups(gone func(*member) bool) {
	for _, g := range t.groups {
		g.members = slices.DeleteFunc(g.members, func(w member) bool { return gone(&w) })
	}
	t.groups = slices.DeleteFunc(t.groups, func(g *group) bool { return len(g.members) == 0 })
}

// mayPublish says whether this node may publish to a channel, as its receivers will
// ask.
func (m *module) mayPublish(ch string, pr *proof) error {
	_, err := m.admit(m.self, token.Publish, ch, pr)
	return err
}
