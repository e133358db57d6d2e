package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// fragmentsOf fills packets of the given rooms until the queue is empty, has each
// acknowledged, and returns the frames of messages in them. It checks that a frame
// is a fragment only where it must be.
func fragmentsOf(t *testing.T, m *Mux, now time.Duration, rooms func() int) (frames []wire.Frame) {
	t.Helper()
	for m.WantsSend(now) {
		room := rooms()
		b := m.Fill(nil, room, now)
		if len(b) == 0 {
			break
		}
		if len(b) > room {
			t.Fatalf("%d bytes in a room of %d", len(b), room)
		}
		counter := m.stats.Sent + 1
		m.Sent(1, counter, len(b)+50, now)
		a := wire.Ack{Gen: 1, N: 1}
		a.Ranges[0] = wire.Range{First: counter, Last: counter}
		m.OnAck(&a, now)
		for len(b) > 0 {
			f, rest, ok := wire.ParseFrame(b)
			if !ok {
				t.Fatalf("malformed frame in %x", b)
			}
			if b = rest; f.ID == testID && f.Flags&wire.FlagStream == 0 {
				frames = append(frames, f)
			}
		}
	}
	return frames
}

// TestFragments: S8.1 to S8.3. Messages of all lengths go into packets of changing
// sizes and come out as they were, in order within each class; what fits a packet
// is not cut.
func TestFragments(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for range 60 {
		a, b := New(Config{Odd: true}), New(Config{})
		least := minFragmentRoom + rng.IntN(9000)
		largest := least + rng.IntN(3000)
		var want [2][][]byte // by class
		for range 1 + rng.IntN(6) {
			size := rng.IntN(wire.MaxMessage + 1)
			if rng.IntN(3) == 0 {
				size = min(wire.MaxMessage, max(0, least-20+rng.IntN(40)))
			}
			msg, fl := randomBytes(rng, size), uint8(rng.IntN(2))<<wire.FrameClassShift|3
			if a.Send(testID, fl, msg, 0) == OK {
				want[lane(fl)] = append(want[lane(fl)], msg)
			}
		}
		number, open := uint64(0), [2]uint64{}
		for _, f := range fragmentsOf(t, a, 0, func() int { return least + rng.IntN(largest-least+1) }) {
			msg, class := f.Payload, lane(f.Flags)
			if f.Flags&wire.FlagFragment != 0 {
				if open[class] == 0 {
					number++
					open[class] = number
				}
				if f.Stream != open[class] {
					t.Fatalf("number %d, want %d", f.Stream, open[class])
				}
				var v FragmentVerdict
				if msg, v = b.OnFragment(&f, 0); v == FragmentHeld {
					continue
				} else if v != FragmentCompletes {
					t.Fatalf("verdict %d", v)
				}
				open[class] = 0
				if len(msg)+messageOverhead <= least {
					t.Errorf("a message of %d bytes was cut for packets of %d to %d", len(msg), least, largest)
				}
			} else if len(msg)+messageOverhead > largest {
				t.Errorf("a message of %d bytes was not cut", len(msg))
			}
			if len(want[class]) == 0 || !bytes.Equal(msg, want[class][0]) || f.Flags&^wire.FlagFragment != uint8(class)<<wire.FrameClassShift|3 {
				t.Fatalf("a message of %d bytes, flags %x, is not what was sent next", len(msg), f.Flags)
			}
			want[class] = want[class][1:]
		}
		if len(want[0])+len(want[1]) > 0 || a.stats.DroppedMessages > 0 || !a.messages[0].empty() || !a.messages[1].empty() {
			t.Fatalf("%d messages did not arrive, %d were dropped", len(want[0])+len(want[1]), a.stats.DroppedMessages)
		}
	}
}

// TestFragmentsShare: a message fills what is left of packets, at least 256 bytes
// each time, and a stream is not starved by it.
func TestFragmentsShare(t *testing.T) {
	m := New(Config{Odd: true})
	m.Send(testID, 0, make([]byte, 900), 0)
	m.Send(testID, 0, make([]byte, 3000), 0)
	b := m.Fill(nil, 1148, 0)
	small, rest, _ := wire.ParseFrame(b)
	if len(small.Payload) != 900 || len(rest) != 0 {
		t.Errorf("242 bytes were left, and %d of them were used", len(rest))
	}
	m = New(Config{Odd: true})
	m.Send(testID, 0, make([]byte, 800), 0)
	m.Send(testID, 0, make([]byte, 3000), 0)
	b = m.Fill(nil, 1148, 0)
	if _, rest, _ = wire.ParseFrame(b); len(b) != 1148 {
		t.Errorf("342 bytes were left, and %d of them were used", len(rest))
	}
	m = New(Config{Odd: true})
	sid, _ := m.Open(testID, 0, sdk.Bulk)
	m.Send(testID, 0, make([]byte, wire.MaxMessage), 0)
	m.Write(sid, make([]byte, 20000), true)
	packets, streams := 0, 0
	for !m.messages[0].empty() {
		packets++
		b := m.Fill(nil, 1148, 0)
		if f, _, _ := wire.ParseFrame(b); f.Flags&wire.FlagStream != 0 {
			streams++
		}
		m.Sent(1, uint64(packets), len(b)+50, 0)
		a := wire.Ack{Gen: 1, N: 1}
		a.Ranges[0] = wire.Range{First: uint64(packets), Last: uint64(packets)}
		m.OnAck(&a, 0)
	}
	if streams < 17 {
		t.Errorf("%d of %d packets carried the stream", streams, packets)
	}
}

// TestFragmentsStale: S8.4. A message that began to leave 250 ms ago is given up,
// one that only waited is not, and the next one begins at its own beginning.
func TestFragmentsStale(t *testing.T) {
	m := New(Config{Odd: true, Sojourn: -1})
	m.Send(testID, 0, make([]byte, 5000), 0)
	m.Send(testID, 0, bytes.Repeat([]byte{7}, 5000), 0)
	now := 10 * time.Second
	b := m.Fill(nil, 1148, now)
	m.Sent(1, 1, len(b)+50, now)
	if f, _, ok := wire.ParseFrame(b); !ok || f.Stream != 1 || f.Offset != 0 {
		t.Fatalf("%+v", f)
	}
	b = m.Fill(nil, 1148, now+fragmentAge-1)
	m.Sent(1, 2, len(b)+50, now)
	if f, _, _ := wire.ParseFrame(b); f.Stream != 1 || f.Offset == 0 {
		t.Errorf("before its time was over: message %d at %d", f.Stream, f.Offset)
	}
	b = m.Fill(nil, 1148, now+fragmentAge)
	m.Sent(1, 3, len(b)+50, now)
	if f, _, _ := wire.ParseFrame(b); f.Stream != 2 || f.Offset != 0 || f.Payload[0] != 7 {
		t.Errorf("after it: message %d at %d", f.Stream, f.Offset)
	}
	if m.stats.DroppedMessages != 1 {
		t.Errorf("%d messages dropped", m.stats.DroppedMessages)
	}
	if m.Send(testID, 0, make([]byte, MaxMessage), 0) != OK || m.Send(testID, 0, make([]byte, MaxMessage+1), 0) != TooBig {
		t.Error("the longest message is not 65 536 bytes")
	}
}

// TestFragmentAllocs: a flow of messages of 64 KiB allocates nothing on either side.
func TestFragmentAllocs(t *testing.T) {
	a, b := New(Config{Odd: true}), New(Config{})
	msg := make([]byte, wire.MaxMessage)
	buf := make([]byte, 0, 2048)
	var ack wire.Ack
	var f wire.Frame
	counter, got := uint64(0), 0
	round := func() {
		if a.Send(testID, 0, msg, 0) != OK {
			t.Fatal("not taken")
		}
		for a.WantsSend(0) {
			p := a.Fill(buf, 1148, 0)
			counter++
			a.Sent(1, counter, len(p)+50, 0)
			ack.Gen, ack.N = 1, 1
			ack.Ranges[0] = wire.Range{First: counter, Last: counter}
			a.OnAck(&ack, 0)
			for ok := true; len(p) > 0; {
				if f, p, ok = wire.ParseFrame(p); !ok {
					t.Fatal("malformed")
				}
				if m, v := b.OnFragment(&f, 0); v == FragmentCompletes {
					got += len(m)
				}
			}
		}
		b.cfg.Buffers.Recycle()
	}
	for range 50 {
		round()
	}
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
	if got != 251*len(msg) {
		t.Errorf("%d bytes arrived", got)
	}
}

// TestFragmentsForgotten: S8.4, by the clock of the Mux.
func TestFragmentsForgotten(t *testing.T) {
	pool := new(Buffers)
	m := New(Config{Buffers: pool})
	f := fragmentOf(1, make([]byte, 100), 0, 50)
	m.OnFragment(&f, time.Second)
	if m.Deadline() != time.Second+fragmentAge || pool.Held() == 0 {
		t.Errorf("deadline %v, %d bytes", m.Deadline(), pool.Held())
	}
	m.OnTimer(m.Deadline())
	if m.Deadline() != never || pool.Held() != 0 || m.Reassembly().Incomplete() != 1 {
		t.Errorf("deadline %v, %d bytes, %+v", m.Deadline(), pool.Held(), m.Reassembly())
	}
}

// BenchmarkLongMessage cuts a message of 64 KiB, acknowledges its packets and puts
// it together again.
func BenchmarkLongMessage(b *testing.B) {
	for _, room := range []int{1148, 8900} {
		b.Run(fmt.Sprint(room), func(b *testing.B) {
			from, to := New(Config{Odd: true}), New(Config{})
			msg, buf := make([]byte, wire.MaxMessage), make([]byte, 0, 9000)
			var a wire.Ack
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for counter := uint64(0); b.Loop(); {
				from.Send(testID, 0, msg, 0)
				for from.WantsSend(0) {
					p := from.Fill(buf, room, 0)
					counter++
					from.Sent(1, counter, len(p)+50, 0)
					a.Gen, a.N, a.Ranges[0] = 1, 1, wire.Range{First: counter, Last: counter}
					from.OnAck(&a, 0)
					f, _, _ := wire.ParseFrame(p)
					to.OnFragment(&f, 0)
				}
				to.cfg.Buffers.Recycle()
			}
			if to.Reassembly().Completed != from.fragmented {
				b.Errorf("%d of %d arrived", to.Reassembly().Completed, from.fragmented)
			}
		})
	}
}
