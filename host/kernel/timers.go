package kernel

import (
	"container/heap"
	"math"
	"time"
)

const never = time.Duration(math.MaxInt64)

// timer is one deadline of the kernel. Its owner embeds it; fire runs inside
// Step. A timer at never is not in the heap.
type timer struct {
	at   time.Duration
	seq  uint64 // ties fire in the order they were armed: determinism
	pos  int    // index in the heap + 1; 0 = not in it
	fire func(now time.Duration)
}

type timers struct {
	h   timerHeap
	seq uint64
}

// set arms, moves or (at never) disarms t.
func (ts *timers) set(t *timer, at time.Duration) {
	switch {
	case at == never:
		if t.pos > 0 {
			heap.Remove(&ts.h, t.pos-1)
		}
		t.at = never
	case t.pos > 0:
		if t.at != at {
			t.at = at
			heap.Fix(&ts.h, t.pos-1)
		}
	default:
		ts.seq++
		t.at, t.seq = at, ts.seq
		heap.Push(&ts.h, t)
	}
}

func (ts *timers) next() time.Duration {
	if len(ts.h) == 0 {
		return never
	}
	return ts.h[0].at
}

// run fires what is due, as many as were armed: one that arms itself anew for now
// must not keep Step from ending.
func (ts *timers) run(now time.Duration) {
	for n := len(ts.h); n > 0 && len(ts.h) > 0 && ts.h[0].at <= now; n-- {
		t := heap.Pop(&ts.h).(*timer)
		t.at = never
		t.fire(now)
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.pos = len(*h)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.pos = 0
	return t
}
