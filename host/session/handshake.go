package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/flynn/noise"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// prologue begins what both ends must agree on before the first message; the
// head of m1's envelope follows (S3.1).
const prologue = "nethost/1"

// maxForged is how many messages that fail a handshake survives. Without a
// survivor one forged answer would end it; without a bound each would cost two
// Diffie-Hellman operations for ever.
const maxForged = 8

// Handshake is one handshake under way. After an error of a Receive method it
// is still good for the authentic message, unless Over says otherwise; whether to
// go on waiting after ErrIdentity, ErrVersion or ErrStale is for the caller.
type Handshake struct {
	local     *Local
	initiator bool
	noise     *noise.HandshakeState // nil: to be made again from what follows
	ephemeral [32]byte              // our ephemeral private key
	m1        []byte                // the envelope
	index     uint32                // ours
	peerIndex uint32
	dial      sdk.NodeID // initiator: zero = unknown
	dest      wire.RID   // initiator: 0 = unknown
	hello     hello      // the initiator's
	forged    int
	over      bool
}

// Format keeps keys out of logs, whatever the verb.
func (h *Handshake) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "handshake %08x", h.index) }

// LocalIndex is the session index that the peer sends to us with.
func (h *Handshake) LocalIndex() uint32 { return h.index }

// PeerIndex is the session index to send to the peer with; an initiator learns
// it from m2.
func (h *Handshake) PeerIndex() uint32 { return h.peerIndex }

// Dest is the routing id our next message goes to; 0 = unknown.
func (h *Handshake) Dest() wire.RID {
	if h.initiator {
		return h.dest
	}
	return h.hello.rid
}

// PeerRID is the peer's routing id as far as it is known: the return address of
// m1 (claimed until m3 proves it), or whom we dialled.
func (h *Handshake) PeerRID() wire.RID { return h.Dest() }

// Initiator reports whether we sent m1.
func (h *Handshake) Initiator() bool { return h.initiator }

// Over reports whether nothing more can come of the handshake.
func (h *Handshake) Over() bool { return h.over }

// Initiate begins a handshake and gives m1, a whole envelope. index is our
// session index, not 0. dial is who must answer, zero for whoever does; dest is
// where m1 travels, 0 when unknown, else the routing id of dial. m1 must be sent
// once: a second try is a new Initiate, because responders drop an m1 they have
// seen (S2.3).
func (l *Local) Initiate(entropy io.Reader, index uint32, dial sdk.NodeID, dest wire.RID) (*Handshake, []byte, error) {
	switch {
	case index == 0:
		return nil, nil, errors.New("session: index 0 is not a session's")
	case dial == l.id || dest == l.rid:
		return nil, nil, fmt.Errorf("%w: %s is this node itself", ErrIdentity, l.id)
	}
	if !dial.IsZero() {
		if err := identity.CheckNodeID(dial); err != nil {
			return nil, nil, fmt.Errorf("session: cannot dial: %w", err)
		}
		if dest != 0 && dest != identity.RIDOf(dial) {
			return nil, nil, fmt.Errorf("session: routing id %016x is not that of %s", uint64(dest), dial)
		}
	}
	h := &Handshake{local: l, initiator: true, index: index, dial: dial, dest: dest, hello: hello{l.rid, l.min, l.max}}
	if _, err := io.ReadFull(entropy, h.ephemeral[:]); err != nil {
		return nil, nil, fmt.Errorf("session: no entropy: %w", err)
	}
	e := wire.Envelope{Kind: wire.KindM1, Version: wire.Version, PSK: l.pskID, Sender: index, Dest: dest}
	var err error
	if e.Noise, err = h.replay(wire.AppendEnvelope(nil, e)[:wire.EnvelopeHead]); err != nil {
		return nil, nil, err
	}
	h.m1 = l.seal(e)
	return h, bytes.Clone(h.m1), nil
}

// Respond answers m1, a whole envelope, with m2. index is our session index, not
// 0. An m1 under another key costs no Diffie-Hellman. The peer is a claim until
// ReceiveM3.
func (l *Local) Respond(entropy io.Reader, index uint32, m1 []byte) (*Handshake, []byte, error) {
	if index == 0 {
		return nil, nil, errors.New("session: index 0 is not a session's")
	}
	e, err := l.open(m1, wire.KindM1, 0)
	if err != nil {
		return nil, nil, err
	}
	if len(e.Noise) < m1Size {
		return nil, nil, ErrMalformed
	}
	h := &Handshake{local: l, index: index, peerIndex: e.Sender, m1: bytes.Clone(m1)}
	if _, err := io.ReadFull(entropy, h.ephemeral[:]); err != nil {
		return nil, nil, fmt.Errorf("session: no entropy: %w", err)
	}
	noise2, err := h.replay(h.m1[:wire.EnvelopeHead])
	if err != nil {
		return nil, nil, err
	}
	return h, l.seal(wire.Envelope{Kind: wire.KindM2, Version: wire.Version, PSK: l.pskID,
		Sender: index, Receiver: e.Sender, Dest: h.hello.rid, Noise: noise2}), nil
}

// Claim reads the return address of m1, a whole envelope, without a Diffie-Hellman
// and without believing it. Its mac1 must be good already.
func (l *Local) Claim(m1 []byte) (wire.RID, error) {
	e, ok := wire.ParseEnvelope(m1)
	if !ok || len(e.Noise) < m1Size {
		return 0, ErrMalformed
	}
	hs, err := noise.NewHandshakeState(l.noiseConfig(false, nil, m1[:wire.EnvelopeHead]))
	if err != nil {
		return 0, fmt.Errorf("session: %w", err)
	}
	payload, _, _, err := hs.ReadMessage(nil, e.Noise)
	if err != nil {
		return 0, ErrAuth
	}
	h, ok := parseHello(payload)
	if !ok {
		return 0, ErrMalformed
	}
	return h.rid, nil
}

func (l *Local) noiseConfig(initiator bool, ephemeral, head []byte) noise.Config {
	return noise.Config{
		CipherSuite:           noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Random:                bytes.NewReader(ephemeral),
		Pattern:               noise.HandshakeXX,
		Initiator:             initiator,
		Prologue:              append([]byte(prologue), head...),
		PresharedKey:          l.psk[:],
		PresharedKeyPlacement: 0,
		StaticKeypair:         noise.DHKey{Private: l.static.Private[:], Public: l.static.Public[:]},
	}
}

// replay brings the Noise state to where the peer's next message is due, from
// m1 and our ephemeral key alone, and gives our last message. It runs at the
// start, and again after a forged message: a state that failed is not to be
// trusted, since flynn/noise rolls back only a part of it.
func (h *Handshake) replay(head []byte) (out []byte, err error) {
	l := h.local
	h.noise, err = noise.NewHandshakeState(l.noiseConfig(h.initiator, h.ephemeral[:], head))
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if h.initiator {
		out, _, _, err = h.noise.WriteMessage(nil, appendHello(nil, h.hello))
		if err != nil {
			return nil, fmt.Errorf("session: m1: %w", err)
		}
		return out, nil
	}
	e, _ := wire.ParseEnvelope(h.m1)
	payload, _, _, err := h.noise.ReadMessage(nil, e.Noise)
	if err != nil {
		return nil, ErrAuth
	}
	var ok bool
	if h.hello, ok = parseHello(payload); !ok {
		return nil, ErrMalformed
	}
	if h.hello.rid == l.rid {
		return nil, fmt.Errorf("%w: this node called itself", ErrIdentity)
	}
	if _, err = l.agree(h.hello.min, h.hello.max); err != nil {
		return nil, err
	}
	out, _, _, err = h.noise.WriteMessage(nil, l.appendProof(nil, h.index))
	if err != nil { // the ephemeral key is of small order
		return nil, ErrAuth
	}
	return out, nil
}

// ReceiveM2 is the initiator's: it takes m2 and gives m3 and the session. Who
// answered is checked before m3 says who we are. m3 is to be sent again until a
// packet of the session arrives.
func (h *Handshake) ReceiveM2(m2 []byte, now time.Duration) (m3 []byte, s *Session, err error) {
	if !h.initiator || h.over {
		return nil, nil, ErrDone
	}
	l := h.local
	e, err := l.open(m2, wire.KindM2, h.index)
	if err != nil {
		return nil, nil, err
	}
	p, version, err := h.receive(&e, m2Size)
	if err == nil {
		err = h.meant(p)
	}
	if err != nil {
		return nil, nil, h.fail(err)
	}
	out, cs1, cs2, err := h.noise.WriteMessage(nil, l.appendProof(nil, h.index))
	if err != nil {
		return nil, nil, h.fail(ErrAuth)
	}
	h.peerIndex, h.dest = e.Sender, identity.RIDOf(p.id)
	m3 = l.seal(wire.Envelope{Kind: wire.KindM3, Version: wire.Version, PSK: l.pskID,
		Sender: h.index, Receiver: h.peerIndex, Dest: h.dest, Noise: out})
	return m3, h.finish(p, version, cs1, cs2, now), nil
}

// ReceiveM3 is the responder's: it takes m3 and gives the session.
func (h *Handshake) ReceiveM3(m3 []byte, now time.Duration) (*Session, error) {
	if h.initiator || h.over {
		return nil, ErrDone
	}
	e, err := h.local.open(m3, wire.KindM3, h.index)
	if err != nil {
		return nil, err
	}
	if e.Sender != h.peerIndex {
		return nil, ErrMalformed
	}
	var cs [2]*noise.CipherState
	p, version, err := h.receive(&e, m3Size, &cs[0], &cs[1])
	if err == nil && (identity.RIDOf(p.id) != h.hello.rid || p.min != h.hello.min || p.max != h.hello.max) {
		err = fmt.Errorf("%w: %s is not who its first message said", ErrAuth, p.id)
	}
	if err != nil {
		return nil, h.fail(err)
	}
	return h.finish(p, version, cs[1], cs[0], now), nil
}

// receive reads a Noise message that carries a proof, and verifies that. keys
// take the cipher states of the last message.
func (h *Handshake) receive(e *wire.Envelope, least int, keys ...**noise.CipherState) (*proof, uint8, error) {
	if len(e.Noise) < least {
		return nil, 0, ErrMalformed
	}
	if h.noise == nil {
		if _, err := h.replay(h.m1[:wire.EnvelopeHead]); err != nil {
			return nil, 0, err
		}
	}
	payload, cs1, cs2, err := h.noise.ReadMessage(nil, e.Noise)
	if err != nil {
		return nil, 0, ErrAuth
	}
	if len(keys) == 2 {
		*keys[0], *keys[1] = cs1, cs2
	}
	p, ok := parseProof(payload)
	if !ok {
		return nil, 0, ErrMalformed
	}
	version, err := h.local.check(&p, h.noise.PeerStatic(), e.Sender)
	return &p, version, err
}

// meant checks that the node that answered is the one we dialled.
func (h *Handshake) meant(p *proof) error {
	if !h.dial.IsZero() && p.id != h.dial {
		return fmt.Errorf("%w: dialled %s, %s answered", ErrIdentity, h.dial, p.id)
	}
	if h.dest != 0 && identity.RIDOf(p.id) != h.dest {
		return fmt.Errorf("%w: dialled routing id %016x, %s answered", ErrIdentity, uint64(h.dest), p.id)
	}
	return nil
}

// fail notes a message that was for this handshake and did not do.
func (h *Handshake) fail(err error) error {
	h.noise = nil
	if h.forged++; h.forged >= maxForged {
		h.end()
	}
	return err
}

func (h *Handshake) end() {
	h.over, h.noise, h.m1 = true, nil, nil
	clear(h.ephemeral[:])
}

// finish makes the session; send and receive are the cipher states of our
// direction and of the peer's.
func (h *Handshake) finish(p *proof, version uint8, send, receive *noise.CipherState, now time.Duration) *Session {
	s := newSession(send.UnsafeKey(), receive.UnsafeKey(), h.local.ciphers&p.ciphers&cipherAES != 0)
	s.peer, s.rid, s.incarnation, s.version = p.id, identity.RIDOf(p.id), p.incarnation, version
	s.local, s.remote, s.initiator, s.born = h.index, h.peerIndex, h.initiator, now
	s.under = h.local
	copy(s.static[:], h.noise.PeerStatic())
	h.end()
	return s
}
