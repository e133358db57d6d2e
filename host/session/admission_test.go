package session

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// desk is a responder's admission and what a test needs around it.
type desk struct {
	t     testing.TB
	a     *Admission
	l     *Local // the responder
	from  *Local // an honest initiator
	dice  *entropy
	seedN byte
	now   time.Duration
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t, l: local(t, config(2)), from: local(t, config(1)), dice: &entropy{seed: 9}, now: time.Hour}
	d.a = NewAdmission(d.l, func(b []byte) { d.dice.Read(b) })
	return d
}

// m1 makes a fresh, honest first message.
func (d *desk) m1() []byte {
	d.t.Helper()
	_, m1, err := d.from.Initiate(d.dice, indexA, sdk.NodeID{}, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	return m1
}

// fake makes what a holder of the network key can make without any Noise: an m1
// with another ephemeral key and a good mac1. It costs a Diffie-Hellman to find out
// that it is nothing.
func (d *desk) fake(b []byte, n uint64) []byte {
	b = append(b[:0], b[:MinM1]...)
	binary.LittleEndian.PutUint64(b[wire.EnvelopeHead:], n)
	m := mac128(d.l.macAny[:], b[:len(b)-2*wire.MacSize])
	copy(b[len(b)-2*wire.MacSize:], m[:])
	clear(b[len(b)-wire.MacSize:])
	return b
}

// judge runs an m1 through length, mac1 and Judge.
func (d *desk) judge(m1 []byte, src Source, jobs int) (Token, Ruling) {
	d.t.Helper()
	e, ok := wire.ParseEnvelope(m1)
	if !ok || d.a.Check(m1, &e) == nil {
		d.t.Fatal("mac1 is refused")
	}
	return d.a.Judge(m1, &e, src, jobs, d.now)
}

// proven gives m1 the cookie that src would be sent.
func (d *desk) proven(m1 []byte, src Source) []byte {
	d.t.Helper()
	old := d.m1()
	e, _ := wire.ParseEnvelope(old)
	d.a.jar.fresh(d.now, d.a.random)
	answer := d.a.AppendCookie(nil, d.l, &e, src)
	c, ok := wire.ParseEnvelope(answer)
	if !ok {
		d.t.Fatal("the answer is no envelope")
	}
	cookie, ok := d.from.OpenCookie(&c, old)
	if !ok {
		d.t.Fatal("the cookie does not open")
	}
	SetCookie(m1, cookie)
	return m1
}

func from(n uint32) Source {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return AddrSource(netip.AddrPortFrom(netip.AddrFrom4(b), 7))
}

// S2.2, S2.6: length comes first, then mac1; neither leaves a trace.
func TestCheck(t *testing.T) {
	c := config(2)
	other := seed(0x55)
	c.PSK2 = other[:]
	two := local(t, c)
	one := local(t, config(2))
	for _, dest := range []wire.RID{0, one.RID()} {
		for name, x := range map[string]struct {
			psk  [32]byte
			l    *Local
			want *Local
		}{"first key": {testPSK, two, two}, "S1.5 second key": {other, two, two.Second()}, "only key": {testPSK, one, one},
			"another key": {other, one, nil}, "neither key": {seed(0x56), two, nil}} {
			ci := config(1)
			ci.PSK = x.psk[:]
			_, m1, err := local(t, ci).Initiate(&entropy{}, indexA, sdk.NodeID{}, dest)
			if err != nil {
				t.Fatal(err)
			}
			e, _ := wire.ParseEnvelope(m1)
			a := NewAdmission(x.l, nil)
			for range 2 { // the prepared state is the same each time
				if got := a.Check(m1, &e); got != x.want {
					t.Errorf("%s, to %x: %v, want %v", name, dest, got, x.want)
				}
			}
			for i := range len(m1) - wire.MacSize {
				bad := bytes.Clone(m1)
				bad[i] ^= 4
				if e, ok := wire.ParseEnvelope(bad); ok && a.Check(bad, &e) != nil {
					t.Fatalf("%s: accepted with byte %d changed", name, i)
				}
			}
		}
	}
	a := NewAdmission(one, nil)
	for name, n := range map[string]int{"too short for an m1": MinM1 - 1, "too long": MaxM1 + 1, "in between": MaxM1} {
		b := one.seal(wire.Envelope{Kind: wire.KindM1, Version: 1, Sender: 1, Noise: make([]byte, n-wire.EnvelopeMin)})
		e, _ := wire.ParseEnvelope(b)
		if got := a.Check(b, &e) != nil; got != (n == MaxM1) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// S2.3: an m1 is good once, as far as the ring tells.
func TestSeen(t *testing.T) {
	d := newDesk(t)
	m1 := d.m1()
	token, r := d.judge(m1, from(1), 0)
	if r != Admit {
		t.Fatal(r)
	}
	d.a.End(token)
	for _, src := range []Source{from(1), from(2), LinkSource(5)} {
		if _, r := d.judge(m1, src, 0); r != Replay {
			t.Errorf("again from %v: %v", src, r)
		}
	}
	first := binary.LittleEndian.Uint64(m1[wire.EnvelopeHead:])
	for i := range uint64(SeenEphemerals - 1) {
		d.a.remember(i)
	}
	if _, r := d.judge(m1, from(1), 0); r != Replay {
		t.Error("forgotten too early")
	}
	d.a.remember(1 << 40)
	if _, ok := d.a.seen[first]; ok || len(d.a.seen) != SeenEphemerals || len(d.a.ring) != SeenEphemerals {
		t.Error("the ring is not bounded")
	}
}

// S2.4, S2.9: shares of one source, of all, and of a neighbour.
func TestHalfOpen(t *testing.T) {
	d := newDesk(t)
	buf := d.m1()
	n := uint64(0)
	try := func(src Source, proven bool) (Token, Ruling) {
		n++
		buf = d.fake(buf, n)
		if proven {
			buf = d.proven(buf, src)
		}
		return d.judge(buf, src, 0)
	}
	var tokens []Token
	for range HalfOpenPerSource {
		tok, r := try(from(7), false)
		if r != Admit {
			t.Fatal(r)
		}
		tokens = append(tokens, tok)
	}
	if _, r := try(from(7), false); r != AskCookie {
		t.Errorf("a ninth of one source: %v", r)
	}
	for i := range HalfOpenPerSource { // whoever filled the share in its name took nothing from the source itself
		if _, r := try(from(7), true); r != Admit {
			t.Fatalf("proven %d: %v", i, r)
		}
	}
	if _, r := try(from(7), true); r != Crowded {
		t.Errorf("a ninth that is proven: %v", r)
	}
	d.a.End(tokens[0])
	d.a.End(tokens[0])
	d.a.End(Token{})
	d.a.End(Token{slot: 1 << 30})
	if d.a.HalfOpen() != 2*HalfOpenPerSource-1 {
		t.Errorf("%d half open", d.a.HalfOpen())
	}
	if _, r := try(from(7), false); r != Admit {
		t.Error("the place did not come back")
	}
	d.a.End(tokens[0]) // its slot has a new tenant
	if d.a.HalfOpen() != 2*HalfOpenPerSource {
		t.Error("an old token ended a new handshake")
	}

	// A neighbour's share, whatever return addresses it claims.
	link := LinkSource(0x1000)
	for i := range linkUnproven {
		if _, r := try(link, false); r != Admit {
			t.Fatalf("relayed %d: %v", i, r)
		}
	}
	if _, r := try(link, false); r != AskClaim {
		t.Errorf("over a neighbour's unproven share: %v", r)
	}
	if _, r := try(link.Claiming(5), false); r != AskCookie {
		t.Errorf("with a claim: %v", r)
	}
	for rid := wire.RID(1); ; rid++ {
		if _, r := try(link.Claiming(rid/HalfOpenPerSource+1), true); r != Admit {
			if r != Crowded || rid != HalfOpenPerLink-linkUnproven+1 {
				t.Errorf("the neighbour's share ended with %v at %d", r, rid)
			}
			break
		}
	}
	for i := uint32(0); d.a.HalfOpen() < MaxHalfOpen; i++ {
		if _, r := try(from(100+i), true); r != Admit {
			// not loaded yet: an unproven one is as good
			t.Fatalf("%d half open: %v", d.a.HalfOpen(), r)
		}
	}
	if _, r := try(from(9999999), true); r != Crowded {
		t.Errorf("1025 half open: %v", r)
	}
	d.now += HalfOpenAge
	if _, r := try(from(9999999), true); r != Admit {
		t.Errorf("old ones are not expired when room is needed: %v", r)
	}
	d.now += time.Hour
	d.a.Expire(d.now)
	d.a.sweep(d.now)
	if d.a.HalfOpen() != 0 || len(d.a.sources) != 0 || len(d.a.slots) > MaxHalfOpen || d.a.crowd.open != 0 {
		t.Error("something is left")
	}
}

// S2.7: load is jobs, half-open handshakes or a fast run of m1s; it holds for a
// second after the last sign.
func TestLoad(t *testing.T) {
	d := newDesk(t)
	a := d.a
	for _, jobs := range []int{0, loadJobs - 1} {
		if a.Loaded(d.now, jobs) {
			t.Errorf("loaded by %d jobs", jobs)
		}
	}
	if !a.Loaded(d.now, loadJobs) || !a.Loaded(d.now+LoadHold-1, 0) || a.Loaded(d.now+LoadHold, 0) {
		t.Error("jobs: not for one second")
	}
	d.now += time.Minute
	buf := d.m1()
	var tokens []Token
	n := 0
	for ; ; n++ {
		buf = d.fake(buf, uint64(n))
		tok, r := d.judge(buf, from(uint32(n)), 0)
		if r != Admit {
			break
		}
		d.a.End(tok)
		tokens = append(tokens, tok)
	}
	if n != loadBurst {
		t.Errorf("load after %d m1s at once", n)
	}
	d.now += LoadHold
	if a.Loaded(d.now, 0) {
		t.Error("load does not end")
	}
	for n := range 10000 { // a steady run below the rate is no load
		d.now += loadEvery
		buf = d.fake(buf, uint64(1e6+n))
		tok, r := d.judge(buf, from(uint32(n)), 0)
		if r != Admit {
			t.Fatalf("%d: %v", n, r)
		}
		d.a.End(tok)
	}
}

// S2.7, S2.8: a cookie is good for its source alone, and as long as the secret.
func TestCookie(t *testing.T) {
	v6 := AddrSource(netip.MustParseAddrPort("[2001:db8::1]:9"))
	for name, src := range map[string]Source{"IPv4": from(7), "IPv6": v6, "relayed": LinkSource(3).Claiming(4)} {
		d := newDesk(t)
		m1 := d.m1()
		e, _ := wire.ParseEnvelope(m1)
		if _, r := d.judge(m1, src, loadJobs); r != AskCookie {
			t.Fatalf("%s: %v", name, r)
		}
		if len(d.a.ring) != 0 || len(d.a.sources) != 0 {
			t.Errorf("%s: asking for a cookie keeps state", name)
		}
		b := d.a.AppendCookie(nil, d.l, &e, src)
		if len(b) != cookieEnvelope || len(b) >= len(m1) {
			t.Errorf("%s: the answer has %d bytes, the question %d", name, len(b), len(m1))
		}
		if again := d.a.AppendCookie(nil, d.l, &e, src); bytes.Equal(again[wire.EnvelopeHead:][:24], b[wire.EnvelopeHead:][:24]) {
			t.Errorf("%s: one nonce twice", name)
		}
		c, ok := wire.ParseEnvelope(b)
		if !ok || src.link == 0 && !d.from.CheckMac1(b, &c) || c.Dest != src.rid {
			t.Fatalf("%s: %+v", name, c)
		}
		cookie, ok := d.from.OpenCookie(&c, m1)
		if !ok {
			t.Fatalf("%s: does not open", name)
		}
		if _, ok := d.from.OpenCookie(&c, d.m1()); ok {
			t.Errorf("%s: opens for another m1", name)
		}
		for i := range c.Noise {
			c.Noise[i] ^= 1
			if _, ok := d.from.OpenCookie(&c, m1); ok {
				t.Errorf("%s: opens with byte %d changed", name, i)
			}
			c.Noise[i] ^= 1
		}
		SetCookie(m1, cookie) // the ring does not know it, so the same m1 will do here
		for other, o := range map[string]Source{"address": from(8), "port": AddrSource(netip.MustParseAddrPort("0.0.0.7:8")),
			"link": LinkSource(2).Claiming(4), "rid": LinkSource(3).Claiming(5)} {
			if _, r := d.judge(m1, o, loadJobs); r != AskCookie {
				t.Errorf("%s: good for another %s: %v", name, other, r)
			}
		}
		bad := bytes.Clone(m1)
		bad[len(bad)-1] ^= 1
		if _, r := d.judge(bad, src, loadJobs); r != AskCookie {
			t.Errorf("%s: mac2 is not checked: %v", name, r)
		}
		start := d.now
		d.now = start + CookieLife
		if _, r := d.judge(m1, src, loadJobs); r != AskCookie {
			t.Errorf("%s: good for ever: %v", name, r)
		}
		m1 = d.proven(d.m1(), src)
		if _, r := d.judge(m1, src, loadJobs); r != Admit {
			t.Errorf("%s: with the cookie: %v", name, r)
		}
		if _, r := d.judge(m1, src, loadJobs); r != Replay {
			t.Errorf("%s: with the cookie, again: %v", name, r)
		}
	}
}

// S2.9: an IPv6 host cannot get more by using all addresses of its network.
func TestIPv6SharesByNetwork(t *testing.T) {
	a := AddrSource(netip.MustParseAddrPort("[2001:db8::1]:9"))
	for s, same := range map[string]bool{"[2001:db8::2]:8": true, "[2001:db8::ffff:1:2:3]:9": true, "[2001:db8:0:1::1]:9": false, "1.2.3.4:9": false} {
		if got := AddrSource(netip.MustParseAddrPort(s)).share(false) == a.share(false); got != same {
			t.Errorf("%s: %v", s, got)
		}
	}
	if AddrSource(netip.MustParseAddrPort("[::ffff:1.2.3.4]:9")) != AddrSource(netip.MustParseAddrPort("1.2.3.4:9")) {
		t.Error("an IPv4 address in IPv6 form is another source")
	}
	if AddrSource(netip.MustParseAddrPort("[::1]:9")).share(false) == AddrSource(netip.MustParseAddrPort("0.0.0.0:9")).share(false) {
		t.Error("an IPv6 network and an IPv4 address share")
	}
}

// S2.10: 200 000 first messages a second from somebody who holds the network key
// and spoofs his addresses. They cost a bounded number of Diffie-Hellman, the table
// of sources and the memory stay bounded. Strangers cannot be told apart before they
// answered for their address, so an honest one is as likely as any to be told a
// cookie; whoever has one gets in, always.
func TestSpoofedFlood(t *testing.T) {
	d := newDesk(t)
	buf := d.m1()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var rulings [numRulings]int
	noise, honest, tried, told, cookies := 0, 0, 0, 0, 0
	const rate, seconds = 200_000, 3
	dice := rand.New(rand.NewPCG(1, 1))
	for i := range rate * seconds {
		slot := d.now
		if dice.IntN(rate/100) == 0 { // an honest node asks once; with a cookie it must get in
			d.now += time.Duration(dice.IntN(int(time.Second / rate)))
			tried++
			src := from(0xC0A80001 + uint32(tried))
			tok, r := d.judge(d.m1(), src, 0)
			if r == AskCookie {
				told++
				tok, r = d.judge(d.proven(d.m1(), src), src, 0)
			}
			if r == Admit {
				honest++
				d.a.End(tok)
			}
		}
		d.now = slot + time.Second/rate
		buf = d.fake(buf, uint64(i))
		_, r := d.judge(buf, from(dice.Uint32()), 0)
		rulings[r]++
		switch r {
		case Admit:
			noise++
		case AskCookie:
			cookies++
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if noise > loadHalfOpen+loadBurst {
		t.Errorf("%d forged first messages cost a Diffie-Hellman", noise)
	}
	if cookies > lotWins*(seconds*int(time.Second/lotPeriod)*11/10+1) {
		t.Errorf("%d cookies", cookies)
	}
	if tried < 80*seconds || told < tried/7 || honest < told {
		t.Errorf("%d honest nodes asked, %d were told a cookie, %d got in", tried, told, honest)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3<<20 || len(d.a.sources) > maxSources {
		t.Errorf("%d bytes more, %d sources", grown, len(d.a.sources))
	}
	t.Logf("%d forged, %d to Noise, rulings %v; honest: %d asked, %d were told a cookie, %d got in", rate*seconds, noise, rulings, tried, told, honest)
}

// S2.9: the table of sources is bounded, and the last ones in it are forgotten when
// there is nothing left to hold against them.
func TestSourcesBounded(t *testing.T) {
	d := newDesk(t)
	for i := range uint32(3 * maxSources) {
		d.a.tally(from(i).share(true), d.now).rate.take(d.now, sourceEvery, sourceBurst)
	}
	if len(d.a.sources) != maxSources {
		t.Errorf("%d sources", len(d.a.sources))
	}
	if d.a.tally(from(1<<31).share(true), d.now) != &d.a.crowd {
		t.Error("a newcomer is not counted with the crowd")
	}
	d.now += time.Second
	if d.a.tally(from(1<<31).share(true), d.now) == &d.a.crowd || len(d.a.sources) != 1 {
		t.Errorf("%d sources after a second of rest", len(d.a.sources))
	}
}

func TestVersionAnswerRate(t *testing.T) {
	d := newDesk(t)
	n := 0
	for range 3000 {
		d.now += time.Millisecond
		if d.a.TakeVersion(d.now) {
			n++
		}
	}
	if n < 30 || n > 40 {
		t.Errorf("%d answers in three seconds", n)
	}
}

func TestRulingText(t *testing.T) {
	for r := range numRulings + 1 {
		if s := r.String(); s == "" || (s == "unknown ruling") != (r == numRulings) {
			t.Errorf("%d: %q", r, s)
		}
	}
}

// S2.6: what a flood hits most often allocates nothing.
func TestRejectionsDoNotAllocate(t *testing.T) {
	d := newDesk(t)
	m1 := d.m1()
	if _, r := d.judge(m1, from(1), 0); r != Admit {
		t.Fatal(r)
	}
	forged := bytes.Clone(m1)
	forged[40] ^= 1
	if n := testing.AllocsPerRun(1000, func() {
		e, _ := wire.ParseEnvelope(forged)
		if d.a.Check(forged, &e) != nil {
			t.Fatal("accepted")
		}
		e, _ = wire.ParseEnvelope(m1)
		if d.a.Check(m1, &e) == nil {
			t.Fatal("refused")
		}
		if _, r := d.a.Judge(m1, &e, from(1), 0, d.now); r != Replay {
			t.Fatal(r)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// S2.9: the return address of m1 is read without believing it, and without a
// Diffie-Hellman.
func TestClaim(t *testing.T) {
	x := start(t, config(1), config(2), sdk.NodeID{}, 0)
	if rid, err := x.b.Claim(x.m1); err != nil || rid != x.a.RID() {
		t.Errorf("%x, %v", rid, err)
	}
	for n := range x.m1 {
		if _, err := x.b.Claim(x.m1[:n]); err == nil {
			t.Errorf("read from %d bytes", n)
		}
	}
	c := config(2)
	other := seed(0x78)
	c.PSK = other[:]
	if _, err := local(t, c).Claim(x.m1); err == nil {
		t.Error("read under another key")
	}
}

// S1.5: two nodes meet under the old key while one has the new one as well.
func TestSecondKey(t *testing.T) {
	old, fresh := testPSK, seed(0x79)
	both := config(2)
	both.PSK, both.PSK2 = fresh[:], old[:]
	b := local(t, both)
	a := local(t, config(1))
	x := &exchange{a: a, b: b}
	var err error
	if x.ha, x.m1, err = a.Initiate(&entropy{seed: 1}, indexA, b.ID(), identity.RIDOf(b.ID())); err != nil {
		t.Fatal(err)
	}
	e, _ := wire.ParseEnvelope(x.m1)
	under := NewAdmission(b, nil).Check(x.m1, &e)
	if under == nil || under != b.Second() {
		t.Fatal("not found under the second key")
	}
	if _, _, err := b.Respond(&entropy{seed: 2}, indexB, x.m1); err == nil {
		t.Error("answered under the first key")
	}
	if x.hb, x.m2, err = under.Respond(&entropy{seed: 2}, indexB, x.m1); err != nil {
		t.Fatal(err)
	}
	x.finish(t)
	carries(t, x.sa, x.sb)

	for name, psk := range map[string][]byte{"short": make([]byte, 5), "zero": make([]byte, 32)} {
		c := config(2)
		c.PSK2 = psk
		if _, err := NewLocal(c); err == nil {
			t.Errorf("a second key that is %s is accepted", name)
		}
	}
	c := config(2)
	c.PSK2 = c.PSK
	if l := local(t, c); l.Second() != nil {
		t.Error("the same key twice counts as two")
	}
}

// W4.4: the answer to an unknown version, and who listens to it.
func TestVersionsAnswer(t *testing.T) {
	a := local(t, config(1))
	for _, c := range []struct {
		lo, hi uint8
		ok     bool
	}{{2, 3, true}, {5, 5, true}, {1, 3, false}, {0, 0, false}, {4, 2, false}} {
		cb := config(2)
		b := local(t, cb)
		b.min, b.max = c.lo, c.hi
		_, m1, _ := a.Initiate(&entropy{}, indexA, sdk.NodeID{}, 0)
		e, _ := wire.ParseEnvelope(m1)
		answer := b.AppendVersions([]byte("before"), &e, 0)[6:]
		r, ok := wire.ParseEnvelope(answer)
		if !ok || !a.CheckMac1(answer, &r) || r.Receiver != indexA || len(answer) >= len(m1) {
			t.Fatalf("%+v", r)
		}
		if lo, hi, ok := a.ReadVersions(&r); ok != c.ok || ok && (lo != c.lo || hi != c.hi) {
			t.Errorf("%+v: %d %d %v", c, lo, hi, ok)
		}
		r.Noise = r.Noise[:1]
		if _, _, ok := a.ReadVersions(&r); ok {
			t.Error("a cut answer is read")
		}
	}
	if lo, hi := a.Versions(); lo != 1 || hi != 1 {
		t.Error(lo, hi)
	}
}

// FuzzAnswers gives arbitrary envelopes to everything that reads one before Noise
// has: no panic, nothing that was not sealed for us opens, and asking for a cookie
// keeps nothing.
func FuzzAnswers(f *testing.F) {
	d := newDesk(f)
	m1 := d.m1()
	e, _ := wire.ParseEnvelope(m1)
	d.a.jar.fresh(d.now, d.a.random)
	f.Add(m1, uint8(0))
	f.Add(d.a.AppendCookie(nil, d.l, &e, from(1)), uint8(1))
	f.Add(d.l.AppendVersions(nil, &e, 0), uint8(2))
	f.Add(d.proven(d.m1(), from(3)), uint8(70))
	f.Fuzz(func(t *testing.T, b []byte, jobs uint8) {
		e, ok := wire.ParseEnvelope(b)
		if !ok {
			return
		}
		d := newDesk(t)
		d.dice = &entropy{seed: 77} // its m1 is not the one of the seeds
		d.a.Check(b, &e)
		if _, ok := d.from.OpenCookie(&e, d.m1()); ok {
			t.Error("a cookie for another m1 opens")
		}
		if lo, hi, ok := d.from.ReadVersions(&e); ok && lo <= 1 && hi >= 1 {
			t.Errorf("an answer that we need not read: %d-%d", lo, hi)
		}
		_, _ = d.l.Claim(b)
		if len(e.Noise) < keySize { // never without Check
			return
		}
		for _, src := range []Source{from(1), LinkSource(5), LinkSource(5).Claiming(6)} {
			_, r := d.a.Judge(b, &e, src, int(jobs), d.now)
			if r >= numRulings {
				t.Fatal(r)
			}
			if r == AskCookie && (len(d.a.AppendCookie(nil, d.l, &e, src)) != cookieEnvelope || d.a.open > 1) {
				t.Error("asking for a cookie is not free")
			}
		}
	})
}

func BenchmarkRejectForgedM1(b *testing.B) {
	d := newDesk(b)
	m1 := d.m1()
	m1[40] ^= 1
	b.ReportAllocs()
	for b.Loop() {
		e, _ := wire.ParseEnvelope(m1)
		if d.a.Check(m1, &e) != nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkRejectReplayedM1(b *testing.B) {
	d := newDesk(b)
	m1 := d.m1()
	d.judge(m1, from(1), 0)
	for i := range uint64(SeenEphemerals - 1) { // a full ring
		d.a.remember(i * 0x9E3779B97F4A7C15)
	}
	b.ReportAllocs()
	for b.Loop() {
		e, _ := wire.ParseEnvelope(m1)
		if _, r := d.a.Judge(m1, &e, from(1), 0, d.now); d.a.Check(m1, &e) == nil || r != Replay {
			b.Fatal(r)
		}
	}
}

func BenchmarkAnswerCookie(b *testing.B) {
	d := newDesk(b)
	m1 := d.m1()
	var buf [cookieEnvelope]byte
	b.ReportAllocs()
	for b.Loop() {
		d.now += time.Millisecond
		e, _ := wire.ParseEnvelope(m1)
		if _, r := d.a.Judge(m1, &e, from(1), loadJobs, d.now); d.a.Check(m1, &e) == nil || r != AskCookie {
			b.Fatal(r)
		}
		d.a.AppendCookie(buf[:0], d.l, &e, from(1))
	}
}

func BenchmarkReadClaim(b *testing.B) {
	d := newDesk(b)
	m1 := d.m1()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.l.Claim(m1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	d := newDesk(b)
	m1 := d.m1()
	for b.Loop() {
		if _, _, err := d.l.Respond(d.dice, indexB, m1); err != nil {
			b.Fatal(err)
		}
	}
}
