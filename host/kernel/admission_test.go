package kernel

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

func netipFrom(a [4]byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4(a), 1) }

// remac writes mac1 of an envelope to an unknown node (S2.1), as any holder of the
// network key can.
func remac(m []byte, psk identity.NetworkKey) []byte {
	key := blake2s.Sum256(append(append([]byte("nethost v1 mac1"), psk[:]...), make([]byte, 8)...))
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic(err)
	}
	h.Write(m[:len(m)-2*wire.MacSize])
	h.Sum(m[:len(m)-2*wire.MacSize])
	return m
}

// load keeps a node under load from now on, for a second of its time.
func (l *lab) load(i int) { l.k[i].admit.Loaded(l.now, 1<<20) }

// newKernel is another node of a lab, with a configuration changed.
func (l *lab) newKernel(change func(*Config)) int {
	l.t.Helper()
	i := len(l.k)
	key := identity.NewKey([32]byte{byte(i + 1)})
	cfg := Config{Key: key, Static: identity.NewStatic(key, [32]byte{byte(i + 9)}, 1), NetworkKey: identity.NetworkKey{5},
		Entropy: rand.NewChaCha8([32]byte{byte(i)}), Table: tableOf(i == 0), Modules: []string{"chat", "store", "lonely"}}
	change(&cfg)
	k, err := New(cfg, l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	l.k = append(l.k, k)
	l.out = append(l.out, Output{})
	l.events = append(l.events, nil)
	l.apps = append(l.apps, nil)
	for slot := range k.mods {
		l.step(i, Input{Kind: InModuleUp, Slot: slot})
	}
	return i
}

// kinds counts the envelopes that reach a node, by kind.
func (l *lab) kinds(to int) *[6]int {
	var n [6]int
	l.wire = func(i int, b []byte) {
		if _, rest, ok := wire.ParseHop(b); ok && i == to && wire.IsHandshake(rest) {
			n[rest[4]]++
		}
	}
	return &n
}

func (l *lab) drops(i int, d Drop) uint64 { return l.k[i].counters.Drops[d] }

// S2.7, S2.8: under load a dialler is asked for a cookie and comes back with it at
// once.
func TestCookieUnderLoad(t *testing.T) {
	l := newLoose(t, 2)
	l.load(0)
	toA, start := l.kinds(0), l.now
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	l.run(100 * time.Millisecond)
	if l.handle(1, 0) == 0 || l.now-start > handshakeRetry {
		t.Fatal("no session before the first retry")
	}
	if toA[wire.KindM1] != 2 || l.drops(0, DropCookie) != 1 || l.drops(0, DropHandshakeSeen) != 0 {
		t.Errorf("%v first messages, %d cookies", toA, l.drops(0, DropCookie))
	}
}

// S2.7: through a relay the cookie goes to the return address that the m1 claims.
func TestCookieRelayed(t *testing.T) {
	l := newLab(t, 3)
	l.load(0)
	l.step(2, Input{Kind: InAppOpen, App: 1, Node: l.k[0].self, ID: idChat})
	l.run(100 * time.Millisecond)
	if l.handle(2, 0) == 0 {
		t.Fatal("no session before the first retry")
	}
	if l.drops(0, DropCookie) != 1 {
		t.Errorf("%d cookies", l.drops(0, DropCookie))
	}
}

// S7.5: keys between neighbours are renewed under load, with a cookie that goes and
// comes under the old keys, whatever happens to datagrams in the name of the address.
func TestRekeyUnderLoad(t *testing.T) {
	l := newLab(t, 2)
	first := l.cur(0, 1)
	l.run(first.Born() + session.RekeyAfter - time.Second - l.now)
	bare := 0
	l.lose = func(_ int, b []byte) bool {
		e := envelope(b)
		if e != nil && e[4] == wire.KindM1 && !isForward(b) {
			bare++
			return true
		}
		return false
	}
	for range 15 {
		l.load(0)
		l.load(1)
		l.run(100 * time.Millisecond)
	}
	if l.cur(0, 1) == first || bare > 0 {
		t.Errorf("not rekeyed: %v, or with %d bare first messages", l.cur(0, 1) == first, bare)
	}
	if l.drops(0, DropCookie)+l.drops(1, DropCookie) != 1 {
		t.Errorf("%d and %d cookies", l.drops(0, DropCookie), l.drops(1, DropCookie))
	}
	l.same(0, 1)
}

// S2.8: a responder that never takes a cookie does not make the dialler spin, and
// one that comes from nowhere changes nothing.
func TestCookieLoop(t *testing.T) {
	l := newLoose(t, 2)
	toA := l.kinds(0)
	var m1 []byte
	l.wire = func(i int, b []byte) {
		if _, rest, ok := wire.ParseHop(b); ok && i == 0 && wire.IsHandshake(rest) && rest[4] == wire.KindM1 {
			toA[wire.KindM1]++
			m1 = bytes.Clone(rest)
			copy(b[len(b)-wire.MacSize:], make([]byte, wire.MacSize)) // somebody wipes mac2
		}
	}
	end := l.now + 3*time.Second
	l.load(0)
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	for l.now < end {
		l.load(0)
		l.run(100 * time.Millisecond)
	}
	if toA[wire.KindM1] > 8 || toA[wire.KindM1] < 3 {
		t.Errorf("%d first messages in three seconds", toA[wire.KindM1])
	}
	if l.handle(1, 0) != 0 {
		t.Fatal("a session without a cookie")
	}
	// A member of the network that does not see the m1 makes a cookie up.
	e, _ := wire.ParseEnvelope(m1)
	e.Mac1[0] ^= 1
	forger := session.NewAdmission(l.k[0].local, func(b []byte) {})
	l.k[0].admit.Judge(m1, &e, session.AddrSource(addrOf(1)), 1<<20, l.now)
	forger.Judge(m1, &e, session.AddrSource(addrOf(1)), 1<<20, l.now)
	forged := forger.AppendCookie(wire.AppendHop(nil, wire.Hop{Version: wire.Version}), l.k[0].local, &e, session.AddrSource(addrOf(1)))
	before := l.drops(1, DropHandshake)
	l.step(1, Input{Kind: InDatagram, Datagram: forged, From: addrOf(0)})
	if l.drops(1, DropHandshake) != before+1 {
		t.Error("a cookie for another m1 is taken")
	}
}

// S2.10: a flood from somebody with the network key and made-up addresses. Its
// first messages are answered with cookies, never with more bytes than they had; a
// session that stands goes on, and a node that comes meanwhile gets in.
func TestFloodFromInside(t *testing.T) {
	l := newLoose(t, 3)
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	l.run(time.Second)
	attacker, err := session.NewLocal(session.LocalConfig{Key: identity.NewKey([32]byte{77}),
		Static: identity.NewStatic(identity.NewKey([32]byte{77}), [32]byte{78}, 1), PSK: l.k[0].cfg.NetworkKey[:]})
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.NewChaCha8([32]byte{9})
	jobs, in, out := 0, 0, 0
	var outp Output
	flood := func(n int) { // jobs of node 0 do not run: all Noise that would be spent is seen as jobs
		for range n {
			_, m1, err := attacker.Initiate(dice, 7, sdk.NodeID{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			m1 = append(wire.AppendHop(nil, wire.Hop{Version: wire.Version}), m1...)
			from := addrOf(100)
			var a [4]byte
			dice.Read(a[:])
			a[0] = 20
			from = netipFrom(a)
			in += len(m1)
			l.k[0].Step(l.now, &Input{Kind: InDatagram, Datagram: m1, From: from}, &outp)
			for _, d := range outp.Datagrams {
				out += len(d.Bytes)
			}
			for _, j := range outp.Jobs {
				jobs++
				j.Run()
				l.step(0, Input{Kind: InJob, Job: j})
			}
		}
	}
	flood(600)
	if jobs > 256 || l.drops(0, DropCookie) == 0 || out > in {
		t.Errorf("%d jobs, %d cookies, %d bytes for %d", jobs, l.drops(0, DropCookie), out, in)
	}
	l.events[0] = nil
	l.do(1, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(1, 0), ID: idChat, Payload: []byte("still here")})
	if ev := l.one(0, 0, sdk.EvMessage); string(ev.Payload) != "still here" {
		t.Errorf("%+v", ev)
	}
	jobs = 0
	l.step(2, Input{Kind: InDial, From: addrOf(0)})
	for range 20 {
		flood(20)
		l.run(10 * time.Millisecond)
	}
	if l.handle(2, 0) == 0 || jobs > 0 {
		t.Errorf("a node that answers for its address: handle %v, %d jobs for others", l.handle(2, 0), jobs)
	}
	if n := l.k[0].admit.HalfOpen(); n > 256 {
		t.Errorf("%d half open", n)
	}
	l.run(session.HalfOpenAge + time.Second)
	if n := l.k[0].admit.HalfOpen(); n != 0 {
		t.Errorf("%d half open when the flood was over", n)
	}
}

// Forged and replayed first messages: nothing but a counter (S2.6), and no reply.
func TestFloodFromOutside(t *testing.T) {
	l := newLoose(t, 2)
	var m1 []byte
	l.wire = func(i int, b []byte) {
		if i == 0 && m1 == nil {
			m1 = bytes.Clone(b)
		}
	}
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	l.run(time.Second)
	forged := bytes.Clone(m1)
	var out Output
	in := Input{Kind: InDatagram}
	n := 0
	allocs := testing.AllocsPerRun(20000, func() {
		n++
		in.Datagram, in.From = m1, netipFrom([4]byte{30, byte(n >> 16), byte(n >> 8), byte(n)})
		l.k[0].Step(l.now, &in, &out)
		if len(out.Datagrams)+len(out.Jobs) > 0 {
			t.Fatal("a replay is answered")
		}
		forged[33] = m1[33] + byte(n%255) + 1 // of the ephemeral key: another one than was seen
		in.Datagram = forged
		l.k[0].Step(l.now, &in, &out)
		if len(out.Datagrams)+len(out.Jobs) > 0 {
			t.Fatal("a forgery is answered")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if l.drops(0, DropHandshakeSeen) != uint64(n) || l.drops(0, DropMac1) != uint64(n) {
		t.Errorf("%d replays, %d forgeries of %d", l.drops(0, DropHandshakeSeen), l.drops(0, DropMac1), n)
	}
}

// S1.5: while a network changes its key, nodes with the old, the new and both meet.
func TestTwoNetworkKeys(t *testing.T) {
	old, fresh := identity.NetworkKey{5}, identity.NetworkKey{6}
	l := newLoose(t, 1) // node 0 has the old key
	l.k = l.k[:0]
	l.out, l.events, l.apps = nil, nil, nil
	keys := [][2]identity.NetworkKey{{old}, {old, fresh}, {fresh, old}, {fresh}}
	for _, k := range keys {
		l.newKernel(func(c *Config) { c.NetworkKey, c.NetworkKey2 = k[0], k[1] })
	}
	for i := range keys {
		for j := range keys {
			if i != j {
				l.step(i, Input{Kind: InDial, From: addrOf(j)})
			}
		}
	}
	l.run(3 * time.Second)
	for i := range keys {
		for j := range keys {
			want := i != j && i+j != 3 || i*j == 2 // only the old and the new alone do not meet
			if got := l.k[i].peers[l.k[j].self] != nil && l.k[i].peers[l.k[j].self].addr.IsValid(); got != want {
				t.Errorf("%d and %d: %v, want %v", i, j, got, want)
			}
		}
	}
}

// W4.4: whoever speaks another version is told ours, and tells his user; the answer
// does not end the dial.
func TestVersionAnswer(t *testing.T) {
	l := newLoose(t, 2)
	var m1 []byte
	l.cut = func(from, to int) bool { return true }
	l.step(1, Input{Kind: InDial, From: addrOf(0)})
	d := l.k[1].dials[addrOf(0)].dial
	m1 = bytes.Clone(d.m1)
	seal := func(m []byte, version uint8) []byte { // as a node of that version would have
		m = bytes.Clone(m)
		m[5] = version
		return remac(m, l.k[0].cfg.NetworkKey)
	}
	for name, dgram := range map[string][]byte{
		"envelope":  append([]byte{wire.Version << 6, 0}, seal(m1, 2)...),
		"hop frame": append([]byte{2 << 6, 0}, seal(m1, 2)...),
	} {
		before := l.drops(0, DropVersion)
		l.step(0, Input{Kind: InDatagram, Datagram: dgram, From: addrOf(7)})
		out := l.out[0].Datagrams
		if len(out) != 1 || out[0].Addr != addrOf(7) || len(out[0].Bytes) >= len(m1) || l.drops(0, DropVersion) != before+1 {
			t.Fatalf("%s: %d answers, %d drops", name, len(out), l.drops(0, DropVersion)-before)
		}
		e, ok := wire.ParseEnvelope(out[0].Bytes[wire.LocalSize:])
		if !ok || e.Kind != wire.KindVersion || e.Receiver != d.index || !bytes.Equal(e.Noise, []byte{1, 1}) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	foreign := append([]byte{2<<6 | 1<<3, 0}, make([]byte, 60)...)
	before := l.drops(0, DropVersion)
	if l.step(0, Input{Kind: InDatagram, Datagram: foreign, From: addrOf(7)}); l.drops(0, DropVersion) != before+1 {
		t.Error("a forward frame of another version is not counted as such")
	}
	for name, dgram := range map[string][]byte{
		"wrong mac1": append([]byte{2 << 6, 0}, m1[:len(m1)-1]...),
		"not an m1":  append([]byte{2 << 6, 0}, seal(append(append([]byte{0, 0, 0, 0, wire.KindM2}, m1[5:]...), 0), 2)...),
		"forwarded":  append([]byte{2<<6 | 1<<3, 0}, seal(m1, 2)...),
		"nothing":    {2 << 6},
	} {
		l.step(0, Input{Kind: InDatagram, Datagram: dgram, From: addrOf(7)})
		if len(l.out[0].Datagrams) != 0 {
			t.Errorf("%s is answered", name)
		}
	}
	for range 100 {
		l.step(0, Input{Kind: InDatagram, Datagram: append([]byte{2 << 6, 0}, seal(m1, 2)...), From: addrOf(7)})
	}
	if len(l.out[0].Datagrams) != 0 {
		t.Error("the answers have no limit")
	}

	// The dialler's side.
	other, err := session.NewLocal(session.LocalConfig{Key: l.k[0].cfg.Key, Static: l.k[0].cfg.Static,
		PSK: l.k[0].cfg.NetworkKey[:], MinVersion: 2, MaxVersion: 3})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := wire.ParseEnvelope(m1)
	told := other.AppendVersions([]byte{wire.Version << 6, 0}, &e, 0)
	l.step(1, Input{Kind: InDatagram, Datagram: bytes.Clone(told), From: addrOf(0)})
	want := "it speaks versions 2-3, we speak 1-1"
	if got := l.k[1].Dials()[0].Error; !strings.Contains(got, want) {
		t.Errorf("the dial says %q", got)
	}
	if d.dead || d.hs == nil {
		t.Error("advice ended the dial")
	}
	l.run(20 * time.Second)
	if got := l.k[1].Dials()[0].Error; !strings.Contains(got, want) && !strings.Contains(got, "no answer") {
		t.Errorf("the dial says %q", got)
	}
	l.cut = nil
	l.run(30 * time.Second)
	if l.handle(1, 0) == 0 {
		t.Error("advice kept two nodes apart")
	}
}
