package kernel

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

// inviteLab is a node with one invite and a redeemer beside it.
type inviteLab struct {
	*lab
	r      *session.Redeemer
	rand   *rand.ChaCha8
	uses   []sdk.NodeID
	status wire.InviteStatus
	got    []wire.InviteAnswer
}

var guestAddr = netip.MustParseAddrPort("10.9.9.9:9")

func newInviteLab(t *testing.T) *inviteLab {
	l := &inviteLab{lab: newLoose(t, 1), rand: rand.NewChaCha8([32]byte{99})}
	l.k[0].cfg.Redeem = func(_ uint64, node sdk.NodeID) wire.InviteStatus {
		l.uses = append(l.uses, node)
		return l.status
	}
	psk, id := identity.InviteKey([32]byte{4})
	l.feed(Input{Kind: InInvites, Invites: []Invite{{id, psk}}})
	l.r = l.redeemer(t, 50, 4)
	return l
}

func (l *inviteLab) redeemer(t *testing.T, seed, secret byte) *session.Redeemer {
	key := identity.NewKey([32]byte{seed})
	r, err := session.NewRedeemer(key, identity.NewStatic(key, [32]byte{seed}, 1), [32]byte{secret}, l.k[0].Self())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// feed steps the node and hands what it sends to the redeemer, until both are quiet.
func (l *inviteLab) feed(in Input) {
	var out Output
	l.k[0].Step(l.now, &in, &out)
	for _, j := range out.Jobs {
		j.Run()
		l.feed(Input{Kind: InJob, Job: j})
	}
	if len(out.Deliveries) > 0 {
		l.t.Errorf("a module was told %v", out.Deliveries)
	}
	for _, tr := range out.Datagrams {
		for more := true; more; {
			var b []byte
			b, more = tr.Cut()
			replies, a, done, err := l.r.Receive(bytes.Clone(b), l.rand, l.now)
			if err != nil {
				l.t.Fatal(err)
			}
			if done {
				l.got = append(l.got, a)
			}
			l.say(replies)
		}
	}
}

func (l *inviteLab) say(datagrams [][]byte) {
	for _, b := range datagrams {
		l.feed(Input{Kind: InDatagram, Datagram: b, From: guestAddr})
	}
}

func (l *inviteLab) next() {
	b, err := l.r.Next(l.rand)
	if err != nil {
		l.t.Fatal(err)
	}
	l.say(b)
}

// W8.1: an invite yields the network key, once for each session however often it is
// asked, and makes no peer, route or event.
func TestInviteYieldsKeyOnly(t *testing.T) {
	l := newInviteLab(t)
	l.next()
	l.next() // the answer might have been lost
	if len(l.got) != 2 || l.got[0].Status != wire.InviteGranted || l.got[0].Key != l.k[0].cfg.NetworkKey || l.got[1] != l.got[0] {
		t.Fatalf("got %v", l.got)
	}
	if len(l.uses) != 1 || l.uses[0] != identity.NewKey([32]byte{50}).ID() {
		t.Fatalf("spent on %v", l.uses)
	}
	k := l.k[0]
	if len(k.Peers(l.now)) != 0 || len(k.peers) != 0 || len(k.Routes()) != 0 {
		t.Fatalf("it became a peer: %v", k.Peers(l.now))
	}
	l.now += guestAge
	l.feed(Input{Kind: InTick})
	if k.invites.guests != 0 {
		t.Fatal("the session lives on")
	}
	before := len(l.got)
	l.next()
	if len(l.got) != before {
		t.Fatal("answered after its end")
	}
}

// W8.2: a refusal says why, and carries no key.
func TestInviteRefused(t *testing.T) {
	for _, want := range []wire.InviteStatus{wire.InviteExpired, wire.InviteUsed, wire.InviteRevoked, wire.InviteFailed} {
		l := newInviteLab(t)
		l.status = want
		l.next()
		if len(l.got) != 1 || l.got[0] != (wire.InviteAnswer{Status: want}) {
			t.Errorf("%v: got %v", want, l.got)
		}
	}
}

// W8.1: every other frame of such a session is dropped, forward frames under its
// index are as if there were no session, and an unknown invite is not answered.
func TestInviteDoesNothingElse(t *testing.T) {
	l := newInviteLab(t)
	b, _ := l.r.Next(l.rand)
	l.say(b)
	k, index := l.k[0], uint32(0)
	for slot := range k.index.e {
		if e := &k.index.e[slot]; e.used && e.guest != nil {
			index = e.gen<<slotBits | uint32(slot)
		}
	}
	if index == 0 {
		t.Fatal("no session")
	}
	dropped := k.counters.Drops
	for _, f := range []wire.Frame{
		{ID: coreID, Payload: wire.AppendGoodbye(nil, wire.Goodbye{})},
		{ID: idChat, Payload: []byte("hello")},
		{ID: coreID, Flags: wire.FlagStream, Stream: 1, Payload: []byte{wire.MsgInviteRequest}},
	} {
		k.now, k.out = l.now, &Output{}
		k.guestPacket(k.index.get(index), wire.AppendFrame(nil, f))
	}
	if n := k.counters.Drops[DropFrame] - dropped[DropFrame]; n != 3 {
		t.Errorf("%d frames of 3 were dropped", n)
	}
	fwd := wire.AppendHop(nil, wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 3, LinkIndex: index, Dest: 77})
	l.feed(Input{Kind: InDatagram, Datagram: append(fwd, make([]byte, 40)...), From: guestAddr})
	if k.counters.Drops[DropLinkUnknown] != dropped[DropLinkUnknown]+1 {
		t.Error("a forward frame under an invite was looked at")
	}
	l.r, l.got = l.redeemer(t, 51, 5), nil
	l.next()
	if len(l.got) != 0 || k.counters.Drops[DropMac1] != dropped[DropMac1]+1 {
		t.Error("an invite of somebody else was answered")
	}
}

// W8.3: sessions under invites are bounded, and so are requests in one.
func TestInviteBounds(t *testing.T) {
	l := newInviteLab(t)
	for i := range maxGuests + 5 {
		l.r = l.redeemer(t, byte(100+i), 4)
		l.next()
		l.now += 40 * time.Millisecond // within the share of one address
	}
	if l.k[0].invites.guests != maxGuests || len(l.got) != maxGuests {
		t.Fatalf("%d sessions, %d answers", l.k[0].invites.guests, len(l.got))
	}
	l = newInviteLab(t)
	for range maxAsked + 5 {
		l.next()
	}
	if len(l.got) != maxAsked || len(l.uses) != 1 {
		t.Fatalf("%d answers, %d uses", len(l.got), len(l.uses))
	}
}
