package module

import (
	"errors"
	"slices"
	"testing"

	"nethost/sdk"
	"nethost/sdk/abi"
)

func effects(seq uint64, write func(env *sdk.Env)) []byte {
	var w abi.Writer
	w.ResetEffects(seq)
	write(sdk.NewEnv(w.Records()))
	return slices.Clone(w.Bytes())
}

func newGate(g Grants) *gate {
	return &gate{grants: g, sizes: map[string]int{}, holders: func(id sdk.ID) []string {
		if id == 0x0C00 {
			return []string{"capability"}
		}
		return nil
	}}
}

// TestGateDenies: everything that needs a grant is refused without it, and let
// through with it; what this host has no machinery for is refused always.
func TestGateDenies(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(*sdk.Env)
		need  string // the grant that is missing
		with  Grants
	}{
		{"put", func(e *sdk.Env) { e.Put([]byte("k"), []byte("v")) }, "state", Grants{State: 100}},
		{"delete", func(e *sdk.Env) { e.Delete([]byte("k")) }, "state", Grants{State: 100}},
		{"commit", func(e *sdk.Env) { e.Commit(1) }, "state", Grants{State: 100}},
		{"connect", func(e *sdk.Env) { e.Connect(1, sdk.NodeID{1}) }, "connect", Grants{Connect: true}},
		{"call", func(e *sdk.Env) { e.OpenModule(0x0C00, sdk.Open{}) }, "call:capability", Grants{Call: []string{"capability"}}},
		{"announce", func(e *sdk.Env) { e.Announce([]string{"x"}) }, unimplemented, Grants{}},
		{"sign", func(e *sdk.Env) { e.Sign(1, []byte("x")) }, unimplemented, Grants{}},
	} {
		g := newGate(Grants{})
		if err := g.check(effects(1, c.write), 1); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(g.denied) != 1 || g.denied[0].grant != c.need || len(g.net)+len(g.ops)+len(g.commits) != 0 {
			t.Errorf("%s without a grant: denied %+v, %d effects let through", c.name, g.denied, len(g.net)+len(g.ops))
		}
		if c.need == unimplemented {
			continue
		}
		g = newGate(c.with)
		if err := g.check(effects(1, c.write), 1); err != nil || len(g.denied) != 0 || len(g.net)+len(g.ops)+len(g.commits) != 1 {
			t.Errorf("%s with the grant: %v, denied %+v", c.name, err, g.denied)
		}
	}
}

func TestGateStateQuota(t *testing.T) {
	g := newGate(Grants{State: 10})
	g.loaded([]byte("a"), []byte("1234")) // 5 bytes
	put := func(key, val string) bool {
		if err := g.check(effects(1, func(e *sdk.Env) { e.Put([]byte(key), []byte(val)) }), 1); err != nil {
			t.Fatal(err)
		}
		return len(g.denied) == 0
	}
	if !put("b", "1234") {
		t.Error("10 of 10 bytes were refused")
	}
	if put("c", "") {
		t.Error("an eleventh byte was let through")
	}
	if !put("a", "1") || !put("c", "12") {
		t.Error("room that a smaller value left cannot be used")
	}
	if err := g.check(effects(1, func(e *sdk.Env) { e.Delete([]byte("b")); e.Put([]byte("d"), []byte("123")) }), 1); err != nil || len(g.denied) > 0 {
		t.Errorf("room that a delete left cannot be used: %v %+v", err, g.denied)
	}
}

// TestGateTraps: one bad effect, and nothing of the batch happens.
func TestGateTraps(t *testing.T) {
	good := func(e *sdk.Env) { e.Send(1, 7, sdk.Bulk, []byte("x")) }
	for name, batch := range map[string][]byte{
		"unknown kind":   effects(1, func(e *sdk.Env) { good(e); e.Emit(sdk.Effect{Kind: 999}) }),
		"wrong flags":    effects(1, func(e *sdk.Env) { good(e); e.Emit(sdk.Effect{Kind: sdk.OpPost, Flags: 4}) }),
		"wrong sequence": effects(2, good),
		"even ref": effects(1, func(e *sdk.Env) {
			e.Emit(sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 2, Payload: sdk.AppendOpen(nil, sdk.Open{})})
		}),
		"malformed open":  effects(1, func(e *sdk.Env) { e.Emit(sdk.Effect{Kind: sdk.OpStreamOpen, Ref: 1}) }),
		"giant message":   effects(1, func(e *sdk.Env) { e.Send(1, 7, sdk.Bulk, make([]byte, sdk.MaxMessage+1)) }),
		"empty key":       effects(1, func(e *sdk.Env) { e.Put(nil, nil) }),
		"truncated":       effects(1, good)[:60],
		"no batch at all": []byte("hello"),
	} {
		g := newGate(Grants{State: 100})
		if err := g.check(batch, 1); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		if len(g.net)+len(g.ops)+len(g.posts) != 0 {
			t.Errorf("%s: part of the batch was let through", name)
		}
	}
}

func FuzzGate(f *testing.F) {
	f.Add(effects(1, func(e *sdk.Env) { e.Put([]byte("k"), []byte("v")); e.Send(1, 7, sdk.Bulk, []byte("x")) }))
	f.Add(effects(1, func(e *sdk.Env) { e.OpenPeer(1, 7, sdk.Open{Method: "m"}); e.Drained() }))
	f.Fuzz(func(t *testing.T, batch []byte) {
		g := newGate(Grants{State: 1000})
		if err := g.check(batch, 1); err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("unexpected kind of error: %v", err)
		}
		if g.used > 1000 {
			t.Errorf("state of %d bytes", g.used)
		}
	})
}
