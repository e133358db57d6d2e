package route

import (
	"math"
	"testing"
	"time"

	"nethost/host/wire"
)

// TestStarvation is R5.1 and the asking side of R5.2.
func TestStarvation(t *testing.T) {
	for _, relayOff := range []bool{false, true} {
		d := newDesk(t, Config{RelayOff: relayOff}, 1, 2)
		d.hear(1, wave(9, 3, 5, 100, 1))
		d.hear(2, wave(9, 3, 5, 900, 1)) // not feasible
		d.wait(coalesce)
		d.said(9)
		d.OnRetract(1, wire.Retract{Origin: idOf(9), Incarnation: 2}, d.now)
		d.wantVia(9, 1) // a retraction of an earlier life
		d.OnRetract(1, wire.Retract{Origin: idOf(9), Incarnation: 3}, d.now)
		d.wantVia(9, 0)
		s := d.said(9)
		want := wire.SeqRequest{Origin: idOf(9), Incarnation: 3, Seq: 6, TTL: wire.MaxTTL}
		if len(s.requests[1]) != 1 || len(s.requests[2]) != 1 || s.requests[2][0] != want {
			t.Errorf("relay off %v: requests %+v", relayOff, s.requests)
		}
		if told := s.retracts[2] == 1; told == relayOff {
			t.Errorf("relay off %v: retractions %v", relayOff, s.retracts)
		}
		d.wait(retractAgain)
		if s := d.said(9); !relayOff && s.retracts[2] != 1 || len(s.requests[2]) != 0 {
			t.Errorf("after 50 ms: %+v", s)
		}
		d.wait(5 * time.Second)
		if s := d.said(9); len(s.requests[2]) != seqRequestTries-1 || s.retracts[2] != 0 {
			t.Errorf("within 5 s: %d requests, %d retractions", len(s.requests[2]), s.retracts[2])
		}
		d.hear(2, wave(9, 3, 6, 900, 1))
		d.wantVia(9, 2)
	}
}

// TestRequests is R5.2 and R5.3 on the side of those who are asked.
func TestRequests(t *testing.T) {
	ask := func(d *desk, from, origin int, seq uint64, ttl uint8) {
		d.OnSeqRequest(Neighbor(from), wire.SeqRequest{Origin: idOf(origin), Incarnation: 1, Seq: seq, TTL: ttl}, d.now)
	}
	d := newDesk(t, Config{}, 1, 2, 3)
	d.wait(time.Second)
	d.Out()
	for i, want := range []uint64{0, 257} { // of ours we have 1
		seq := uint64(i + 1)
		ask(d, 1, 0, seq, 9)
		if s, got := d.said(0), d.sign(); got != want || want == 0 && len(s.waves[1]) != 1 {
			t.Errorf("asked for sequence %d of ours: signed %d, want %d; sent %v", seq, got, want, s.waves)
		}
	}
	ask(d, 1, 0, math.MaxUint64, 9)
	if d.sign() != 0 {
		t.Error("a second answer within 250 ms")
	}
	d.wait(seqRequestEvery)
	ask(d, 1, 0, math.MaxUint64, 9)
	if got := d.sign(); got != 513 {
		t.Errorf("whoever asks for the last sequence made us jump to %d", got)
	}

	d = newDesk(t, Config{}, 1, 2, 3)
	d.hear(1, wave(9, 1, 5, 100, 4))
	d.hear(3, wave(9, 1, 5, 3000, 4))
	d.wait(coalesce)
	d.said(9)
	ask(d, 2, 9, 5, 9) // we have it
	if s := d.said(9); len(s.waves[2]) != 1 || len(s.requests) != 0 {
		t.Errorf("a request that our route fits: %+v", s)
	}
	ask(d, 2, 9, 6, 9) // along the route
	if s := d.said(9); len(s.requests) != 1 || len(s.requests[1]) != 1 || s.requests[1][0].TTL != 8 {
		t.Errorf("passed on: %+v", s)
	}
	ask(d, 3, 9, 6, 9)
	if s := d.said(9); len(s.requests) != 0 {
		t.Error("passed on twice within 200 ms")
	}
	// The answer travels on although its radius ends here.
	d.hear(1, wave(9, 1, 7, 100, 4))
	d.wait(coalesce)
	if len(d.said(9).waves[2]) != 1 {
		t.Error("a sequence that was asked for stopped at its radius")
	}
	d.wait(askedFor)
	ask(d, 1, 9, 9, 9) // the route goes through the asker
	if s := d.said(9); len(s.requests) != 1 || len(s.requests[3]) != 1 {
		t.Errorf("asked by the next hop: %+v", s)
	}
	d.wait(seqRequestEvery)
	ask(d, 2, 9, 9, 1)
	if s := d.said(9); len(s.requests) != 0 {
		t.Error("passed on beyond the TTL")
	}
}

// TestCorrection is R5.4.
func TestCorrection(t *testing.T) {
	d := newDesk(t, Config{}, 1, 2, 3)
	d.hear(1, wave(9, 1, 1, 100, 1))
	d.wait(coalesce)
	d.said(9)
	if d.NoRoute(2, ridOf(9), d.now); len(d.said(9).retracts) != 0 {
		t.Error("a route that serves was retracted")
	}
	if d.NoRoute(1, ridOf(9), d.now); d.said(9).retracts[1] != 1 {
		t.Error("the next hop sends us what we would send back, and is not told")
	}
	d.NeighborDown(1, d.now)
	d.said(9)
	for range 3 {
		d.NoRoute(2, ridOf(9), d.now)
		d.NoRoute(2, ridOf(8), d.now)
	}
	if s := d.said(9); s.retracts[2] != 1 || s.retracts[3] != 0 {
		t.Errorf("%+v", s.retracts)
	}
}
