package abi

import (
	"bytes"
	"testing"

	"nethost/sdk"
)

// FuzzParse: no input panics, and what is accepted comes out of the writer again
// byte for byte (with the minor version and reserved header fields of this one).
func FuzzParse(f *testing.F) {
	for _, name := range []string{"events.hex", "effects.hex"} {
		b := load(f, name)
		f.Add(b)
		f.Add(b[:len(b)-8])
	}
	var w Writer
	w.ResetEffects(0)
	f.Add(w.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, r, err := Parse(b, sdk.MaxEffectBytes)
		if err != nil {
			return
		}
		var out Writer
		out.reset(h.Seq, h.Now, h.Wall, sdk.MaxEffects, sdk.MaxEffectBytes)
		for e, ok := r.NextEffect(); ok; e, ok = r.NextEffect() {
			out.Emit(e)
		}
		if r.Err() != nil || out.Err() != nil {
			return
		}
		again := out.Bytes()
		copy(again[4:6], b[4:6])
		if !bytes.Equal(again, b) {
			t.Fatalf("parsed and written again:\n%s\nwas\n%s", dump(again), dump(b))
		}
	})
}

// FuzzDispatch: no batch that a host could be tricked into sending panics the
// module's side.
func FuzzDispatch(f *testing.F) {
	f.Add(load(f, "events.hex"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDispatcher(mirror{})
		if d.Run(b) != nil {
			return
		}
		d.RunWork()
		out, err := d.Effects()
		if err != nil || out == nil {
			return
		}
		if _, err := walk(out, sdk.MaxEffectBytes); err != nil {
			t.Fatalf("effects do not parse: %v", err)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	for _, c := range []struct {
		name    string
		payload int
	}{{"64B", 64}, {"1KiB", 1024}} {
		b.Run(c.name, func(b *testing.B) {
			var w Writer
			d := NewDispatcher(mirror{})
			e := sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: make([]byte, c.payload)}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%16 == 1 {
					w.ResetEvents(1, 0, 0)
				}
				w.Event(e)
				if n%16 == 0 {
					w.Event(sdk.Event{Kind: sdk.EvFlush})
					if d.Run(w.Bytes()) != nil {
						b.Fatal("batch refused")
					}
				}
			}
		})
	}
}
