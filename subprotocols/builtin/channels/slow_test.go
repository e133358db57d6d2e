package channels

import (
	"fmt"
	"strings"
	"testing"

	"nethost/sdk"
	"nethost/sdk/channel"
)

func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// TestSlowApplication: S1, S3: an application that does not read loses the oldest
// events of its own ring, learns how many, and slows nobody.
func TestSlowApplication(t *testing.T) {
	b := newBus(t, 2)
	for i := range 2 { // beside the publisher, and on another node
		ch := fmt.Sprintf("x%d", i)
		slow := b.OpenSlow(i, "sub", 400)
		slow.Write([]byte(fmt.Sprintf("{\"pattern\":%q,\"ring\":8}\n", ch)), false)
		b.Run()
		quick := b.sub(i, ch, "")
		p := b.pub(0, ch, "")
		b.settle()
		for n := 1; n <= 100; n++ {
			b.say(p, fmt.Sprint(n))
		}
		got(t, quick, strings.Join(numbers(1, 100), " "))
		slow.Grant(1 << 20)
		b.Run()
		// The lines that were being written when the credit ended are there, then the gap.
		events, _ := heard(t, slow)
		var missed, n uint64
		for _, e := range events {
			missed += e.Missed
			n++
		}
		if last := events[len(events)-1]; missed == 0 || n+missed != 100 || *last.Text != "100" {
			t.Errorf("node %d: %d events came, %d are said to be missed, the last is %q", i, n, missed, *last.Text)
		}
	}
}

// TestSlowNode: S1, S3: the same for a node that takes no bytes.
func TestSlowNode(t *testing.T) {
	b := newBus(t, 3)
	b.policy(0, "x", `"ring":8`)
	quick := b.sub(2, "x", "")
	d := b.DialSlow(1, 0, "join", 300)
	f := frame{kind: frSub, ref: 7, name: "x"}
	d.Write(f.append(nil), false)
	b.Run()
	p := b.pub(0, "x", "")
	b.settle()
	for n := 1; n <= 100; n++ {
		b.say(p, fmt.Sprint(n))
	}
	got(t, quick, strings.Join(numbers(1, 100), " "))
	d.Grant(1 << 20)
	b.Run()
	seqs := 0
	var last uint64
	for in := d.Got; ; {
		rec, rest, err := takeFrame(in)
		if err != nil {
			t.Fatal(err)
		}
		if in = rest; rec == nil {
			break
		}
		g, err := parseFrame(rec)
		if err != nil {
			t.Fatal(err)
		}
		if g.kind == frEvent || g.kind == frOne {
			if g.seq <= last {
				t.Errorf("sequence %d after %d", g.seq, last)
			}
			seqs, last = seqs+1, g.seq
		}
	}
	if last != 100 || seqs >= 100 || seqs < 8 {
		t.Errorf("%d events came, the last is %d", seqs, last)
	}
	var l struct{ Members []memberLine }
	b.ask(0, "roster", `{"channel":"x"}`, &l)
	for _, m := range l.Members {
		if want := m.Node == b.Nodes[1].ID.String(); (m.Dropped > 0) != want {
			t.Errorf("roster: %+v", m)
		}
	}
}

// TestSlowDisconnect: S2: by policy a slow subscriber is let go, and told so.
func TestSlowDisconnect(t *testing.T) {
	b := newBus(t, 2)
	b.policy(0, "x", `"ring":8,"slow":"disconnect"`)
	app := b.OpenSlow(0, "sub", 100)
	app.Write([]byte(`{"pattern":"x","ring":8}`+"\n"), false)
	d := b.DialSlow(1, 0, "join", 300)
	f := frame{kind: frSub, ref: 7, name: "x"}
	d.Write(f.append(nil), false)
	p := b.pub(0, "x", "")
	for n := 1; n <= 60; n++ {
		b.say(p, fmt.Sprint(n))
	}
	if !app.WasReset || app.ResetCode != sdk.Overloaded || app.ResetText == "" {
		t.Errorf("the application: %v %v %q", app.WasReset, app.ResetCode, app.ResetText)
	}
	d.Grant(1 << 20)
	b.Run()
	if !strings.Contains(string(d.Got), "more than its policy lets") {
		t.Errorf("the node was told %q", d.Got)
	}
	if n := b.Nodes[0].Counters["slow_disconnected"]; n != 2 {
		t.Errorf("%d were counted", n)
	}
}

// TestSlowWait: S4: by policy publishers wait, and nothing is lost.
func TestSlowWait(t *testing.T) {
	b := newBus(t, 1)
	b.policy(0, "x", `"slow":"wait","ring":8`)
	p := b.pub(0, "x", "")
	app := b.OpenSlow(0, "sub", 500)
	app.Write([]byte(`{"pattern":"x","ring":8}`+"\n"), false)
	b.say(p, numbers(1, 200)...)
	app.Grant(1 << 20)
	b.Run()
	got(t, app, strings.Join(numbers(1, 200), " "))
}

// TestBurst: S1: who takes what comes loses nothing of a burst that is larger than
// its ring.
func TestBurst(t *testing.T) {
	b := newBus(t, 2)
	b.policy(0, "x", `"ring":16`)
	near, far := b.sub(0, "x", `,"ring":16,"format":"frames"`), b.sub(1, "x", `,"format":"frames"`)
	p := b.pub(0, "x", "")
	b.settle()
	b.say(p, numbers(1, 5000)...)
	for i, c := range [][]byte{near.Got, far.Got} {
		n, missed := 0, uint64(0)
		for in := c; ; {
			rec, rest, err := channel.TakeRecord(in)
			if err != nil {
				t.Fatal(err)
			}
			if in = rest; rec == nil {
				break
			}
			if e, _, err := channel.ParseRecord(rec); err != nil {
				t.Fatal(err)
			} else if e != nil {
				n, missed = n+1, missed+e.Missed
			}
		}
		if n != 5000 || missed != 0 {
			t.Errorf("subscriber %d got %d, missed %d", i, n, missed)
		}
	}
}

// TestPriority: P3: what waits for one node goes by priority.
func TestPriority(t *testing.T) {
	b := newBus(t, 2)
	b.policy(0, "urgent", `"priority":7`)
	d := b.DialSlow(1, 0, "join", 0)
	f := frame{kind: frSub, ref: 7, name: "*"}
	d.Write(f.append(nil), false)
	b.Run()
	bulk, urgent := b.pub(0, "bulk", ""), b.pub(0, "urgent", "")
	b.say(bulk, "late", "later")
	b.say(urgent, "first")
	d.Grant(1 << 20)
	b.Run()
	if i, j := strings.Index(string(d.Got), "first"), strings.Index(string(d.Got), "late"); i < 0 || j < i {
		t.Errorf("the order is %q", d.Got)
	}
}
