package route

import (
	"slices"
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// origin is what is known of one node.
type origin struct {
	id      sdk.NodeID
	rid     wire.RID
	newest  wire.Wave // highest (incarnation, sequence) whose signature was good
	entries []*entry  // one a neighbour, by total metric
	best    *entry    // the next hop in use; nil = unreachable
	fd      distance  // feasibility distance
	hasFD   bool
	now     time.Duration // of the last change

	advertised bool   // neighbours may hold a route through us
	lastMetric uint32 // as advertised last
	lastSeq    uint64
	inPending  bool
	refresh    bool          // pending because of a new sequence, not of a change
	retract    int           // retractions still to be sent
	requestAt  time.Duration // when to ask for a new sequence again
	requests   int
	inRetry    bool
}

// distance is (incarnation, sequence, metric), as RFC 8966 section 3.5.1.
type distance struct {
	inc, seq uint64
	metric   uint32
}

// newer reports that (inc, seq) comes after d's.
func (d distance) older(inc, seq uint64) bool { return inc > d.inc || inc == d.inc && seq > d.seq }

// entry is a neighbour's offer of a route.
type entry struct {
	via      *neighbor
	inc, seq uint64
	metric   uint32 // as the neighbour said
	hops     uint8  // distance of the origin from us
	mtu      uint16
	wave     wire.Wave // the signed statement, to be passed on
	at       time.Duration
}

// total is the metric of the route through this entry.
func (e *entry) total() uint32 {
	if s := uint64(e.metric) + uint64(e.via.cost); s < uint64(Infinity) {
		return uint32(s)
	}
	return Infinity
}

// feasible is the condition that keeps the mesh free of loops (R4.1).
func (o *origin) feasible(e *entry) bool {
	if !o.hasFD || o.fd.older(e.inc, e.seq) {
		return true
	}
	return e.inc == o.fd.inc && e.seq == o.fd.seq && e.metric < o.fd.metric
}

// remove drops the offer of a neighbour.
func (o *origin) remove(nb *neighbor) bool {
	n := len(o.entries)
	o.entries = slices.DeleteFunc(o.entries, func(e *entry) bool { return e.via == nb })
	if o.best != nil && o.best.via == nb {
		o.best = nil
		return true
	}
	return len(o.entries) != n
}

// put takes a neighbour's new offer in place of its old one.
func (o *origin) put(e *entry) {
	for i, old := range o.entries {
		if old.via == e.via {
			if o.best == old {
				o.best = e
			}
			o.entries[i] = e
			return
		}
	}
	o.entries = append(o.entries, e)
}

// choose finds the best feasible offer: one that is not suspect before one that
// is, then the lowest metric; the current one keeps its place unless another is
// an eighth better (R4.3).
func (o *origin) choose() *entry {
	slices.SortStableFunc(o.entries, func(a, b *entry) int {
		switch x, y := a.total(), b.total(); {
		case x != y && x < y:
			return -1
		case x != y:
			return 1
		}
		return int(a.via.n) - int(b.via.n)
	})
	var best *entry
	for _, e := range o.entries {
		if e.total() == Infinity || !o.feasible(e) {
			continue
		}
		if best == nil || best.via.suspect && !e.via.suspect {
			best = e
		}
	}
	cur := o.best
	if best != nil && cur != nil && cur != best && o.feasible(cur) && slices.Contains(o.entries, cur) &&
		cur.via.suspect == best.via.suspect && cur.total() < Infinity && !differs(cur.total(), best.total()) {
		return cur
	}
	return best
}

// reselect picks the next hop anew and arranges that neighbours hear of a change.
func (t *Table) reselect(o *origin, now time.Duration) {
	o.now = now
	var before *neighbor
	if o.best != nil {
		before = o.best.via
	}
	had := o.advertised
	o.best = o.choose()
	var after *neighbor
	if o.best != nil {
		after = o.best.via
		o.commit()
	}
	if before != after || before == nil && had {
		if before != after {
			t.changes = append(t.changes, o.rid)
		}
	}
	switch {
	case o.best == nil && had:
		t.starve(o, now)
	case o.best == nil:
	case before != after || differs(o.best.total(), o.lastMetric) || o.best.seq != o.lastSeq:
		o.refresh = !(before != after || differs(o.best.total(), o.lastMetric)) || o.inPending && o.refresh
		t.advertise(o, now)
	}
}

// commit lowers the feasibility distance to the route in use: from now on only
// offers better than it count, so that no neighbour that routes through us is
// ever chosen (R4.2).
func (o *origin) commit() {
	b := o.best
	m := b.total()
	if !o.hasFD || o.fd.older(b.inc, b.seq) {
		o.fd, o.hasFD = distance{b.inc, b.seq, m}, true
	} else if b.inc == o.fd.inc && b.seq == o.fd.seq {
		o.fd.metric = min(o.fd.metric, m)
	}
	o.requests, o.requestAt = 0, 0
}

// advertise queues an origin for the next flush.
func (t *Table) advertise(o *origin, now time.Duration) {
	if t.cfg.RelayOff {
		o.lastMetric, o.lastSeq = o.best.total(), o.best.seq
		return
	}
	if !o.inPending {
		o.inPending = true
		t.pending = append(t.pending, o)
		t.flushAt = min(t.flushAt, now+coalesce)
	}
}

// flush tells the neighbours what changed.
func (t *Table) flush(now time.Duration) {
	t.flushAt = Never
	for _, o := range t.pending {
		o.inPending = false
		if o.best == nil {
			continue
		}
		o.lastMetric, o.lastSeq = o.best.total(), o.best.seq
		if o.refresh && o.best.hops >= radius(o.best.seq) {
			continue // this sequence does not travel further
		}
		for _, nb := range t.nbrs {
			t.advertiseTo(o, nb)
		}
	}
	t.pending = t.pending[:0]
}

// advertiseTo tells one neighbour our route. Not the one it goes through: that is
// an optimisation, the feasibility condition is the guarantee.
func (t *Table) advertiseTo(o *origin, nb *neighbor) {
	b := o.best
	if b.via == nb || nb.id == o.id || b.hops >= wire.MaxTTL || b.total() == Infinity {
		return
	}
	w := b.wave
	w.Metric, w.Hops, w.MTU = b.total(), b.hops, min(b.mtu, nb.mtu)
	o.advertised, o.retract = true, 0
	t.send(nb, wire.AppendWave(nil, w))
}

// starve retracts a lost route, and asks for a new sequence so that offers which
// are not feasible become so (R5).
func (t *Table) starve(o *origin, now time.Duration) {
	o.retract = 2
	t.retractNow(o)
	t.request(o, now)
	if !o.inRetry {
		o.inRetry = true
		t.retracts = append(t.retracts, o)
		t.retryAt = min(t.retryAt, now+retractAgain)
	}
}

func (t *Table) retractNow(o *origin) {
	o.retract--
	for _, nb := range t.nbrs {
		if nb.id != o.id {
			t.send(nb, wire.AppendRetract(nil, wire.Retract{Origin: o.id, Incarnation: o.newest.Incarnation}))
		}
	}
	if o.retract == 0 {
		o.advertised = false
	}
}

// request asks every neighbour for a sequence above the feasibility distance.
func (t *Table) request(o *origin, now time.Duration) {
	o.requests++
	o.requestAt = now + seqRequestEvery
	r := wire.SeqRequest{Origin: o.id, Incarnation: o.newest.Incarnation, Seq: max(o.newest.Seq, o.fd.seq) + 1, TTL: wire.MaxTTL}
	for _, nb := range t.nbrs {
		t.send(nb, wire.AppendSeqRequest(nil, r))
	}
}

// retry repeats retractions and requests of origins that are still lost.
func (t *Table) retry(now time.Duration) {
	t.retryAt = Never
	t.retracts = slices.DeleteFunc(t.retracts, func(o *origin) bool {
		if o.best != nil || o.retract == 0 && o.requests >= seqRequestTries {
			o.inRetry = false
			return true
		}
		if o.retract > 0 {
			t.retractNow(o)
		}
		if o.requests < seqRequestTries && now >= o.requestAt {
			t.request(o, now)
		}
		t.retryAt = min(t.retryAt, max(o.requestAt, now+retractAgain))
		return false
	})
}

// sweep forgets offers that no wave renewed.
func (t *Table) sweep(now time.Duration) {
	t.sweepAt = now + t.cfg.Interval
	for _, o := range slices.Clone(t.origins) {
		o.now = now
		n := len(o.entries)
		o.entries = slices.DeleteFunc(o.entries, func(e *entry) bool { return now-e.at > t.lifetime(e.hops) })
		if len(o.entries) != n {
			t.reselect(o, now)
		}
	}
	for key, at := range t.asked {
		if now-at > time.Second {
			delete(t.asked, key)
		}
	}
}

// lifetime is how long an offer lives without a wave: three and a half of the
// waves that come so far (R6.2).
func (t *Table) lifetime(hops uint8) time.Duration {
	period := time.Duration(1)
	switch {
	case hops > 16:
		period = fullPeriod
	case hops > 4:
		period = 16
	case hops > 2:
		period = 4
	}
	return period * t.cfg.Interval * 7 / 2
}
