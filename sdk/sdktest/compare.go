package sdktest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/sdk"
	"nethost/sdk/abi"
	"nethost/subprotocols/builtin/echo"
)

// conformSame gives the same batches to the instance and to echo in this process:
// the effects must be the same bytes.
func conformSame(t *testing.T, open func(t *testing.T) Instance) {
	for seed := range uint64(4) {
		a, b := open(t), InProcess(echo.New())
		t.Cleanup(func() { a.Close() })
		rnd := rand.New(rand.NewPCG(seed, 7))
		var w abi.Writer
		newest := sdk.Ref(0)
		for seq := uint64(1); seq <= 100; seq++ {
			w.ResetEvents(seq, time.Duration(seq)*time.Millisecond, 0)
			for range rnd.IntN(20) {
				e := randomEvent(rnd)
				if e.Kind == sdk.EvStreamOpen {
					newest += 2
					e.Ref = newest
				} else if e.Kind != sdk.EvMessage {
					e.Ref = max(newest, 12) - sdk.Ref(2*rnd.IntN(6))
				}
				w.Event(e)
			}
			w.Event(sdk.Event{Kind: sdk.EvFlush})
			got, errA := a.Deliver(w.Bytes())
			want, errB := b.Deliver(w.Bytes())
			if errA != nil || errB != nil {
				t.Fatalf("seed %d batch %d: carrier: %v; in process: %v", seed, seq, errA, errB)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d batch %d: %d bytes of effects differ from the %d in process\n%s", seed, seq, len(got), len(want), diff(got, want))
			}
		}
	}
}

func randomEvent(rnd *rand.Rand) sdk.Event {
	e := sdk.Event{Peer: sdk.Peer(1 + rnd.IntN(3)), ID: echo.ID, Version: echoVersion}
	switch rnd.IntN(8) {
	case 0, 1:
		e.Kind, e.Payload = sdk.EvMessage, pattern(rnd.Uint64(), rnd.IntN(2000))
	case 2:
		e.Kind, e.Arg, e.Payload = sdk.EvStreamOpen, uint64(rnd.IntN(5000)), sdk.AppendOpen(nil, sdk.Open{From: sdk.FromPeer})
	case 3, 4, 5:
		e.Kind, e.Payload = sdk.EvStreamData, pattern(rnd.Uint64(), rnd.IntN(3000))
		if rnd.IntN(10) == 0 {
			e.Flags = sdk.FlagFIN
		}
	case 6:
		e.Kind, e.Arg = sdk.EvStreamCredit, uint64(rnd.IntN(4000))
	case 7:
		e.Kind, e.Arg = sdk.EvStreamReset, uint64(sdk.Cancelled)
	}
	return e
}

// conformMalformed gives a fresh instance one bad batch each: an error must come
// back, not a hang and not effects.
func conformMalformed(t *testing.T, open func(t *testing.T) Instance) {
	var w abi.Writer
	w.ResetEvents(1, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, ID: echo.ID, Payload: []byte("hello")})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	good := w.Bytes()
	for _, c := range []struct {
		name string
		bad  []byte
	}{
		{"cut in the header", good[:abi.HeaderSize-1]},
		{"cut in a record", good[:len(good)-1]},
		{"no magic", edit(good, 0, 'X')},
		{"reserved flags", edit(good, 6, 1)},
		{"one record too few", edit(good, 8, 1)},
		{"one record too many", edit(good, 8, 3)},
		{"length past the end", edit(good, abi.HeaderSize+7, 0x7f)},
		{"padding that is no zero", edit(good, abi.HeaderSize+abi.RecordSize+7, 1)},
		{"above the limit", append(bytes.Clone(good), make([]byte, sdk.MaxBatchBytes)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			inst := open(t)
			defer inst.Close()
			if effects, err := inst.Deliver(c.bad); err == nil {
				t.Fatalf("the batch was taken, with %d bytes of effects", len(effects))
			}
		})
	}
}

func conformClose(t *testing.T, open func(t *testing.T) Instance) {
	inst := open(t)
	for range 2 {
		if err := inst.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	var w abi.Writer
	w.ResetEvents(1, 0, 0)
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	if _, err := inst.Deliver(w.Bytes()); err == nil {
		t.Fatal("Deliver after Close gave no error")
	}
}

// edit returns a copy of b with one byte changed.
func edit(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

// pattern gives n bytes that depend on seed and are not periodic.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	rnd := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// diff lists two batches of effects side by side, as far as they differ.
func diff(got, want []byte) string {
	a, b := list(got), list(want)
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("effect %d: got %s, want %s", i, x, y)
		}
	}
	return "the records are alike: a header or padding differs"
}

func list(batch []byte) (lines []string) {
	if len(batch) == 0 {
		return nil
	}
	_, r, err := abi.Parse(batch, sdk.MaxEffectBytes)
	if err != nil {
		return []string{err.Error()}
	}
	for f, ok := r.NextEffect(); ok; f, ok = r.NextEffect() {
		lines = append(lines, fmt.Sprintf("%v flags %#x peer %d id %v ref %d arg %d and %d bytes %.8x", f.Kind, f.Flags, f.Peer, f.ID, f.Ref, f.Arg,
			len(f.Payload), f.Payload))
	}
	return lines
}
