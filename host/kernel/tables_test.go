package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// twinTimer is a timer as the dumb twin of the heap keeps it: a list that is
// searched from end to end.
type twinTimer struct {
	at  time.Duration
	seq int
	on  bool
}

func TestTimersTwin(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var ts timers
		var now time.Duration
		seq := 0
		real, twin := make([]timer, 30), make([]twinTimer, 30)
		var fired, want []int
		for i := range real {
			real[i].fire = func(time.Duration) { fired = append(fired, i) }
		}
		for range 300 {
			i := r.IntN(len(real))
			switch r.IntN(5) {
			case 0:
				ts.set(&real[i], never)
				twin[i].on = false
			case 1, 2, 3:
				at := now + time.Duration(r.IntN(20))
				ts.set(&real[i], at)
				if !twin[i].on {
					seq++
					twin[i].seq = seq
				}
				twin[i].at, twin[i].on = at, true
			case 4:
				now += time.Duration(r.IntN(12))
				fired, want = nil, nil
				ts.run(now)
				for i := range twin {
					if twin[i].on && twin[i].at <= now {
						want = append(want, i)
						twin[i].on = false
					}
				}
				slices.SortFunc(want, func(a, b int) int {
					if d := twin[a].at - twin[b].at; d != 0 {
						return int(d)
					}
					return twin[a].seq - twin[b].seq
				})
				if !slices.Equal(fired, want) {
					t.Fatalf("seed %d: fired %v, want %v", seed, fired, want)
				}
			}
			next := never
			for _, w := range twin {
				if w.on {
					next = min(next, w.at)
				}
			}
			if ts.next() != next {
				t.Fatalf("seed %d: next at %v, want %v", seed, ts.next(), next)
			}
			for i := range real {
				if (real[i].pos > 0) != twin[i].on || real[i].pos > 0 && ts.h[real[i].pos-1] != &real[i] {
					t.Fatalf("seed %d: timer %d has position %d", seed, i, real[i].pos)
				}
			}
		}
	}
}

// TestTimersEnd: a timer that arms itself anew for now does not keep run going.
func TestTimersEnd(t *testing.T) {
	var ts timers
	var a, b timer
	n, other := 0, 0
	a.fire = func(now time.Duration) { n++; ts.set(&a, now) }
	b.fire = func(time.Duration) { other++ }
	ts.set(&a, 1)
	ts.set(&b, 1)
	ts.run(5)
	if n == 0 || n > 2 || other != 1 {
		t.Errorf("fired %d times, the other %d times", n, other)
	}
	ts.set(&a, never)
	if ts.next() != never {
		t.Error("a disarmed timer is still waited for")
	}
}

// TestIndexStale: no index that was given up leads anywhere, for as long as the
// generation's bits last.
func TestIndexStale(t *testing.T) {
	var tb indexTable
	r := rand.New(rand.NewPCG(1, 1))
	live := map[uint32]*dial{}
	var stale []uint32
	for range 20000 {
		if len(live) < 50 && r.IntN(2) == 0 {
			i, e, ok := tb.take(r.Uint32())
			if !ok || i == 0 || i&slotMask == 0 || live[i] != nil {
				t.Fatalf("took %08x, %v", i, ok)
			}
			e.dial = &dial{index: i}
			live[i] = e.dial
		} else {
			for i := range live {
				tb.drop(i)
				tb.drop(i) // once more must not give the slot away twice
				delete(live, i)
				stale = append(stale, i)
				break
			}
		}
		for i, d := range live {
			if e := tb.get(i); e == nil || e.dial != d {
				t.Fatalf("%08x does not lead to its entry", i)
			}
		}
		for _, i := range stale[max(0, len(stale)-1000):] {
			if live[i] == nil && tb.get(i) != nil {
				t.Fatalf("stale index %08x leads somewhere", i)
			}
		}
	}
	if len(tb.e) > 60 {
		t.Errorf("%d slots for 50 entries", len(tb.e))
	}
	for _, i := range []uint32{0, 1 << slotBits, slotMask, ^uint32(0)} {
		if tb.get(i) != nil {
			t.Errorf("index %08x leads somewhere", i)
		}
	}
}

func TestIndexExhausted(t *testing.T) {
	var tb indexTable
	var last uint32
	for n := range slotMask {
		i, _, ok := tb.take(uint32(n))
		if !ok {
			t.Fatalf("full after %d", n)
		}
		last = i
	}
	if _, _, ok := tb.take(0); ok {
		t.Fatal("more entries than slots")
	}
	tb.drop(last)
	i, _, ok := tb.take(0)
	if !ok || i == last || i&slotMask != last&slotMask || tb.get(last) != nil {
		t.Errorf("after a drop: %08x, %v", i, ok)
	}
}
