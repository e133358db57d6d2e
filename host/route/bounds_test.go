package route

import (
	"testing"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// TestLifetimes is R6.2 and R6.4.
func TestLifetimes(t *testing.T) {
	for hops, intervals := range map[uint8]int{1: 3, 2: 3, 3: 14, 4: 14, 5: 56, 17: 56, 60: 56} {
		d := newDesk(t, Config{}, 1)
		d.hear(1, wave(9, 4, 1, 100, hops-1))
		if hops == 1 {
			d.hear(1, wave(1, 4, 1, 0, 0))
		}
		life := 0
		for ; d.via(9) != 0 || hops == 1 && d.via(1) != 0; life++ {
			d.wait(DefaultInterval)
			if life > 100 {
				break
			}
		}
		if life < intervals || life > intervals+1 {
			t.Errorf("an offer at %d hops lives %d intervals, want %d", hops, life, intervals)
		}
		if d.wait(110 * DefaultInterval); d.Incarnation(idOf(9)) != 4 && hops > 1 {
			t.Error("a lost origin was forgotten too early")
		}
		if d.wait(4 * DefaultInterval); d.Incarnation(idOf(9)) != 0 || len(d.byNode)+len(d.byRID)+len(d.origins) != 0 {
			t.Error("a lost origin is remembered for ever")
		}
	}
}

// TestRepeated is R6.3: what a neighbour missed, it hears within an interval.
func TestRepeated(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	const many = 300
	for i := range many {
		d.hear(1, wave(100+i, 1, 2, 100, 9))
	}
	d.wait(time.Second)
	d.Out() // all lost
	missing := func() (n int) {
		heard := map[sdk.NodeID]bool{}
		for _, m := range d.Out() {
			if w, ok := wire.ParseWave(m.Payload[1:]); ok && m.To == 2 && m.Payload[0] == wire.MsgWave {
				heard[w.Origin] = true
			}
		}
		for i := range many {
			if !heard[idOf(100+i)] {
				n++
			}
		}
		return n
	}
	for i := range tellAgain {
		d.wait(DefaultInterval)
		if n := missing(); n != 0 {
			t.Errorf("%d of %d changes were not repeated in interval %d", n, many, i+1)
		}
	}
	if d.wait(DefaultInterval); missing() < many*3/4 {
		t.Error("everything is repeated for ever")
	}
	d.Out()
	d.wait(roundLength * 3 / 2 * DefaultInterval)
	if n := missing(); n != 0 {
		t.Errorf("%d of %d were not repeated within a round and a half", n, many)
	}
	d.NeighborDown(1, d.now)
	d.Out() // lost
	d.wait(DefaultInterval)
	lost := 0
	for _, m := range d.Out() {
		if m.To == 2 && m.Payload[0] == wire.MsgRetract {
			lost++
		}
	}
	if lost < many {
		t.Errorf("%d of %d losses were repeated", lost, many)
	}
}

// TestPaced is R7.4: neighbours' queues are never asked for more than they hold.
func TestPaced(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	const many = 1000
	for i := range many {
		d.hear(1, wave(100+i, 1, 2, 100, 9))
	}
	var waves, retracts int
	drain := func() {
		t.Helper()
		for range 100 {
			per := map[Neighbor]int{}
			for _, m := range d.Out() {
				if per[m.To]++; per[m.To] > 3*speakMax {
					t.Fatalf("more than %d messages for neighbour %d in one go", 3*speakMax, m.To)
				}
				switch {
				case m.To == 3 && m.Payload[0] == wire.MsgWave:
					waves++
				case m.To == 3 && m.Payload[0] == wire.MsgRetract:
					retracts++
				}
			}
			at := d.Deadline()
			if at > d.now+time.Second {
				return
			}
			d.now = at
			d.OnTimer(d.now)
		}
	}
	drain()
	d.NeighborUp(3, idOf(3), 100, 1200, d.now)
	drain()
	if waves < many {
		t.Errorf("a new neighbour heard %d of %d routes", waves, many)
	}
	d.NeighborDown(1, d.now)
	drain()
	if retracts < 2*many {
		t.Errorf("%d of %d retractions went out", retracts, 2*many)
	}
}

// TestTokens is R7.2.
func TestTokens(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2)
	w := wave(9, 1, 1, 100, 1)
	w.Sig[0] ^= 1
	count := func(n int) (asked int) {
		for range n {
			w.Seq++ // another statement: one that is being checked is not checked again
			if d.OnWave(1, &w, d.now) == Verify {
				asked++
			}
		}
		return asked
	}
	if n := count(3000); n != verifyBurst {
		t.Errorf("%d checks at once, want %d", n, verifyBurst)
	}
	d.now += 500 * time.Millisecond
	if n := count(3000); n != verifyRate/2 {
		t.Errorf("%d checks after half a second, want %d", n, verifyRate/2)
	}
	w.Seq++
	if d.OnWave(2, &w, d.now) != Verify {
		t.Error("one neighbour used up the checks of another")
	}
	d.now += time.Hour
	if n := count(3000); n != verifyBurst {
		t.Errorf("%d checks after an hour, want %d", n, verifyBurst)
	}
}

// TestOriginsBounded is R7.1.
func TestOriginsBounded(t *testing.T) {
	d := newDesk(t, Config{RelayOff: true}, 1)
	w := wave(9, 1, 1, 100, 1)
	for i := range maxOrigins + 100 {
		// In falling order of NodeID an insertion would move everything; from the
		// far end it moves nothing.
		w.Origin[0], w.Origin[1], w.Origin[2] = byte(i>>16), byte(i>>8), byte(i)
		d.Verified(1, &w, true, d.now)
	}
	if len(d.origins) != maxOrigins || len(d.byNode) != maxOrigins || len(d.Routes()) != maxOrigins {
		t.Errorf("%d origins", len(d.origins))
	}
}

func TestLookupAllocates(t *testing.T) {
	d := newDesk(t, Config{}, 1)
	d.hear(1, wave(9, 1, 1, 100, 1))
	rid := ridOf(9)
	if n := testing.AllocsPerRun(1000, func() { d.Lookup(rid); d.NoRoute(1, 5, d.now) }); n != 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}
