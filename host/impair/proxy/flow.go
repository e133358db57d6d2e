package proxy

import (
	"context"
	"sync"
	"time"

	"nethost/host/impair"
)

// maxHeld bounds the buffers of the packets that wait in one direction, in bytes.
const maxHeld = 128 << 20

// maxRelease is how many packets go out between two looks at the clock.
const maxRelease = 256

// never is later than any time.
const never = time.Duration(1<<63 - 1)

// flow is one direction: its link, and what waits in it. Readers bring packets in;
// what has to wait leaves through the one goroutine in release.
type flow struct {
	now func() time.Duration

	mu         sync.Mutex
	link       *impair.Link
	wait       queue
	pool       pool
	armed      time.Duration // when release will look again; 0 while it is awake
	wake       chan struct{} // it has to look earlier
	sent       uint64
	bytes      uint64
	lost       [numReasons]uint64 // beyond what the link drops
	extra      uint64             // of those, what the link never saw
	extraBytes uint64
}

// reason is why a packet was lost other than by the link.
type reason uint8

const (
	lostTable   reason = iota // too many clients
	lostMemory                // too much waits already
	lostSend                  // the system refused it, or nobody listens there
	lostRebound               // for an address that a client no longer has
	numReasons
)

var reasonNames = [numReasons]string{"table", "memory", "send", "rebound"}

func newFlow(c impair.Config, seed uint64, now func() time.Duration) *flow {
	return &flow{now: now, link: impair.New(c, seed), wake: make(chan struct{}, 1)}
}

// refuse counts packets that never reach the link.
func (f *flow) refuse(why reason, n, bytes int) {
	f.mu.Lock()
	f.lost[why] += uint64(n)
	f.extra += uint64(n)
	f.extraBytes += uint64(bytes)
	f.mu.Unlock()
}

// carry takes packets through the link. What comes out at once goes out through w;
// the rest is copied. w is empty before and after.
func (f *flow) carry(in []packet, w *writer) {
	f.mu.Lock()
	now := f.now()
	for _, p := range in {
		copies, n := f.link.Pass(now, len(p.b))
		for _, c := range copies[:n] {
			switch {
			case c.Fate != impair.Passed:
			case c.At <= now:
				w.add(p)
			default:
				f.hold(c.At, p)
			}
		}
	}
	if len(f.wait.heap) > 0 && f.wait.heap[0].at < f.armed {
		f.armed = 0
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	f.mu.Unlock()
	if len(w.out) > 0 {
		f.send(w)
		w.out = w.out[:0]
	}
}

// hold keeps a copy of p until at.
func (f *flow) hold(at time.Duration, p packet) {
	b, ok := f.pool.copyOf(p.b)
	if !ok {
		f.lost[lostMemory]++
		return
	}
	f.wait.push(at, packet{b, p.c})
}

// send sends what is in w and counts it.
func (f *flow) send(w *writer) {
	bytes := 0
	for _, p := range w.out {
		bytes += len(p.b)
	}
	failed, failedBytes := w.flush()
	f.mu.Lock()
	f.sent += uint64(len(w.out) - failed)
	f.bytes += uint64(bytes - failedBytes)
	f.lost[lostSend] += uint64(failed)
	f.mu.Unlock()
}

// release sends what waits when its time has come, until ctx ends.
func (f *flow) release(ctx context.Context, w *writer) {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for ctx.Err() == nil {
		sleep := f.take(w)
		if len(w.out) > 0 {
			f.send(w)
			f.giveBack(w)
			continue
		}
		timer.Reset(sleep)
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
	}
}

// take moves what is due into w. When nothing is, it says for how long, and carry
// wakes whoever sleeps so long if that changes.
func (f *flow) take(w *writer) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for len(w.out) < maxRelease && len(f.wait.heap) > 0 && f.wait.heap[0].at <= now {
		w.add(f.wait.pop())
	}
	f.armed = 0
	if len(w.out) > 0 {
		return 0
	}
	f.armed = never
	if len(f.wait.heap) > 0 {
		f.armed = f.wait.heap[0].at
	}
	return f.armed - now
}

// giveBack empties w of what take moved there.
func (f *flow) giveBack(w *writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range w.out {
		f.pool.release(p.b)
	}
	w.out = w.out[:0]
}

// stats sums the direction up.
func (f *flow) stats() Direction {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.link.Stats()
	d := Direction{In: s.In + f.extra, InBytes: s.InBytes + f.extraBytes, Forwarded: f.sent, ForwardedBytes: f.bytes, Duplicated: s.Duplicated, Lost: map[string]uint64{}}
	for fate, n := range s.Fates {
		if n > 0 && impair.Fate(fate) != impair.Passed {
			d.Lost[impair.Fate(fate).String()] = n
		}
	}
	for why, n := range f.lost {
		if n > 0 {
			d.Lost[reasonNames[why]] = n
		}
	}
	d.Waiting = s.Fates[impair.Passed] - f.sent - f.lost[lostMemory] - f.lost[lostSend]
	return d
}
