package host

import (
	"sync"
	"sync/atomic"

	"nethost/host/internal/ring"
	"nethost/host/link"
	"nethost/host/wire"
)

// outbox is where datagrams wait while the network is busy, so that the kernel
// never does. In ordinary times nothing passes through it.
type outbox struct {
	link link.Link
	try  link.Backpressure // nil: the link waits by itself

	active atomic.Bool   // something waits: everything goes behind it
	wake   chan struct{} // holds a token when the writer has work
	unsent []link.Train  // of flush, which is never called twice at once

	mu    sync.Mutex // a leaf; guards queue
	queue *ring.Queue
}

func newOutbox(l link.Link) *outbox {
	try, _ := l.(link.Backpressure)
	return &outbox{link: l, try: try, wake: make(chan struct{}, 1), queue: ring.New(ring.Config{})}
}

func (o *outbox) stats() ring.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.Stats()
}

// send gives trains to the network, or lets them wait. The caller holds the host's
// lock. Errors are lost datagrams, which the protocol survives.
func (h *Host) send(trains []link.Train) {
	o := h.outbox
	switch {
	case o.active.Load():
		h.wait(trains)
	case o.try == nil:
		_ = o.link.Write(trains)
	default:
		if o.unsent, _ = o.try.TryWrite(trains, o.unsent[:0]); len(o.unsent) > 0 {
			h.wait(o.unsent)
		}
	}
}

func (h *Host) wait(trains []link.Train) {
	o, now := h.outbox, h.Now()
	o.mu.Lock()
	for _, t := range trains {
		o.queue.Push(now, t, wire.IsBulk(t.Bytes))
	}
	o.active.Store(!o.queue.Empty())
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// write sends what waits, as fast as the network takes it, until stop.
func (h *Host) write(stop chan struct{}) {
	o := h.outbox
	for {
		select {
		case <-stop:
			return
		case <-o.wake:
		}
		for {
			o.mu.Lock()
			t, ok := o.queue.Pop(h.Now())
			if !ok {
				o.active.Store(false)
			}
			o.mu.Unlock()
			if !ok {
				break
			}
			_ = o.link.Write([]link.Train{t})
			o.mu.Lock()
			o.queue.Done(t)
			o.mu.Unlock()
		}
	}
}
