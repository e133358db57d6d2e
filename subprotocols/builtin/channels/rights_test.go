package channels

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/token"
)

// root is who may say who may what.
func root() (ed25519.PrivateKey, sdk.NodeID) {
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), 99))
	return key, sdk.NodeID(key.Public().(ed25519.PublicKey))
}

func grant(t *testing.T, scope token.Scope, resource string, ends time.Duration, to ...sdk.NodeID) string {
	t.Helper()
	key, _ := root()
	l := token.Token{Scope: scope, Resource: resource, Generation: 1, Subjects: to}
	if ends > 0 {
		l.NotBefore, l.NotAfter = 1_700_000_000, 1_700_000_000+int64(ends/time.Second)
	}
	if err := l.Sign(key); err != nil {
		t.Fatal(err)
	}
	return token.Chain{l}.String()
}

func withToken(s string) string { return fmt.Sprintf(",\"token\":%q", s) }

// guard has nodes obey the root for a pattern.
func (b *bus) guard(pattern string, nodes ...int) {
	b.t.Helper()
	_, r := root()
	for _, i := range nodes {
		b.policy(i, pattern, fmt.Sprintf("\"access\":\"token\",\"roots\":[%q]", r))
	}
}

// TestTokens: A1, A2 and A3: who has no token gets nothing and hears why, and a token says
// nothing of a name beside its own.
func TestTokens(t *testing.T) {
	b := newBus(t, 3)
	b.guard("sensors/**", 0, 1, 2)
	pubTok := withToken(grant(t, token.Publish, "sensors/*", 0, b.Nodes[0].ID))
	subTok := withToken(grant(t, token.Subscribe, "sensors/a", 0, b.Nodes[1].ID))
	p, q := b.pub(0, "sensors/a", pubTok), b.pub(0, "sensors/ab", pubTok)
	good := b.sub(1, "sensors/*", subTok)
	none := b.sub(2, "sensors/a", "")
	stolen := b.sub(2, "sensors/a", subTok)
	beside := b.sub(1, "sensors/ab", subTok)
	b.settle()
	b.say(p, "1")
	b.say(q, "secret")
	got(t, good, "1")
	got(t, none, "")
	got(t, stolen, "")
	got(t, beside, "")
	for _, c := range []struct {
		what string
		n    *string
		want string
	}{{"none", text(told(t, none, "refused")), "needs a token"}, {"stolen", text(told(t, stolen, "refused")), "presenter"},
		{"beside", text(told(t, beside, "refused")), "not within its own"}} {
		if c.n == nil || !strings.Contains(*c.n, c.want) {
			t.Errorf("%s: told %v, want something with %q", c.what, c.n, c.want)
		}
	}
	if b.Nodes[0].Counters["refused"] < 3 {
		t.Errorf("counted: %v", b.Nodes[0].Counters)
	}
	// A publisher without a right is refused at its own node.
	if c := b.pub(1, "sensors/a", ""); !c.WasReset || c.ResetCode != sdk.PermissionDenied || !strings.Contains(c.ResetText, "token") {
		t.Errorf("a publisher without a token: %v %q", c.ResetCode, c.ResetText)
	}
}

// TestReceiverVerifies: A3: a publisher whose own node lets it publish is refused by
// receivers that know better, and heard again when it has a token.
func TestReceiverVerifies(t *testing.T) {
	b := newBus(t, 2)
	b.guard("x", 1)
	s := b.sub(1, "x", withToken(grant(t, token.Subscribe, "x", 0, b.Nodes[1].ID)))
	p := b.pub(0, "x", "")
	b.settle()
	b.say(p, "forged")
	got(t, s, "")
	if n := told(t, s, "refused"); n == nil || !strings.Contains(n.Text, "publisher may not") {
		t.Errorf("told %+v", n)
	}
	if b.Nodes[0].Counters["publisher_refused"] != 1 || b.Nodes[1].Counters["publisher_refused"] != 1 {
		t.Errorf("counted %v and %v", b.Nodes[0].Counters, b.Nodes[1].Counters)
	}
	b.Advance(2 * warm)
	q := b.pub(0, "x", withToken(grant(t, token.Publish, "x", 0, b.Nodes[0].ID)))
	b.settle()
	b.say(q, "right")
	if !strings.HasSuffix(texts(t, s), "right") || strings.Contains(texts(t, s), "forged") {
		t.Errorf("with a token: %q", texts(t, s))
	}
}

// TestFloorOvertakes: A5: a floor voids tokens at once, before what waits is sent, and
// the refused one hears why.
func TestFloorOvertakes(t *testing.T) {
	b := newBus(t, 2)
	b.guard("x", 0)
	key, r := root()
	b.policy(0, "x", fmt.Sprintf("\"roots\":[%q,%q]", r, b.Nodes[0].ID))
	tok := withToken(grant(t, token.Subscribe, "x", 0, b.Nodes[1].ID))
	s := b.sub(1, "x", tok)
	p := b.pub(0, "x", "")
	b.settle()
	b.say(p, "1")
	f := token.Floor{Generation: 2, Seq: 1}
	f.Sign(key)
	// The floor and an event come in one batch, the event first.
	p.Write([]byte("2\n"), false)
	c := b.ids.Open(0, "publish", nil)
	c.Write(f.Append(nil), true)
	b.Run()
	b.say(p, "3")
	if is := texts(t, s); is != "1" && is != "1 2" {
		t.Errorf("after the floor: %q", is)
	}
	if n := told(t, s, "refused"); n == nil || !strings.Contains(n.Text, "revoked") {
		t.Errorf("told %+v", n)
	}
	again := b.sub(1, "x", tok)
	b.settle()
	b.say(p, "4")
	got(t, again, "")
}

// TestQueuedIsOvertaken: A5: what waits in a ring when the floor comes is not sent.
func TestQueuedIsOvertaken(t *testing.T) {
	b := newBus(t, 2)
	key, r := root()
	b.policy(0, "x", fmt.Sprintf("\"access\":\"token\",\"roots\":[%q,%q]", r, b.Nodes[0].ID))
	p := b.pub(0, "x", `,"format":"raw"`)
	p.Cancel()
	p = b.pub(0, "x", "")
	// A subscriber by hand, which gives no credit.
	d := b.DialSlow(1, 0, "join", 256<<10)
	chain, err := token.ParseText(grant(t, token.Subscribe, "x", 0, b.Nodes[1].ID))
	if err != nil {
		t.Fatal(err)
	}
	f := frame{kind: frSub, ref: 1, name: "x", chain: chain.Append(nil)}
	d.Write(f.append(nil), false)
	b.Run()
	big := strings.Repeat("z", 100<<10)
	b.say(p, big, big, big, big) // 256 KiB go, the rest waits
	var l struct{ Members []memberLine }
	b.ask(0, "roster", `{"channel":"x"}`, &l)
	if len(l.Members) != 1 || l.Members[0].Waiting == 0 || !l.Members[0].Token {
		t.Fatalf("roster %+v", l.Members)
	}
	floor := token.Floor{Generation: 2, Seq: 1}
	floor.Sign(key)
	b.ids.Call(0, "publish", floor.Append(nil))
	b.ask(0, "roster", `{"channel":"x"}`, &l)
	if len(l.Members) != 0 {
		t.Errorf("still in the roster: %+v", l.Members)
	}
}

// TestHeld: A6: a node that has come back and does not know what it missed gives
// nothing that needs a token, until it knows.
func TestHeld(t *testing.T) {
	b := newBus(t, 2)
	_, r := root()
	b.policy(0, "x", fmt.Sprintf("\"access\":\"token\",\"roots\":[%q,%q]", r, b.Nodes[0].ID))
	s := b.sub(1, "x", withToken(grant(t, token.Subscribe, "x", 0, b.Nodes[1].ID)))
	p := b.pub(0, "x", "")
	b.settle()
	b.ids.Nodes[0].Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: 99, ID: 0x0C10, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: sdk.NodeID{8}})})
	b.Run()
	b.say(p, "1")
	got(t, s, "")
	b.Advance(8 * time.Second)
	got(t, s, "1")
}

// TestExpiry: A4: a token that ends is looked at again at every event.
func TestExpiry(t *testing.T) {
	b := newBus(t, 2)
	_, r := root()
	b.policy(0, "x", fmt.Sprintf("\"access\":\"token\",\"roots\":[%q,%q]", r, b.Nodes[0].ID))
	s := b.sub(1, "x", withToken(grant(t, token.Subscribe, "x", time.Minute, b.Nodes[1].ID)))
	p := b.pub(0, "x", "")
	b.settle()
	b.say(p, "1")
	b.Advance(time.Minute + token.Skew)
	b.say(p, "2")
	got(t, s, "1")
	if n := told(t, s, "refused"); n == nil || !strings.Contains(n.Text, "expired") {
		t.Errorf("told %+v", n)
	}
}

// TestPolicyHoldsAtOnce: P1, P7: a policy that changes is obeyed by what is under way.
func TestPolicyHoldsAtOnce(t *testing.T) {
	b := newBus(t, 2)
	s := b.sub(1, "x", "")
	p := b.pub(0, "x", "")
	b.settle()
	b.say(p, "1")
	b.policy(0, "*", `"access":"token"`) // no roots: nobody, not even the node itself
	b.settle()
	if c := b.pub(0, "x", ""); !c.WasReset || c.ResetCode != sdk.PermissionDenied {
		t.Errorf("its own publisher: %v", c.ResetText)
	}
	if n := told(t, s, "refused"); n == nil {
		t.Error("the subscriber was not told")
	}
	b.ask(0, "policy-rm", `{"channel":"*"}`, nil)
	b.settle()
	b.say(b.pub(0, "x", ""), "2")
	got(t, s, "1 2")
	b.policy(0, "x", `"visibility":"local"`)
	b.settle()
	own := b.sub(0, "x", "")
	b.say(b.pub(0, "x", ""), "3")
	b.settle()
	got(t, s, "1 2")
	got(t, own, "3")
}

func text(n *channel.Notice) *string {
	if n == nil {
		return nil
	}
	return &n.Text
}
