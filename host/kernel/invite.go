package kernel

import (
	"net/netip"
	"time"

	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// A session under an invite is no peer: it has no streams, no manifest and no
// route, nothing of it reaches a module, and it may ask for one thing, the network
// key (W8).

// Bounds of invites.
const (
	maxInvites = 64               // known at a time; more are not admitted
	maxGuests  = 64               // sessions under invites
	guestAge   = 10 * time.Second // ... and how long each lives
	maxAsked   = 32               // requests answered in one session
)

// Invite is an invite that may be redeemed here. One that expired or was revoked
// stays in the list for a while, so that who holds it hears why it is refused.
type Invite struct {
	ID  uint64   // identity.InviteKey
	PSK [32]byte // likewise
}

type invites struct {
	list   []invite
	guests int
}

type invite struct {
	Invite
	local *session.Local
}

// guest is who came with an invite.
type guest struct {
	invite uint64
	addr   netip.AddrPort
	timer  timer
	asking bool   // Redeem is under way
	asked  int    // requests so far
	answer []byte // the message, once there is one
}

// setInvites replaces the list.
func (k *Kernel) setInvites(now []Invite) {
	old := k.invites.list
	k.invites.list = nil
	for _, in := range now[:min(len(now), maxInvites)] {
		v := invite{Invite: in}
		for _, o := range old {
			if o.Invite == in {
				v.local = o.local
			}
		}
		if v.local == nil {
			var err error
			v.local, err = session.NewLocal(session.LocalConfig{Key: k.cfg.Key, Static: k.cfg.Static, PSK: in.PSK[:], PSKID: in.ID,
				AES: k.cfg.AES, MinVersion: wire.Version, MaxVersion: wire.Version})
			if err != nil {
				k.trace(TraceHandshake, sdk.NodeID{}, netip.AddrPort{}, "an invite was left out: "+err.Error())
				continue
			}
		}
		k.invites.list = append(k.invites.list, v)
	}
}

// inviteOf finds the invite that an envelope is under; nil when there is none or
// its mac1 is wrong.
func (k *Kernel) inviteOf(b []byte, env *wire.Envelope) *session.Local {
	if env.PSK == 0 || k.cfg.Redeem == nil || len(b) > session.MaxM1 || env.Kind == wire.KindM1 && len(b) < session.MinM1 {
		return nil
	}
	for i := range k.invites.list {
		if v := &k.invites.list[i]; v.ID == env.PSK && v.local.CheckMac1(b, env) {
			return v.local
		}
	}
	return nil
}

// inviteID is the id of the invite behind l, 0 for the network key.
func (k *Kernel) inviteID(l *session.Local) uint64 {
	for i := range k.invites.list {
		if k.invites.list[i].local == l {
			return k.invites.list[i].ID
		}
	}
	return 0
}

// welcome takes a session under an invite.
func (k *Kernel) welcome(e *entry, s *session.Session, a *answer) {
	index := s.LocalIndex()
	if k.invites.guests >= maxGuests {
		k.drop(DropHalfOpen)
		k.index.drop(index)
		return
	}
	k.invites.guests++
	g := &guest{invite: a.invite, addr: a.addr}
	g.timer.fire = func(time.Duration) {
		k.invites.guests--
		k.index.drop(index)
	}
	k.timers.set(&g.timer, k.now+guestAge)
	e.sess, e.guest = s, g
	k.trace(TraceSession, s.Peer(), a.addr, "under an invite")
}

// guestPacket takes a packet under an invite: a request, or nothing (W8.1). The use
// is on disk before the key leaves, and a request that comes again is answered
// again without another use.
func (k *Kernel) guestPacket(e *entry, plain []byte) {
	f, _, ok := wire.ParseFrame(plain)
	if !ok || f.ID != coreID || f.Flags&wire.FlagStream != 0 || len(f.Payload) != 1 || f.Payload[0] != wire.MsgInviteRequest {
		k.drop(DropFrame)
		return
	}
	g, s := e.guest, e.sess
	if g.asked++; g.asked > maxAsked {
		k.drop(DropTooOften)
		return
	}
	if g.answer != nil {
		k.answerGuest(g, s)
	}
	if g.asking || g.answer != nil {
		return
	}
	redeem, id, node := k.cfg.Redeem, g.invite, s.Peer()
	var status wire.InviteStatus
	g.asking = k.job(func() { status = redeem(id, node) }, func(k *Kernel) {
		g.asking = false
		a := wire.InviteAnswer{Status: status}
		if status == wire.InviteGranted {
			a.Key = k.cfg.NetworkKey
		}
		k.trace(TraceInvite, node, g.addr, status.String())
		g.answer = wire.AppendInviteAnswer(nil, a)
		if e := k.index.get(s.LocalIndex()); e != nil && e.guest == g {
			k.answerGuest(g, s)
		}
	})
}

// answerGuest sends the answer.
func (k *Kernel) answerGuest(g *guest, s *session.Session) {
	b := wire.AppendHop(k.out.packet(wire.BaseMTU), wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
	b = wire.AppendFrame(b[:wire.LocalSize+wire.SessionSize], wire.Frame{ID: coreID, Payload: g.answer})
	if pkt, _, ok := s.Seal(b, wire.LocalSize); ok {
		k.counters.PacketsOut++
		k.out.emit(g.addr, pkt)
	}
}
