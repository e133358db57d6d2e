package abi

import "nethost/sdk"

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
}

// NewDispatcher returns a Dispatcher for m.
func NewDispatcher(m sdk.Module) *Dispatcher {
	d := &Dispatcher{module: m}
	d.env = sdk.NewEnv(&d.out)
	return d
}

// Run hands every event of the batch to the module, in order. An error means
// that the batch is malformed; what the module did so far must be thrown away.
func (d *Dispatcher) Run(batch []byte) error {
	var h Header
	var r Reader
	if err := parse(batch, sdk.MaxBatchBytes, &h, &r); err != nil {
		return err
	}
	if h.Records > sdk.MaxBatchEvents {
		return ErrLimit
	}
	d.out.ResetEffects(h.Seq)
	d.env.Begin(h.Now, h.Wall)
	var e sdk.Event
	for r.next(&e) {
		if e.Kind == sdk.EvFlush && d.Yield != nil {
			d.Yield()
		}
		d.module.Handle(d.env, e)
	}
	return r.Err()
}

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
	if err := d.out.Err(); err != nil {
		return nil, err
	}
	if d.out.Len() == 0 {
		return nil, nil
	}
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
