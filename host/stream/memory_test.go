package stream

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"nethost/host/wire"
	"nethost/sdk"
)

// heap is what is in use once all garbage is gone.
func heapInUse() int {
	var ms runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&ms)
	return int(ms.HeapAlloc)
}

// TestIdleMemory: what a Mux keeps when it never had streams, and when it carried a
// burst and has been idle for a second (S7.3).
func TestIdleMemory(t *testing.T) {
	t.Logf("Mux %d bytes, stream %d, packet %d, item %d, event %d", unsafe.Sizeof(Mux{}), unsafe.Sizeof(stream{}),
		unsafe.Sizeof(packet{}), unsafe.Sizeof(item{}), unsafe.Sizeof(Event{}))
	const n = 500
	for _, c := range []struct {
		name string
		most int // bytes
		use  func(w *wirePair)
	}{
		{"fresh", 2400, func(*wirePair) {}},
		{"pinged", 2900, func(w *wirePair) {
			w.a.Control(wire.AppendPing(nil, wire.Ping{}))
			w.b.Control(wire.AppendPing(nil, wire.Ping{}))
			w.exchange(t)
		}},
		{"after a burst", 2900, func(w *wirePair) {
			for range 50 {
				sid, _ := w.a.Open(testID, 0, sdk.Bulk)
				w.a.Write(sid, make([]byte, 20000), true)
				w.exchange(t)
				w.b.Write(sid, make([]byte, 5000), true)
				w.a.Send(testID, 0, make([]byte, 1000), w.now)
				w.exchange(t)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := make([]*Mux, 0, 2*n)
			before := heapInUse()
			for range n {
				w := newWirePair()
				c.use(w)
				for range 5 { // delayed acks, lazy credits, then quiet
					w.now = max(w.now, min(w.a.Deadline(), w.b.Deadline(), w.now+2*time.Second))
					w.a.OnTimer(w.now)
					w.b.OnTimer(w.now)
					w.exchange(t)
				}
				if w.a.Deadline() != never || w.b.Deadline() != never {
					t.Fatalf("an idle Mux waits for %v and %v", w.a.Deadline(), w.b.Deadline())
				}
				all = append(all, w.a, w.b)
			}
			each := (heapInUse() - before) / (2 * n)
			t.Logf("%d bytes a Mux", each)
			if each > c.most {
				t.Errorf("an idle Mux takes %d bytes, want at most %d", each, c.most)
			}
			runtime.KeepAlive(all)
		})
	}
}

// TestIdleStreams: 10 000 streams open at once that have nothing to say (S2.4).
func TestIdleStreams(t *testing.T) {
	w := newWirePair()
	before := heapInUse()
	const n = defaultStreams
	for range n {
		sid, ok := w.a.Open(testID, 0, sdk.Bulk)
		if !ok {
			t.Fatal("Open refused")
		}
		w.a.Write(sid, zeros[:100], false)
		if sid%512 == 1 {
			w.exchange(t)
		}
	}
	w.exchange(t)
	for range 5 {
		w.now = max(w.now, min(w.a.Deadline(), w.b.Deadline()))
		w.a.OnTimer(w.now)
		w.b.OnTimer(w.now)
		w.exchange(t)
	}
	if _, ok := w.a.Open(testID, 0, sdk.Bulk); ok || len(w.b.streams) != n {
		t.Errorf("%d streams, one more is refused: %v", len(w.b.streams), !ok)
	}
	each := (heapInUse() - before) / (2 * n)
	t.Logf("%d bytes a stream and end", each)
	if each > 512 {
		t.Errorf("an idle stream takes %d bytes", each)
	}
	runtime.KeepAlive(w)
}

// TestReadyStreams: the cost of a packet does not depend on how many streams have
// something to send.
func TestReadyStreams(t *testing.T) {
	cost := func(n int) float64 {
		m := New(Config{Odd: true})
		for range n {
			sid, _ := m.Open(testID, 0, sdk.Bulk)
			m.Write(sid, zeros[:4000], false)
		}
		buf := make([]byte, 0, 1200)
		counter, best := uint64(0), 1e9
		for range 5 {
			start := time.Now()
			for range 1000 {
				b := m.Fill(buf, 1148, 0)
				if len(b) < 1000 {
					t.Fatalf("%d bytes with %d streams ready", len(b), n)
				}
				m.unfill() // back to the streams, as when sealing failed
			}
			best = min(best, float64(time.Since(start).Nanoseconds())/1000)
		}
		for range 25 {
			b := m.Fill(buf, 1148, 0)
			counter++
			m.Sent(1, counter, len(b)+52, 0)
		}
		return best
	}
	few, many := cost(10), cost(10000)
	t.Logf("Fill with 10 streams ready %.0f ns, with 10 000 %.0f ns", few, many)
	if many > 20*few+5000 {
		t.Errorf("Fill costs %.0f ns with 10 000 streams ready, %.0f with 10", many, few)
	}
}
