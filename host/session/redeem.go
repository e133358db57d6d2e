package session

import (
	"fmt"
	"io"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// Redeemer is the joining end of an invite: it handshakes under the invite's key,
// asks for the network key, and can do nothing else (W8). It belongs to one
// goroutine.
type Redeemer struct {
	local *Local
	node  sdk.NodeID
	hs    *Handshake
	m1    []byte
	m3    []byte
	sess  *Session
	index uint32
}

// NewRedeemer prepares to redeem an invite of node. static belongs to key.
func NewRedeemer(key *identity.Key, static *identity.Static, secret [32]byte, node sdk.NodeID) (*Redeemer, error) {
	psk, id := identity.InviteKey(secret)
	l, err := NewLocal(LocalConfig{Key: key, Static: static, PSK: psk[:], PSKID: id})
	if err != nil {
		return nil, err
	}
	return &Redeemer{local: l, node: node}, nil
}

// Next gives the datagrams to send now: at the start, and again whenever nothing
// came for a while.
func (r *Redeemer) Next(entropy io.Reader) ([][]byte, error) {
	if r.sess != nil {
		return r.ask(), nil
	}
	if err := r.begin(entropy); err != nil {
		return nil, err
	}
	return [][]byte{localFrame(r.m1)}, nil
}

// begin makes a fresh first message: responders drop one that they have seen.
func (r *Redeemer) begin(entropy io.Reader) (err error) {
	r.index++
	r.hs, r.m1, err = r.local.Initiate(entropy, r.index, r.node, identity.RIDOf(r.node))
	return err
}

// ask repeats m3, in case it was lost, and requests the key.
func (r *Redeemer) ask() [][]byte {
	b := make([]byte, wire.LocalSize+wire.SessionSize, wire.BaseMTU)
	wire.AppendHop(b[:0], wire.Hop{Version: wire.Version, Type: wire.TypeLocal})
	b = wire.AppendFrame(b, wire.Frame{ID: coreID, Payload: wire.AppendInviteRequest(nil)})
	out := [][]byte{localFrame(r.m3)}
	if pkt, _, ok := r.sess.Seal(b, wire.LocalSize); ok {
		out = append(out, pkt)
	}
	return out
}

// coreID is the subprotocol of core messages.
const coreID sdk.ID = 1

// localFrame puts an envelope behind a local hop frame.
func localFrame(env []byte) []byte {
	return append(wire.AppendHop(nil, wire.Hop{Version: wire.Version, Type: wire.TypeLocal}), env...)
}

// Receive takes a datagram, which it spends. done: answer is the inviter's. An error
// ends the attempt; what is not authentic is ignored.
func (r *Redeemer) Receive(b []byte, entropy io.Reader, now time.Duration) (out [][]byte, answer wire.InviteAnswer, done bool, err error) {
	hop, rest, ok := wire.ParseHop(b)
	if !ok || hop.Type != wire.TypeLocal {
		return nil, answer, false, nil
	}
	if !wire.IsHandshake(rest) {
		answer, done = r.open(b)
		return nil, answer, done, nil
	}
	env, ok := wire.ParseEnvelope(rest)
	if !ok || r.sess != nil || r.hs == nil || env.Receiver != r.index || !r.local.CheckMac1(rest, &env) {
		return nil, answer, false, nil
	}
	switch env.Kind {
	case wire.KindCookie:
		cookie, ok := r.local.OpenCookie(&env, r.m1)
		if !ok {
			return nil, answer, false, nil
		}
		if err := r.begin(entropy); err != nil {
			return nil, answer, false, err
		}
		SetCookie(r.m1, cookie)
		return [][]byte{localFrame(r.m1)}, answer, false, nil
	case wire.KindVersion:
		if lo, hi, ok := r.local.ReadVersions(&env); ok {
			return nil, answer, false, fmt.Errorf("%w: the inviter speaks %d to %d, this nethost %d", ErrVersion, lo, hi, wire.Version)
		}
	case wire.KindM2:
		m3, s, err := r.hs.ReceiveM2(rest, now)
		if err == nil {
			r.m3, r.sess = m3, s
			return r.ask(), answer, false, nil
		}
	}
	return nil, answer, false, nil
}

// open reads the answer out of a session packet.
func (r *Redeemer) open(b []byte) (a wire.InviteAnswer, ok bool) {
	if r.sess == nil {
		return a, false
	}
	plain, _, v := r.sess.Open(b, wire.LocalSize)
	if v != OK {
		return a, false
	}
	f, _, ok := wire.ParseFrame(plain)
	if !ok || f.ID != coreID || f.Flags&wire.FlagStream != 0 || len(f.Payload) < 2 || f.Payload[0] != wire.MsgInviteAnswer {
		return a, false
	}
	return wire.ParseInviteAnswer(f.Payload[1:])
}
