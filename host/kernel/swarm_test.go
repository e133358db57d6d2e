package kernel

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/liveness"
	"nethost/host/wire"
	"nethost/sdk"
)

func signedWave(key *identity.Key, inc, seq uint64, metric uint32, hops uint8) *wire.Wave {
	w := &wire.Wave{Origin: key.ID(), Incarnation: inc, Seq: seq, Metric: metric, Hops: hops, MTU: 1200}
	w.Sig = key.Sign(identity.DomainWave, wire.WaveSigned(nil, w))
	return w
}

// said lets a kernel hear a wave of a neighbour, and does the work it asks for.
func (l *lab) said(i, from int, w *wire.Wave) {
	k := l.k[i]
	k.out = &l.out[i]
	k.out.reset()
	k.now = l.now
	k.wave(k.peers[l.k[from].self], w)
	for _, j := range append([]*Job(nil), k.out.Jobs...) {
		j.Run()
		l.step(i, Input{Kind: InJob, Job: j})
	}
}

// TestBadWaves: what no honest node says, and what is forged, stale or too much, is
// counted for what it is and changes no route.
func TestBadWaves(t *testing.T) {
	l := newLab(t, 3)
	k := l.k[1]
	key := identity.NewKey([32]byte{77})
	l.said(1, 0, signedWave(key, 5, 9, 100, 1))
	routes := len(k.Routes())
	forged := signedWave(key, 6, 1, 100, 1)
	forged.Sig[0] ^= 1
	for name, c := range map[string]struct {
		w    *wire.Wave
		want Drop
	}{
		"radius 255":        {signedWave(key, 5, 10, 100, 255), DropWave},
		"metric 0":          {signedWave(key, 5, 10, 0, 1), DropWave},
		"forged":            {forged, DropWaveForged},
		"stale incarnation": {signedWave(key, 4, 99, 100, 1), DropWaveStale},
	} {
		before := k.Counters()
		l.said(1, 0, c.w)
		after := k.Counters()
		if after.Drops[c.want] != before.Drops[c.want]+1 {
			t.Errorf("%s: not counted as %v", name, c.want)
		}
		if r := k.Routes(); len(r) != routes {
			t.Errorf("%s: %d routes, want %d", name, len(r), routes)
		}
	}
	for _, p := range k.Peers(l.now) {
		if p.Node == l.k[0].self && (p.Demerits < demeritWave-1 || !strings.Contains(p.LastDemerit, "wrong signature")) {
			t.Errorf("the neighbour that passed on a forged wave has %.1f demerits for %q", p.Demerits, p.LastDemerit)
		}
	}
}

// TestWaveFlood: a neighbour that sends forged waves costs its share of checks, and
// never the jobs that handshakes need.
func TestWaveFlood(t *testing.T) {
	l := newLab(t, 2)
	k := l.k[0]
	k.out = &l.out[0]
	k.out.reset()
	key := identity.NewKey([32]byte{77})
	p := k.peers[l.k[1].self]
	w := signedWave(key, 1, 1, 100, 1)
	checks, jobs := 0, 0
	k.now = l.now
	for i := range 50_000 {
		if i%10 == 0 {
			k.now += time.Millisecond
		}
		w.Seq++ // the signature is wrong from now on
		before := len(k.out.Jobs)
		k.wave(p, w)
		if len(k.out.Jobs) > before {
			checks++
		}
		if jobs = max(jobs, k.jobs); len(k.out.Jobs) == maxWaveJobs/2 {
			for _, j := range k.out.Jobs {
				j.Run()
				k.jobs--
				j.done(k)
			}
			k.out.Jobs = k.out.Jobs[:0]
		}
	}
	if want := 2000 + 5*200; checks > want || checks < want-2 {
		t.Errorf("%d checks in 5 s, want %d", checks, want)
	}
	if jobs > maxWaveJobs || k.counters.Drops[DropWaveRate] < 45_000 {
		t.Errorf("%d jobs at once, %d refused", jobs, k.counters.Drops[DropWaveRate])
	}
	if !k.barred(p) {
		t.Error("what the forger begins is still taken")
	}
	l.now = k.now

	// Checks that wait for their turn leave room for handshakes.
	k.out.reset()
	k.now += time.Hour
	k.jobs = maxWaveJobs
	w.Seq++
	k.wave(p, w)
	if len(k.out.Jobs) != 0 || k.counters.Drops[DropBusy] == 0 {
		t.Error("a wave took the place of a handshake")
	}
	k.jobs = 0
	if k.wave(p, w); len(k.out.Jobs) != 1 {
		t.Error("a wave that had to wait is never checked")
	}
}

// TestReputation is K1: demerits open the breaker, fade, and close it.
func TestReputation(t *testing.T) {
	l := newLab(t, 2)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpPenalize, Peer: l.handle(0, 1), Arg: 60, Payload: []byte("bad cipher")})
	open := func(ref sdk.Ref) sdk.Effect {
		return sdk.Effect{Kind: sdk.OpStreamOpen, Peer: l.handle(1, 0), ID: idChat, Ref: ref, Payload: sdk.AppendOpen(nil, sdk.Open{})}
	}
	l.events[0] = nil
	l.do(1, 0, open(1))
	l.run(100 * time.Millisecond)
	l.one(0, 0, sdk.EvStreamOpen)
	l.do(0, 0, sdk.Effect{Kind: sdk.OpPenalize, Peer: l.handle(0, 1), Arg: 1 << 40, Payload: []byte("bad cipher")})
	status := func() PeerStatus { return l.k[0].Peers(l.now)[0] }
	if s := status(); !s.Barred || s.LastDemerit != "chat: bad cipher" || s.Demerits > 160 || s.Demerits < 159 {
		t.Errorf("barred %v with %.1f demerits for %q", s.Barred, s.Demerits, s.LastDemerit)
	}
	l.events[1] = nil
	l.do(1, 0, open(3))
	l.do(1, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(1, 0), ID: idChat, Payload: []byte("hello")})
	l.run(100 * time.Millisecond)
	l.wantReset(1, 0, 3, sdk.Overloaded)
	if n := len(l.take(0, 0, sdk.EvMessage)); n != 0 || l.drops(0, DropBarred) != 2 {
		t.Errorf("%d messages taken, %d drops", n, l.drops(0, DropBarred))
	}
	// What this node begins, and what is under way, goes on.
	l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 1), ID: idChat, Payload: []byte("hello")})
	l.run(100 * time.Millisecond)
	l.one(1, 0, sdk.EvMessage)
	l.run(2 * demeritHalf)
	if s := status(); s.Barred || s.Demerits > 41 || s.Demerits < 39 {
		t.Errorf("barred %v with %.1f demerits after two half-lives", s.Barred, s.Demerits)
	}
	l.do(1, 0, open(5))
	l.run(100 * time.Millisecond)
	l.one(0, 0, sdk.EvStreamOpen)
	l.run(8 * demeritHalf)
	if len(l.k[0].judged) != 0 {
		t.Error("demerits that have faded are kept")
	}
}

// TestForgedAlone is K1.3: packets that do not open, which anybody on the way can
// send, open no breaker.
func TestForgedAlone(t *testing.T) {
	l := newLab(t, 2)
	var pkt []byte
	l.wire = func(to int, b []byte) {
		if to == 0 && len(b) > 30 && envelope(b) == nil {
			pkt = append([]byte(nil), b...)
		}
	}
	l.run(2 * time.Second)
	l.wire = nil
	for range 1000 {
		b := append([]byte(nil), pkt...)
		b[len(b)-1] ^= 1
		l.step(0, Input{Kind: InDatagram, Datagram: b, From: addrOf(1)})
	}
	s := l.k[0].Peers(l.now)[0]
	if l.drops(0, DropBadTag) != 1000 || s.Barred || s.Demerits < 30 || s.Demerits > maxForged {
		t.Errorf("%d bad packets: barred %v, %.1f demerits", l.drops(0, DropBadTag), s.Barred, s.Demerits)
	}
}

// TestStatusOfLoss: the share of lost packets is seen at both ends, and why a
// neighbour is suspect.
func TestStatusOfLoss(t *testing.T) {
	l := newLab(t, 2)
	rng := rand.New(rand.NewPCG(1, 1))
	l.cut = func(from, to int) bool { return from == 1 && rng.IntN(4) == 0 }
	for range 2000 {
		l.do(1, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(1, 0), ID: idChat, Payload: []byte("hello")})
		l.do(0, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(0, 1), ID: idChat, Payload: []byte("hello")})
		l.run(3 * time.Millisecond)
	}
	in, out := l.k[0].Peers(l.now)[0], l.k[1].Peers(l.now)[0]
	if !in.LossInKnown || in.LossIn < 0.1 || in.LossIn > 0.5 || !out.LossOutKnown || out.LossOut < 0.1 || out.LossOut > 0.5 {
		t.Errorf("loss towards node 0: it says %.2f, node 1 says %.2f", in.LossIn, out.LossOut)
	}
	if out.LossIn > 0.02 || in.LossOut > 0.02 {
		t.Errorf("loss towards node 1: it says %.2f, node 0 says %.2f", out.LossIn, in.LossOut)
	}
	if out.Cost <= in.Cost {
		t.Errorf("a link that loses costs %d, the other way %d", out.Cost, in.Cost)
	}
	l.cut = func(from, to int) bool { return true }
	for s := l.k[0].Peers(l.now)[0]; s.State != liveness.Suspect; s = l.k[0].Peers(l.now)[0] {
		l.run(time.Millisecond)
	}
	if s := l.k[0].Peers(l.now)[0]; s.Why != "a burst of probes was unanswered" || s.SilentFor < 30*time.Millisecond {
		t.Errorf("suspect because %q for %v", s.Why, s.SilentFor)
	}
	if s := l.k[0].Swarm(l.now); s.Suspects != 1 || s.Neighbors != 1 || s.DeadAfter != 150*time.Millisecond || s.Profile != "default" {
		t.Errorf("%+v", s)
	}
}

func TestProfile(t *testing.T) {
	for name, want := range map[string]time.Duration{"default": 150 * time.Millisecond, "fast": 50 * time.Millisecond} {
		p, err := ParseProfile(name)
		if err != nil || p.Dead() != want || p.String() != name {
			t.Errorf("%s: %v, %v", name, p.Dead(), err)
		}
	}
	if _, err := ParseProfile("custom"); err == nil {
		t.Error("custom is no name")
	}
}
