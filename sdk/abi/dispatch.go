package abi

import (
	"encoding/binary"
	"time"

	"nethost/sdk"
)

// Dispatcher runs batches of events through one module and collects its effects.
// Every carrier's module side uses it, so that the same batch means the same
// calls wherever the module lives. It is not safe for concurrent use.
type Dispatcher struct {
	// Yield, when set, is called before Flush is handed over: a guest lets
	// its goroutines run there.
	Yield func()

	module sdk.Module
	env    *sdk.Env
	out    Writer
	seq    uint64    // of the batch at hand
	ev     sdk.Event // the one at hand
}

// NewDispatcher returns a Dispatcher for m.
func NewDispatcher(m sdk.Module) *Dispatcher {
	d := &Dispatcher{module: m}
	d.env = sdk.NewEnv(d.out.Records())
	return d
}

// Run hands every event of the batch to the module, in order. An error means
// that the batch is malformed; what the module did so far must be thrown away.
//
// It is Parse and Reader in one function, with nothing called but the module: in a
// wasm guest a call costs 20 to 40 ns. TestRunAgrees holds it to them.
func (d *Dispatcher) Run(batch []byte) error {
	if len(batch) < HeaderSize || len(batch) > sdk.MaxBatchBytes {
		return malformed(batch)
	}
	h := (*[HeaderSize]byte)(batch)
	first, sizes := binary.LittleEndian.Uint64(h[0:]), binary.LittleEndian.Uint64(h[8:])
	if first&^(0xffff<<32) != uint64(magic) || sizes>>32 != uint64(len(batch)) {
		return malformed(batch)
	}
	left := uint32(sizes)
	if left > sdk.MaxBatchEvents {
		return ErrLimit
	}
	d.seq = binary.LittleEndian.Uint64(h[16:])
	d.out.out.Start(HeaderSize, sdk.MaxEffects, sdk.MaxEffectBytes)
	d.env.Begin(time.Duration(binary.LittleEndian.Uint64(h[24:])), int64(binary.LittleEndian.Uint64(h[32:])))
	return d.each(batch, left)
}

// each hands over the records. It is a function of its own so that nothing else is
// kept across the calls.
//
//go:noinline
func (d *Dispatcher) each(batch []byte, left uint32) error {
	e, at := &d.ev, uint64(HeaderSize)
	for ; left > 0; left-- {
		if uint64(len(batch)) < at+RecordSize {
			return ErrRecord
		}
		rec := (*[RecordSize]byte)(batch[at:])
		head, mid := binary.LittleEndian.Uint64(rec[0:]), binary.LittleEndian.Uint64(rec[8:])
		n := head >> 32
		from := at + RecordSize
		at = from + (n+7)&^7
		if uint64(len(batch)) < at {
			return ErrRecord
		}
		if pad := at - from - n; pad != 0 && binary.LittleEndian.Uint64(batch[at-8:])>>(64-8*pad) != 0 {
			return ErrPadding
		}
		e.Kind, e.Flags = sdk.EventKind(head), uint16(head>>16)
		e.Peer, e.ID, e.Version = sdk.Peer(mid), sdk.ID(mid>>32), sdk.Version{Major: uint8(mid >> 48), Minor: uint8(mid >> 56)}
		e.Ref, e.Arg = sdk.Ref(binary.LittleEndian.Uint64(rec[16:])), binary.LittleEndian.Uint64(rec[24:])
		e.Payload = batch[from : from+n : from+n]
		if e.Kind == sdk.EvFlush && d.Yield != nil {
			d.Yield()
		}
		if e.Kind == sdk.EvWouldBlock || e.Kind == sdk.EvWritable || e.Kind == sdk.EvPeerDown {
			d.env.Backpressure(e)
		}
		d.module.Handle(d.env, e)
	}
	if at != uint64(len(batch)) {
		return ErrCount
	}
	return nil
}

// malformed says what is wrong with a header.
//
//go:noinline
func malformed(batch []byte) error {
	_, _, err := Parse(batch, sdk.MaxBatchBytes)
	return err
}

// HasWork reports that the module asked for slow functions during Run.
func (d *Dispatcher) HasWork() bool { return d.env.HasWork() }

// TakeWork hands over the slow functions the module asked for during Run.
func (d *Dispatcher) TakeWork() []sdk.Work { return d.env.TakeWork() }

// RunWork runs slow functions in place and posts their results with the batch's
// own effects (A6.7). Carriers that have threads call TakeWork instead.
func (d *Dispatcher) RunWork() {
	for _, w := range d.env.TakeWork() {
		d.out.Emit(sdk.Effect{Kind: sdk.OpPost, Ref: w.Ref, Payload: w.Do()})
	}
}

// Effects gives the batch of effects since Run, nil when there are none, or
// ErrLimit when the module wrote more than it may. Valid until the next Run.
func (d *Dispatcher) Effects() ([]byte, error) {
	if d.out.out.Over() {
		return nil, ErrLimit
	}
	if d.out.Len() == 0 {
		return nil, nil
	}
	d.out.head(d.seq, 0, 0)
	return d.out.Bytes(), nil
}

// AppendPost appends a batch that holds one OpPost to b: what a carrier with
// threads sends when a Work is done. ok is false when payload is above the limit
// of a batch of effects.
func AppendPost(b []byte, ref sdk.Ref, payload []byte) (out []byte, ok bool) {
	var w Writer
	w.ResetEffects(0)
	w.Emit(sdk.Effect{Kind: sdk.OpPost, Ref: ref, Payload: payload})
	if w.Err() != nil {
		return b, false
	}
	return append(b, w.Bytes()...), true
}
