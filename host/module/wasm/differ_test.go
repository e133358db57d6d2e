package wasm

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

// bare runs a guest as it came, or as the loader made it, with nothing of the
// carrier but the stubbed WASI.
type bare struct {
	mod  api.Module
	wasi *wasi
	ptr  uint32
}

func newBare(t *testing.T, bin []byte, imports []importFunc, cfg wazero.RuntimeConfig) *bare {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	t.Cleanup(func() { _ = rt.Close(ctx) })
	b := &bare{wasi: &wasi{random: rand.NewChaCha8([32]byte{9}), fuel: plenty{}}}
	b.wasi.begin(1, 0)
	if err := b.wasi.build(ctx, rt, imports); err != nil {
		t.Fatal(err)
	}
	code, err := rt.CompileModule(ctx, bin)
	if err != nil {
		t.Fatal(err)
	}
	if b.mod, err = rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions()); err != nil {
		t.Fatal(err)
	}
	if g, metered := b.mod.ExportedGlobal(exportFuel).(api.MutableGlobal); metered {
		g.Set(1 << 50)
		b.wasi.fuel = g
	}
	if init := b.mod.ExportedFunction(exportInit); init != nil {
		if _, err := init.Call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	at, err := b.mod.ExportedFunction(exportBuffer).Call(ctx, sdk.MaxBatchBytes)
	if err != nil {
		t.Fatal(err)
	}
	b.ptr = uint32(at[0])
	return b
}

// plenty is the fuel of a guest that is not metered.
type plenty struct{ api.MutableGlobal }

func (plenty) Get() uint64 { return 1 << 50 }
func (plenty) Set(uint64)  {}

func (b *bare) deliver(t *testing.T, batch []byte) []byte {
	t.Helper()
	h, _, err := abi.Parse(batch, sdk.MaxBatchBytes)
	if err != nil {
		t.Fatal(err)
	}
	b.wasi.begin(int64(h.Now), h.Wall)
	b.mod.Memory().Write(b.ptr, batch)
	r, err := b.mod.ExportedFunction(exportHandle).Call(context.Background(), uint64(b.ptr), uint64(len(batch)))
	if err != nil {
		t.Fatal(err)
	}
	out, _ := b.mod.Memory().Read(uint32(r[0]>>32), uint32(r[0]))
	return bytes.Clone(out)
}

// scripted is a random batch for echo and counter: peers, messages and calls.
func scripted(rng *rand.Rand, seq uint64, id sdk.ID) []byte {
	var w abi.Writer
	w.ResetEvents(seq, time.Duration(seq)*time.Millisecond, 0)
	v := sdk.Version{Major: 1}
	if seq == 1 {
		w.Event(sdk.Event{Kind: sdk.EvConfig})
		w.Event(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: sdk.StartFresh, StateLimit: 1 << 20})})
		for p := range sdk.Peer(3) {
			w.Event(sdk.Event{Kind: sdk.EvPeerUp, Peer: p + 1, ID: id, Version: v, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{})})
		}
	}
	for n := range rng.Uint64N(9) {
		p := sdk.Peer(1 + rng.IntN(3))
		ref := sdk.Ref(2 * (16*seq + n))
		switch rng.IntN(3) {
		case 0:
			b := make([]byte, rng.IntN(700))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: p, ID: id, Version: v, Payload: b})
		case 1:
			method := []string{"", "add", "get", "nothing"}[rng.IntN(4)]
			w.Event(sdk.Event{Kind: sdk.EvStreamOpen, Peer: p, ID: id, Version: v, Ref: ref, Arg: 1 << 16, Payload: sdk.AppendOpen(nil, sdk.Open{Method: method})})
			w.Event(sdk.Event{Kind: sdk.EvStreamData, Flags: sdk.FlagFIN, Ref: ref, Payload: fmt.Appendf(nil, "%d", rng.Int32())})
		case 2:
			w.Event(sdk.Event{Kind: sdk.EvTimer, Ref: ref})
		}
	}
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return bytes.Clone(w.Bytes())
}

// TestGuests: guests in four languages give the same effects and are left with the
// same memory as they came and as the loader made them, compiled and interpreted
// (W4.9, W8.3), and go on from a snapshot as if there had been none (W9.1).
func TestGuests(t *testing.T) {
	inC, err := os.ReadFile("../../../cmd/nethost/benchguest/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	guests := map[string]func(t *testing.T) []byte{
		"go":    func(t *testing.T) []byte { return buildGuest(t, "nethost/subprotocols/wasm/counter") },
		"bench": func(*testing.T) []byte { return inC },
	}
	for _, language := range languages {
		guests[language] = func(t *testing.T) []byte { return buildForeign(t, language, "counter") }
	}
	for name, build := range guests {
		t.Run(name, func(t *testing.T) {
			bin, dir := build(t), filepath.Join(t.TempDir(), "cache")
			c, err := New(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			spec := module.Spec{Name: "test", Artifact: asFile(t, bin), Seed: [32]byte{3},
				Limits: module.Limits{Memory: uint64(testOptions.MemoryPages) * pageSize, CPUMax: time.Second}}
			t.Run("snapshot", func(t *testing.T) { checkMoves(t, c, spec, 1, 15) })
			t.Run("differ", func(t *testing.T) { differ(t, bin, dir) })
		})
	}
}

// differ runs a guest beside itself as it came. dir holds compiled code.
func differ(t *testing.T, bin []byte, dir string) {
	made, rep, err := Rewrite(bin, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	limit := func(c wazero.RuntimeConfig) wazero.RuntimeConfig {
		return c.WithMemoryLimitPages(testOptions.MemoryPages)
	}
	interpreted, compiled := limit(wazero.NewRuntimeConfigInterpreter()), limit(wazero.NewRuntimeConfig().WithCompilationCache(cache))
	plain := newBare(t, bin, rep.imports, interpreted)
	others := map[string]*bare{"metered": newBare(t, made, rep.imports, compiled)}
	if len(bin) < 1<<20 { // compiling a Go guest once more takes seconds
		others["plain"] = newBare(t, bin, rep.imports, compiled)
		others["metered, interpreted"] = newBare(t, made, rep.imports, interpreted)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	answered := 0
	for seq := range uint64(60) {
		batch := scripted(rng, seq+1, 0x1001)
		want := plain.deliver(t, batch)
		answered += min(len(want), 1)
		for name, b := range others {
			if got := b.deliver(t, batch); !bytes.Equal(got, want) {
				t.Fatalf("batch %d, %s: %d bytes of effects, plain %d\n%x\n%x", seq+1, name, len(got), len(want), got, want)
			}
		}
	}
	if answered < 30 {
		t.Errorf("only %d batches had an answer: the script does not reach the guest", answered)
	}
	memory := func(b *bare) []byte { v, _ := b.mod.Memory().Read(0, b.mod.Memory().Size()); return v }
	for name, b := range others {
		if !bytes.Equal(memory(b), memory(plain)) {
			t.Errorf("%s: the memory differs", name)
		}
	}
}
