package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/sdk"
)

const testID sdk.ID = 0x1234

// pattern is the byte at an offset of a test stream.
func pattern(sid, off uint64) byte { return byte(off ^ off>>8 ^ off>>16 ^ sid*31) }

func checkPattern(t *testing.T, sid, off uint64, b []byte) {
	t.Helper()
	for i, c := range b {
		if c != pattern(sid, off+uint64(i)) {
			t.Fatalf("stream %d: wrong byte at offset %d", sid, off+uint64(i))
		}
	}
}

// writer writes a stream of a given size as credit allows.
type writer struct {
	m                 *Mux
	sid               uint64
	size, sent, limit uint64
	fin               bool
}

func (w *writer) push(t *testing.T) {
	for !w.fin {
		n := min(w.limit-w.sent, w.size-w.sent, 64<<10)
		if n == 0 && w.sent < w.size {
			return
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = pattern(w.sid, w.sent+uint64(i))
		}
		w.fin = w.sent+n == w.size
		if r := w.m.Write(w.sid, b, w.fin); r != OK {
			t.Fatalf("write of %d at %d of %d, limit %d: result %d", n, w.sent, w.size, w.limit, r)
		}
		w.sent += n
	}
}

// transfer moves size bytes over a stream and returns the virtual time it took.
func transfer(t *testing.T, p *pair, size uint64, maxStall time.Duration, tick func()) time.Duration {
	sid, ok := p.mux[0].Open(testID, 1, sdk.Bulk)
	if !ok {
		t.Fatal("Open refused")
	}
	w := &writer{m: p.mux[0], sid: sid, size: size, limit: InitialWindow}
	var got uint64
	var fin, opened, closed bool
	last := p.now
	p.onEvent = func(side int, ev *Event) {
		switch {
		case side == 0 && ev.Kind == CreditGranted:
			w.limit += ev.N
			w.push(t)
		case side == 0 && ev.Kind == Data && ev.FIN:
		case side == 0 && ev.Kind == Closed:
			closed = true
		case side == 1 && ev.Kind == Opened:
			opened = true
			if ev.ID != testID || ev.Epoch != 1 || ev.Class != sdk.Bulk {
				t.Fatalf("opened as %+v", ev)
			}
			p.mux[1].Write(sid, nil, true)
		case side == 1 && ev.Kind == Data:
			checkPattern(t, sid, got, ev.Data)
			got += uint64(len(ev.Data))
			p.mux[1].Consumed(sid, uint64(len(ev.Data)))
			if maxStall > 0 && p.now-last > maxStall {
				t.Errorf("stalled %v at %v, offset %d", p.now-last, last, got)
			}
			last = p.now
			fin = fin || ev.FIN
		case side == 1 && ev.Kind == Closed:
		default:
			t.Fatalf("side %d: unexpected %v", side, ev.Kind)
		}
	}
	w.push(t)
	start := p.now
	p.run(p.now+10*time.Minute, func() bool {
		if tick != nil {
			tick()
		}
		return fin && closed
	})
	if !opened || got != size {
		t.Fatalf("got %d of %d bytes", got, size)
	}
	took := p.now - start
	p.settle()
	checkEmpty(t, p)
	return took
}

// checkEmpty checks that nothing is kept once all streams are done.
func checkEmpty(t *testing.T, p *pair) {
	t.Helper()
	for i, m := range p.mux {
		m.Events()
		m.Events()
		m.Events()
		if len(m.streams) != 0 || m.sendPool.used != 0 || m.recvPool.used != 0 || m.log.count != 0 || m.cc.inFlight != 0 ||
			m.localOpen != 0 || len(m.peer.skipped) != 0 {
			t.Errorf("side %d keeps something: %d streams, chunks %d/%d, %d packets, %d bytes in flight, %d local, %d skipped", i,
				len(m.streams), m.sendPool.used, m.recvPool.used, m.log.count, m.cc.inFlight, m.localOpen, len(m.peer.skipped))
		}
		free := 0
		for j := m.log.freeItem; j != none; j = m.log.items[j].next {
			free++
		}
		if free != len(m.log.items) {
			t.Errorf("side %d: %d of %d items leaked", i, len(m.log.items)-free, len(m.log.items))
		}
		if st := m.Stats(); st.BadAcks != 0 || st.Violations != 0 {
			t.Errorf("side %d: %+v", i, st)
		}
	}
}

func TestTransfer(t *testing.T) {
	const ms = time.Millisecond
	cases := map[string]conditions{
		"clean":      {delay: ms},
		"zero delay": {},
		"loss 1%":    {delay: 5 * ms, loss: 0.01},
		"loss 10%":   {delay: 5 * ms, loss: 0.1},
		"loss 30%":   {delay: ms, loss: 0.3},
		"reorder":    {delay: 2 * ms, jitter: 5 * ms, late: 0.2},
		"duplicate":  {delay: 2 * ms, jitter: 20 * ms, late: 0.1, dup: 0.2},
		"everything": {delay: 10 * ms, jitter: 30 * ms, late: 0.1, dup: 0.1, loss: 0.05},
		"bottleneck": {delay: 5 * ms, perPacket: 100 * time.Microsecond, queue: 40},
	}
	size := uint64(10 << 20)
	if testing.Short() {
		size = 1 << 20
	}
	for name, cond := range cases {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				p := newPair(t, seed, cond, Config{})
				stall := 1100 * time.Millisecond
				if cond.loss > 0.2 {
					stall *= 3 // probes get lost as well
				}
				took := transfer(t, p, size, stall, nil)
				t.Logf("%v for %d MiB, %d packets, %d dropped; %+v", took, size>>20, p.packets, p.dropped, p.mux[0].Stats())
			}
		})
	}
}

// TestBottleneck: a path that holds few packets is used to at least half (no
// stall, S5).
func TestBottleneck(t *testing.T) {
	p := newPair(t, 1, conditions{delay: time.Millisecond, perPacket: 50 * time.Microsecond, queue: 60}, Config{Window: 4 << 20})
	const size = 20 << 20
	ideal := time.Duration(size/1142) * p.cond.perPacket
	if took := transfer(t, p, size, time.Second, nil); took > 2*ideal {
		t.Errorf("took %v, the path alone needs %v", took, ideal)
	}
}

// TestRekey: generations change in the middle, also while packets of the old one
// are under way (S4.1).
func TestRekey(t *testing.T) {
	p := newPair(t, 3, conditions{delay: 3 * time.Millisecond, loss: 0.02, jitter: 10 * time.Millisecond, late: 0.1}, Config{})
	next := time.Duration(0)
	transfer(t, p, 5<<20, 0, func() {
		if p.now >= next {
			next = p.now + 50*time.Millisecond
			for i := range p.gen {
				p.gen[i] += 2
				p.counter[i] = 0
			}
		}
	})
}

// TestPathChanged: everything on the old path is lost, and the new one carries on
// without waiting for a timeout.
func TestPathChanged(t *testing.T) {
	p := newPair(t, 4, conditions{delay: 20 * time.Millisecond, perPacket: 100 * time.Microsecond, queue: 400}, Config{})
	next := 100 * time.Millisecond
	changes := 0
	transfer(t, p, 8<<20, 200*time.Millisecond, func() {
		if p.now >= next {
			next = p.now + 300*time.Millisecond
			changes++
			p.air = p.air[:0]
			p.mux[0].PathChanged(p.now)
			p.mux[1].PathChanged(p.now)
			if w := p.mux[0].Stats().Window; w < p.mux[0].cc.initialWindow() {
				t.Errorf("window fell to %d", w)
			}
		}
	})
	if changes < 2 {
		t.Error("the path never changed")
	}
}

// TestOutage: a path that is dead for a while is found again within the longest
// probe timeout.
func TestOutage(t *testing.T) {
	for _, dead := range []time.Duration{50 * time.Millisecond, time.Second, 20 * time.Second} {
		p := newPair(t, 5, conditions{delay: 5 * time.Millisecond, perPacket: 50 * time.Microsecond, queue: 400}, Config{})
		from := 100 * time.Millisecond
		took := transfer(t, p, 8<<20, 0, func() {
			p.cond.loss = 0
			if p.now >= from && p.now < from+dead {
				p.cond.loss = 1
			}
		})
		if limit := dead + 4*time.Second; took > limit {
			t.Errorf("an outage of %v made it %v", dead, took)
		}
	}
}

// TestManyStreams: calls as people make them, both ways, each checked byte by
// byte, some reset by either side, over a bad network.
func TestManyStreams(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			manyStreams(t, seed, conditions{delay: 4 * time.Millisecond, jitter: 12 * time.Millisecond, late: 0.15, dup: 0.05, loss: 0.08})
		})
	}
}

type call struct {
	want, got bytes.Buffer
	fin       bool
	reset     bool
	closed    bool
}

// manyStreams is long because the steps of the scenario share all of its state.
func manyStreams(t *testing.T, seed uint64, cond conditions) {
	const total = 400
	p := newPair(t, seed, cond, Config{MaxStreams: 50})
	rng := rand.New(rand.NewPCG(seed, 99))
	type key struct {
		side int // where the bytes arrive
		sid  uint64
	}
	calls := map[key]*call{}
	opened, closed, live := 0, 0, [2]int{}
	fill := func(from int, sid uint64, n int) {
		c := calls[key{1 - from, sid}]
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		c.want.Write(b)
		if r := p.mux[from].Write(sid, b, true); r != OK {
			t.Fatalf("write: %d", r)
		}
	}
	start := func(side int) {
		sid, ok := p.mux[side].Open(testID, 0, sdk.Class(opened%2))
		if !ok {
			if live[side] < 50 {
				t.Fatalf("open refused with %d streams", live[side])
			}
			return
		}
		opened++
		live[side]++
		for i := range 2 {
			calls[key{i, sid}] = &call{}
		}
		switch rng.IntN(10) {
		case 0:
			calls[key{side, sid}].reset, calls[key{1 - side, sid}].reset = true, true
			p.mux[side].Reset(sid, sdk.Cancelled, "changed my mind")
		default:
			fill(side, sid, rng.IntN(30000))
		}
	}
	p.onEvent = func(side int, ev *Event) {
		c := calls[key{side, ev.Stream}]
		switch ev.Kind {
		case Data:
			if c.fin || c.closed {
				t.Fatal("data after the end")
			}
			c.got.Write(ev.Data)
			c.fin = ev.FIN
			p.mux[side].Consumed(ev.Stream, uint64(len(ev.Data)))
			if ours := ev.Stream%2 == uint64(1-side); ev.FIN && !ours { // the answer
				if rng.IntN(8) == 0 {
					c.reset, calls[key{1 - side, ev.Stream}].reset = true, true
					p.mux[side].Reset(ev.Stream, sdk.NotFound, "no")
				} else {
					fill(side, ev.Stream, rng.IntN(20000))
				}
			}
		case WasReset:
			if !c.reset {
				t.Fatalf("reset: %v %q", ev.Code, ev.Data)
			}
		case Closed:
			if c.closed {
				t.Fatal("closed twice")
			}
			c.closed = true
			if ev.Stream%2 == uint64(1-side) {
				live[side]--
				closed++
			}
		}
	}
	p.run(5*time.Minute, func() bool {
		for side := range 2 {
			if opened < total && (opened == closed || rng.IntN(3) == 0) {
				start(side)
			}
		}
		return opened >= total && closed == opened
	})
	p.settle()
	for k, c := range calls {
		if !c.reset && (!c.fin || !bytes.Equal(c.want.Bytes(), c.got.Bytes())) {
			t.Errorf("stream %d to side %d: %d of %d bytes, fin %v", k.sid, k.side, c.got.Len(), c.want.Len(), c.fin)
		}
	}
	checkEmpty(t, p)
}

// TestDeterministic: one seed gives one run.
func TestDeterministic(t *testing.T) {
	run := func() string {
		p := newPair(t, 11, conditions{delay: time.Millisecond, jitter: 5 * time.Millisecond, late: 0.2, loss: 0.05}, Config{})
		took := transfer(t, p, 1<<20, 0, nil)
		return fmt.Sprint(took, p.packets, p.mux[0].Stats(), p.mux[1].Stats())
	}
	if a, b := run(), run(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}
