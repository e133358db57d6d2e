package wasm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/abi"
)

const echoPkg = "nethost/subprotocols/wasm/echo"

func startBatch(seq uint64) []byte {
	var w abi.Writer
	w.ResetEvents(seq, time.Second, 0)
	w.Event(sdk.Event{Kind: sdk.EvConfig})
	w.Event(sdk.Event{Kind: sdk.EvStart, Payload: sdk.AppendStart(nil, sdk.Start{Reason: sdk.StartFresh})})
	w.Event(sdk.Event{Kind: sdk.EvPeerUp, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: sdk.AppendPeerInfo(nil, sdk.PeerInfo{})})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return w.Bytes()
}

func messages(w *abi.Writer, seq uint64, n, size int) []byte {
	w.ResetEvents(seq, time.Second+time.Duration(seq), 0)
	p := bytes.Repeat([]byte{0xa5}, size)
	for range n {
		w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: 7, Version: sdk.Version{Major: 1}, Payload: p})
	}
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	return w.Bytes()
}

func TestGoGuestEchoes(t *testing.T) {
	c := newCarrier(t)
	i := mustOpen(t, c, buildGuest(t, echoPkg), module.Spec{Log: func(_ sdk.LogLevel, s string) { t.Log(s) }})
	if _, err := i.Deliver(startBatch(1)); err != nil {
		t.Fatal(err)
	}
	var w abi.Writer
	for seq := uint64(2); seq < 3000; seq++ {
		out, err := i.Deliver(messages(&w, seq, 16, 1024))
		if err != nil {
			t.Fatal(seq, err)
		}
		_, r, err := abi.Parse(out, sdk.MaxEffectBytes)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e, more := r.NextEffect(); more; e, more = r.NextEffect() {
			if e.Kind == sdk.OpSend && e.Peer == 1 && len(e.Payload) == 1024 {
				n++
			}
		}
		if r.Err() != nil || n != 16 {
			t.Fatalf("batch %d: %d echoes, %v", seq, n, r.Err())
		}
	}
	if u := i.Used(); u <= 0 || u > time.Millisecond {
		t.Errorf("Used() = %v for 16 echoes", u)
	}
	batch := append([]byte(nil), messages(&w, 3000, 16, 64)...)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := i.Deliver(batch); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Deliver allocates %v times a batch", n)
	}
	if err := errors.Join(i.Close(), i.Close()); err != nil {
		t.Error(err)
	}
	if _, err := i.Deliver(batch); !errors.Is(err, module.ErrGone) {
		t.Errorf("Deliver after Close: %v", err)
	}
}

func TestDigestAndCacheDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if fi, err := os.Stat(dir); err != nil || checkMode && fi.Mode().Perm() != 0o700 {
		t.Errorf("cache dir: %v %v", fi.Mode(), err)
	}
	bin := handleOnly(opI64Const, 0).bytes()
	if _, err := openBytes(t, c, bin, module.Spec{Digest: [32]byte{1}}); err == nil || !strings.Contains(err.Error(), "BLAKE3") {
		t.Errorf("wrong digest: %v", err)
	}
	mustOpen(t, c, bin, module.Spec{})

	// Another start, with another calibration, finds the code there.
	entries := func() (n int) {
		_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, _ error) error {
			if d.Type().IsRegular() {
				n++
			}
			return nil
		})
		return n
	}
	cached := entries()
	again, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.rate = 2*c.rate + 7
	mustOpen(t, again, bin, module.Spec{})
	if n := entries(); n != cached {
		t.Errorf("the cache has %d entries after another start, %d before", n, cached)
	}

	// A damaged entry costs a compile, not the module.
	n := 0
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			n++
			b, _ := os.ReadFile(p)
			b[len(b)-1] ^= 0xff
			b[len(b)/2] ^= 0xff
			return os.WriteFile(p, b, 0o600)
		}
		return nil
	})
	if n == 0 {
		t.Error("nothing was cached")
	}
	c2, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	i := mustOpen(t, c2, bin, module.Spec{})
	if _, err := i.Deliver(flushBatch(1, 1)); err != nil {
		t.Error(err)
	}

	if checkMode {
		open := t.TempDir()
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := New(open); err == nil || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("a cache others can read: %v", err)
		}
	}
}

func TestOpenHonoursContext(t *testing.T) {
	c := newCarrier(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path := filepath.Join(t.TempDir(), "x.wasm")
	if err := os.WriteFile(path, handleOnly(opI64Const, 0).bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if i, err := c.Open(ctx, module.Spec{Artifact: path}); err == nil {
		_ = i.Close() // the race was won by the open; that is allowed
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
