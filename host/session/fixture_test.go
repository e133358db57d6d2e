package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// entropy is a reproducible stream of bytes.
type entropy struct {
	seed byte
	n    uint64
}

func (e *entropy) Read(b []byte) (int, error) {
	for i := range b {
		h := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte{e.seed}, e.n))
		b[i] = h[0]
		e.n++
	}
	return len(b), nil
}

func seed(b byte) [32]byte { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

var testPSK = seed(0x77)

func config(n byte) LocalConfig {
	k := identity.NewKey(seed(n))
	return LocalConfig{Key: k, Static: identity.NewStatic(k, seed(n+100), uint64(n)), PSK: testPSK[:]}
}

func local(t testing.TB, c LocalConfig) *Local {
	t.Helper()
	l, err := NewLocal(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// exchange is a whole handshake and all that went over the network.
type exchange struct {
	a, b       *Local
	ha, hb     *Handshake
	m1, m2, m3 []byte
	sa, sb     *Session
}

const (
	indexA = 0xa0a0a0a0
	indexB = 0xb0b0b0b0
)

// start runs a handshake up to m2.
func start(t testing.TB, ca, cb LocalConfig, dial sdk.NodeID, dest wire.RID) *exchange {
	t.Helper()
	x := &exchange{a: local(t, ca), b: local(t, cb)}
	var err error
	if x.ha, x.m1, err = x.a.Initiate(&entropy{seed: 1}, indexA, dial, dest); err != nil {
		t.Fatal(err)
	}
	if x.hb, x.m2, err = x.b.Respond(&entropy{seed: 2}, indexB, x.m1); err != nil {
		t.Fatal(err)
	}
	return x
}

// finish runs the rest of it.
func (x *exchange) finish(t testing.TB) *exchange {
	t.Helper()
	var err error
	if x.m3, x.sa, err = x.ha.ReceiveM2(x.m2, time.Second); err != nil {
		t.Fatal(err)
	}
	if x.sb, err = x.hb.ReceiveM3(x.m3, time.Second); err != nil {
		t.Fatal(err)
	}
	return x
}

func pair(t testing.TB) (a, b *Session) {
	t.Helper()
	x := start(t, config(1), config(2), sdk.NodeID{}, 0).finish(t)
	return x.sa, x.sb
}

// packet is a hop frame, room and a plaintext, with room for the tag.
func packet(hop int, plain string) []byte {
	b := make([]byte, 0, 2048)
	if hop == wire.LocalSize {
		b = wire.AppendHop(b, wire.Hop{Version: wire.Version})
	} else {
		b = wire.AppendHop(b, wire.Hop{Version: wire.Version, Type: wire.TypeForward, TTL: 63, Dest: 12345})
	}
	return append(b[:hop+wire.SessionSize], plain...)
}

func seal(t testing.TB, s *Session, hop int, plain string) []byte {
	t.Helper()
	b, _, ok := s.Seal(packet(hop, plain), hop)
	if !ok {
		t.Fatal("Seal refused")
	}
	return b
}

// carries checks that packets go both ways between two sessions.
func carries(t testing.TB, a, b *Session) {
	t.Helper()
	for _, way := range [][2]*Session{{a, b}, {b, a}} {
		for _, hop := range []int{wire.LocalSize, wire.ForwardSize} {
			plain, _, v := way[1].Open(seal(t, way[0], hop, "hello"), hop)
			if v != OK || string(plain) != "hello" {
				t.Fatalf("hop %d: %v %q", hop, v, plain)
			}
		}
	}
}
