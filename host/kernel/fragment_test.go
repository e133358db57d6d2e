package kernel

import (
	"bytes"
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// numbered gives a message of a size that no other message has.
func numbered(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + n*31)
	}
	return b
}

func (l *lab) message(from, to int, payload []byte) {
	l.do(from, 0, sdk.Effect{Kind: sdk.OpSend, Peer: l.handle(from, to), ID: idChat, Payload: payload})
}

// TestLongMessages: messages up to 64 KiB arrive whole, direct and through a relay,
// and nothing that was lent for a Step is looked at after it (S8.1, S8.3).
func TestLongMessages(t *testing.T) {
	for name, n := range map[string]int{"direct": 2, "relayed": 3} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, n)
			far := n - 1
			if n == 3 {
				l.step(0, Input{Kind: InAppOpen, App: 1, Node: l.k[far].self, ID: idChat})
				l.run(3 * time.Second)
			}
			l.poison = true
			l.take(far, 0, sdk.EvMessage)
			before := l.k[far].counters.Delivered
			sizes := []int{0, 1, 1100, 1140, 1141, 1142, 1143, 1200, 2300, 16384, 16385, 40000, 65535, sdk.MaxMessage}
			for i, size := range sizes {
				l.message(0, far, numbered(i, size))
				l.run(200 * time.Millisecond)
			}
			got := l.take(far, 0, sdk.EvMessage)
			if len(got) != len(sizes) || l.k[far].counters.Delivered-before != uint64(len(sizes)) {
				t.Fatalf("%d messages arrived, want %d", len(got), len(sizes))
			}
			for i, size := range sizes {
				if !bytes.Equal(got[i].Payload, numbered(i, size)) {
					t.Errorf("the message of %d bytes arrived as %d others", size, len(got[i].Payload))
				}
			}
			for range 3 { // more than the window lets go at once
				l.message(0, far, numbered(99, sdk.MaxMessage))
			}
			l.run(time.Second)
			for _, m := range l.take(far, 0, sdk.EvMessage) {
				if !bytes.Equal(m.Payload, numbered(99, sdk.MaxMessage)) {
					t.Error("one of three is not what was sent")
				}
			}
			if d := l.k[far].counters.Drops; d[DropFragment]+d[DropIncomplete] != 0 || l.k[far].counters.Delivered-before != uint64(len(sizes))+3 {
				t.Errorf("%d delivered, drops %v", l.k[far].counters.Delivered-before, d)
			}
		})
	}
}

// TestIncompleteMessages: fragments that never become whole leave nothing behind and
// are counted (S8.4, S8.5); the messages that become whole are right.
func TestIncompleteMessages(t *testing.T) {
	l := newLab(t, 2)
	l.poison = true
	lost := 0
	l.cut = func(from, _ int) bool { lost++; return from == 0 && lost%41 == 0 }
	most, whole := 0, 0
	const rounds = 300
	for i := range rounds {
		l.message(0, 1, numbered(i, 2000+i*200))
		l.run(100 * time.Millisecond)
		most = max(most, l.k[1].fragments.Held())
		for _, m := range l.take(1, 0, sdk.EvMessage) {
			if whole++; !bytes.Equal(m.Payload, numbered((len(m.Payload)-2000)/200, len(m.Payload))) {
				t.Fatalf("a message of %d bytes is wrong", len(m.Payload))
			}
		}
	}
	l.cut = nil
	l.run(time.Second)
	incomplete := l.k[1].counters.Drops[DropIncomplete]
	if incomplete == 0 || whole+int(incomplete) < rounds-rounds/20 || whole+int(incomplete) > rounds {
		t.Errorf("%d whole and %d incomplete of %d", whole, incomplete, rounds)
	}
	if most == 0 || most > 256<<10 || l.k[1].fragments.Held() != 0 {
		t.Errorf("up to %d bytes were held, %d still are", most, l.k[1].fragments.Held())
	}
}

// TestHostileFragments: an agreed peer that sends nothing but beginnings holds its
// share and no more, and with the session all of it goes.
func TestHostileFragments(t *testing.T) {
	l := newLab(t, 2)
	p := l.k[1].peers[l.k[0].self]
	f := wire.Frame{ID: idChat, Flags: wire.FlagFragment | uint8(l.k[0].epoch)&3, Total: wire.MaxMessage, Payload: []byte{1}}
	for i := range uint64(50_000) {
		f.Stream, f.Offset = i+1, i*13%wire.MaxMessage
		l.k[1].message(p, &f)
	}
	if n := l.k[1].fragments.Held(); n == 0 || n > 256<<10 {
		t.Errorf("%d bytes are held", n)
	}
	if n := l.k[1].counters.Drops[DropIncomplete]; n < 50_000-32 {
		t.Errorf("%d messages were counted as incomplete", n)
	}
	f.Offset = 5
	l.k[1].message(p, &f) // it overlaps nothing; now it does
	f.Payload = []byte{2}
	l.k[1].message(p, &f)
	if n := l.k[1].counters.Drops[DropFragment]; n != 1 {
		t.Errorf("%d fragments counted as contradictions", n)
	}
	delivered := l.k[1].counters.Delivered
	f.ID, f.Stream = idLonely, 60_000
	l.k[1].message(p, &f) // nobody answers to it: nothing is kept
	if l.k[1].counters.Delivered != delivered || l.k[1].counters.Drops[DropUnsupported] != 1 {
		t.Error("a fragment of an unknown subprotocol was taken")
	}
	l.k[1].peerDown(p, sdk.DownDead)
	if n := l.k[1].fragments.Held(); n != 0 {
		t.Errorf("%d bytes are held for a peer that is gone", n)
	}
}

// TestMessageTooBig: above 64 KiB nothing is sent.
func TestMessageTooBig(t *testing.T) {
	l := newLab(t, 2)
	l.message(0, 1, make([]byte, sdk.MaxMessage+1))
	l.run(time.Second)
	if l.k[0].counters.Drops[DropTooBig] != 1 || len(l.take(1, 0, sdk.EvMessage)) != 0 {
		t.Error("a message of 65 537 bytes was not refused")
	}
}

// TestForgottenMessages: what began and goes on no more is given back by time alone.
func TestForgottenMessages(t *testing.T) {
	l := newLab(t, 2)
	packets := 0
	l.cut = func(from, _ int) bool { packets++; return from == 0 && packets > 5 }
	l.message(0, 1, numbered(1, 30000))
	if n := l.k[1].fragments.Held(); n == 0 {
		t.Fatal("nothing arrived")
	}
	l.cut = func(from, _ int) bool { return true }
	if l.run(249 * time.Millisecond); l.k[1].fragments.Held() == 0 {
		t.Error("given up too early")
	}
	if l.run(2 * time.Millisecond); l.k[1].fragments.Held() != 0 || l.k[1].counters.Drops[DropIncomplete] != 1 {
		t.Errorf("%d bytes are held, %d messages counted", l.k[1].fragments.Held(), l.k[1].counters.Drops[DropIncomplete])
	}
}

// TestLongMessagesAllocate: nothing, from A through R to B.
func TestLongMessagesAllocate(t *testing.T) {
	r := newRow(t)
	type carried struct {
		to    int
		train wire.Train
	}
	var air []carried
	var spare [][]byte
	var in Input
	var one [1]wire.Train
	delivered := 0
	step := func(i int) {
		r.k[i].Step(r.now, &in, &r.out[i])
		delivered += len(r.out[i].Deliveries)
		for _, d := range r.out[i].Datagrams {
			for to := range r.k {
				if r.addr[to] != d.Addr {
					continue
				}
				var b []byte
				if n := len(spare); n > 0 {
					b, spare = spare[n-1][:0], spare[:n-1]
				}
				air = append(air, carried{to, wire.Train{Addr: r.addr[i], Bytes: append(b, d.Bytes...), Segment: d.Segment}})
			}
		}
	}
	effect := []sdk.Effect{{Kind: sdk.OpSend, Peer: r.peer, ID: 7, Payload: make([]byte, 12000)}}
	round := func() {
		r.now += time.Microsecond
		in = Input{Kind: InEffects, Effects: effect}
		step(0)
		for n := 0; n < len(air); n++ {
			c := air[n]
			one[0] = c.train
			in = Input{Kind: InTrains, Trains: one[:]}
			step(c.to)
			spare = append(spare, c.train.Bytes)
		}
		air = air[:0]
	}
	for range 2000 {
		round()
	}
	delivered = 0
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("a message of 12 000 bytes from A through R to B allocates %v times", n)
	}
	if delivered != 1001 {
		t.Errorf("%d messages were delivered", delivered)
	}
}
