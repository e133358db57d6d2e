package main

import (
	"context"
	"errors"
	"io"
	"sync"
)

// echo sends one message at a time and waits for it, or, with a rate, sends on
// schedule and measures from the scheduled time.
func (w *worker) echo(o *order) error {
	s, err := w.source.(Dialer).Open(w.ctx, Echo, 0)
	if err != nil {
		return err
	}
	p, err := newPacer(w.meter.Counters, 1, o.Rate)
	if err != nil {
		return err
	}
	if o.Rate > 0 {
		return w.begin(p.Stop, func() error { return w.scheduled(s, p, o.Size) })
	}
	return w.begin(p.Stop, func() error {
		defer s.Close()
		b := make([]byte, o.Size)
		for !p.stop.Load() {
			began := monotonic()
			if _, err := s.Write(b); err != nil {
				return err
			}
			if _, err := io.ReadFull(s, b); err != nil {
				return err
			}
			w.meter.Sample(monotonic() - began)
			w.meter.Trips.Add(1)
		}
		return nil
	})
}

// scheduled sends requests when they are due, whether or not the earlier ones were
// answered.
func (w *worker) scheduled(s Stream, p *Pacer, size int) error {
	var wg sync.WaitGroup
	var readErr error
	first := p.first
	wg.Go(func() {
		b := make([]byte, size)
		for n := first; ; n++ {
			if _, readErr = io.ReadFull(s, b); readErr != nil {
				return
			}
			w.meter.Sample(monotonic() - p.at(n))
			w.meter.Trips.Add(1)
		}
	})
	b := make([]byte, size)
	var err error
	for err == nil {
		n := p.Take(64)
		if n == 0 {
			break
		}
		for range n {
			p.Stamp(b)
			if _, err = s.Write(b); err != nil {
				break
			}
		}
	}
	s.Close()
	wg.Wait()
	if !p.stop.Load() {
		return errors.Join(err, readErr)
	}
	return err
}

// unary makes one call at a time.
func (w *worker) unary(o *order) error {
	c, ok := w.source.(Caller)
	if !ok {
		return errors.ErrUnsupported
	}
	ctx, cancel := context.WithCancel(w.ctx)
	return w.begin(cancel, func() error {
		b := make([]byte, o.Size)
		for ctx.Err() == nil {
			began := monotonic()
			if _, err := c.Call(ctx, b); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			w.meter.Sample(monotonic() - began)
			w.meter.Trips.Add(1)
		}
		return nil
	})
}
