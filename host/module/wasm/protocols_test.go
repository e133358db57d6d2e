package wasm

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/sdktest"
	"nethost/sdk/token"
	"nethost/subprotocols/builtin/capability"
	"nethost/subprotocols/builtin/identity"
)

// protocolMesh runs a protocol on n nodes in a chain, as a guest on the second one,
// where every batch is compared with the same module in this process.
func protocolMesh(t *testing.T, n int, pkg string, fresh func() sdk.Module) *sdktest.Mesh {
	c, bin := newCarrier(t), buildGuest(t, "nethost/subprotocols/wasm/"+pkg)
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, bin, 0o600); err != nil {
		t.Fatal(err)
	}
	spec := module.Spec{Name: pkg, Kind: module.Wasm, Artifact: path, Limits: module.Limits{Memory: 64 << 20, CPUMax: time.Second}}
	m := sdktest.NewMeshOver(t, n, fresh().Describe(), func(node int) sdktest.Instance {
		if node != 1 {
			return sdktest.InProcess(fresh())
		}
		i, err := c.Open(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return sdktest.Twin(t, i, sdktest.InProcess(fresh()))
	})
	for i := range n - 1 {
		m.Link(i, i+1)
	}
	m.Run()
	return m
}

// TestCapabilityAsGuest: tags pass a guest, and its answers are the same bytes.
func TestCapabilityAsGuest(t *testing.T) {
	m := protocolMesh(t, 3, "capability", capability.New)
	for i, n := range m.Nodes {
		tags := []string{"hardware.cores=4", "software.os=linux", fmt.Sprintf("rack=%d", i)}
		n.Queue(sdk.Event{Kind: sdk.EvAnnounceChanged, ID: 1, Version: sdk.Version{Major: 1}, Payload: sdk.AppendTags(nil, tags)})
	}
	m.Run()
	m.Call(0, "tag-add", []byte(`{"tags":["prod"]}`))
	c := m.Call(1, "find", []byte(`{"query":"prod and hardware.cores>=4","sort":"nearest"}`))
	if !c.FIN || !strings.Contains(string(c.Got), m.Nodes[0].ID.String()) || !strings.Contains(string(c.Got), `"total":1`) {
		t.Errorf("%s %s", c.Got, c.ResetText)
	}
	for _, q := range []string{`{"query":"("}`, `{`, ""} {
		m.Call(1, "find", []byte(q))
	}
	m.Advance(11 * time.Minute)
	m.Cut(0, 1)
	m.Run()
	m.Advance(31 * time.Minute)
	if c := m.Call(2, "find", []byte(`{"query":"rack"}`)); !strings.Contains(string(c.Got), `"total":2`) {
		t.Errorf("after its lifetime: %s", c.Got)
	}
}

// TestIdentityAsGuest: a floor passes a guest.
func TestIdentityAsGuest(t *testing.T) {
	m := protocolMesh(t, 3, "identity", identity.New)
	f := token.Floor{Generation: 3, Seq: 1}
	f.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)))
	m.Call(0, "publish", f.Append(nil))
	f.Generation++
	if c := m.Call(0, "publish", f.Append(nil)); !c.WasReset {
		t.Errorf("a forged floor: %s", c.Got)
	}
	if c := m.Call(2, "floors", nil); !strings.Contains(string(c.Got), `"generation":3`) || !strings.Contains(string(c.Got), `"current":true`) {
		t.Errorf("%s %s", c.Got, c.ResetText)
	}
}
