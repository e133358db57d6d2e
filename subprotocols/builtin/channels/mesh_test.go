package channels

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/capability"
	"nethost/subprotocols/builtin/identity"
)

// bus is nodes that run channels, capability and identity.
type bus struct {
	*sdktest.Mesh
	caps, ids *sdktest.Mesh
	t         *testing.T
}

// newBus makes n nodes, each of which has a session with each other.
func newBus(t *testing.T, n int, config ...sdk.Pair) *bus {
	b := &bus{Mesh: sdktest.NewMesh(t, n, New, config...), caps: sdktest.NewMesh(t, n, capability.New), ids: sdktest.NewMesh(t, n, identity.New), t: t}
	b.Beside(b.caps)
	b.Beside(b.ids)
	for i := range n {
		for j := range i {
			b.BothLink(i, j)
		}
	}
	b.settle()
	return b
}

// settle lets what is gossiped and retried happen.
func (b *bus) settle() {
	b.t.Helper()
	b.Run()
	b.Advance(2 * time.Second)
}

// sub subscribes; header is JSON without braces.
func (b *bus) sub(i int, pattern, more string) *sdktest.MeshCall {
	b.t.Helper()
	c := b.Open(i, "sub", nil)
	c.Write([]byte(fmt.Sprintf("{\"pattern\":%q%s}\n", pattern, more)), false)
	b.Run()
	return c
}

// pub opens a publisher, which goes on.
func (b *bus) pub(i int, ch, more string) *sdktest.MeshCall {
	b.t.Helper()
	c := b.Open(i, "pub", nil)
	c.Write([]byte(fmt.Sprintf("{\"channel\":%q%s}\n", ch, more)), false)
	b.Run()
	return c
}

func (b *bus) say(c *sdktest.MeshCall, events ...string) {
	b.t.Helper()
	c.Write([]byte(strings.Join(events, "\n")+"\n"), false)
	b.Run()
}

// ask calls a method and wants an answer.
func (b *bus) ask(i int, method, request string, into any) {
	b.t.Helper()
	c := b.Call(i, method, []byte(request))
	if !c.FIN {
		b.t.Fatalf("%s %s: reset %v %s", method, request, c.ResetCode, c.ResetText)
	}
	if into != nil {
		if err := json.Unmarshal(c.Got, into); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bus) policy(i int, pattern, policy string) {
	b.t.Helper()
	b.ask(i, "policy-set", fmt.Sprintf("{\"channel\":%q,\"policy\":{%s}}", pattern, policy), nil)
}

// heard gives what a subscriber got.
func heard(t *testing.T, c *sdktest.MeshCall) (events []channel.Line, notices []channel.Notice) {
	t.Helper()
	for l := range strings.Lines(string(c.Got)) {
		if strings.HasPrefix(l, `{"notice"`) {
			var n channel.Notice
			if err := json.Unmarshal([]byte(l), &n); err != nil {
				t.Fatal(err)
			}
			notices = append(notices, n)
			continue
		}
		var e channel.Line
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%v in %q", err, l)
		}
		events = append(events, e)
	}
	return events, notices
}

// texts gives the data of what a subscriber got, with what it missed before.
func texts(t *testing.T, c *sdktest.MeshCall) string {
	t.Helper()
	events, _ := heard(t, c)
	var out []string
	for _, e := range events {
		s := "?"
		if e.Text != nil {
			s = *e.Text
		}
		if e.Missed > 0 {
			s = fmt.Sprintf("(%d)%s", e.Missed, s)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// told finds a notice.
func told(t *testing.T, c *sdktest.MeshCall, kind string) *channel.Notice {
	t.Helper()
	_, notices := heard(t, c)
	for i := range notices {
		if notices[i].Notice == kind {
			return &notices[i]
		}
	}
	return nil
}

func got(t *testing.T, c *sdktest.MeshCall, s string) {
	t.Helper()
	if is := texts(t, c); is != s {
		t.Errorf("got %q, want %q (reset %v %s)", is, s, c.ResetCode, c.ResetText)
	}
}

func eventIDOf(n sdk.NodeID) channel.EventID {
	return channel.EventID{Channel: "cause", Publisher: n, Epoch: 1, Seq: 9}
}

func appendPublish(parent *channel.EventID, s string) []byte {
	return channel.AppendPublish(nil, parent, []byte(s))
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
