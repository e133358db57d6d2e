package module

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"nethost/sdk"
)

// Meter is implemented by instances that know what a batch cost: guests by fuel,
// which other work on the machine does not change.
type Meter interface {
	// Used is the processor time of the last batch, the host's copying included.
	Used() time.Duration
}

// budget is the soft budget of a module: a bucket of processor time. Each batch
// puts its allowance in and takes what it used. A module that took more than there
// was is in debt, and no batch of it starts before as much time has passed as it
// owes: over its budget, it gets half of a processor at most. Time it does not use
// is kept up to burst, so that a garbage collection now and then delays nobody.
//
// It reads no clock. Its lock is a leaf.
type budget struct {
	mu        sync.Mutex
	allowance time.Duration // of each batch
	burst     time.Duration
	saved     time.Duration // negative: debt
	at        time.Duration // when saved was that
	total     time.Duration // used in all
	batches   uint64
	late      uint64        // batches that waited for the debt
	waiting   bool          // the next batch is one of them
	worst     time.Duration // the most one batch used
	peers     map[sdk.Peer]time.Duration
	gone      time.Duration // used by peers that left
	events    map[sdk.Peer]int
	order     []sdk.Peer
}

func newBudget(l Limits) *budget {
	b := &budget{allowance: l.CPU, burst: l.CPUMax, peers: map[sdk.Peer]time.Duration{}, events: map[sdk.Peer]int{}}
	if b.allowance <= 0 {
		b.allowance = DefaultLimits.CPU
	}
	if b.burst <= 0 {
		b.burst = DefaultLimits.CPUMax
	}
	b.saved = b.burst
	return b
}

// wait is how long no batch may start, 0 when one may.
func (b *budget) wait(now time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved >= 0 {
		return 0
	}
	left := b.at - b.saved - now
	if left > 0 {
		if !b.waiting {
			b.waiting = true
			b.late++
		}
		return left
	}
	b.saved = 0
	return 0
}

// spend takes what a batch used. The cost goes to the peers its events name, in
// equal parts for each event: a batch of one peer's events is its own to the unit.
func (b *budget) spend(now, used time.Duration, batch []entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = false
	b.saved = min(b.saved+b.allowance, b.burst) - used
	b.at = now
	b.total += used
	b.worst = max(b.worst, used)
	b.batches++
	b.share(used, batch)
}

func (b *budget) share(used time.Duration, batch []entry) {
	n := 0
	b.order = b.order[:0]
	for i := 0; i < len(batch); {
		p, run := batch[i].ev.Peer, 0
		for ; i < len(batch) && batch[i].ev.Peer == p; i++ {
			run++
		}
		if p == 0 {
			continue
		}
		if b.events[p] == 0 {
			b.order = append(b.order, p)
		}
		b.events[p] += run
		n += run
	}
	for _, p := range b.order {
		b.peers[p] += used * time.Duration(b.events[p]) / time.Duration(n)
	}
	clear(b.events)
	for i := range batch {
		if p := batch[i].ev.Peer; batch[i].ev.Kind == sdk.EvPeerDown {
			b.gone += b.peers[p]
			delete(b.peers, p)
		}
	}
}

// restarted forgives the debt of an instance that is gone; the accounts stay, but
// for the peers', whose handles are another instance's.
func (b *budget) restarted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved, b.waiting = b.burst, false
	for _, d := range b.peers {
		b.gone += d
	}
	clear(b.peers)
}

// unmetered reports that no batch was ever metered.
func (b *budget) unmetered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.batches == 0
}

// Usage is what a module used of the processor.
type Usage struct {
	CPU     time.Duration // in all
	Worst   time.Duration // the most one batch used
	Debt    time.Duration // what it is over its soft budget now
	Batches uint64
	Late    uint64 // batches that waited because of debt
	// Peers are those that cost most, at most topPeers of them, dearest first.
	Peers []PeerUsage
	// Gone is what peers used that are not there any more.
	Gone time.Duration
}

// PeerUsage is what the events of one peer cost.
type PeerUsage struct {
	Peer sdk.Peer
	CPU  time.Duration
}

// topPeers bounds the peers that a Usage lists.
const topPeers = 16

func (b *budget) usage(now time.Duration) Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := Usage{CPU: b.total, Worst: b.worst, Batches: b.batches, Late: b.late, Gone: b.gone}
	if b.saved < 0 {
		u.Debt = max(0, b.at-b.saved-now)
	}
	for p, d := range b.peers {
		u.Peers = append(u.Peers, PeerUsage{p, d})
	}
	slices.SortFunc(u.Peers, func(x, y PeerUsage) int { return cmp.Or(cmp.Compare(y.CPU, x.CPU), cmp.Compare(x.Peer, y.Peer)) })
	u.Peers = u.Peers[:min(len(u.Peers), topPeers)]
	return u
}

// owes reports that events wait and no batch may start yet, and sees to it that the goroutine
// looks again when one may. The caller holds run.
func (s *supervisor) owes() bool {
	if s.meter == nil || s.box.idle() {
		return false
	}
	wait := s.budget.wait(s.m.cfg.Clock())
	switch {
	case wait == 0:
		return false
	case s.later == nil:
		s.later = time.AfterFunc(wait, s.poke)
	default:
		s.later.Reset(wait)
	}
	return true
}

// forgive ends what the instance owes: it is gone. The caller holds run.
func (s *supervisor) forgive() {
	if s.later != nil {
		s.later.Stop()
	}
	s.meter, s.later = nil, nil
	s.budget.restarted()
}
