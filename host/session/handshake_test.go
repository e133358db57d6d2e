package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flynn/noise"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.txt")

func TestHandshake(t *testing.T) {
	idB := identity.NewKey(seed(2)).ID()
	for name, dial := range map[string]struct {
		id   sdk.NodeID
		dest wire.RID
	}{"nobody known": {}, "node": {id: idB}, "node and rid": {idB, identity.RIDOf(idB)}, "rid": {dest: identity.RIDOf(idB)}} {
		t.Run(name, func(t *testing.T) {
			x := start(t, config(1), config(2), dial.id, dial.dest)
			if x.hb.PeerRID() != x.a.RID() || x.hb.Dest() != x.a.RID() || x.hb.Initiator() || !x.ha.Initiator() {
				t.Error("the return address is wrong")
			}
			x.finish(t)
			if x.sa.Peer() != x.b.ID() || x.sb.Peer() != x.a.ID() || x.sa.PeerRID() != x.b.RID() || x.sb.PeerRID() != x.a.RID() {
				t.Error("wrong peers")
			}
			if x.sa.LocalIndex() != indexA || x.sa.PeerIndex() != indexB || x.sb.LocalIndex() != indexB || x.sb.PeerIndex() != indexA {
				t.Error("wrong indices")
			}
			if x.sa.Incarnation() != 2 || x.sb.Incarnation() != 1 || x.sa.Version() != 1 || !x.sa.Initiator() || x.sb.Initiator() {
				t.Error("wrong facts")
			}
			if !x.ha.Over() || !x.hb.Over() || x.ha.Dest() != x.b.RID() {
				t.Error("the handshakes are not over")
			}
			carries(t, x.sa, x.sb)
			if _, _, err := x.ha.ReceiveM2(x.m2, 0); !errors.Is(err, ErrDone) {
				t.Errorf("second m2: %v", err)
			}
			if _, err := x.hb.ReceiveM3(x.m3, 0); !errors.Is(err, ErrDone) {
				t.Errorf("second m3: %v", err)
			}
		})
	}
}

func TestHandshakeVectors(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0).finish(t)
	var b strings.Builder
	hop := packet(wire.ForwardSize, "")
	x.sa.SignHop(hop)
	adm := NewAdmission(x.b, func(b []byte) { (&entropy{seed: 3}).Read(b) })
	adm.jar.fresh(0, adm.random)
	e, _ := wire.ParseEnvelope(x.m1)
	src := AddrSource(netip.MustParseAddrPort("192.0.2.1:7700"))
	cookie := adm.AppendCookie(nil, x.b, &e, src)
	proven := bytes.Clone(x.m1)
	SetCookie(proven, adm.jar.cookie(src))
	for _, v := range []struct {
		name  string
		bytes []byte
	}{{"cookie", cookie}, {"m1-with-mac2", proven}, {"version", x.b.AppendVersions(nil, &e, 0)}, {"m1", x.m1}, {"m2", x.m2}, {"m3", x.m3}, {"local", seal(t, x.sa, wire.LocalSize, "hello")},
		{"forward", seal(t, x.sb, wire.ForwardSize, "hello")}, {"hop", hop}} {
		fmt.Fprintf(&b, "%s %s\n", v.name, hex.EncodeToString(v.bytes))
	}
	const file = "testdata/vectors.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("the bytes changed: that breaks every other node of version 1\ngot:\n%swant:\n%s", b.String(), want)
	}
}

func TestNewLocalRefuses(t *testing.T) {
	for name, change := range map[string]func(*LocalConfig){
		"S1.4 no psk":        func(c *LocalConfig) { c.PSK = nil },
		"S1.4 short psk":     func(c *LocalConfig) { c.PSK = c.PSK[:31] },
		"S1.4 long psk":      func(c *LocalConfig) { c.PSK = append(bytes.Clone(c.PSK), 0) },
		"S1.4 zero psk":      func(c *LocalConfig) { c.PSK = make([]byte, 32) },
		"no key":             func(c *LocalConfig) { c.Key = nil },
		"no static":          func(c *LocalConfig) { c.Static = nil },
		"somebody's static":  func(c *LocalConfig) { c.Static = config(9).Static },
		"versions reversed":  func(c *LocalConfig) { c.MinVersion, c.MaxVersion = 3, 2 },
		"minimum above ours": func(c *LocalConfig) { c.MinVersion = 2 },
	} {
		c := config(1)
		change(&c)
		if _, err := NewLocal(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestInitiateRefuses(t *testing.T) {
	l := local(t, config(1))
	other := identity.NewKey(seed(2)).ID()
	for name, try := range map[string]func() (*Handshake, []byte, error){
		"index 0":    func() (*Handshake, []byte, error) { return l.Initiate(&entropy{}, 0, other, 0) },
		"self":       func() (*Handshake, []byte, error) { return l.Initiate(&entropy{}, 1, l.ID(), 0) },
		"own rid":    func() (*Handshake, []byte, error) { return l.Initiate(&entropy{}, 1, sdk.NodeID{}, l.RID()) },
		"bad id":     func() (*Handshake, []byte, error) { return l.Initiate(&entropy{}, 1, sdk.NodeID{1}, 0) },
		"wrong rid":  func() (*Handshake, []byte, error) { return l.Initiate(&entropy{}, 1, other, 5) },
		"no entropy": func() (*Handshake, []byte, error) { return l.Initiate(bytes.NewReader(make([]byte, 31)), 1, other, 0) },
	} {
		if _, _, err := try(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	if _, _, err := x.b.Respond(bytes.NewReader(nil), 5, x.m1); !errors.Is(err, io.EOF) {
		t.Errorf("respond without entropy: %v", err)
	}
	if _, _, err := x.b.Respond(&entropy{}, 0, x.m1); err == nil {
		t.Error("respond with index 0: accepted")
	}
}

// S3.2: no amplification.
func TestM1IsNoSmallerThanM2(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	if len(x.m1) < len(x.m2) {
		t.Errorf("m1 has %d bytes, m2 %d", len(x.m1), len(x.m2))
	}
	// A shorter m1 that is authentic in every other way gets no answer.
	h := &Handshake{local: x.a, initiator: true, index: indexA}
	hs, err := noise.NewHandshakeState(noise.Config{CipherSuite: noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Pattern: noise.HandshakeXX, Initiator: true, PresharedKey: testPSK[:], Random: &entropy{},
		Prologue: append([]byte(prologue), x.m1[:wire.EnvelopeHead]...)})
	if err != nil {
		t.Fatal(err)
	}
	short, _, _, _ := hs.WriteMessage(nil, appendHello(nil, hello{x.a.rid, 1, 1})[:helloFixed])
	m1 := h.local.seal(wire.Envelope{Kind: wire.KindM1, Version: 1, Sender: indexA, Noise: short})
	if _, _, err := x.b.Respond(&entropy{}, 5, m1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a short m1: %v", err)
	}
}

// countingDH counts Diffie-Hellman operations.
type countingDH struct {
	noise.DHFunc
	n *int
}

func (c countingDH) DH(a, b []byte) ([]byte, error) { *c.n++; return c.DHFunc.DH(a, b) }

// S3.2: under a wrong network key m1 fails before any Diffie-Hellman, even when
// mac1 is somehow right.
func TestWrongPSKCostsNoDH(t *testing.T) {
	stranger := config(1)
	wrong := seed(0x78)
	stranger.PSK = wrong[:]
	a, b := local(t, stranger), local(t, config(2))
	_, m1, err := a.Initiate(&entropy{}, indexA, sdk.NodeID{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Respond(&entropy{}, indexB, m1); !errors.Is(err, ErrAuth) {
		t.Errorf("wrong psk: %v", err)
	}
	e, _ := wire.ParseEnvelope(m1)
	if b.CheckMac1(m1, &e) {
		t.Error("mac1 of another network is accepted")
	}
	b.macAny = a.macAny // as if the stranger had guessed mac1
	if _, _, err := b.Respond(&entropy{}, indexB, m1); !errors.Is(err, ErrAuth) {
		t.Errorf("wrong psk, good mac1: %v", err)
	}
	n := 0
	hs, err := noise.NewHandshakeState(noise.Config{CipherSuite: noise.NewCipherSuite(countingDH{noise.DH25519, &n}, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Pattern: noise.HandshakeXX, PresharedKey: testPSK[:], Prologue: append([]byte(prologue), m1[:wire.EnvelopeHead]...)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := hs.ReadMessage(nil, e.Noise); err == nil || n != 0 {
		t.Errorf("reading m1 under another key: %v after %d Diffie-Hellman", err, n)
	}
}

// S2.1, S2.2
func TestMac1(t *testing.T) {
	c := config(2)
	b := local(t, c)
	c.PSKID = 9
	invited := local(t, c)
	a := local(t, config(1))
	third := local(t, config(3))
	for _, dest := range []wire.RID{0, b.RID()} {
		_, m1, _ := a.Initiate(&entropy{}, indexA, sdk.NodeID{}, dest)
		e, _ := wire.ParseEnvelope(m1)
		if !b.CheckMac1(m1, &e) {
			t.Fatalf("dest %x: refused", dest)
		}
		if dest != 0 && third.CheckMac1(m1, &e) {
			t.Error("an envelope for another node is accepted")
		}
		if invited.CheckMac1(m1, &e) {
			t.Error("another psk id is accepted")
		}
		for i := range len(m1) - wire.MacSize { // mac2 is not covered
			bad := bytes.Clone(m1)
			bad[i] ^= 0x10
			if e, ok := wire.ParseEnvelope(bad); ok && b.CheckMac1(bad, &e) {
				t.Fatalf("accepted with byte %d changed", i)
			}
		}
	}
	if b.CheckMac1(nil, &wire.Envelope{}) {
		t.Error("no envelope at all is accepted")
	}
}

func BenchmarkMac1(b *testing.B) {
	x := start(b, config(1), config(2), sdk.NodeID{}, 0)
	e, _ := wire.ParseEnvelope(x.m1)
	for b.Loop() {
		if !x.b.CheckMac1(x.m1, &e) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkRefuseM1(b *testing.B) {
	c := config(1)
	c.PSK = bytes.Repeat([]byte{9}, 32)
	stranger := local(b, c)
	_, m1, _ := stranger.Initiate(&entropy{}, indexA, sdk.NodeID{}, 0)
	l := local(b, config(2))
	l.macAny = stranger.macAny // past mac1, so that Noise has to refuse
	for b.Loop() {
		if _, _, err := l.Respond(&entropy{}, indexB, m1); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkHandshake(b *testing.B) {
	x := start(b, config(1), config(2), sdk.NodeID{}, 0)
	for b.Loop() {
		h, m1, _ := x.a.Initiate(&entropy{}, indexA, sdk.NodeID{}, 0)
		r, m2, _ := x.b.Respond(&entropy{}, indexB, m1)
		m3, _, _ := h.ReceiveM2(m2, time.Second)
		if _, err := r.ReceiveM3(m3, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
