package channels

import (
	"strings"
	"testing"
	"time"

	"nethost/sdk"
)

// TestPublishSubscribe: F1, F2, J1, R3, R4: a subscriber names no node; whoever is first.
func TestPublishSubscribe(t *testing.T) {
	b := newBus(t, 3)
	early := b.sub(0, "sensors/*", "")
	other := b.sub(1, "motors/**", "")
	p := b.pub(2, "sensors/temp", "")
	b.say(p, "one", "two")
	b.settle()
	late := b.sub(1, "sensors/temp", "")
	here := b.sub(2, "**", "")
	b.settle()
	q := b.pub(1, "sensors/hum", "")
	b.say(q, "wet")
	b.settle()
	b.say(p, "three")
	got(t, early, "one two wet three")
	got(t, late, "three")
	got(t, other, "")
	got(t, here, "wet three")
	events, _ := heard(t, early)
	if e := events[0]; e.Publisher != b.Nodes[2].ID.String() || e.Channel != "sensors/temp" || e.Seq != 1 || e.Hops != 1 || e.Epoch != 1 {
		t.Errorf("the event says %+v", e)
	}
	events, _ = heard(t, here)
	if e := events[1]; e.Hops != 0 || e.Seq != 3 || e.Publisher != b.Nodes[2].ID.String() {
		t.Errorf("the event of the own node says %+v", e)
	}
}

// TestOneShot: P4: a publisher that comes, speaks and goes is heard by who has
// waited.
func TestOneShot(t *testing.T) {
	b := newBus(t, 2)
	s := b.sub(0, "a/b", "")
	c := b.Call(1, "pub", []byte("{\"channel\":\"a/b\",\"format\":\"raw\"}\nhello\nworld"))
	b.settle()
	if !c.FIN || !strings.Contains(string(c.Got), `"events":1`) {
		t.Fatalf("the answer is %q %s", c.Got, c.ResetText)
	}
	got(t, s, "hello\nworld")
}

// TestOwnNode: a node that is alone hears itself.
func TestOwnNode(t *testing.T) {
	b := newBus(t, 1)
	s := b.sub(0, "x", `,"max":2`)
	b.Call(0, "pub", []byte("{\"channel\":\"x\"}\none\ntwo\nthree"))
	got(t, s, "one two")
	if !s.FIN {
		t.Error("the stream goes on behind its maximum")
	}
}

// TestSeveralPublishers: J1, R1: all publishers of one name are joined, in order each.
func TestSeveralPublishers(t *testing.T) {
	b := newBus(t, 4)
	s := b.sub(0, "news", "")
	p, q := b.pub(1, "news", ""), b.pub(2, "news", "")
	b.settle()
	b.say(p, "p1", "p2")
	b.say(q, "q1")
	b.say(p, "p3")
	got(t, s, "p1 p2 q1 p3")
}

// TestRejoin: J4: after a flap, and after a publisher's restart, events come again,
// and what was lost shows.
func TestRejoin(t *testing.T) {
	b := newBus(t, 2)
	s := b.sub(0, "a", "")
	p := b.pub(1, "a", "")
	b.settle()
	b.Advance(2 * warm)
	b.say(p, "1")
	b.BothCut(0, 1)
	b.say(p, "2", "3")
	b.BothLink(0, 1)
	b.settle()
	b.say(p, "4")
	got(t, s, "1 (2)4")
	for _, m := range []*bus{b} {
		m.Stop(1)
		m.Run()
		m.Start(1, New(), sdk.StartRestart)
		m.Link(0, 1)
		m.settle()
	}
	p = b.pub(1, "a", "")
	b.say(p, "5")
	b.settle()
	got(t, s, "1 (2)4 5")
	events, _ := heard(t, s)
	if e := events[2]; e.Epoch != 2 || e.Seq != 1 {
		t.Errorf("after a restart the event says epoch %d, sequence %d", e.Epoch, e.Seq)
	}
}

// TestRetain: P4: who joins late gets what is retained, and each event once.
func TestRetain(t *testing.T) {
	b := newBus(t, 2)
	b.policy(1, "r/**", `"retain":2`)
	b.policy(1, "t", `"retain_s":9`)
	first := b.sub(0, "r/x", "")
	p, q := b.pub(1, "r/x", ""), b.pub(1, "t", "")
	b.settle()
	b.say(q, "t1")
	b.Advance(2 * warm)
	b.say(p, "1", "2", "3")
	b.say(q, "t2")
	late, second, timed := b.sub(0, "r/*", ""), b.sub(0, "r/x", ""), b.sub(0, "t", "")
	b.settle()
	b.say(p, "4")
	got(t, late, "2 3 4")
	got(t, second, "2 3 4")
	got(t, first, "1 2 3 4")
	got(t, timed, "t2")
	b.BothCut(0, 1)
	b.BothLink(0, 1)
	b.settle()
	b.say(p, "5")
	got(t, first, "1 2 3 4 5")
}

// TestUnreliable: R2, W4: events are messages; what is lost is a gap, what is late is
// dropped.
func TestUnreliable(t *testing.T) {
	b := newBus(t, 3)
	b.policy(1, "u", `"reliable":false`)
	s, z := b.sub(0, "u", ""), b.sub(2, "u", "")
	p := b.pub(1, "u", "")
	b.settle()
	b.Advance(2 * warm)
	sent := b.Sent
	b.say(p, "1")
	if b.Sent != sent {
		t.Errorf("an unreliable event took %d bytes of streams", b.Sent-sent)
	}
	f := frame{kind: frEvent, num: 1, seq: 4, body: []byte{0, 'f'}}
	msg := append([]byte{1, 0, 0, 0}, f.append(nil)[4:]...)
	b.Nodes[0].Queue(sdk.Event{Kind: sdk.EvMessage, Peer: b.Nodes[0].Peer(1), ID: ID, Payload: msg})
	b.Run()
	f.seq = 3
	b.Nodes[0].Queue(sdk.Event{Kind: sdk.EvMessage, Peer: b.Nodes[0].Peer(1), ID: ID, Payload: append([]byte{1, 0, 0, 0}, f.append(nil)[4:]...)})
	b.Run()
	got(t, s, "1 (2)f")
	got(t, z, "1")
}

// TestNoSubscriber: P5: nothing is kept or sent when nobody is there.
func TestNoSubscriber(t *testing.T) {
	b := newBus(t, 2)
	p := b.pub(0, "quiet", "")
	b.settle()
	b.Advance(2 * warm)
	sent := b.Sent
	b.say(p, "1", "2")
	if b.Sent != sent {
		t.Errorf("%d bytes were sent for nobody", b.Sent-sent)
	}
	var l listing
	b.ask(0, "ls", "", &l)
	if c := l.Channels[0]; c.Seq != 2 || c.Retained != 0 || c.Subscribers != 0 {
		t.Errorf("%+v", c)
	}
	// Once nobody publishes, the channel is not announced for ever.
	p.Cancel()
	b.Run()
	b.Advance(2 * linger)
	b.ask(0, "ls", "", &l)
	if len(l.Channels) != 0 {
		t.Errorf("still there: %+v", l.Channels)
	}
	var found struct{ Total int }
	c := b.caps.Call(1, "find", []byte(`{"query":"chan:*"}`))
	if !strings.Contains(string(c.Got), `"total":0`) {
		t.Errorf("%v %s", found, c.Got)
	}
}

// TestRate: P3: a publisher that is too fast waits; nothing is lost.
func TestRate(t *testing.T) {
	b := newBus(t, 1)
	b.policy(0, "slow", `"rate":10`)
	s := b.sub(0, "slow", "")
	p := b.pub(0, "slow", "")
	b.say(p, strings.Fields("1 2 3 4 5 6 7 8 9 10 11")...)
	if got := texts(t, s); got != "1" {
		t.Errorf("at once came %q", got)
	}
	b.Advance(time.Second + 10*time.Millisecond)
	got(t, s, "1 2 3 4 5 6 7 8 9 10 11")
}

// TestGroups: P6: each event goes to every broadcaster and to one member of a group.
func TestGroups(t *testing.T) {
	for _, reliable := range []string{"true", "false"} {
		b := newBus(t, 3)
		b.policy(0, "jobs", `"reliable":`+reliable)
		g := `,"group":"workers"`
		all, w1, w2, w3, lone := b.sub(1, "jobs", ""), b.sub(1, "jobs", g), b.sub(2, "jobs", g), b.sub(0, "jobs", g), b.sub(2, "jobs", `,"group":"audit"`)
		p := b.pub(0, "jobs", "")
		b.settle()
		b.Advance(2 * warm)
		b.say(p, "1", "2", "3", "4", "5", "6")
		got(t, all, "1 2 3 4 5 6")
		got(t, lone, "1 2 3 4 5 6")
		n := map[string]int{}
		for _, w := range []string{texts(t, w1), texts(t, w2), texts(t, w3)} {
			if len(strings.Fields(w)) != 2 {
				t.Errorf("reliable %s: a member got %q", reliable, w)
			}
			for _, e := range strings.Fields(w) {
				n[e]++
			}
		}
		if len(n) != 6 {
			t.Errorf("reliable %s: the group got %v", reliable, n)
		}
	}
}

// TestParents: H3.2: the causal parent comes to who asks for it.
func TestParents(t *testing.T) {
	b := newBus(t, 2)
	ask, dont := b.sub(1, "c", `,"parents":true`), b.sub(1, "c", "")
	p := b.pub(0, "c", `,"format":"frames"`)
	b.settle()
	parent := eventIDOf(b.Nodes[1].ID)
	p.Write(appendPublish(&parent, "effect"), false)
	b.Run()
	e, _ := heard(t, ask)
	f, _ := heard(t, dont)
	if len(e) != 1 || len(f) != 1 || e[0].Parent == nil || e[0].Parent.Seq != 9 || e[0].Parent.Publisher != b.Nodes[1].ID.String() || f[0].Parent != nil {
		t.Errorf("got %+v and %+v", e, f)
	}
}

// TestOneCopy: J2, J5: an event goes to a node once, whatever number of its
// subscriptions it is for; one that comes later begins where its JOIN says.
func TestOneCopy(t *testing.T) {
	b := newBus(t, 2)
	first := b.sub(1, "a/b", "")
	p := b.pub(0, "a/b", "")
	b.settle()
	b.Advance(2 * warm)
	big := strings.Repeat("x", 10_000)
	before := b.Sent
	b.say(p, big)
	one := b.Sent - before
	second, third := b.sub(1, "a/*", ""), b.sub(1, "**", "")
	b.settle()
	before = b.Sent
	b.say(p, big)
	if three := b.Sent - before; three > one+100 || one < 10_000 {
		t.Errorf("%d bytes for one subscription, %d for three", one, three)
	}
	b.say(p, "end")
	got(t, first, big+" "+big+" end")
	got(t, second, big+" end")
	got(t, third, big+" end")
}
