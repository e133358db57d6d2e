package abi

import (
	"bytes"
	"encoding/binary"
	"reflect"
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

// keeper is a module that keeps what it is handed.
type keeper struct{ got []sdk.Event }

func (*keeper) Describe() sdk.Descriptor { return sdk.Descriptor{} }

func (k *keeper) Handle(_ *sdk.Env, ev *sdk.Event) { k.got = append(k.got, *ev) }

// checkRun holds Dispatcher.Run, which decodes by itself, to Parse and Reader.
func checkRun(t *testing.T, b []byte) {
	var k keeper
	err := NewDispatcher(&k).Run(b)
	var want []sdk.Event
	h, r, wantErr := Parse(b, sdk.MaxBatchBytes)
	if wantErr == nil && h.Records > sdk.MaxBatchEvents {
		wantErr = ErrLimit
	}
	if wantErr == nil {
		for e, ok := r.NextEvent(); ok; e, ok = r.NextEvent() {
			want = append(want, e)
		}
		wantErr = r.Err()
	}
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("%x: Run says %v, the reader %v", b, err, wantErr)
	}
	if !reflect.DeepEqual(k.got, want) {
		t.Fatalf("%x:\nRun      %+v\nthe reader %+v", b, k.got, want)
	}
}

// TestRunAgrees: on a good batch, on each prefix of it, and with each byte changed.
func TestRunAgrees(t *testing.T) {
	var w Writer
	w.ResetEvents(7, 8, 9)
	for n := range 10 {
		w.Event(sdk.Event{Kind: sdk.EvMessage, Flags: 1, ID: 2, Version: sdk.Version{Major: 3, Minor: 4}, Peer: 5, Ref: 6, Arg: 7, Payload: make([]byte, n)})
	}
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	good := w.Bytes()
	checkRun(t, good)
	checkRun(t, append(good[:len(good):len(good)], 0))
	for n := range good {
		checkRun(t, good[:n])
		for _, bit := range []byte{1, 8, 0x80} {
			bad := bytes.Clone(good)
			bad[n] ^= bit
			checkRun(t, bad)
		}
	}
}

func FuzzRun(f *testing.F) {
	var w Writer
	w.ResetEvents(1, 2, 3)
	w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: []byte("abc")})
	w.Event(sdk.Event{Kind: sdk.EvFlush})
	f.Add(bytes.Clone(w.Bytes()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderSize { // so that fuzzing comes past the length
			binary.LittleEndian.PutUint32(b[12:], uint32(len(b)))
		}
		checkRun(t, b)
	})
}
