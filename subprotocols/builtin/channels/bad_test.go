package channels

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/token"
)

// TestBadRequests: what is malformed is refused with a reason, counted, and leaves
// nothing behind.
func TestBadRequests(t *testing.T) {
	b := newBus(t, 1)
	long := strings.Repeat("a", 300)
	n := uint64(0)
	for _, c := range []struct {
		method, in string
		code       sdk.Code
		why        string
	}{
		{"pub", `{"channel":"a//b"}`, sdk.InvalidArgument, "empty part"}, {"pub", `{"channel":"a/*"}`, sdk.InvalidArgument, "patterns"},
		{"pub", `{"channel":""}`, sdk.InvalidArgument, "1 to 255"}, {"pub", `{"channel":"` + long + `"}`, sdk.InvalidArgument, "1 to 255"},
		{"pub", `{"chanel":"a"}`, sdk.InvalidArgument, "unknown field"}, {"pub", `hello`, sdk.InvalidArgument, "no JSON"}, {"pub", "", sdk.InvalidArgument, "no JSON"},
		{"pub", `{"channel":"a","format":"xml"}`, sdk.InvalidArgument, "want lines, raw or frames"},
		{"pub", `{"channel":"a","token":"nht1.AAAA"}`, sdk.InvalidArgument, "chain"},
		{"pub", "{\"channel\":\"a\",\"format\":\"frames\"}\n\xff\xff\xff\xff", sdk.InvalidArgument, "record of"},
		{"pub", "{\"channel\":\"a\",\"format\":\"frames\"}\n\x02\x00\x00\x00\x09x", sdk.InvalidArgument, "flags"},
		{"pub", "{\"channel\":\"a\",\"format\":\"frames\"}\n\x09\x00\x00\x00\x00x", sdk.InvalidArgument, "cut short"},
		{"pub", "{\"channel\":\"a\"}\n" + strings.Repeat("x", 300<<10), sdk.InvalidArgument, "bytes"},
		{"pub", strings.Repeat(" ", 20<<10), sdk.InvalidArgument, "first line"},
		{"sub", `{"pattern":"a/**/b"}`, sdk.InvalidArgument, "goes on behind"}, {"sub", `{"pattern":"a","group":"x/y"}`, sdk.InvalidArgument, "one part"},
		{"sub", `{"pattern":"a","ring":70000}`, sdk.InvalidArgument, "ring 70000"}, {"sub", `{"pattern":"a","wait_s":-1}`, sdk.InvalidArgument, "wait_s"},
		{"sub", `{"pattern":"a","format":"xml"}`, sdk.InvalidArgument, "want json or frames"}, {"sub", `{"pattern":"a","token":"x"}`, sdk.InvalidArgument, "token"},
		{"show", `{"channel":"nope"}`, sdk.NotFound, "not published here"}, {"roster", `{"channel":"//"}`, sdk.InvalidArgument, "part"},
		{"policy-set", `{"channel":"a","policy":{"ring":0}}`, sdk.InvalidArgument, "ring 0"}, {"policy-set", `{"channel":"a","policy":{"roots":["x"]}}`, sdk.InvalidArgument, "node id"},
		{"policy-set", `{"channel":"a","policy":{"slow":"no"}}`, sdk.InvalidArgument, "want drop"}, {"policy-set", `{"channel":"*a"}`, sdk.InvalidArgument, "part"},
		{"policy-set", `{"channel":"a","policy":{"what":1}}`, sdk.InvalidArgument, "unknown field"}, {"policy-rm", `{"channel":"a"}`, sdk.NotFound, "no policy"},
		{"dance", "", sdk.Unimplemented, "no method"}, {"ls", strings.Repeat(" ", 70<<10), sdk.InvalidArgument, "at most"},
	} {
		s := b.Call(0, c.method, []byte(c.in))
		if !s.WasReset || s.ResetCode != c.code || !strings.Contains(s.ResetText, c.why) {
			t.Errorf("%s %.60q: reset %v, %v %q, want %v with %q", c.method, c.in, s.WasReset, s.ResetCode, s.ResetText, c.code, c.why)
		}
		n++
	}
	if is := b.Nodes[0].Counters["refused"]; is != n {
		t.Errorf("%d of %d were counted", is, n)
	}
}

// TestManySubscriptions: L1: a node that subscribes 100 000 times gets its share, is
// told why not the rest, and slows nobody.
func TestManySubscriptions(t *testing.T) {
	b := newBus(t, 3)
	s := b.sub(2, "x", "")
	p := b.pub(0, "x", "")
	b.settle()
	d := b.Dial(1, 0, "join")
	const all = 100_000
	var in []byte
	for i := range all {
		f := frame{kind: frSub, ref: uint32(i), name: fmt.Sprintf("n%d/*", i)}
		in = f.append(in)
	}
	d.Write(in, false)
	b.Run()
	b.say(p, "1")
	got(t, s, "1")
	denied := 0
	for in := d.Got; ; {
		rec, rest, err := takeFrame(in)
		if err != nil {
			t.Fatal(err)
		}
		if in = rest; rec == nil {
			break
		}
		f, err := parseFrame(rec)
		if err != nil || f.kind != frDenied || f.code != sdk.Overloaded || f.text == "" {
			t.Fatalf("%+v %v", f, err)
		}
		denied++
	}
	if n := b.Nodes[0].Counters["refused"]; d.WasReset || denied != all-maxRsubs || n != uint64(denied) {
		t.Errorf("%d of %d were refused, %d counted; reset %v %s", denied, all, n, d.WasReset, d.ResetText)
	}
}

// TestStorm: L2: subscribing and leaving again and again is answered with OVERLOADED,
// and what is honest works again a while later.
func TestStorm(t *testing.T) {
	b := newBus(t, 2)
	b.pub(0, "x", "")
	d := b.Dial(1, 0, "join")
	var in []byte
	for range 20_000 {
		for _, f := range []frame{{kind: frSub, ref: 1, name: "x"}, {kind: frUnsub, ref: 1}} {
			in = f.append(in)
		}
	}
	d.Write(in, false)
	b.Run()
	if !bytes.Contains(d.Got, []byte("try again in a second")) || b.Nodes[0].Counters["refused"] < 5000 {
		t.Errorf("counted %v", b.Nodes[0].Counters)
	}
	b.Advance(2 * time.Second)
	d.Got = nil
	f := frame{kind: frSub, ref: 2, name: "x"}
	d.Write(f.append(nil), false)
	b.Run()
	var l struct{ Members []memberLine }
	if b.ask(0, "roster", `{"channel":"x"}`, &l); len(l.Members) != 1 {
		t.Errorf("roster %+v after %q", l.Members, d.Got)
	}
}

// TestApplicationsAreBounded: L3.
func TestApplicationsAreBounded(t *testing.T) {
	b := newBus(t, 1)
	for i := range maxWants {
		b.sub(0, fmt.Sprintf("p%d", i), "")
	}
	if s := b.sub(0, "other", ""); !s.WasReset || s.ResetCode != sdk.Overloaded || !strings.Contains(s.ResetText, "different patterns") {
		t.Errorf("%v %q", s.ResetCode, s.ResetText)
	}
	if s := b.sub(0, "p1", ""); s.WasReset {
		t.Errorf("a pattern that is there: %q", s.ResetText)
	}
}

// TestLyingPublisher: A3, J3: a publisher that names what was not asked for, or one
// number twice, or speaks a language of its own, is cut, and others are heard on.
func TestLyingPublisher(t *testing.T) {
	for what, say := range map[string][]frame{
		"another name":   {{kind: frChannel, num: 9, epoch: 1, reliable: true, name: "sensors/b"}},
		"a second name":  {{kind: frChannel, num: 9, epoch: 1, reliable: true, name: "sensors/a"}, {kind: frChannel, num: 9, epoch: 1, reliable: true, name: "sensors/b"}},
		"a subscription": {{kind: frSub, ref: 1, name: "x"}},
		"no body":        {{kind: frEvent, num: 9, seq: 1, body: []byte{0xff}}},
	} {
		m := newBus(t, 2)
		// Node 0 subscribes; node 1 is a liar that announces sensors/a and opens no
		// channel of its own.
		s := m.sub(0, "sensors/a", "")
		p := m.pub(1, "sensors/a", "")
		m.settle()
		m.say(p, "true")
		u := upStream(t, m, 0)
		for _, f := range say {
			m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvStreamData, Ref: u, Payload: f.append(nil)})
		}
		m.Run()
		if n := m.Nodes[0].Counters["malformed"]; n != 1 {
			t.Errorf("%s: %d were counted", what, n)
		}
		m.Advance(30 * time.Second)
		m.say(p, "more")
		got(t, s, "true more")
	}
}

// upStream gives the reference of the last stream that a node's module opened to a
// peer: the join.
func upStream(t *testing.T, b *bus, i int) sdk.Ref {
	t.Helper()
	ref := b.LastPeerStream(i)
	if ref == 0 {
		t.Fatal("no stream to a peer is open")
	}
	return ref
}

// TestBadPeers: frames that are none end the stream with a reason, messages that are
// none are counted.
func TestBadPeers(t *testing.T) {
	b := newBus(t, 2)
	good := frame{kind: frSub, ref: 1, name: "x"}
	chain := frame{kind: frSub, ref: 1, name: "x", chain: []byte("NHC1 not")}
	for what, in := range map[string][]byte{
		"unknown kind": {1, 0, 0, 0, 99}, "too long": {0xff, 0xff, 0xff, 0x7f}, "empty": {0, 0, 0, 0},
		"a publisher's": (&frame{kind: frGone, num: 1}).append(nil), "no pattern": (&frame{kind: frSub, ref: 1, name: "a//b"}).append(nil),
		"no group": (&frame{kind: frSub, ref: 1, name: "a", group: "x/y"}).append(nil),
	} {
		d := b.Dial(1, 0, "join")
		d.Write(in, false)
		b.Run()
		if !d.WasReset || d.ResetCode != sdk.InvalidArgument || d.ResetText == "" {
			t.Errorf("%s: %v %v %q", what, d.WasReset, d.ResetCode, d.ResetText)
		}
	}
	if n := b.Nodes[0].Counters["malformed"]; n != 6 {
		t.Errorf("%d were counted", n)
	}
	d := b.Dial(1, 0, "join")
	d.Write(append(good.append(nil), good.append(nil)...), false) // one reference twice
	b.Run()
	if d.WasReset || !strings.Contains(string(d.Got), "reference is taken") {
		t.Errorf("%v %q", d.WasReset, d.Got)
	}
	chain.ref = 5
	d.Write(chain.append(nil), false)
	b.Run()
	if d.WasReset || !strings.Contains(string(d.Got), token.ErrToken.Error()) {
		t.Errorf("a token that is none: %v %q", d.WasReset, d.Got)
	}
	if x := b.Dial(1, 0, "sub"); true {
		b.Run()
		if !x.WasReset || x.ResetCode != sdk.PermissionDenied {
			t.Errorf("a peer asks for sub: %v %q", x.ResetCode, x.ResetText)
		}
	}
	was := b.Nodes[0].Counters["malformed"]
	for _, msg := range [][]byte{nil, {1}, {1, 0, 0, 0, 99}, append([]byte{1, 0, 0, 0}, good.append(nil)[4:]...)} {
		b.Nodes[0].Queue(sdk.Event{Kind: sdk.EvMessage, Peer: b.Nodes[0].Peer(1), ID: ID, Payload: msg})
	}
	b.Run()
	if n := b.Nodes[0].Counters["malformed"] - was; n != 4 {
		t.Errorf("%d of 4 messages were counted", n)
	}
}
