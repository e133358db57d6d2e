package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"nethost/host/liveness"
	"nethost/host/route"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// dial is a handshake we began.
type dial struct {
	node  sdk.NodeID     // zero: unknown until m2
	dest  wire.RID       // 0: unknown
	addr  netip.AddrPort // invalid: through a relay
	index uint32
	local *session.Local // the network key of this try
	hs    *session.Handshake
	m1    []byte
	m3    []byte // set once m2 was good
	sess  *session.Session
	tries int
	wait  time.Duration
	timer timer
	peer  *peer   // nil for an anchor that does not name its node
	home  *anchor // the anchor this dial serves
	dead  bool

	cookie      [wire.MacSize]byte // what the responder gave us for our address
	cookieUntil time.Duration
	proved      bool   // m1 has it
	speaks      string // what the responder said of versions

	shun    route.Neighbor // a first hop that is avoided for it, when shunned
	shunned bool
}

// answer is a handshake a stranger began.
type answer struct {
	hs    *session.Handshake
	addr  netip.AddrPort
	sent  bool // m2 is out
	token session.Token
	timer timer // half-open handshakes end by themselves
	// invite is the id of the invite it is under, 0 for the network key.
	invite uint64
}

// dialPeer begins a handshake with a known node, directly when it is a
// neighbour, else through the mesh.
func (k *Kernel) dialPeer(p *peer) {
	if p.dial != nil || k.down {
		return
	}
	if !k.rules.admits(p.id) {
		k.failWaiting(p, sdk.PermissionDenied, k.deniedText(p.id))
		k.forget(p)
		return
	}
	d := &dial{node: p.id, dest: p.rid, addr: p.addr, peer: p}
	p.dial = d
	k.begin(d)
}

// begin makes m1 off the lock and sends it.
func (k *Kernel) begin(d *dial) {
	if d.timer.fire == nil {
		d.timer.fire = func(time.Duration) { k.dialTimer(d) }
		d.wait = handshakeRetry
	}
	if d.index != 0 {
		k.index.drop(d.index)
	}
	if d.peer != nil { // a neighbour may have become a distant node meanwhile, or the other way round
		d.addr = d.peer.addr
	}
	index, e, ok := k.index.take(k.random32())
	if !ok {
		k.dialFailed(d, errors.New("session table is full"))
		return
	}
	e.dial, d.index = d, index
	d.hs, d.m1, d.m3, d.sess = nil, nil, nil, nil
	d.proved = k.now < d.cookieUntil
	if d.local == nil || d.local != k.local && d.local != k.local.Second() { // or the keys changed
		d.local = k.local
	}
	d.tries++
	var seed [64]byte
	k.random(seed[:])
	var hs *session.Handshake
	var m1 []byte
	var err error
	inside := k.rekeysInside(d)
	local, node, dest, proved, cookie := d.local, d.node, d.dest, d.proved, d.cookie // the job runs off the lock
	if d.home != nil && d.tries > 1 {                                                // whoever is there shall answer, so that we can name both in the error
		dest = 0
	}
	ok = k.job(func() {
		hs, m1, err = local.Initiate(bytes.NewReader(seed[:]), index, node, dest)
		if err == nil && proved {
			session.SetCookie(m1, cookie)
		}
	}, func(k *Kernel) {
		if d.dead || d.index != index {
			return
		}
		if err != nil {
			k.dialFailed(d, err)
			return
		}
		d.hs, d.m1 = hs, m1
		if inside && k.sendInside(d.peer, m1) {
			return
		}
		k.sendEnvelope(m1, d.addr, d.dest)
	})
	if !ok {
		k.index.drop(index)
		d.index = 0
	}
	k.timers.set(&d.timer, k.now+d.wait)
	d.wait = min(d.wait*2, 4*time.Second)
}

// rekeysInside reports whether a first message can travel under the keys that it is
// to renew: the first try towards a neighbour that is alive, and the one with the
// cookie that it was asked for. There it is charged to the neighbour, whom the hop
// tag proves, and no flood in the name of an address can keep a session that stands
// from being renewed.
func (k *Kernel) rekeysInside(d *dial) bool {
	p := d.peer
	return p != nil && (d.tries == 1 || d.tries == 2 && d.proved) && p.cur != nil && p.det != nil && p.state == liveness.Alive &&
		p.firstUnheard == never && p.cur.NeedsRekey(k.now)
}

// sendInside sends a first message to a neighbour in a forward frame.
func (k *Kernel) sendInside(p *peer, m1 []byte) bool {
	if p.cur == nil || p.det == nil {
		return false
	}
	b := wire.AppendHop(k.out.packet(wire.ForwardSize+len(m1)),
		wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 1, Dest: p.rid})
	b = append(b, m1...)
	if !p.cur.SignHop(b) {
		return false
	}
	k.sendTo(p, b, true, false)
	return true
}

// dialTimer tries again: a fresh m1, or the same m3 until it is confirmed.
func (k *Kernel) dialTimer(d *dial) {
	switch {
	case d.dead:
	case k.superseded(d):
		if d.home != nil {
			d.home.found, d.home.err = d.sess.Peer(), ""
		}
		k.dialEnd(d, false)
	case d.tries > handshakeTries && d.speaks != "":
		k.dialFailed(d, errors.New(d.speaks))
	case d.tries > handshakeTries:
		k.dialFailed(d, errors.New("no answer"))
	case d.m3 != nil && d.tries < handshakeTries:
		d.tries++
		k.sendEnvelope(d.m3, d.addr, d.dest)
		k.timers.set(&d.timer, k.now+confirmRetry)
	default:
		if other := k.local.Second(); other != nil && d.m3 == nil { // it may have the other key only
			if d.local == other {
				other = k.local
			}
			d.local = other
		}
		k.otherWay(d)
		k.begin(d)
	}
}

// superseded reports whether the peer dialled us at the same time and its session
// is the one both send on, because its id is the lower (S7.4): it will never send a
// packet under ours.
func (k *Kernel) superseded(d *dial) bool {
	if d.sess == nil || k.now < d.sess.Born()+3*confirmRetry { // else a packet would be here by now
		return false
	}
	p := k.peers[d.sess.Peer()]
	return p != nil && p.cur != nil && !p.cur.Initiator() && k.initiatedByLower(p.cur, p) &&
		p.cur.Born() > d.sess.Born()-simultaneous && p.cur.Born() < d.sess.Born()+simultaneous
}

// dialEnd takes the handshake off every list. The index lives on when a session
// uses it.
func (k *Kernel) dialEnd(d *dial, keepIndex bool) {
	d.dead = true
	k.avoidFor(d, 0, false)
	k.timers.set(&d.timer, never)
	if !keepIndex && d.index != 0 {
		k.index.drop(d.index)
	}
	if d.peer != nil && d.peer.dial == d {
		d.peer.dial = nil
	}
	if d.home != nil && d.home.dial == d {
		d.home.dial = nil
	}
}

func (k *Kernel) dialFailed(d *dial, err error) {
	k.dialEnd(d, false)
	if d.home != nil {
		d.home.err = err.Error()
	}
	k.trace(TraceHandshake, d.node, d.addr, err.Error())
	if p := d.peer; p != nil {
		code := sdk.HandshakeFailed
		if err.Error() == "no answer" && !d.addr.IsValid() {
			code = sdk.NoRoute
		}
		if p.cur == nil {
			k.failWaiting(p, code, fmt.Sprintf("no session with %s: %v", p.id.Short(), err))
		} else {
			k.touch(p) // its timer decides when to try again
		}
		k.forget(p)
	}
}

func (k *Kernel) answerFailed(index uint32, a *answer, err error) {
	k.admit.End(a.token)
	k.timers.set(&a.timer, never)
	k.index.drop(index)
	k.trace(TraceHandshake, sdk.NodeID{}, a.addr, err.Error())
}

func (k *Kernel) receiveM2(b []byte, env *wire.Envelope) {
	d := k.waits(env.Receiver)
	if d == nil {
		k.drop(DropHandshake)
		return
	}
	hs := d.hs
	d.hs = nil // one m2 at a time; a bad one ends this try
	m2, now := bytes.Clone(b), k.now
	var m3 []byte
	var s *session.Session
	var err error
	if !k.job(func() { m3, s, err = hs.ReceiveM2(m2, now) }, func(k *Kernel) {
		e := k.index.get(hs.LocalIndex())
		if d.dead || e == nil || e.dial != d {
			return
		}
		switch {
		case errors.Is(err, session.ErrIdentity), errors.Is(err, session.ErrVersion), errors.Is(err, session.ErrStale):
			k.dialFailed(d, err)
		case err != nil: // forged or mangled: the true one may still come
			k.drop(DropHandshake)
			if !hs.Over() {
				d.hs = hs
			}
		case s.Peer() == k.self:
			k.dialFailed(d, errors.New("that address is this node itself"))
		default:
			d.m3, d.sess, d.dest = m3, s, s.PeerRID()
			e.sess = s
			k.sendEnvelope(m3, d.addr, d.dest)
			k.timers.set(&d.timer, k.now+confirmRetry)
		}
	}) {
		d.hs = hs
	}
}

func (k *Kernel) receiveM3(b []byte, env *wire.Envelope) {
	e := k.index.get(env.Receiver)
	if e.phase() != phaseAnswered {
		k.drop(DropHandshake)
		return
	}
	a, hs := e.answer, e.answer.hs
	a.hs = nil
	m3, now := bytes.Clone(b), k.now
	var s *session.Session
	var err error
	if !k.job(func() { s, err = hs.ReceiveM3(m3, now) }, func(k *Kernel) {
		e := k.index.get(hs.LocalIndex())
		if e == nil || e.answer != a {
			return
		}
		if err != nil {
			if k.drop(DropHandshake); hs.Over() {
				k.answerFailed(hs.LocalIndex(), a, err)
			} else {
				a.hs = hs
			}
			return
		}
		k.admit.End(a.token)
		k.timers.set(&a.timer, never)
		e.answer = nil
		if a.invite != 0 {
			k.welcome(e, s, a)
			return
		}
		k.install(s, a.addr)
	}) {
		a.hs = hs
	}
}

// confirm is called on the first packet that opens under a session we
// initiated: the peer has the keys, so we may use them.
func (k *Kernel) confirm(d *dial) *peer {
	k.dialEnd(d, true)
	if e := k.index.get(d.index); e != nil {
		e.dial = nil
	}
	if d.home != nil {
		d.home.found, d.home.err = d.sess.Peer(), ""
	}
	return k.install(d.sess, d.addr)
}

func sessionText(s *session.Session, addr netip.AddrPort) string {
	how := "relayed"
	if addr.IsValid() {
		how = "direct"
	}
	if s.Initiator() {
		return how + ", opened by us"
	}
	return how + ", opened by the peer"
}
