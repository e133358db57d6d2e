package kernel

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nethost/host/identity"
	"nethost/host/session"
	"nethost/host/wire"
	"nethost/sdk"
)

var update = flag.Bool("update", false, "rewrite testdata/transitions.txt")

const transitions = "testdata/transitions.txt"

var phaseNames = [...]string{"none", "starting", "asked", "checking", "confirming", "answering", "answered", "proving", "session"}

// duo is a dialler (node 1) and a responder (node 0) whose datagrams and jobs wait
// until the test lets them go on, one at a time. Everything is determined, so what
// one duo says is genuine in another at the same point.
type duo struct {
	t    testing.TB
	l    *lab
	jobs [2][]*Job
	sent [2][][]byte // by sender
}

func newDuo(t testing.TB) *duo { return &duo{t: t, l: newLoose(t, 2)} }

func (d *duo) step(i int, in Input) {
	d.l.k[i].Step(d.l.now, &in, &d.l.out[i])
	d.jobs[i] = append(d.jobs[i], d.l.out[i].Jobs...)
	for _, tr := range d.l.out[i].Datagrams {
		for more := true; more; {
			var b []byte
			b, more = tr.Cut()
			d.sent[i] = append(d.sent[i], bytes.Clone(b))
		}
	}
}

// run runs the oldest job of a node.
func (d *duo) run(i int) {
	d.t.Helper()
	if len(d.jobs[i]) == 0 {
		d.t.Fatalf("node %d has no job", i)
	}
	j := d.jobs[i][0]
	d.jobs[i] = d.jobs[i][1:]
	j.Run()
	d.step(i, Input{Kind: InJob, Job: j})
}

// deliver gives a datagram to a node.
func (d *duo) deliver(i int, b []byte) {
	d.step(i, Input{Kind: InDatagram, Datagram: bytes.Clone(b), From: addrOf(1 - i)})
}

// upTo brings a duo to the point where n steps of a handshake are done, and gives
// the last datagram of each node so far.
func (d *duo) upTo(n int) *duo {
	steps := []func(){
		func() { d.step(1, Input{Kind: InDial, From: addrOf(0)}) },
		func() { d.run(1) },                                     // m1 is out
		func() { d.deliver(0, d.sent[1][0]) },                   //
		func() { d.run(0) },                                     // m2 is out
		func() { d.deliver(1, d.sent[0][0]) },                   //
		func() { d.run(1) },                                     // m3 is out
		func() { d.deliver(0, d.sent[1][1]) },                   //
		func() { d.run(0) },                                     // the responder has a session, and says so
		func() { d.deliver(1, d.sent[0][1]) },                   // the dialler has one
		func() { d.t.Fatal("a handshake has no further step") }, //
	}
	for _, f := range steps[:n] {
		f()
	}
	return d
}

// points says at which step, and at which node, an index is in a phase. A phase
// without a point fails the test.
var points = [numPhases]struct{ steps, node int }{
	phaseNone: {0, 0}, phaseStarting: {1, 1}, phaseAsked: {2, 1}, phaseChecking: {5, 1}, phaseConfirming: {6, 1},
	phaseAnswering: {3, 0}, phaseAnswered: {4, 0}, phaseProving: {7, 0}, phaseSession: {8, 0},
}

// cast is what a transition is about: a node, one of its indices, and the messages
// of a whole handshake that it might get.
type cast struct {
	*duo
	node             int
	index            uint32
	m1, m2, m3, pkt  []byte // datagrams; m2 and m3 are addressed to index
	stranger         []byte // a fresh m1 of somebody else
	dial             *dial
	responder, forge *session.Admission
}

// newCast brings a node into a phase.
func newCast(t testing.TB, ph phase) *cast {
	t.Helper()
	twin := newDuo(t).upTo(9)
	c := &cast{duo: newDuo(t).upTo(points[ph].steps), node: points[ph].node}
	m1, m2, m3 := twin.sent[1][0], twin.sent[0][0], twin.sent[1][1]
	e1, _ := wire.ParseEnvelope(envelope(m1))
	e2, _ := wire.ParseEnvelope(envelope(m2))
	c.index = []uint32{e2.Sender, e1.Sender}[c.node]
	c.m1, c.m2, c.m3 = m1, c.to(m2), c.to(m3)
	c.pkt = [][]byte{twin.sent[1][2], twin.sent[0][1]}[c.node]
	if e := c.entry(); e != nil {
		c.dial = e.dial
	}
	if got := c.entry().phase(); got != ph {
		t.Fatalf("%s: the node is in phase %s", phaseNames[ph], phaseNames[got])
	}
	key := identity.NewKey([32]byte{88})
	other, err := session.NewLocal(session.LocalConfig{Key: key, Static: identity.NewStatic(key, [32]byte{89}, 1),
		PSK: c.l.k[0].cfg.NetworkKey[:]})
	if err != nil {
		t.Fatal(err)
	}
	_, s, err := other.Initiate(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), 9, sdk.NodeID{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.stranger = append([]byte{wire.Version << 6, 0}, s...)
	return c
}

func (c *cast) entry() *entry { return c.l.k[c.node].index.get(c.index) }

// to addresses a datagram with an envelope to the node and its index: as it is when
// it was meant for it, else as an insider can.
func (c *cast) to(dgram []byte) []byte {
	b := bytes.Clone(dgram)
	e, _ := wire.ParseEnvelope(b[wire.LocalSize:])
	if e.Receiver == c.index && e.Dest == c.l.k[c.node].rid {
		return b
	}
	e.Receiver, e.Dest = c.index, 0
	return append(b[:wire.LocalSize], remac(wire.AppendEnvelope(nil, e), c.l.k[c.node].cfg.NetworkKey)...)
}

// insider changes the last byte of the noise of an envelope and makes mac1 good.
func (c *cast) insider(dgram []byte) []byte {
	b := bytes.Clone(dgram)
	e, _ := wire.ParseEnvelope(b[wire.LocalSize:])
	e.Noise[len(e.Noise)-1] ^= 1
	e.Dest = 0
	return append(b[:wire.LocalSize], remac(wire.AppendEnvelope(nil, e), c.l.k[c.node].cfg.NetworkKey)...)
}

// cookie answers the m1 that the index may have sent.
func (c *cast) cookie(flip byte) []byte {
	e, _ := wire.ParseEnvelope(c.m1[wire.LocalSize:])
	e.Sender, e.Mac1[0] = c.index, e.Mac1[0]^flip
	a := session.NewAdmission(c.l.k[0].local, func([]byte) {})
	src := session.AddrSource(addrOf(1))
	a.Judge(envelope(c.m1), &e, src, 1<<20, c.l.now)
	return a.AppendCookie([]byte{wire.Version << 6, 0}, c.l.k[0].local, &e, src)
}

// versions says that versions 2 to 3 are spoken.
func (c *cast) versions() []byte {
	e := wire.Envelope{Kind: wire.KindVersion, Version: wire.Version, Receiver: c.index, Noise: []byte{2, 3}}
	return append([]byte{wire.Version << 6, 0}, remac(wire.AppendEnvelope(nil, e), c.l.k[0].cfg.NetworkKey)...)
}

// tick is the time of the handshake's timer.
func (c *cast) tick() {
	t := (*timer)(nil)
	switch e := c.entry(); {
	case e != nil && e.dial != nil:
		t = &e.dial.timer
	case e != nil && e.answer != nil:
		t = &e.answer.timer
	}
	if t != nil && t.pos > 0 {
		c.l.now = t.at
		c.step(c.node, Input{Kind: InTick})
	}
}

// messages is everything that can happen to an index. Kinds of envelope that the
// wire knows and that are not here fail the test.
var messages = []struct {
	name string
	kind byte
	f    func(c *cast)
}{
	{"m1", wire.KindM1, func(c *cast) { c.deliver(c.node, c.stranger) }},
	{"m1 again", wire.KindM1, func(c *cast) {
		c.step(c.node, Input{Kind: InDatagram, Datagram: bytes.Clone(c.stranger), From: addrOf(5)})
		c.forget()
		c.deliver(c.node, c.stranger)
	}},
	{"m1 cut", wire.KindM1, func(c *cast) { c.deliver(c.node, c.stranger[:len(c.stranger)-1]) }},
	{"m2", wire.KindM2, func(c *cast) { c.deliver(c.node, c.m2) }},
	{"m2 bad", wire.KindM2, func(c *cast) { c.deliver(c.node, c.insider(c.m2)) }},
	{"m3", wire.KindM3, func(c *cast) { c.deliver(c.node, c.m3) }},
	{"m3 bad", wire.KindM3, func(c *cast) { c.deliver(c.node, c.insider(c.m3)) }},
	{"cookie", wire.KindCookie, func(c *cast) { c.deliver(c.node, c.cookie(0)) }},
	{"cookie bad", wire.KindCookie, func(c *cast) { c.deliver(c.node, c.cookie(1)) }},
	{"version", wire.KindVersion, func(c *cast) { c.deliver(c.node, c.versions()) }},
	{"packet", 0, func(c *cast) { c.deliver(c.node, c.pkt) }},
	{"packet bad", 0, func(c *cast) {
		b := bytes.Clone(c.pkt)
		b[len(b)-1] ^= 1
		c.deliver(c.node, b)
	}},
	{"done", 0, func(c *cast) { // the job that the phase waits for
		if len(c.jobs[c.node]) > 0 {
			c.run(c.node)
		}
	}},
	{"done bad", 0, func(c *cast) { // ... of a message that an insider made
		switch e := c.entry(); e.phase() {
		case phaseChecking:
			c.reach(phaseAsked, c.insider(c.m2))
		case phaseProving:
			c.reach(phaseAnswered, c.insider(c.m3))
		case phaseAnswering:
			c.reach(phaseNone, c.insider(c.m1))
		default:
			return
		}
		c.forget()
		c.run(c.node)
	}},
	{"time", 0, func(c *cast) { c.tick() }},
	{"last time", 0, func(c *cast) {
		if c.dial != nil {
			c.dial.tries = handshakeTries + 1
		}
		c.tick()
	}},
}

// reach starts over, up to a phase, and delivers a datagram.
func (c *cast) reach(ph phase, dgram []byte) {
	c.duo = newDuo(c.t).upTo(points[ph].steps)
	c.node = points[ph].node
	c.deliver(c.node, dgram)
}

// forget makes what happened so far no part of the transition.
func (c *cast) forget() {
	c.sent = [2][][]byte{}
	c.l.k[c.node].counters = Counters{}
	c.l.out[c.node].Trace = nil
}

// play lets something happen and says what the node did.
func (c *cast) play(f func(c *cast)) string {
	c.forget()
	jobs := len(c.jobs[c.node])
	f(c)
	var did []string
	for d, n := range c.l.k[c.node].counters.Drops {
		for range n {
			did = append(did, "drop "+Drop(d).String())
		}
	}
	if len(c.jobs[c.node]) > jobs {
		did = append(did, "job")
	}
	packet := false
	for _, b := range c.sent[c.node] {
		if e := envelope(b); e != nil {
			did = append(did, "send "+[]string{"", "m1", "m2", "m3", "cookie", "version"}[e[4]])
		} else if !packet {
			packet = true
			did = append(did, "send packets")
		}
	}
	for _, tr := range c.l.out[c.node].Trace {
		if tr.Kind == TraceHandshake {
			did = append(did, "give up: "+strings.TrimPrefix(tr.Text, "session: "))
		}
	}
	if len(did) == 0 {
		return "nothing"
	}
	return strings.Join(did, ", ")
}

// TestTransitions: every phase and everything that can happen in it has a row in
// testdata/transitions.txt that says what becomes of the index and what the node
// does. A new phase, a new kind of envelope, or a change of behaviour fails.
func TestTransitions(t *testing.T) {
	if len(phaseNames) != int(numPhases) {
		t.Fatalf("%d phases, %d names", numPhases, len(phaseNames))
	}
	known := map[byte]bool{}
	for _, m := range messages {
		known[m.kind] = true
	}
	for kind := range 256 {
		_, ok := wire.ParseEnvelope(append([]byte{0, 0, 0, 0, byte(kind)}, make([]byte, wire.EnvelopeMin)...))
		if ok && !known[byte(kind)] {
			t.Errorf("envelopes of kind %d have no column", kind)
		}
	}
	var b strings.Builder
	for ph := range numPhases {
		for _, m := range messages {
			c := newCast(t, ph)
			did := c.play(m.f)
			fmt.Fprintf(&b, "%-10s | %-10s | %-10s | %s\n", phaseNames[ph], m.name, phaseNames[c.entry().phase()], did)
		}
	}
	head := "# phase, what happens, phase after, what the node does\n"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(transitions, []byte(head+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(transitions)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "\n"), strings.Split(head+b.String(), "\n")
	if len(wants) != len(gots) {
		t.Errorf("%d rows, want %d", len(gots), len(wants))
	}
	for i := range min(len(wants), len(gots)) {
		if wants[i] != gots[i] {
			t.Errorf("row %d\n got %s\nwant %s", i, gots[i], wants[i])
		}
	}
}

// The whole of a handshake, step by step, is one path through the table.
func TestHandshakePath(t *testing.T) {
	d := newDuo(t).upTo(9)
	d.l.run(time.Second)
	for i := range 2 {
		live := 0
		for j := range d.l.k[i].index.e {
			if d.l.k[i].index.e[j].phase() == phaseSession {
				live++
			}
		}
		if live != 1 {
			t.Errorf("node %d has %d sessions", i, live)
		}
	}
}
