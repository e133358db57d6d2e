package stream

import (
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// wirePair joins two Muxes back to back, without copies and allocations.
type wirePair struct {
	a, b    *Mux
	counter [2]uint64
	now     time.Duration
	buf     [2048]byte
	ack     wire.Ack
	frame   wire.Frame
	got     int
	lose    func(n uint64) bool
	swap    func(n uint64) bool
	held    [2048]byte
	heldLen int
	heldNo  uint64
}

func newWirePair() *wirePair { return &wirePair{a: New(Config{Odd: true}), b: New(Config{})} }

// exchange carries packets until neither side has more to say.
func (w *wirePair) exchange(tb testing.TB) {
	for w.carry(tb, w.a, w.b, 0) || w.carry(tb, w.b, w.a, 1) {
	}
	w.now += 100 * time.Microsecond
}

func (w *wirePair) carry(tb testing.TB, from, to *Mux, side int) bool {
	sent := false
	for from.WantsSend(w.now) {
		p := from.Fill(w.buf[:0], 1148, w.now)
		if len(p) == 0 {
			break
		}
		w.counter[side]++
		n := w.counter[side]
		from.Sent(uint32(side), n, len(p)+52, w.now)
		sent = true
		if w.lose != nil && w.lose(n) {
			continue
		}
		if w.swap != nil && w.heldLen == 0 && side == 0 && w.swap(n) {
			w.heldLen, w.heldNo = copy(w.held[:], p), n
			continue
		}
		w.take(tb, to, side, n, p)
		if w.heldLen > 0 && side == 0 && n >= w.heldNo+2 {
			held := w.heldLen
			w.heldLen = 0
			w.take(tb, to, 0, w.heldNo, w.held[:held])
		}
	}
	return sent
}

func (w *wirePair) take(tb testing.TB, to *Mux, side int, counter uint64, rest []byte) {
	eliciting, ok := false, false
	for len(rest) > 0 {
		if w.frame, rest, ok = wire.ParseFrame(rest); !ok {
			tb.Fatal("malformed frame")
		}
		f := &w.frame
		switch {
		case f.ID != coreID:
			eliciting = true
			if f.Flags&wire.FlagStream != 0 && !to.OnFrame(f, w.now) {
				tb.Fatal("violation")
			}
		case f.Payload[0] == wire.MsgAck:
			if !wire.ParseAck(f.Payload[1:], &w.ack) {
				tb.Fatal("malformed ack")
			}
			to.OnAck(&w.ack, w.now)
		case f.Payload[0] == wire.MsgCredit:
			eliciting = true
			c, _ := wire.ParseCredit(f.Payload[1:])
			to.OnCredit(c)
		default:
			eliciting = true
		}
	}
	to.Received(uint32(side), counter, eliciting, false, w.now)
	for _, ev := range to.Events() {
		if ev.Kind == Data {
			w.got += len(ev.Data)
			to.Consumed(ev.Stream, uint64(len(ev.Data)))
		}
	}
}

func testAllocs(t *testing.T, w *wirePair, f func()) {
	t.Helper()
	for range 2000 { // slabs and rings reach their size
		f()
		w.exchange(t)
	}
	if n := testing.AllocsPerRun(2000, func() { f(); w.exchange(t) }); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
	if w.got == 0 && w.a.stats.Sent == 0 {
		t.Error("nothing moved")
	}
}

func TestZeroAllocs(t *testing.T) {
	data := make([]byte, 20000)
	t.Run("stream", func(t *testing.T) {
		w := newWirePair()
		sid, _ := w.a.Open(testID, 0, sdk.Bulk)
		testAllocs(t, w, func() {
			if w.a.Write(sid, data, false) != OK {
				t.Fatal("write")
			}
		})
	})
	t.Run("stream with loss and reordering", func(t *testing.T) {
		w := newWirePair()
		w.lose = func(n uint64) bool { return n%29 == 3 }
		w.swap = func(n uint64) bool { return n%7 == 0 }
		sid, _ := w.a.Open(testID, 0, sdk.Bulk)
		testAllocs(t, w, func() {
			w.a.Write(sid, data, false) // refused while the window is closed
			w.now += 5 * time.Millisecond
			w.a.OnTimer(w.now)
			w.b.OnTimer(w.now)
		})
		if w.a.stats.Retransmitted == 0 || w.b.recvPool.free == nil {
			t.Error("nothing was lost")
		}
	})
	t.Run("messages", func(t *testing.T) {
		w := newWirePair()
		testAllocs(t, w, func() {
			for range 10 {
				w.a.Send(testID, 0, data[:1024], w.now)
				w.b.Control(data[:20])
			}
		})
	})
	t.Run("calls", func(t *testing.T) {
		w := newWirePair()
		testAllocs(t, w, func() {
			sid, ok := w.a.Open(testID, 0, sdk.Realtime)
			if !ok {
				t.Fatal("open")
			}
			w.a.Write(sid, data[:100], true)
			w.exchange(t)
			w.b.Write(sid, data[:100], true)
		})
		w.now += time.Second
		w.b.OnTimer(w.now)
		w.a.OnTimer(w.now)
		w.exchange(t)
		if len(w.a.streams) > 2 || len(w.b.streams) > 2 {
			t.Errorf("%d and %d streams left", len(w.a.streams), len(w.b.streams))
		}
	})
}

func BenchmarkStream(b *testing.B) {
	for name, lose := range map[string]func(uint64) bool{
		"clean":   nil,
		"loss=1%": func(n uint64) bool { return n%100 == 50 },
	} {
		b.Run(name, func(b *testing.B) {
			w := newWirePair()
			w.lose = lose
			data := make([]byte, 64<<10)
			sid, _ := w.a.Open(testID, 0, sdk.Bulk)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for w.a.Write(sid, data, false) != OK {
					w.now = max(w.now, min(w.a.Deadline(), w.b.Deadline()))
					w.a.OnTimer(w.now)
					w.b.OnTimer(w.now)
					w.exchange(b)
					w.a.Events()
				}
				w.exchange(b)
				w.a.Events()
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	w := newWirePair()
	data := make([]byte, 1024)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		w.a.Send(testID, 0, data, w.now)
		w.exchange(b)
	}
}

func BenchmarkCall(b *testing.B) {
	w := newWirePair()
	data := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		sid, _ := w.a.Open(testID, 0, sdk.Realtime)
		w.a.Write(sid, data, true)
		w.exchange(b)
		w.b.Write(sid, data, true)
		w.exchange(b)
	}
}
