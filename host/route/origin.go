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

	advertised bool     // neighbours may hold a route through us
	last       distance // as advertised last
	inPending  bool
	inLater    bool
	refresh    bool          // pending because of a new sequence, not of a change
	spokenAt   time.Duration // when all neighbours heard the route last
	again      int           // intervals that still repeat the last change
	lostAt     time.Duration
	retract    int           // retractions still to be sent
	actAt      time.Duration // when to retract or ask again
	requestAt  time.Duration // when we may ask for a new sequence again
	requests   int
	inRetry    bool
	passAt     time.Duration // when we may pass on a request of others again
	askedTill  time.Duration // a new sequence is waited for by others ...
	asked      distance      // ... which one
	asker      *neighbor     // ... and who was the last to say so
	mtu        mtuState

	by        *neighbor     // who brought it; nil: it left
	shun      []*neighbor   // behind whom packets for it get lost
	shunHold  time.Duration // until when those tell nothing new
	correctAt time.Duration // when a stale wave may be answered again
}

// distance is (incarnation, sequence, metric), as RFC 8966 section 3.5.1.
type distance struct {
	inc, seq uint64
	metric   uint32
}

// older reports that (inc, seq) comes after d's.
func (d distance) older(inc, seq uint64) bool { return inc > d.inc || inc == d.inc && seq > d.seq }

// entry is a neighbour's offer of a route.
type entry struct {
	via      *neighbor
	inc, seq uint64
	metric   uint32    // as the neighbour said
	hops     uint8     // distance of the origin from us
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

// via is the next hop in use, nil for none.
func (o *origin) via() *neighbor {
	if o.best == nil {
		return nil
	}
	return o.best.via
}

// remove drops the offer of a neighbour. reselect must follow when there was one.
func (o *origin) remove(nb *neighbor) bool {
	n := len(o.entries)
	o.entries = slices.DeleteFunc(o.entries, func(e *entry) bool { return e.via == nb })
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

// choose finds the best feasible offer: one of a neighbour that is neither suspect
// nor avoided first, then the lowest metric; the current one keeps its place unless another is
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
		if best == nil || o.doubts(e) < o.doubts(best) {
			best = e
		}
	}
	cur := o.best
	if best != nil && cur != nil && cur != best && o.feasible(cur) && slices.Contains(o.entries, cur) &&
		o.doubts(cur) == o.doubts(best) && cur.total() < Infinity && !differs(cur.total(), best.total()) {
		return cur
	}
	return best
}

// reselect picks the next hop anew and arranges that neighbours hear of a change.
func (t *Table) reselect(o *origin, now time.Duration) {
	o.now = now
	before := o.via()
	o.best = o.choose()
	after := o.via()
	if before != after {
		t.changes = append(t.changes, o.rid)
	}
	if after == nil {
		if before != nil {
			t.lost(o, now)
		}
		return
	}
	o.commit()
	b := o.best
	changed := before != after || b.inc != o.last.inc || differs(b.total(), o.last.metric)
	if changed {
		o.again = tellAgain
	}
	if changed || b.seq != o.last.seq {
		// What somebody asked for travels on, whatever the radius of its sequence.
		o.refresh = !changed && now >= o.askedTill && (o.refresh || !o.inPending)
		t.advertise(o, now)
	}
	t.tellMTU(o, now)
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
	o.requests = 0
}

// advertise queues an origin for the next flush.
func (t *Table) advertise(o *origin, now time.Duration) {
	if t.cfg.RelayOff {
		o.last = distance{o.best.inc, o.best.seq, o.best.total()}
		return
	}
	if !o.inPending {
		o.inPending = true
		t.pending = append(t.pending, o)
		t.flushAt = min(t.flushAt, now+coalesce)
	}
}

// flush tells the neighbours what changed: as much as their queues hold, the rest
// a little later (R7.4).
func (t *Table) flush(now time.Duration) {
	t.flushAt = Never
	n := min(len(t.pending), speakMax)
	for _, o := range t.pending[:n] {
		o.inPending = false
		t.speak(o, now)
	}
	t.pending = slices.Delete(t.pending, 0, n)
	if len(t.pending) > 0 {
		t.flushAt = now + coalesce
	}
	for _, nb := range t.nbrs {
		if nb.introducing {
			t.introduce(nb, now)
		}
	}
}

// speak tells all neighbours how it stands with an origin.
func (t *Table) speak(o *origin, now time.Duration) {
	if o.best == nil || t.cfg.RelayOff {
		o.advertised = o.advertised && !t.cfg.RelayOff
		t.retractToAll(o)
		return
	}
	o.last = distance{o.best.inc, o.best.seq, o.best.total()}
	if o.refresh && o.best.hops >= radius(o.best.seq) {
		return // this sequence does not travel further
	}
	o.mtu.told, o.spokenAt = o.best.mtu(), now
	t.advertiseToAll(o)
}

// introduce tells a neighbour the routes we have, a part each time.
func (t *Table) introduce(nb *neighbor, now time.Duration) {
	nb.introducing, nb.repeating = false, false
	for n := 0; nb.cursor < len(t.origins); nb.cursor++ {
		if o := t.origins[nb.cursor]; o.best == nil {
			continue
		} else if n++; n > speakMax {
			nb.introducing = true
			t.flushAt = min(t.flushAt, now+coalesce)
			return
		} else {
			t.advertiseTo(o, nb)
		}
	}
	nb.cursor = 0
}

// retractTo tells one neighbour that we have no route.
func (t *Table) retractTo(o *origin, nb *neighbor) {
	if nb.id != o.id {
		t.send(nb, wire.AppendRetract(nil, wire.Retract{Origin: o.id, Incarnation: o.newest.Incarnation}))
	}
}

// lost retracts a route that is gone, and asks for a new sequence so that offers
// which are not feasible become so (R5).
func (t *Table) lost(o *origin, now time.Duration) {
	o.lostAt, o.requests, o.actAt = now, 0, now
	if o.advertised {
		o.retract, o.again = 2, tellAgain
	}
	t.pursue(o, now)
}

// pursue retracts and asks for as long as that is due, now and later.
func (t *Table) pursue(o *origin, now time.Duration) {
	if !o.inRetry {
		o.inRetry = true
		t.retracts = append(t.retracts, o)
	}
	if now < o.actAt {
		t.retryAt = min(t.retryAt, o.actAt)
		return
	}
	if t.spoken >= speakMax {
		t.retryAt = min(t.retryAt, now+coalesce)
		return
	}
	t.spoken++
	if o.retract > 0 {
		o.retract--
		t.retractToAll(o)
	}
	if o.requests < seqRequestTries && now >= o.requestAt {
		t.request(o, now)
	}
	if o.actAt = now + retractAgain; o.retract == 0 {
		o.actAt = max(o.actAt, o.requestAt)
	}
	t.retryAt = min(t.retryAt, o.actAt)
}

// request asks every neighbour for a sequence above the feasibility distance.
func (t *Table) request(o *origin, now time.Duration) {
	o.requests++
	o.requestAt = now + seqRequestEvery
	r := wire.SeqRequest{Origin: o.id, Incarnation: o.newest.Incarnation, Seq: o.newest.Seq, TTL: wire.MaxTTL}
	if o.hasFD && o.fd.inc == r.Incarnation {
		r.Seq = o.fd.seq + 1
	}
	t.sendAll(wire.AppendSeqRequest(nil, r), nobody, nobody)
}

// retry repeats retractions and requests of origins that are still lost.
func (t *Table) retry(now time.Duration) {
	t.retryAt = Never
	t.retracts = slices.DeleteFunc(t.retracts, func(o *origin) bool {
		o.inRetry = o.best == nil && (o.retract > 0 || o.requests < seqRequestTries)
		return !o.inRetry
	})
	for _, o := range t.retracts {
		t.pursue(o, now)
	}
}
