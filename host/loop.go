package host

import (
	"math"
	"strings"
	"time"

	"nethost/host/kernel"
	"nethost/registry"
	"nethost/sdk"
)

const never = time.Duration(math.MaxInt64)

// step runs the kernel with one input, flushes, and lets inline modules take what
// they got.
func (h *Host) step(set func(in *kernel.Input)) {
	h.mu.Lock()
	set(&h.in)
	h.stepLocked()
	h.mu.Unlock()
	h.mods.RunInline()
}

// stepLocked runs the kernel with h.in, does what it wants done, and arms the
// timer. A kernel with more to send at once is stepped again right away, but not
// for ever: the timer continues, so that datagrams get their turn.
func (h *Host) stepLocked() {
	if h.down {
		return
	}
	now := h.Now()
	h.in.Busy = h.outbox.active.Load()
	h.k.Step(now, &h.in, &h.out)
	h.flush()
	for range 8 {
		if h.k.NextDeadline() > now {
			break
		}
		now = h.Now()
		h.in = kernel.Input{Kind: kernel.InTick}
		h.k.Step(now, &h.in, &h.out)
		h.flush()
	}
	if h.out.Lazy {
		select {
		case h.push <- struct{}{}:
		default:
		}
	}
	h.in = kernel.Input{}
	if next := h.k.NextDeadline(); next < h.armed && h.timer != nil {
		h.armed = next
		h.timer.Reset(max(0, next-now))
	}
}

// TraceModule is the kind of events about the node's own modules.
const TraceModule kernel.TraceKind = "module"

// tick runs when a deadline came.
func (h *Host) tick() {
	h.mu.Lock()
	h.armed = never
	h.in = kernel.Input{Kind: kernel.InTick}
	h.stepLocked()
	h.mu.Unlock()
	h.mods.RunInline()
}

// flush does what a Step wanted done, while its slices are valid.
func (h *Host) flush() {
	if h.out.Incarnation > 0 && h.cfg.SaveIncarnation != nil {
		if err := h.cfg.SaveIncarnation(h.out.Incarnation); err != nil {
			h.cfg.Log.Error("incarnation not kept", "incarnation", h.out.Incarnation, "err", err)
		}
	}
	if len(h.out.Datagrams) > 0 {
		h.send(h.out.Datagrams)
	}
	for i := range h.out.Deliveries {
		d := &h.out.Deliveries[i]
		h.mods.Deliver(d.Slot, d.Event)
	}
	for i := range h.out.Apps {
		h.appEvent(&h.out.Apps[i])
	}
	for _, j := range h.out.Jobs {
		h.jobs <- j // never blocks: the kernel bounds its jobs below the capacity
	}
	for i := range h.out.Hops {
		h.hop(h.out.Hops[i])
	}
	for i := range h.out.Trace {
		h.traced(h.out.Trace[i])
	}
}

func (h *Host) traced(t kernel.Trace) {
	var who string
	if !t.Node.IsZero() {
		who = t.Node.Short()
	} else if t.Addr.IsValid() {
		who = t.Addr.String()
	}
	switch t.Kind {
	case kernel.TraceHandshake, kernel.TraceRefused, kernel.TraceDenied, kernel.TraceUnsupport, kernel.TraceDead,
		kernel.TraceGrey, kernel.TraceBarred, kernel.TraceRepaired, kernel.TraceTwin:
		if hidden, ok := h.warns.allow(h.Now()); ok {
			h.cfg.Log.Warn(string(t.Kind), "peer", who, "detail", t.Text, "hidden", hidden)
		}
	default:
		h.cfg.Log.Debug(string(t.Kind), "peer", who, "detail", t.Text)
	}
	for c := range h.watch {
		select {
		case c <- t:
		default: // a watcher that does not keep up misses events
		}
	}
}

// warnRate bounds the warnings that others can bring about, a second.
const warnRate = 10

// warnLimit lets warnRate lines a second through and counts the others, because
// whoever can send a packet must not be able to fill a disk.
type warnLimit struct {
	since  time.Duration
	n      int
	hidden uint64
}

// allow reports whether a line may go, and how many were hidden before it.
func (w *warnLimit) allow(now time.Duration) (hidden uint64, ok bool) {
	if now-w.since >= time.Second {
		w.since, w.n = now, 0
	}
	if w.n++; w.n > warnRate {
		w.hidden++
		return 0, false
	}
	hidden, w.hidden = w.hidden, 0
	return hidden, true
}

// Apply takes the network effects of a module (module.Host).
func (h *Host) Apply(slot int, effects []sdk.Effect) {
	h.mu.Lock()
	h.in = kernel.Input{Kind: kernel.InEffects, Slot: slot, Effects: effects}
	h.stepLocked()
	h.mu.Unlock()
}

func (h *Host) setTable(t *registry.Table) {
	if t == h.table {
		return
	}
	h.table = t
	h.in = kernel.Input{Kind: kernel.InTable, Table: t}
	h.stepLocked()
}

// Watch subscribes to trace events until cancel is called. A slow reader misses
// events rather than slow the node.
func (h *Host) Watch() (events <-chan kernel.Trace, cancel func()) {
	c := make(chan kernel.Trace, 256)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		close(c)
		return c, func() {}
	}
	h.watch[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.watch[c]; ok {
			delete(h.watch, c)
			close(c)
		}
	}
}

// methodOf splits "module.method"; the method may be missing.
func methodOf(s string) (name, method string) {
	name, method, _ = strings.Cut(s, ".")
	return name, method
}
