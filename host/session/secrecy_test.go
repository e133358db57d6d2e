package session

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"nethost/host/wire"
	"nethost/sdk"
)

// observer is a relay that holds the network key and saw every byte: it runs
// Noise's symmetric state, by hand, as far as that goes without a private key.
type observer struct{ ck, h, k []byte }

func hashOf(parts ...[]byte) []byte {
	s := blake2s.Sum256(bytes.Join(parts, nil))
	return s[:]
}

// noiseHKDF is HKDF of the Noise specification.
func noiseHKDF(ck, input []byte) (a, b, c []byte) {
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(newHash, key)
		m.Write(bytes.Join(parts, nil))
		return m.Sum(nil)
	}
	temp := mac(ck, input)
	a = mac(temp, []byte{1})
	b = mac(temp, a, []byte{2})
	return a, b, mac(temp, b, []byte{3})
}

func (o *observer) mixHash(b []byte) { o.h = hashOf(o.h, b) }
func (o *observer) mixKey(b []byte)  { o.ck, o.k, _ = noiseHKDF(o.ck, b) }
func (o *observer) mixPSK(psk []byte) {
	ck, h, k := noiseHKDF(o.ck, psk)
	o.ck, o.k = ck, k
	o.mixHash(h)
}
func (o *observer) known() (k [][]byte) { return [][]byte{o.ck, o.h, o.k} }

func (o *observer) decrypt(b []byte) ([]byte, bool) {
	aead, _ := chacha20poly1305.New(o.k)
	plain, err := aead.Open(nil, make([]byte, 12), b, o.h)
	o.mixHash(b)
	return plain, err == nil
}

// S5.1: whoever holds the network key and the whole transcript, and so the
// handshake hash, cannot open a packet or make a hop tag.
func TestTranscriptAndPSKDoNotDecrypt(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	real := x.ha.noise
	x.finish(t)

	e1, _ := wire.ParseEnvelope(x.m1)
	e2, _ := wire.ParseEnvelope(x.m2)
	e3, _ := wire.ParseEnvelope(x.m3)
	name := hashOf([]byte("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s"))
	o := &observer{ck: name, h: name}
	var known [][]byte
	note := func() { known = append(known, o.known()...) }
	o.mixHash(append([]byte(prologue), x.m1[:wire.EnvelopeHead]...))
	// m1: psk, e, payload. The observer reads it, as the protocol says it can.
	o.mixPSK(testPSK[:])
	note()
	o.mixHash(e1.Noise[:32])
	o.mixKey(e1.Noise[:32])
	note()
	plain, ok := o.decrypt(e1.Noise[32:])
	if h, good := parseHello(plain); !ok || !good || h.rid != x.a.RID() {
		t.Fatal("the observer is weaker than the real one: it cannot read m1")
	}
	// m2: e, ee, s, es, payload. From ee on, only the hash can be followed.
	o.mixHash(e2.Noise[:32])
	o.mixKey(e2.Noise[:32])
	note()
	if _, ok := o.decrypt(e2.Noise[32:80]); ok {
		t.Error("the observer reads the responder's static key")
	}
	note()
	if _, ok := o.decrypt(e2.Noise[80:]); ok {
		t.Error("the observer reads m2's payload")
	}
	note()
	if _, ok := o.decrypt(e3.Noise[:48]); ok {
		t.Error("the observer reads the initiator's static key")
	}
	note()
	if _, ok := o.decrypt(e3.Noise[48:]); ok {
		t.Error("the observer reads m3's payload")
	}
	note()
	if !bytes.Equal(o.h, real.ChannelBinding()) {
		t.Fatal("the observer is weaker than the real one: it has not got the handshake hash")
	}

	known = append(known, testPSK[:], x.a.macAny[:], x.a.macOwn[:], x.b.macOwn[:],
		x.a.static.Public[:], x.b.static.Public[:], make([]byte, 32))
	for _, m := range [][]byte{x.m1, x.m2, x.m3} {
		for i := 0; i+32 <= len(m); i++ {
			known = append(known, m[i:i+32])
		}
	}
	packet := seal(t, x.sa, wire.LocalSize, "secret")
	hop := wire.AppendHop(nil, wire.Hop{Version: 1, Type: wire.TypeForward, TTL: 1, Dest: 5})
	if !x.sa.SignHop(hop) {
		t.Fatal("SignHop refused")
	}
	for _, key := range candidates(known) {
		if opens(key, packet) {
			t.Fatalf("a key the observer can compute opens a packet: %x", key)
		}
		if signs(key, hop) {
			t.Fatalf("a key the observer can compute makes hop tags: %x", key)
		}
	}
	// The checks themselves work.
	if !opens(expand(noiseSplit(t, x), "nethost v1 aead", 32), packet) || !signs(expand(noiseSplit(t, x), "nethost v1 hop", hopKeySize), hop) {
		t.Fatal("not even the real key opens the packet: the test proves nothing")
	}
}

// noiseSplit gives the initiator's Split key, by running the responder again.
func noiseSplit(t *testing.T, x *exchange) [32]byte {
	t.Helper()
	h, _, err := x.b.Respond(&entropy{seed: 2}, indexB, x.m1)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := wire.ParseEnvelope(x.m3)
	_, cs, _, err := h.noise.ReadMessage(nil, e.Noise)
	if err != nil {
		t.Fatal(err)
	}
	return cs.UnsafeKey()
}

// candidates are the keys that known secrets lead to, with the derivations and
// labels of this protocol and the usual ones beside them.
func candidates(known [][]byte) (keys [][]byte) {
	for _, k := range known {
		a, b, c := noiseHKDF(k, nil)
		d, e, f := noiseHKDF(k, testPSK[:])
		g, h, i := noiseHKDF(testPSK[:], k)
		for _, base := range [][]byte{k, a, b, c, d, e, f, g, h, i, hashOf(k), hashOf(testPSK[:], k), hashOf(k, testPSK[:])} {
			keys = append(keys, base)
			for _, label := range []string{"nethost v1 aead", "nethost v1 hop"} {
				keys = append(keys, expand([32]byte(base), label, hopKeySize))
				full, err := hkdf.Key(newHash, base, nil, label, hopKeySize)
				if err != nil {
					panic(err)
				}
				keys = append(keys, full, hashOf(base, []byte(label)), hashOf([]byte(label), base))
			}
		}
	}
	return keys
}

func opens(key, pkt []byte) bool {
	aead, _ := chacha20poly1305.New(key[:32]) // of a longer one, which HKDF would have begun the same way
	nonce := make([]byte, 12)
	copy(nonce[4:], pkt[wire.LocalSize+4:])
	_, err := aead.Open(nil, nonce, pkt[wire.LocalSize+wire.SessionSize:], pkt[:wire.LocalSize+wire.SessionSize])
	return err == nil
}

// signs is S6.1 in the words of the clause, with numbers of any size.
func signs(key, hop []byte) bool {
	for len(key) < hopKeySize {
		key = append(bytes.Clone(key), key...)
	}
	block, _ := aes.NewCipher(key[:32])
	in := []byte{8: 0, 9: 0, 10: 0, 11: 0, 12: hop[9], 13: hop[8], 14: hop[7], 15: hop[6]}
	out := make([]byte, 16)
	block.Encrypt(out, in)
	word := func(b []byte) *big.Int {
		n := new(big.Int)
		for i := len(b) - 1; i >= 0; i-- {
			n.Add(n.Lsh(n, 8), big.NewInt(int64(b[i])))
		}
		return n
	}
	k := func(i int) *big.Int { return new(big.Int).And(word(key[32+8*i:40+8*i]), big.NewInt(1<<61-1)) }
	sum := new(big.Int)
	for i, v := range [][]byte{{hop[0], hop[1], byte(len(hop)), byte(len(hop) >> 8)}, hop[10:14], hop[14:18]} {
		sum.Add(sum, new(big.Int).Mul(k(i), word(v)))
	}
	sum.Mod(sum, big.NewInt(1<<61-1)).Add(sum, word(out[:8]))
	return new(big.Int).And(sum, big.NewInt(1<<48-1)).Cmp(word(hop[18:24])) == 0
}

// A relay in the middle that holds the network key has its own sessions with
// both sides; what it forwards between them it cannot read.
func TestRelayCannotReadWhatItForwards(t *testing.T) {
	a, b := pair(t)
	relayA := start(t, config(1), config(3), sdk.NodeID{}, 0).finish(t) // a to the relay
	relayB := start(t, config(3), config(2), sdk.NodeID{}, 0).finish(t) // the relay to b
	pkt := packet(wire.ForwardSize, "secret between a and b")
	pkt, _, ok := a.Seal(pkt, wire.ForwardSize)
	if !ok || !relayA.sa.SignHop(pkt) {
		t.Fatal("a cannot send")
	}
	h, _, _ := wire.ParseHop(pkt)
	if v := relayA.sb.CheckHop(pkt, &h); v != OK {
		t.Fatalf("the relay refuses a's packet: %v", v)
	}
	if bytes.Contains(pkt, []byte("secret")) {
		t.Fatal("the plaintext is in the packet")
	}
	for _, s := range []*Session{relayA.sb, relayA.sa, relayB.sa, relayB.sb} {
		for _, local := range []uint32{s.local, b.local} {
			s := *s
			s.local = local
			if plain, _, v := s.Open(bytes.Clone(pkt), wire.ForwardSize); v == OK {
				t.Fatalf("the relay reads %q", plain)
			}
		}
	}
	h.TTL--
	wire.AppendHop(pkt[:0], h)
	if !relayB.sa.SignHop(pkt) {
		t.Fatal("the relay cannot forward")
	}
	h, _, _ = wire.ParseHop(pkt)
	if v := relayB.sb.CheckHop(pkt, &h); v != OK {
		t.Fatalf("b refuses the relay's packet: %v", v)
	}
	// S6.5: another body of the same length passes the tag of the hop, and no more.
	raced := bytes.Clone(pkt)
	raced[40] ^= 1
	if _, _, v := b.Open(raced, wire.ForwardSize); v != BadTag {
		t.Errorf("another body: %v", v)
	}
	if plain, _, v := b.Open(pkt, wire.ForwardSize); v != OK || string(plain) != "secret between a and b" {
		t.Errorf("b gets %q, %v", plain, v)
	}
}

// Every handshake has keys of its own, even between the same two processes, and
// the two directions of a session differ.
func TestKeysAreFresh(t *testing.T) {
	seen := map[string]bool{}
	for n := range byte(4) {
		a, b := local(t, config(1)), local(t, config(2))
		h, m1, _ := a.Initiate(&entropy{seed: 10 + n}, indexA, sdk.NodeID{}, 0)
		r, m2, _ := b.Respond(&entropy{seed: 20}, indexB, m1)
		x := (&exchange{a: a, b: b, ha: h, hb: r, m1: m1, m2: m2}).finish(t)
		for _, s := range []*Session{x.sa, x.sb} {
			zero := seal(t, s, wire.LocalSize, string(make([]byte, 32)))
			key := string(zero[wire.LocalSize+wire.SessionSize:])
			if seen[key] {
				t.Error("a key stream came twice")
			}
			seen[key] = true
		}
	}
}

// Secrets do not reach a log by way of %v.
func TestSecretsDoNotPrint(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	h := x.hb
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		if got := fmt.Sprintf(verb+verb, x.a, h); len(got) > 200 {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	x.finish(t)
	if got := fmt.Sprintf("%+v", x.sa); len(got) > 200 {
		t.Errorf("a session prints %s", got)
	}
}

// FuzzHandshake feeds a handshake with mangled messages, in any order and
// number: it must never panic, never give a session for them, and still succeed
// with the true ones unless it said that it is over.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 40, 1, 2, 200, 3, 3, 100, 80})
	f.Add([]byte{4, 30, 1, 5, 60, 2, 7, 62, 255})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, script []byte) {
		x := start(t, config(1), config(2), sdk.NodeID{}, 0)
		shadow := start(t, config(1), config(2), sdk.NodeID{}, 0).finish(t)
		messages := [][]byte{shadow.m1, shadow.m2, shadow.m3}
		for script = script[:min(len(script), 60)]; len(script) >= 3; script = script[3:] {
			m := bytes.Clone(messages[int(script[0])%3])
			at := int(script[1]) % len(m)
			switch script[0] / 3 % 4 {
			case 0:
				m[at] ^= script[2] | 1
			case 1:
				m = m[:at]
			case 2:
				m = append(m[:at], append([]byte{script[2]}, m[at:]...)...)
			case 3: // an insider: mac1 is good
				e, ok := wire.ParseEnvelope(m)
				if !ok || len(e.Noise) == 0 {
					continue
				}
				e.Noise[at%len(e.Noise)] ^= script[2] | 1
				e.Mac1 = [16]byte{}
				m = x.a.seal(e)
			}
			_, s, err := x.ha.ReceiveM2(m, 0)
			if err == nil || s != nil {
				if at >= len(m)-wire.MacSize { // mac2 is free
					return
				}
				t.Fatalf("a session from a mangled m2 (%x)", m)
			}
			if s, err := x.hb.ReceiveM3(m, 0); err == nil || s != nil {
				if at >= len(m)-wire.MacSize {
					return
				}
				t.Fatalf("a session from a mangled m3 (%x)", m)
			}
			h, _, err := x.b.Respond(&entropy{}, 5, m)
			if (err == nil) != (h != nil) {
				t.Fatal("a handshake and an error")
			}
		}
		if !x.ha.Over() && !x.hb.Over() {
			x.finish(t)
			carries(t, x.sa, x.sb)
		}
	})
}

// FuzzHandshakePair lets two nodes handshake several times at once over a network
// that reorders, repeats, delays, cuts and mangles, with an insider among them. It
// never panics; sessions that name each other carry packets; and a handshake whose
// genuine messages all arrive in the end completes, whatever came before.
func FuzzHandshakePair(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 1, 1, 1, 2, 1, 3, 1, 4, 1, 5})
	f.Add([]byte{0, 0, 1, 0, 2, 1, 1, 1, 3, 1, 1, 2, 2, 2, 0, 0, 1, 0, 1, 3})
	f.Add([]byte{0, 0, 4, 0, 1, 0, 5, 1, 1, 1, 6, 2, 1, 2, 1, 2, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		n := &pairNet{t: t, a: local(t, config(1)), b: local(t, config(2)), dice: &entropy{seed: 3},
			ha: map[uint32]*Handshake{}, hb: map[uint32]*Handshake{}, sa: map[uint32]*Session{}, sb: map[uint32]*Session{}}
		n.adm = NewAdmission(n.b, func(b []byte) { n.dice.Read(b) })
		for script = script[:min(len(script), 80)]; len(script) >= 2; script = script[2:] {
			if len(n.pool) == 0 || script[0]%7 == 0 {
				if len(n.ha) < 4 {
					n.dial()
				}
				continue
			}
			m := n.pool[int(script[1])%len(n.pool)]
			at := int(script[0]) * 31 % len(m)
			bad := bytes.Clone(m)
			switch script[0] % 7 {
			case 1, 2: // in any order, as often as it likes
				n.deliver(m)
			case 3:
				bad[at] ^= script[1] | 1
				n.deliver(bad)
			case 4:
				n.deliver(bad[:at])
			case 5, 6: // the insider: mac1 is good
				e, ok := wire.ParseEnvelope(bad)
				if !ok {
					t.Fatal("a genuine message does not parse")
				}
				if script[0]%7 == 5 {
					e.Noise[at%len(e.Noise)] ^= script[1] | 1
				} else { // ... and it is for another handshake, or of another kind
					e.Kind, e.Receiver = script[1]%5+1, e.Receiver^uint32(script[1]/5%4)
				}
				n.deliver(n.a.seal(e))
			}
		}
		// Now the network is good. What is not over completes.
		n.dial()
		for i := 0; i < len(n.pool); i++ {
			n.deliver(n.pool[i])
		}
		done := 0
		for i, s := range n.sa {
			r := n.sb[s.PeerIndex()]
			if r == nil && !n.hb[s.PeerIndex()].Over() {
				t.Fatalf("%08x has a session, its peer none", i)
			}
			if r != nil {
				done++
				if r.PeerIndex() != i {
					t.Fatalf("%08x and %08x do not name each other", i, s.PeerIndex())
				}
				carries(t, s, r)
			}
		}
		if n.sa[n.last] == nil || n.sb[n.sa[n.last].PeerIndex()] == nil {
			t.Fatalf("an untouched handshake did not complete; %d did", done)
		}
	})
}

// pairNet is the network of FuzzHandshakePair, and the two nodes at its ends.
type pairNet struct {
	t      testing.TB
	a, b   *Local
	adm    *Admission
	dice   *entropy
	next   uint32
	last   uint32 // the index dialled with last
	ha, hb map[uint32]*Handshake
	sa, sb map[uint32]*Session
	pool   [][]byte // every genuine message so far
}

func (n *pairNet) dial() {
	n.next++
	n.last = n.next
	h, m1, err := n.a.Initiate(n.dice, n.last, sdk.NodeID{}, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	n.ha[n.last] = h
	n.pool = append(n.pool, m1)
}

// deliver gives a message to both nodes, as whoever owns the index it is for takes
// it.
func (n *pairNet) deliver(m []byte) {
	m = bytes.Clone(m)
	e, ok := wire.ParseEnvelope(m)
	if !ok {
		return
	}
	if h := n.ha[e.Receiver]; h != nil {
		over := h.Over()
		m3, s, err := h.ReceiveM2(m, time.Second)
		if (err == nil) != (s != nil) || over && err == nil {
			n.t.Fatalf("m2: %v, over before: %v", err, over)
		}
		if s != nil {
			n.sa[e.Receiver] = s
			n.pool = append(n.pool, m3)
		}
	}
	if h := n.hb[e.Receiver]; h != nil {
		over := h.Over()
		s, err := h.ReceiveM3(m, time.Second)
		if (err == nil) != (s != nil) || over && err == nil {
			n.t.Fatalf("m3: %v, over before: %v", err, over)
		}
		if s != nil {
			n.sb[e.Receiver] = s
		}
	}
	if n.adm.Check(m, &e) == nil || e.Kind != wire.KindM1 {
		return
	}
	tok, r := n.adm.Judge(m, &e, from(1), 0, time.Hour)
	if r != Admit {
		return
	}
	n.adm.End(tok)
	n.next++
	i := n.next | 1<<31
	if h, m2, err := n.b.Respond(n.dice, i, m); err == nil {
		n.hb[i] = h
		n.pool = append(n.pool, m2)
	}
}

// FuzzOpen gives a session arbitrary datagrams: nothing is ever accepted, and the
// session still works.
func FuzzOpen(f *testing.F) {
	a, b := pair(f)
	f.Add(seal(f, b, wire.LocalSize, "hello")[:20])
	f.Add(seal(f, a, wire.ForwardSize, "hello"))
	good := packet(wire.ForwardSize, "x")
	a.SignHop(good)
	f.Add(good)
	f.Fuzz(func(t *testing.T, pkt []byte) {
		a, b := pair(t)
		// Counter 2^31 was never sent: what claims it is forged.
		if len(pkt) >= 10 {
			binary.LittleEndian.PutUint32(pkt[6:], 1<<31)
		}
		if h, _, ok := wire.ParseHop(pkt); ok && b.CheckHop(pkt, &h) == OK {
			t.Error("a forged hop tag is accepted")
		}
		for _, hop := range []int{wire.LocalSize, wire.ForwardSize, 7} {
			if len(pkt) >= hop+8 {
				pkt[hop+7] = 0x80
			}
			if _, _, v := b.Open(bytes.Clone(pkt), hop); v == OK {
				t.Error("a forged packet is accepted")
			}
		}
		carries(t, a, b)
	})
}
