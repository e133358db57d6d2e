package module

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"nethost/sdk"
)

func from(peers ...sdk.Peer) (batch []entry) {
	for _, p := range peers {
		batch = append(batch, entry{ev: sdk.Event{Kind: sdk.EvMessage, Peer: p}})
	}
	return batch
}

// TestBudget: savings cover a collection, debt is paid in time, and it says so.
func TestBudget(t *testing.T) {
	const ms = time.Millisecond
	b := newBudget(Limits{CPU: ms, CPUMax: 10 * ms})
	b.spend(0, 11*ms, from(1)) // saved 10, earns nothing above the burst
	if w := b.wait(0); w != ms {
		t.Errorf("11 ms with 10 saved: wait %v, want 1 ms", w)
	}
	if w := b.wait(ms / 2); w != ms/2 {
		t.Errorf("half of it later: wait %v", w)
	}
	if u := b.usage(ms / 2); u.Debt != ms/2 || u.Late != 1 || u.CPU != 11*ms || u.Worst != 11*ms {
		t.Errorf("%+v", u)
	}
	if w := b.wait(ms); w != 0 {
		t.Errorf("paid: wait %v", w)
	}
	for i := range 20 {
		b.spend(ms*time.Duration(i), ms/2, from(1))
	}
	b.spend(30*ms, 10*ms, from(1))
	if w := b.wait(30 * ms); w != 0 {
		t.Errorf("a collection after 20 cheap batches: wait %v", w)
	}
	b.spend(31*ms, 10*ms, nil)
	if w := b.wait(31 * ms); w == 0 {
		t.Error("a second one waits for nothing")
	}
	b.restarted()
	if w := b.wait(31 * ms); w != 0 {
		t.Errorf("a new instance owes %v", w)
	}
}

// TestBudgetPeers: who costs what; a peer that left is no row any more.
func TestBudgetPeers(t *testing.T) {
	b := newBudget(Limits{})
	b.spend(0, 90, append(from(1, 1, 2, 0, 0), from(3, 3, 1)...))
	u := b.usage(0)
	want := []PeerUsage{{1, 45}, {3, 30}, {2, 15}}
	for i := range want {
		if len(u.Peers) != 3 || u.Peers[i] != want[i] {
			t.Fatalf("%+v, want %+v", u.Peers, want)
		}
	}
	b.spend(0, 10, append(from(1), entry{ev: sdk.Event{Kind: sdk.EvPeerDown, Peer: 1}}))
	if u = b.usage(0); u.Gone != 55 || len(u.Peers) != 2 {
		t.Errorf("after PeerDown: %+v", u)
	}
	for p := range sdk.Peer(100) {
		b.spend(0, 1, from(p+1))
	}
	if u = b.usage(0); len(u.Peers) != topPeers {
		t.Errorf("%d peers are listed", len(u.Peers))
	}
	batch := from(1, 2, 1, 2, 3, 3)
	if n := testing.AllocsPerRun(100, func() { b.spend(0, 1, batch) }); n != 0 {
		t.Errorf("spend allocates %v times", n)
	}
}

// TestBudgetShare: in the long run a module has its allowance of each batch, its
// savings, and half of the time it owed; nothing is lost between the accounts.
func TestBudgetShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{CPU: time.Duration(rapid.IntRange(1, 1000).Draw(t, "cpu")), CPUMax: time.Duration(rapid.IntRange(1000, 20000).Draw(t, "max"))}
		b := newBudget(l)
		var now, waited, used time.Duration
		batches := rapid.IntRange(1, 60).Draw(t, "batches")
		for range batches {
			w := b.wait(now)
			waited += w
			if now += w; b.wait(now) != 0 {
				t.Fatalf("waited %v and owes still", w)
			}
			cost := time.Duration(rapid.IntRange(0, int(l.CPUMax)).Draw(t, "cost"))
			now += cost
			used += cost
			b.spend(now, cost, from(sdk.Peer(rapid.IntRange(1, 3).Draw(t, "peer"))))
		}
		waited += b.wait(now)
		if used > waited+l.CPUMax+time.Duration(batches)*l.CPU {
			t.Fatalf("%v used after a wait of %v in %d batches", used, waited, batches)
		}
		var sum time.Duration
		u := b.usage(now)
		for _, p := range u.Peers {
			sum += p.CPU
		}
		if sum != used || u.CPU != used {
			t.Fatalf("peers have %v and the module %v of %v", sum, u.CPU, used)
		}
	})
}
