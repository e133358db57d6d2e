package route

import (
	"testing"
	"time"

	"nethost/host/wire"
)

// kinds counts the messages to a neighbour by kind.
func kinds(t *Table, to Neighbor) map[byte]int {
	n := map[byte]int{}
	for _, s := range t.Out() {
		if s.To == to {
			n[s.Payload[0]]++
		}
	}
	return n
}

// TestSetRelay: relaying off retracts what was told and keeps the routes; on tells
// them again (R9.1).
func TestSetRelay(t *testing.T) {
	now := time.Second
	tb := New(Config{Self: idOf(0), Incarnation: 1}, now)
	tb.NeighborUp(1, idOf(1), 1000, 1200, now)
	tb.NeighborUp(2, idOf(2), 1000, 1200, now)
	w := wire.Wave{Origin: idOf(1), Incarnation: 1, Seq: 1}
	tb.Verified(1, &w, true, now)
	now += 10 * time.Millisecond
	tb.OnTimer(now)
	if n := kinds(tb, 2); n[wire.MsgWave] != 1 {
		t.Fatalf("told of: %v", n)
	}
	for range 2 {
		tb.SetRelay(false, now)
	}
	now += 10 * time.Millisecond
	tb.OnTimer(now)
	if n := kinds(tb, 2); n[wire.MsgRetract] != 1 || n[wire.MsgWave] != 0 {
		t.Errorf("off: %v", n)
	}
	if len(tb.Routes()) != 1 {
		t.Error("our own route went")
	}
	tb.NoRoute(2, tb.byNode[idOf(1)].rid, now)
	if n := kinds(tb, 2); n[wire.MsgRetract] != 1 {
		t.Errorf("a packet all the same: %v", n)
	}
	for range 200 { // nothing of it is repeated
		now += DefaultInterval / 4
		tb.Verified(1, &wire.Wave{Origin: idOf(1), Incarnation: 1, Seq: uint64(now)}, true, now)
		tb.OnTimer(now)
	}
	if n := kinds(tb, 2); n[wire.MsgWave] != 0 {
		t.Errorf("while off: %v", n)
	}
	tb.SetRelay(true, now)
	if n := kinds(tb, 2); n[wire.MsgWave] != 1 {
		t.Errorf("on: %v", n)
	}
}

// TestForget: a denied node's routes go and are retracted (R9.2).
func TestForget(t *testing.T) {
	now := time.Second
	tb := New(Config{Self: idOf(0), Incarnation: 1}, now)
	tb.NeighborUp(1, idOf(1), 1000, 1200, now)
	tb.NeighborUp(2, idOf(2), 1000, 1200, now)
	w := wire.Wave{Origin: idOf(1), Incarnation: 1, Seq: 1}
	tb.Verified(1, &w, true, now)
	now += 10 * time.Millisecond
	tb.OnTimer(now)
	tb.Out()
	tb.Forget(idOf(9), now)
	tb.Forget(idOf(1), now)
	if n := kinds(tb, 2); n[wire.MsgRetract] != 1 || len(tb.Routes()) != 0 || len(tb.Changes()) == 0 {
		t.Errorf("%v, routes %v", n, tb.Routes())
	}
	for range 20 {
		now += time.Second
		tb.OnTimer(now)
	}
	if n := kinds(tb, 2); n[wire.MsgSeqRequest] > 0 {
		t.Errorf("asks for a node that is denied: %v", n)
	}
}

// TestExplain: the reason for a next hop is the rule that chose it.
func TestExplain(t *testing.T) {
	now := time.Second
	tb := New(Config{Self: idOf(0), Incarnation: 1}, now)
	for n := range Neighbor(2) {
		tb.NeighborUp(n+1, idOf(int(n)+1), 1000, 1200, now)
	}
	offer := func(n Neighbor, metric uint32) {
		tb.Verified(n, &wire.Wave{Origin: idOf(5), Incarnation: 1, Seq: 1, Metric: metric, Hops: 1}, true, now)
	}
	want := func(via Neighbor, why Why, others int) {
		t.Helper()
		best, hops, got, rest, ok := tb.Explain(idOf(5))
		if !ok || best.Via != via || got != why || len(rest) != others || hops != 2 {
			t.Errorf("via %d, why %d, %d others, %d hops, %v; want via %d, why %d, %d others", best.Via, got, len(rest), hops, ok, via, why, others)
		}
	}
	if _, _, _, _, ok := tb.Explain(idOf(5)); ok {
		t.Error("an unknown node")
	}
	offer(1, 1500)
	want(1, WhyOnly, 0)
	offer(2, 1600)
	want(1, WhyLowest, 1)
	offer(2, 1400)
	want(1, WhyKept, 1)
	tb.NeighborSuspect(1, true, now)
	want(2, WhyLowest, 1)
	offer(1, 500)
	want(2, WhySuspect, 1)
}
