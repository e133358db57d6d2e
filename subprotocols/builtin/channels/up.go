package channels

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/name"
	"nethost/sdk/token"
)

// up is a node that publishes something that is wanted here.
type up struct {
	node     sdk.NodeID
	patterns []string // which of the wanted patterns it publishes for
	peer     sdk.Peer
	ref      sdk.Ref // of the stream; 0: none
	credit   uint64
	in       []byte
	out      []byte
	sent     []*sub // subscriptions it was told of
	remotes  []*remote
	dialling bool
	retryAt  time.Duration
	wait     time.Duration // before the next try
}

// remote is a channel of another node.
type remote struct {
	from     origin
	num      uint32
	reliable bool
	proof    proof
	pass     pass
	refused  bool
	joined   []*sub
}

func (m *module) upAt(id sdk.NodeID) (int, bool) {
	return slices.BinarySearchFunc(m.ups, id, func(u *up, id sdk.NodeID) int { return u.node.Compare(id) })
}

func (m *module) up(id sdk.NodeID) *up {
	if i, ok := m.upAt(id); ok {
		return m.ups[i]
	}
	return nil
}

func (u *up) remote(num uint32) *remote {
	if i := slices.IndexFunc(u.remotes, func(r *remote) bool { return r.num == num }); i >= 0 {
		return u.remotes[i]
	}
	return nil
}

func (u *up) say(f *frame) { u.out = f.append(u.out) }

// forget takes a subscription away from a node.
func (u *up) forget(s *sub) {
	n := len(u.sent)
	u.sent = slices.DeleteFunc(u.sent, func(x *sub) bool { return x == s })
	for _, r := range u.remotes {
		r.joined = slices.DeleteFunc(r.joined, func(x *sub) bool { return x == s })
	}
	if u.ref != 0 && len(u.sent) < n {
		u.say(&frame{kind: frUnsub, ref: s.ref})
	}
}

// list says that a node publishes something for a pattern.
func (m *module) list(env *sdk.Env, id sdk.NodeID, pattern string) {
	if id == m.self {
		return
	}
	i, ok := m.upAt(id)
	if !ok {
		if len(m.ups) >= maxUps {
			m.count("too_many_publishers", 1)
			return
		}
		m.ups = slices.Insert(m.ups, i, &up{node: id, retryAt: env.Now()})
	}
	if u := m.ups[i]; !slices.Contains(u.patterns, pattern) {
		u.patterns = append(u.patterns, pattern)
	}
}

// unlist says that it does no longer.
func (m *module) unlist(env *sdk.Env, id sdk.NodeID, pattern string) {
	u := m.up(id)
	if u == nil {
		return
	}
	u.patterns = slices.DeleteFunc(u.patterns, func(p string) bool { return p == pattern })
	for _, s := range slices.Clone(u.sent) {
		if s.pattern == pattern {
			u.forget(s)
		}
	}
	if len(u.patterns) > 0 {
		return
	}
	if u.ref != 0 {
		env.Reset(u.ref, sdk.Cancelled, "nothing of it is wanted any more")
		m.lostUp(env, u)
	}
	if i, ok := m.upAt(id); ok {
		m.ups = slices.Delete(m.ups, i, i+1)
	}
}

// lostUp notes that the stream is gone. It comes again by itself (J4).
func (m *module) lostUp(env *sdk.Env, u *up) {
	delete(m.byRef, u.ref)
	for _, r := range u.remotes {
		for _, s := range r.joined {
			s.notice(&channel.Notice{Notice: "left", Channel: r.from.channel, Publisher: u.node.String()})
		}
	}
	u.ref, u.peer, u.in, u.out, u.sent, u.remotes = 0, 0, nil, nil, nil, nil
	m.later(env, u)
}

// later tries again, after longer each time; nodes of different ids not at once.
func (m *module) later(env *sdk.Env, u *up) {
	u.dialling = false
	u.wait = min(max(2*u.wait, retryFirst), retryLast)
	u.retryAt = env.Now() + u.wait + time.Duration(m.self[0]^u.node[0])*u.wait/1024
}

func (m *module) connectFailed(env *sdk.Env, ev *sdk.Event) {
	node, ok := m.dials[ev.Ref]
	delete(m.dials, ev.Ref)
	if u := m.up(node); ok && u != nil && u.dialling {
		m.later(env, u)
	}
}

// join brings up streams to the nodes that publish, and tells them what is wanted.
func (m *module) join(env *sdk.Env) {
	for _, u := range m.ups {
		if u.ref == 0 && env.Now() >= u.retryAt {
			m.dial(env, u)
		}
		if u.ref == 0 {
			continue
		}
		for _, s := range m.subs {
			if slices.Contains(u.patterns, s.pattern) && !slices.Contains(u.sent, s) {
				u.sent = append(u.sent, s)
				age := uint32(min(max(0, (env.Now()-s.since)/time.Millisecond), 1<<31))
				u.say(&frame{kind: frSub, ref: s.ref, age: age, name: s.pattern, group: s.group, chain: s.proof.raw})
			}
		}
		if n := min(len(u.out), int(min(u.credit, maxHeld)), max(m.left, 0)); n > 0 {
			env.Write(u.ref, u.out[:n], false)
			u.out, u.credit, m.left = u.out[n:], u.credit-uint64(n), m.left-n
			m.waits = m.waits || len(u.out) > 0 && u.credit > 0
		}
	}
}

func (m *module) dial(env *sdk.Env, u *up) {
	peer, ok := m.byNode[u.node]
	if ok {
		u.peer, u.credit, u.dialling = peer, sdk.InitialCredit, false
		u.ref = env.OpenPeer(peer, ID, sdk.Open{Method: "join"})
		m.byRef[u.ref] = u
		return
	}
	if u.dialling && env.Now() < u.retryAt {
		return
	}
	ref := env.NewRef()
	m.dials[ref] = u.node
	u.dialling, u.retryAt = true, env.Now()+retryLast
	env.Connect(ref, u.node)
}

// fromUp takes what a publisher says.
func (m *module) fromUp(env *sdk.Env, u *up, ev *sdk.Event) {
	if len(ev.Payload) > 0 {
		env.Credit(u.ref, len(ev.Payload))
	}
	b := ev.Payload
	if len(u.in) > 0 {
		u.in = append(u.in, b...)
		b = u.in
	}
	for {
		rec, rest, err := takeFrame(b)
		var f frame
		if err == nil && rec != nil {
			f, err = parseFrame(rec)
		}
		if err == nil && rec != nil {
			err = m.upFrame(env, u, &f)
		}
		if err != nil {
			m.count("malformed", 1)
			env.Reset(u.ref, sdk.InvalidArgument, cut(err.Error()))
			u.wait = retryLast / 2
			m.lostUp(env, u)
			return
		}
		if b = rest; rec == nil {
			break
		}
		u.wait = 0
	}
	u.in = append(u.in[:0], b...)
	if ev.FIN() {
		m.lostUp(env, u)
	}
}

func (m *module) upFrame(env *sdk.Env, u *up, f *frame) error {
	switch f.kind {
	case frChannel:
		return m.declared(env, u, f)
	case frJoin:
		m.joined(u, f)
		return nil
	case frEvent, frOne:
		return m.event(env, u, f)
	case frDenied:
		for _, s := range u.sent {
			if s.ref == f.ref {
				s.notice(&channel.Notice{Notice: "refused", Channel: f.name, Publisher: u.node.String(), Code: uint32(f.code), Text: f.text})
			}
		}
		return nil
	case frGone:
		u.remotes = slices.DeleteFunc(u.remotes, func(r *remote) bool {
			if r.num != f.num {
				return false
			}
			for _, s := range r.joined {
				s.notice(&channel.Notice{Notice: "left", Channel: r.from.channel, Publisher: u.node.String()})
			}
			return true
		})
		return nil
	}
	return fmt.Errorf("%w: kind %d is for publishers", errFrame, f.kind)
}

// declared takes the name of a channel's number. The publisher's right to it is
// looked at here (A3).
func (m *module) declared(env *sdk.Env, u *up, f *frame) error {
	if !slices.ContainsFunc(u.patterns, func(p string) bool { return name.Match(p, f.name) }) {
		m.count("lies", 1)
		return fmt.Errorf("%w: channel %q is none that was asked for", errFrame, f.name)
	}
	r := u.remote(f.num)
	switch {
	case r != nil && r.from.channel != f.name:
		m.count("lies", 1)
		return fmt.Errorf("%w: channel %d is called %q and %q", errFrame, f.num, r.from.channel, f.name)
	case r == nil && len(u.remotes) >= maxSeats:
		return fmt.Errorf("%w: more than %d channels", errFrame, maxSeats)
	case r == nil:
		r = &remote{num: f.num}
		u.remotes = append(u.remotes, r)
	}
	r.from, r.reliable, r.refused = origin{f.name, u.node, f.epoch}, f.reliable, false
	pr, err := parseProof(f.chain)
	if err == nil {
		r.proof = pr
		r.pass, err = m.admit(u.node, token.Publish, f.name, &pr)
	}
	if err != nil {
		m.refuse(env, u, r, err)
	}
	return nil
}

// refuse turns a publisher away that may not publish what it does.
func (m *module) refuse(env *sdk.Env, u *up, r *remote, why error) {
	r.refused = true
	m.count("publisher_refused", 1)
	text := strings.TrimSpace(why.Error())
	u.say(&frame{kind: frRefuse, num: r.num, code: sdk.PermissionDenied, text: cut(text)})
	for _, s := range u.sent {
		if name.Match(s.pattern, r.from.channel) {
			s.notice(&channel.Notice{Notice: "refused", Channel: r.from.channel, Publisher: u.node.String(), Code: uint32(sdk.PermissionDenied), Text: "its publisher may not: " + text})
		}
	}
	r.joined = nil
}

// checkRemote looks at a publisher's right again.
func (m *module) checkRemote(env *sdk.Env, u *up, r *remote) bool {
	if r.refused {
		return false
	}
	if err := m.still(&r.pass, m.pol.of(r.from.channel)); err != nil {
		m.refuse(env, u, r, err)
		return false
	}
	return true
}

func (m *module) joined(u *up, f *frame) {
	r := u.remote(f.num)
	if r == nil || r.refused || f.seq == 0 {
		return
	}
	for _, s := range u.sent {
		if s.ref == f.ref && name.Match(s.pattern, r.from.channel) && !slices.Contains(r.joined, s) {
			s.begin(&r.from, f.seq)
			r.joined = append(r.joined, s)
			s.notice(&channel.Notice{Notice: "joined", Channel: r.from.channel, Publisher: u.node.String()})
		}
	}
}

// event gives a publisher's event to the subscriptions that have joined.
func (m *module) event(env *sdk.Env, u *up, f *frame) error {
	if _, _, err := channel.ParseBody(f.body); err != nil {
		return err
	}
	r := u.remote(f.num)
	if r == nil {
		m.count("unknown_channel", 1)
		return nil
	}
	if len(r.joined) == 0 || !m.checkRemote(env, u, r) {
		return nil
	}
	it := item{from: r.from, seq: f.seq, body: bytes.Clone(f.body), single: f.kind == frOne, pass: &r.pass}
	if r.pass.free {
		it.pass = nil
	}
	for _, s := range r.joined {
		switch {
		case f.kind == frOne && s.ref == f.ref:
			it.single = s.group != ""
			m.push(s, it)
		case f.kind == frEvent && s.group == "":
			m.push(s, it)
		}
	}
	return nil
}

// message takes an event of an unreliable channel.
func (m *module) message(env *sdk.Env, ev *sdk.Event) {
	node, ok := m.peers[ev.Peer]
	b := ev.Payload
	if !ok || len(b) < 5 || ev.ID != ID {
		m.count("malformed", 1)
		return
	}
	f, err := parseFrame(b[4:])
	if err != nil || f.kind != frEvent && f.kind != frOne {
		m.count("malformed", 1)
		return
	}
	u := m.up(node)
	if u == nil {
		m.count("unknown_channel", 1)
		return
	}
	r := u.remote(f.num)
	if r == nil || r.reliable || r.from.epoch != uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24 {
		m.count("unknown_channel", 1)
		return
	}
	if err := m.event(env, u, &f); err != nil {
		m.count("malformed", 1)
	}
}
