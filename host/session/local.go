package session

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/blake2s"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// Errors a caller may test for with errors.Is. All but ErrIdentity, ErrVersion
// and ErrStale can be provoked by anybody who can send a datagram, so they say
// nothing about the peer.
var (
	ErrMalformed = errors.New("session: malformed handshake message")
	ErrAuth      = errors.New("session: handshake message is not authentic")
	ErrIdentity  = errors.New("session: not the node that was dialled")
	ErrVersion   = errors.New("session: no common protocol version")
	ErrStale     = errors.New("session: the peer's process was replaced by a newer one")
	ErrDone      = errors.New("session: this handshake is over")
)

// LocalConfig says who handshakes in our name.
type LocalConfig struct {
	// Key is the node's key. Required.
	Key *identity.Key
	// Static is the X25519 key of this process start, signed by Key. Required.
	Static *identity.Static
	// PSK is the network key, or the key of an invite: 32 bytes, not all zero.
	PSK []byte
	// PSKID names PSK in the envelope; 0 is the network key.
	PSKID uint64
	// PSK2 is a second current key under the same PSKID (S1.5), or nil: while a
	// network changes its key, some nodes have the old one and some the new.
	PSK2 []byte
	// AES says that this machine is faster at AES-256-GCM than at
	// ChaCha20-Poly1305, because its processor has instructions for it. Where both
	// ends say so, session packets are sealed with it.
	AES bool
	// MinVersion and MaxVersion bound the protocol versions spoken here. 0 is
	// wire.Version.
	MinVersion, MaxVersion uint8
	// MinIncarnation gives the highest incarnation known of a node: a peer
	// with a lower one is refused. It is called wherever Respond, ReceiveM2
	// and ReceiveM3 are, so it must be safe there. nil = 0 for all.
	MinIncarnation func(sdk.NodeID) uint64
}

// Local is a node's end of all its handshakes under one pre-shared key. It is
// immutable.
type Local struct {
	key      *identity.Key
	static   *identity.Static
	id       sdk.NodeID
	rid      wire.RID
	psk      [32]byte
	pskID    uint64
	min, max uint8
	ciphers  uint8
	floor    func(sdk.NodeID) uint64
	// Keys of mac1 for messages to us: to an unknown RID, and to ours.
	macAny, macOwn [32]byte
	cookie         cipher.AEAD
	second         *Local
}

// NewLocal checks the configuration.
func NewLocal(c LocalConfig) (*Local, error) {
	switch {
	case c.Key == nil || c.Static == nil:
		return nil, errors.New("session: a node key and a static key are required")
	case len(c.PSK) != 32: // flynn/noise would silently leave psk0 out for an empty one
		return nil, fmt.Errorf("session: the pre-shared key has %d bytes, want 32", len(c.PSK))
	case [32]byte(c.PSK) == [32]byte{}:
		return nil, errors.New("session: the pre-shared key is all zero")
	case !identity.VerifyStatic(c.Key.ID(), c.Static.Public, c.Static.Incarnation, c.Static.Sig[:]):
		return nil, errors.New("session: the static key is not signed by the node key")
	}
	l := &Local{key: c.Key, static: c.Static, id: c.Key.ID(), psk: [32]byte(c.PSK), pskID: c.PSKID,
		min: c.MinVersion, max: c.MaxVersion, floor: c.MinIncarnation}
	if c.AES {
		l.ciphers = cipherAES
	}
	if l.min == 0 {
		l.min = wire.Version
	}
	if l.max == 0 {
		l.max = wire.Version
	}
	if l.min > l.max {
		return nil, fmt.Errorf("session: MinVersion %d is above MaxVersion %d", l.min, l.max)
	}
	l.rid = identity.RIDOf(l.id)
	l.macAny, l.macOwn, l.cookie = l.macKey(0), l.macKey(l.rid), cookieAEAD(l.psk)
	if c.PSK2 != nil && !bytes.Equal(c.PSK, c.PSK2) {
		c.PSK, c.PSK2 = c.PSK2, nil
		var err error
		if l.second, err = NewLocal(c); err != nil {
			return nil, fmt.Errorf("second key: %w", err)
		}
	}
	return l, nil
}

// Second is our end under the second current key, nil when there is none.
func (l *Local) Second() *Local { return l.second }

// Format keeps keys out of logs, whatever the verb.
func (l *Local) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "session end of %s", l.id) }

// ID is our node.
func (l *Local) ID() sdk.NodeID { return l.id }

// RID is our routing id.
func (l *Local) RID() wire.RID { return l.rid }

// macKey derives the key of mac1 for messages to dest (S2.1).
func (l *Local) macKey(dest wire.RID) [32]byte {
	var b [15 + 32 + 8]byte
	n := copy(b[:], "nethost v1 mac1")
	n += copy(b[n:], l.psk[:])
	binary.LittleEndian.PutUint64(b[n:], uint64(dest))
	return blake2s.Sum256(b[:])
}

// CheckMac1 reports whether whoever made the envelope env (e is what it parses
// to) knows our pre-shared key and meant us, or did not know whom. It is good for any
// goroutine; what takes datagrams asks Admission.Check, which is faster.
func (l *Local) CheckMac1(env []byte, e *wire.Envelope) bool {
	if e.PSK != l.pskID || len(env) < wire.EnvelopeMin {
		return false
	}
	key := &l.macAny
	if e.Dest == l.rid {
		key = &l.macOwn
	} else if e.Dest != 0 {
		return false
	}
	m := mac128(key[:], env[:len(env)-2*wire.MacSize])
	return equal(&m, &e.Mac1)
}

func equal(a, b *[wire.MacSize]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// seal writes an envelope and its mac1.
func (l *Local) seal(e wire.Envelope) []byte {
	return l.appendSealed(make([]byte, 0, wire.EnvelopeMin+len(e.Noise)), e)
}

func (l *Local) appendSealed(b []byte, e wire.Envelope) []byte {
	n := len(b)
	b = wire.AppendEnvelope(b, e)
	key := l.macAny
	if e.Dest != 0 {
		key = l.macKey(e.Dest)
	}
	m := mac128(key[:], b[n:len(b)-2*wire.MacSize])
	copy(b[len(b)-2*wire.MacSize:], m[:])
	return b
}

// open checks an envelope of the wanted kind as far as that goes without Noise.
// receiver is our index, 0 in m1.
func (l *Local) open(b []byte, kind uint8, receiver uint32) (wire.Envelope, error) {
	e, ok := wire.ParseEnvelope(b)
	switch {
	case !ok || e.Kind != kind || e.Receiver != receiver || e.Sender == 0:
		return e, ErrMalformed
	case !l.CheckMac1(b, &e):
		return e, ErrAuth
	case e.Version != wire.Version:
		return e, fmt.Errorf("%w: the message is of version %d, this node speaks %d", ErrVersion, e.Version, wire.Version)
	}
	return e, nil
}

// agree finds the version both ends speak: the highest common one.
func (l *Local) agree(lo, hi uint8) (uint8, error) {
	v := min(hi, l.max)
	if lo == 0 || lo > hi || v < max(lo, l.min) {
		return 0, fmt.Errorf("%w: the peer speaks %d to %d, this node %d to %d", ErrVersion, lo, hi, l.min, l.max)
	}
	return v, nil
}

// never is the deadline of what will not happen.
const never = math.MaxInt64
