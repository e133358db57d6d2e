package identity

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/gossip"
	"nethost/sdk/sdktest"
	"nethost/sdk/token"
)

func floor(by byte, generation, seq uint64) token.Floor {
	f := token.Floor{Generation: generation, Seq: seq}
	f.Sign(ed25519.NewKeyFromSeed(append(make([]byte, 31), by)))
	return f
}

func publish(m *sdktest.Mesh, i int, f token.Floor) *sdktest.MeshCall {
	return m.Call(i, "publish", f.Append(nil))
}

// known gives generations as a node lists them, and whether it is current.
func known(t *testing.T, m *sdktest.Mesh, i int) (gens []uint64, current bool) {
	t.Helper()
	var l struct {
		Floors  []line
		Current bool
	}
	if err := json.Unmarshal(m.Call(i, "floors", nil).Got, &l); err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Floors {
		gens = append(gens, f.Generation)
	}
	slices.Sort(gens)
	return gens, l.Current
}

func chain(t *testing.T, n int) *sdktest.Mesh {
	m := sdktest.NewMesh(t, n, New)
	for i := range n - 1 {
		m.Link(i, i+1)
	}
	m.Run()
	return m
}

// TestWholeMesh: I1 and I2: a floor reaches everybody, also who comes later, and
// survives a restart of all.
func TestWholeMesh(t *testing.T) {
	m := chain(t, 5)
	if c := publish(m, 0, floor(1, 5, 1)); !c.FIN || !strings.Contains(string(c.Got), `"new":true`) {
		t.Fatalf("%q %s", c.Got, c.ResetText)
	}
	publish(m, 4, floor(2, 7, 1))
	for i := range m.Nodes {
		if g, cur := known(t, m, i); !slices.Equal(g, []uint64{5, 7}) || !cur {
			t.Errorf("node %d knows %v, current %v", i, g, cur)
		}
	}
	for i := range m.Nodes {
		m.Stop(i)
	}
	m.Start(3, New(), sdk.StartFresh)
	if g, _ := known(t, m, 3); !slices.Equal(g, []uint64{5, 7}) {
		t.Errorf("after a restart it knows %v", g)
	}
}

// TestPartition: I3: who was away is not current until it has heard, and the floor
// is told before the word.
func TestPartition(t *testing.T) {
	m := chain(t, 3)
	m.Cut(1, 2)
	m.Run()
	w := m.Call(2, "watch", nil)
	publish(m, 0, floor(1, 9, 1))
	if g, cur := known(t, m, 2); g != nil || !cur {
		t.Fatalf("alone it knows %v, current %v", g, cur)
	}
	m.Link(1, 2)
	m.Run()
	if g, cur := known(t, m, 2); !slices.Equal(g, []uint64{9}) || !cur {
		t.Fatalf("back it knows %v, current %v", g, cur)
	}
	var got []string
	for l := range strings.Lines(string(w.Got)) {
		var x line
		if err := json.Unmarshal([]byte(l), &x); err != nil {
			t.Fatal(err)
		}
		if x.Current != nil {
			got = append(got, fmt.Sprint("current ", *x.Current))
		} else {
			got = append(got, fmt.Sprint("floor ", x.Generation))
		}
	}
	if s := strings.Join(got, ", "); s != "current true, current false, floor 9, current true" {
		t.Errorf("the watcher heard %s", s)
	}
}

// TestSilent: I3: a neighbour that says nothing holds a node up for 5 s, no longer.
func TestSilent(t *testing.T) {
	m := chain(t, 1)
	w := m.Call(0, "watch", nil)
	m.Nodes[0].Queue(sdk.Event{Kind: sdk.EvPeerUp, Peer: 99, ID: ID, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{Node: sdk.NodeID{8}})})
	m.Run()
	if _, cur := known(t, m, 0); cur {
		t.Error("current beside a neighbour that said nothing")
	}
	m.Advance(7 * time.Second)
	if !strings.HasSuffix(string(w.Got), "{\"current\":false}\n{\"current\":true}\n") {
		t.Errorf("the watcher heard %s", w.Got)
	}
}

// TestRefused: forged, replayed, older and malformed floors change nothing, and say
// why.
func TestRefused(t *testing.T) {
	m := chain(t, 2)
	publish(m, 0, floor(1, 5, 2))
	forged := floor(1, 6, 3)
	forged.Generation = 600
	for _, c := range []struct {
		what string
		in   []byte
		code sdk.Code
	}{
		{"forged", forged.Append(nil), sdk.PermissionDenied}, {"malformed", []byte("x"), sdk.InvalidArgument}, {"empty", nil, sdk.InvalidArgument},
		{"older", ptr(floor(1, 4, 9)).Append(nil), sdk.InvalidArgument}, {"older sequence", ptr(floor(1, 5, 1)).Append(nil), sdk.InvalidArgument},
		{"too long", make([]byte, maxRequest+1), sdk.InvalidArgument},
	} {
		if s := m.Call(0, "publish", c.in); !s.WasReset || s.ResetCode != c.code || s.ResetText == "" {
			t.Errorf("%s: reset %v %v %q", c.what, s.WasReset, s.ResetCode, s.ResetText)
		}
	}
	if s := publish(m, 0, floor(1, 5, 2)); !strings.Contains(string(s.Got), `"new":false`) {
		t.Errorf("the same again: %q %s", s.Got, s.ResetText)
	}
	s := m.Dial(1, 0, gossip.Method)
	s.Write(append([]byte{5, 120, 0, 0, 0, 0, 0, 0, 0}, forged.Append(nil)...), false)
	m.Run()
	if !s.WasReset || s.ResetCode != sdk.PermissionDenied || m.Nodes[0].Counters["forged"] != 2 {
		t.Errorf("a forged floor of a peer: reset %v %v %q", s.WasReset, s.ResetCode, s.ResetText)
	}
	if s := m.Dial(1, 0, "floors"); true {
		m.Run()
		if !s.WasReset || s.ResetCode != sdk.PermissionDenied {
			t.Error("a peer may ask")
		}
	}
	if g, _ := known(t, m, 1); !slices.Equal(g, []uint64{5}) {
		t.Errorf("the other node knows %v", g)
	}
}

func ptr(f token.Floor) *token.Floor { return &f }

// TestFull: I4.
func TestFull(t *testing.T) {
	m := New().(*module)
	for i := range maxIssuers {
		m.floors.Put(token.Floor{Issuer: sdk.NodeID{1, byte(i), byte(i >> 8)}, Generation: 1, Seq: 1})
	}
	m.reserved = []sdk.NodeID{{7}}
	for id, want := range map[sdk.NodeID]bool{{6}: false, {7}: true, {1, 5, 0}: true} {
		if got := m.admit(&gossip.Statement{Key: gossip.Key(id)}, 0); got != want {
			t.Errorf("%v: admitted %v", id, got)
		}
	}
}
