package abi

import (
	"bytes"
	"errors"
	"testing"

	"nethost/sdk"
)

// TestEventLimits: A5.1. What does not fit changes nothing, and Flush always fits.
func TestEventLimits(t *testing.T) {
	for _, size := range []int{0, 1, 1024, sdk.MaxMessage} {
		var w Writer
		w.ResetEvents(1, 0, 0)
		e := sdk.Event{Kind: sdk.EvMessage, Payload: make([]byte, size)}
		n := 0
		for w.Event(e) {
			n++
		}
		if w.Event(e) {
			t.Fatalf("%d bytes: an event fits after one did not", size)
		}
		if !w.Event(sdk.Event{Kind: sdk.EvFlush}) {
			t.Fatalf("%d bytes: Flush does not fit behind %d events", size, n)
		}
		b := w.Bytes()
		if got, err := walk(b, sdk.MaxBatchBytes); err != nil || got != n+1 || got > sdk.MaxBatchEvents {
			t.Fatalf("%d bytes: %d records (%v) in %d bytes, want %d", size, got, err, len(b), n+1)
		}
		if size == 0 && n != sdk.MaxBatchEvents-1 {
			t.Errorf("%d empty events fit, want %d", n, sdk.MaxBatchEvents-1)
		}
	}
	// A5.7: the longest event that fits alone beside Flush.
	for payload, want := range map[int]bool{262040: true, 262041: false} {
		var w Writer
		w.ResetEvents(1, 0, 0)
		if got := w.Event(sdk.Event{Kind: sdk.EvPosted, Payload: make([]byte, payload)}); got != want {
			t.Errorf("an event with %d bytes fits: %v, want %v", payload, got, want)
		}
	}
}

// TestEffectLimits: A5.2.
func TestEffectLimits(t *testing.T) {
	var w Writer
	w.ResetEffects(1)
	for range sdk.MaxEffects {
		w.Emit(sdk.Effect{Kind: sdk.OpDrained})
	}
	if w.Err() != nil || w.Len() != sdk.MaxEffects {
		t.Fatalf("%d effects: err %v, %d records", sdk.MaxEffects, w.Err(), w.Len())
	}
	w.Emit(sdk.Effect{Kind: sdk.OpDrained})
	if !errors.Is(w.Err(), ErrLimit) {
		t.Fatalf("one effect more: err %v, want %v", w.Err(), ErrLimit)
	}
	w.ResetEffects(2)
	if w.Err() != nil {
		t.Fatal("Reset keeps the error of the batch before")
	}
	fits := sdk.MaxEffectBytes - HeaderSize - RecordSize
	w.Emit(sdk.Effect{Kind: sdk.OpPost, Payload: make([]byte, fits)})
	if w.Err() != nil || len(w.Bytes()) != sdk.MaxEffectBytes {
		t.Fatalf("an effect of %d bytes: err %v, batch of %d", fits, w.Err(), len(w.Bytes()))
	}
	w.ResetEffects(3)
	w.Emit(sdk.Effect{Kind: sdk.OpPost, Payload: make([]byte, fits+1)})
	if !errors.Is(w.Err(), ErrLimit) {
		t.Fatalf("an effect of %d bytes: err %v, want %v", fits+1, w.Err(), ErrLimit)
	}
}

// TestNoAllocations: once the buffer has grown, neither side allocates.
func TestNoAllocations(t *testing.T) {
	var w Writer
	payload := make([]byte, 1000)
	var kinds int
	if n := testing.AllocsPerRun(100, func() {
		w.ResetEvents(1, 2, 3)
		for w.Event(sdk.Event{Kind: sdk.EvMessage, Peer: 1, Payload: payload}) {
		}
		w.Event(sdk.Event{Kind: sdk.EvFlush})
		_, r, err := Parse(w.Bytes(), sdk.MaxBatchBytes)
		if err != nil {
			t.Fatal(err)
		}
		for e, ok := r.NextEvent(); ok; e, ok = r.NextEvent() {
			kinds += int(e.Kind)
		}
	}); n != 0 {
		t.Errorf("write and read of a batch of events: %v allocations", n)
	}
	d := NewDispatcher(mirror{})
	batch := bytes.Clone(w.Bytes())
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Run(batch); err != nil {
			t.Fatal(err)
		}
		if out, err := d.Effects(); err != nil || len(out) == 0 {
			t.Fatal(out, err)
		}
	}); n != 0 {
		t.Errorf("a batch through a module: %v allocations", n)
	}
}

// mirror answers messages and asks for work, as the dispatcher's tests need.
type mirror struct{}

func (mirror) Describe() sdk.Descriptor { return sdk.Descriptor{} }

func (mirror) Handle(env *sdk.Env, ev *sdk.Event) {
	switch ev.Kind {
	case sdk.EvMessage:
		env.Send(ev.Peer, ev.ID, sdk.Realtime, ev.Payload)
	case sdk.EvTimer:
		env.Work(ev.Ref, func() []byte { return []byte("done") })
	case sdk.EvStop:
		for range sdk.MaxEffects + 1 {
			env.Drained()
		}
	}
}

func TestDispatcher(t *testing.T) {
	d := NewDispatcher(mirror{})
	yields := 0
	d.Yield = func() { yields++ }
	run := func(seq uint64, events ...sdk.Event) {
		t.Helper()
		var w Writer
		w.ResetEvents(seq, 0, 0)
		for _, e := range events {
			w.Event(e)
		}
		w.Event(sdk.Event{Kind: sdk.EvFlush})
		if err := d.Run(w.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	run(1)
	if out, err := d.Effects(); out != nil || err != nil {
		t.Errorf("without effects: %d bytes, err %v, want nil", len(out), err)
	}
	// A6.7: results of Work come behind the batch's own effects, A1.6: under its
	// sequence.
	run(2, sdk.Event{Kind: sdk.EvTimer, Ref: 9}, sdk.Event{Kind: sdk.EvMessage, Payload: []byte("x")})
	d.RunWork()
	out, err := d.Effects()
	if err != nil {
		t.Fatal(err)
	}
	h, r, _ := Parse(out, sdk.MaxEffectBytes)
	a, _ := r.NextEffect()
	b, ok := r.NextEffect()
	if h.Seq != 2 || h.Records != 2 || a.Kind != sdk.OpSend || !ok || b.Kind != sdk.OpPost || b.Ref != 9 || string(b.Payload) != "done" {
		t.Errorf("header %+v, effects %+v and %+v", h, a, b)
	}
	run(3, sdk.Event{Kind: sdk.EvTimer, Ref: 11})
	if w := d.TakeWork(); len(w) != 1 || w[0].Ref != 11 || len(d.TakeWork()) != 0 {
		t.Errorf("TakeWork gave %d entries, want 1 and then none", len(w))
	}
	run(4, sdk.Event{Kind: sdk.EvStop})
	if _, err := d.Effects(); !errors.Is(err, ErrLimit) {
		t.Errorf("too many effects: err %v, want %v", err, ErrLimit)
	}
	if yields != 4 {
		t.Errorf("%d yields in 4 batches", yields)
	}
	if err := d.Run([]byte("nonsense")); !errors.Is(err, ErrShort) {
		t.Errorf("nonsense: err %v, want %v", err, ErrShort)
	}
}

// TestAppendPost: A6.8.
func TestAppendPost(t *testing.T) {
	b, ok := AppendPost([]byte("before"), 5, []byte("result"))
	if !ok || !bytes.HasPrefix(b, []byte("before")) {
		t.Fatalf("ok %v, %q", ok, b)
	}
	h, r, err := Parse(b[len("before"):], sdk.MaxEffectBytes)
	f, _ := r.NextEffect()
	if err != nil || h.Seq != 0 || h.Records != 1 || f.Kind != sdk.OpPost || f.Ref != 5 || string(f.Payload) != "result" {
		t.Errorf("header %+v (%v), effect %+v", h, err, f)
	}
	if b, ok := AppendPost(nil, 1, make([]byte, sdk.MaxEffectBytes)); ok || b != nil {
		t.Errorf("a payload over the limit: ok %v, %d bytes", ok, len(b))
	}
}
