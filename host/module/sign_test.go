package module_test

import (
	"crypto/ed25519"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nethost/host/module"
	"nethost/host/module/inproc"
	"nethost/sdk"

	"context"
	"crypto/rand"
)

// TestStatements: Sign, Verify and Announce of a module (sdk/abi A4.7, A4.8), with
// and without grants.
func TestStatements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := ed25519.NewKeyFromSeed(make([]byte, 32))
		id := sdk.NodeID(key.Public().(ed25519.PublicKey))
		var mu sync.Mutex
		var got []string
		var announced [][]string
		var sig [64]byte
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, s)
		}
		signed := sdk.AppendSigned(nil, "", "tester", 0x0C00, []byte("hello"))
		handle := func(env *sdk.Env, ev *sdk.Event) {
			switch ev.Kind {
			case sdk.EvStart:
				env.Sign(1, []byte("hello"))
				env.Announce([]string{"chan:a", "chan:b"})
				env.Announce([]string{"chan:a", "nrpc:b"})
			case sdk.EvSigned:
				copy(sig[:], ev.Payload)
				note("signed")
				env.Verify(3, id, sig, signed)
				env.Verify(5, id, sig, []byte("hello"))
				env.Verify(7, sdk.NodeID{}, sig, signed)
			case sdk.EvVerified:
				note([]string{"bad ", "good "}[ev.Arg] + string(rune('0'+ev.Ref)))
			case sdk.EvDenied:
				note("denied " + string(ev.Payload))
			}
		}
		spec := module.Spec{Name: "tester", Kind: module.Builtin, Publisher: "ed25519:x", Subprotocols: []sdk.Subprotocol{{ID: 0x0C00, Version: sdk.Version{Major: 1}}},
			Limits: module.DefaultLimits, Grants: module.Grants{Sign: true, Announce: []string{"chan:"}}}
		bare := spec
		bare.Grants = module.Grants{}
		run := func(s module.Spec) {
			began := time.Now()
			m := module.NewManager(module.Config{Host: &fakeHost{began: began}, Carriers: map[module.Kind]module.Carrier{module.Builtin: inproc.New(map[string]func() sdk.Module{"tester": func() sdk.Module { return mod{handle} }})},
				Clock: func() time.Duration { return time.Since(began) }, Log: slog.New(slog.DiscardHandler), Entropy: rand.Reader, Self: id,
				Sign:      func(b []byte) [64]byte { return [64]byte(ed25519.Sign(key, b)) },
				Announced: func(_ int, tags []string) { announced = append(announced, tags) }})
			m.Add(s)
			m.Start(context.Background())
			synctest.Wait()
			m.Close(context.Background())
		}
		run(spec)
		if !ed25519.Verify(id[:], signed, sig[:]) || strings.Contains(string(signed), "ed25519:x") {
			t.Error("the signature is not over what AppendSigned gives for a core id")
		}
		want := []string{"denied announce:nrpc:b", "signed", "good 3", "bad 5", "bad 7"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(announced) != 1 || !slices.Equal(announced[0], []string{"chan:a", "chan:b"}) {
			t.Errorf("announced %q", announced)
		}
		got = nil
		run(bare)
		slices.Sort(got)
		if len(announced) != 1 || !slices.Equal(got, []string{"denied announce:chan:a", "denied announce:chan:a", "denied sign"}) {
			t.Errorf("without grants: %q, announced %q", got, announced)
		}
	})
}
