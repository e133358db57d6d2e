package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/sdktest"
	"nethost/subprotocols/builtin/capability"
	"nethost/subprotocols/builtin/channels"
	"nethost/subprotocols/builtin/identity"
)

// TestChannelsAsGuest: a guest publishes and subscribes among built-in ones, and does
// byte for byte what the built-in one does.
func TestChannelsAsGuest(t *testing.T) {
	c, bin := newCarrier(t), buildGuest(t, "nethost/subprotocols/wasm/channels")
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, bin, 0o600); err != nil {
		t.Fatal(err)
	}
	spec := module.Spec{Name: "channels", Kind: module.Wasm, Artifact: path, Limits: module.Limits{Memory: 256 << 20, CPUMax: time.Second}}
	m := sdktest.NewMeshOver(t, 3, channels.New().Describe(), func(node int) sdktest.Instance {
		if node != 1 {
			return sdktest.InProcess(channels.New())
		}
		i, err := c.Open(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return sdktest.Twin(t, i, sdktest.InProcess(channels.New()))
	})
	m.Beside(sdktest.NewMesh(t, 3, capability.New))
	m.Beside(sdktest.NewMesh(t, 3, identity.New))
	m.BothLink(0, 1)
	m.BothLink(1, 2)
	m.Run()
	open := func(i int, method, header string) *sdktest.MeshCall {
		s := m.Open(i, method, nil)
		s.Write([]byte(header+"\n"), false)
		m.Run()
		return s
	}
	if s := m.Call(1, "policy-set", []byte(`{"channel":"u","policy":{"reliable":false}}`)); !s.FIN {
		t.Fatal(s.ResetText)
	}
	out, in := open(0, "sub", `{"pattern":"*"}`), open(1, "sub", `{"pattern":"in/**","group":"g"}`)
	p, u, far := open(1, "pub", `{"channel":"x"}`), open(1, "pub", `{"channel":"u"}`), open(2, "pub", `{"channel":"in/y"}`)
	m.Advance(2 * time.Second)
	for i := range 300 {
		for _, s := range []*sdktest.MeshCall{p, u, far} {
			s.Write(fmt.Appendf(nil, "event %d\n", i), false)
		}
	}
	m.Run()
	for i, c := range []struct {
		s    *sdktest.MeshCall
		ch   string
		from int
	}{{out, "x", 1}, {out, "u", 1}, {in, "in/y", 2}} {
		if n := strings.Count(string(c.s.Got), fmt.Sprintf("\"channel\":%q,\"publisher\":%q,\"epoch\"", c.ch, m.Nodes[c.from].ID)); n != 300 {
			t.Errorf("%d: channel %s: %d events came", i, c.ch, n)
		}
	}
	for _, bad := range []string{`{"pattern":"a//b"}`, `{`, `{"pattern":"a","token":"nht1.AAAA"}`} {
		if s := m.Call(1, "sub", []byte(bad)); !s.WasReset || s.ResetCode != sdk.InvalidArgument {
			t.Errorf("%s: %v %q", bad, s.WasReset, s.ResetText)
		}
	}
	m.Cut(0, 1)
	m.Run()
	m.Link(0, 1)
	m.Advance(time.Second)
	p.Write([]byte("again\n"), true)
	m.Run()
	if !strings.Contains(string(out.Got), `"text":"again"`) || !strings.Contains(string(p.Got), `"events":301`) {
		t.Errorf("after a flap: %q", p.Got)
	}
}
