package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"nethost/host/session"
	"nethost/host/wire"
)

// receiveEnvelope takes a handshake message. link is the neighbour a relayed one
// came through, nil for a direct one.
func (k *Kernel) receiveEnvelope(b []byte, from netip.AddrPort, link *peer) {
	env, ok := wire.ParseEnvelope(b)
	if !ok {
		k.drop(DropMalformed)
		return
	}
	if k.down {
		k.drop(DropHandshake)
		return
	}
	if k.admit.Seen(&env) {
		k.drop(DropHandshakeSeen)
		return
	}
	l := k.admit.Check(b, &env)
	if l == nil && link == nil {
		l = k.inviteOf(b, &env)
	}
	if l == nil {
		if k.drop(DropMac1); link == nil && env.Kind == wire.KindM1 {
			k.noteStranger(from)
		}
		return
	}
	if env.Version != wire.Version {
		k.drop(DropVersion)
		if link == nil { // the return address of a relayed one is sealed in a way we do not know
			k.answerVersion(l, &env, from, 0)
		}
		return
	}
	src := session.AddrSource(from)
	if link != nil {
		from, src = netip.AddrPort{}, session.LinkSource(link.rid)
	}
	switch env.Kind {
	case wire.KindM1:
		k.receiveM1(b, &env, l, from, src)
	case wire.KindM2:
		k.receiveM2(b, &env)
	case wire.KindM3:
		k.receiveM3(b, &env)
	case wire.KindCookie:
		k.receiveCookie(&env)
	default:
		k.receiveVersion(&env)
	}
}

// receiveForeign takes a datagram whose hop frame is of another version. There is
// one thing in it to look at: a first message, which is told what we speak (W2.2,
// W4.4).
func (k *Kernel) receiveForeign(b []byte, from netip.AddrPort) {
	k.drop(DropVersion)
	if k.down || len(b) < wire.LocalSize || b[0]>>3&7 != wire.TypeLocal || b[1] != 0 {
		return
	}
	if env, ok := wire.ParseEnvelope(b[wire.LocalSize:]); ok {
		if l := k.admit.Check(b[wire.LocalSize:], &env); l != nil {
			k.answerVersion(l, &env, from, 0)
		}
	}
}

// notForward is why a forward frame did not parse; h is as far as that went.
func notForward(h *wire.Hop) Drop {
	if h.Version != wire.Version {
		return DropVersion
	}
	return DropMalformed
}

// answerVersion tells whoever sent a first message that we cannot speak his
// version.
func (k *Kernel) answerVersion(l *session.Local, env *wire.Envelope, from netip.AddrPort, dest wire.RID) {
	if env.Kind == wire.KindM1 && k.admit.TakeVersion(k.now) {
		k.sendEnvelope(l.AppendVersions(nil, env, dest), from, dest)
	}
}

// receiveM1 takes a first message whose mac1 was good under l. src is an address,
// or the neighbour that relayed it and perhaps the return address it claims.
func (k *Kernel) receiveM1(b []byte, env *wire.Envelope, l *session.Local, from netip.AddrPort, src session.Source) {
	token, ruling := k.admit.Judge(b, env, src, k.jobs, k.now)
	switch ruling {
	case session.Admit:
		k.respond(b, l, from, token)
	case session.AskCookie:
		k.drop(DropCookie)
		k.sendEnvelope(k.admit.AppendCookie(nil, l, env, src), from, src.Claim())
	case session.AskClaim:
		k.readClaim(b, l, src)
	case session.Replay:
		k.drop(DropHandshakeSeen)
	case session.Crowded:
		k.drop(DropHalfOpen)
	default:
		k.drop(DropTooOften)
	}
}

// readClaim reads the return address of a relayed first message, where a cookie
// would have to go, and asks again.
func (k *Kernel) readClaim(b []byte, l *session.Local, src session.Source) {
	m1 := bytes.Clone(b)
	var rid wire.RID
	var err error
	k.job(func() { rid, err = l.Claim(m1) }, func(k *Kernel) {
		env, ok := wire.ParseEnvelope(m1)
		if err != nil || !ok || k.down {
			k.drop(DropHandshake)
			return
		}
		k.receiveM1(m1, &env, l, netip.AddrPort{}, src.Claiming(rid))
	})
}

// respond spends Noise on a first message.
func (k *Kernel) respond(b []byte, l *session.Local, from netip.AddrPort, token session.Token) {
	index, e, ok := k.index.take(k.random32())
	if !ok {
		k.admit.End(token)
		k.drop(DropHalfOpen)
		return
	}
	a := &answer{addr: from, token: token, invite: k.inviteID(l)}
	e.answer = a
	var seed [64]byte
	k.random(seed[:])
	m1 := bytes.Clone(b)
	var hs *session.Handshake
	var m2 []byte
	var err error
	var claim wire.RID
	ok = k.job(func() {
		hs, m2, err = l.Respond(bytes.NewReader(seed[:]), index, m1)
		if errors.Is(err, session.ErrVersion) {
			claim, _ = l.Claim(m1)
		}
	}, func(k *Kernel) {
		if err != nil {
			k.drop(DropHandshake)
			if env, ok := wire.ParseEnvelope(m1); ok && claim != 0 {
				k.answerVersion(l, &env, from, claim)
			}
			k.answerFailed(index, a, err)
			return
		}
		a.hs, a.sent = hs, true
		k.sendEnvelope(m2, a.addr, hs.PeerRID())
		a.timer.fire = func(time.Duration) { k.answerFailed(index, a, errors.New("no third message")) }
		k.timers.set(&a.timer, k.now+session.HalfOpenAge)
	})
	if !ok {
		k.admit.End(token)
		k.index.drop(index)
	}
}

// waits finds the handshake of ours that waits for an answer to m1 under an index.
func (k *Kernel) waits(index uint32) *dial {
	e := k.index.get(index)
	if e.phase() != phaseAsked {
		return nil
	}
	return e.dial
}

// receiveCookie takes a responder's wish for a proof of our address (S2.8). The
// answer is a new first message, at once unless the last one had a cookie already:
// then something eats cookies, and the timer is soon enough.
func (k *Kernel) receiveCookie(env *wire.Envelope) {
	d := k.waits(env.Receiver)
	if d == nil {
		k.drop(DropHandshake)
		return
	}
	cookie, ok := d.local.OpenCookie(env, d.m1)
	if !ok {
		k.drop(DropHandshake)
		return
	}
	proved := d.proved
	d.cookie, d.cookieUntil = cookie, k.now+session.CookieLife
	if !proved {
		k.begin(d)
	}
}

// receiveVersion takes a responder's word on what it speaks. It is advice: it
// explains why nobody answers, should nobody answer (W4.4).
func (k *Kernel) receiveVersion(env *wire.Envelope) {
	d := k.waits(env.Receiver)
	if d == nil {
		k.drop(DropHandshake)
		return
	}
	lo, hi, ok := d.local.ReadVersions(env)
	if !ok {
		k.drop(DropHandshake)
		return
	}
	ourLo, ourHi := d.local.Versions()
	d.speaks = fmt.Sprintf("it speaks versions %d-%d, we speak %d-%d", lo, hi, ourLo, ourHi)
	if d.home != nil {
		d.home.err = d.speaks
	}
}
