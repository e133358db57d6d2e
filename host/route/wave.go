package route

import (
	"time"

	"nethost/host/wire"
)

// ownWave is the state of our own announcement.
type ownWave struct {
	seq     uint64
	want    bool // a wave is to be signed
	signing bool // its signature is being made
	signed  bool // wave is good
	wave    wire.Wave
	nextAt  time.Duration
	// when a sequence request may be answered with a new sequence again
	answerAt time.Duration
}

// WaveVerdict says what became of a wave.
type WaveVerdict uint8

// The verdicts.
const (
	Done         WaveVerdict = iota + 1 // taken, or known already
	Verify                              // check the signature, then call Verified
	Refuse                              // it says what no honest node says
	RefuseForged                        // its signature is wrong
	RefuseStale                         // of an incarnation below the newest
	RefuseRate                          // the neighbour has had its share of checks
	RefuseFull                          // of one node more than may be known
)

// radius is how many hops a wave of a sequence travels (R3.2): a function of the
// sequence, so that no relay needs to be told.
func radius(seq uint64) uint8 {
	switch {
	case seq%fullPeriod == 1:
		return wire.MaxTTL
	case seq%16 == 0:
		return 16
	case seq%4 == 0:
		return 4
	}
	return 2
}

// Sign reports once that the table wants a wave of its own signed. The caller
// signs wire.WaveSigned of it and calls Signed.
func (t *Table) Sign() (wire.Wave, bool) {
	if !t.own.want {
		return wire.Wave{}, false
	}
	t.own.want, t.own.signing = false, true
	return wire.Wave{Origin: t.cfg.Self, Incarnation: t.cfg.Incarnation, Seq: t.own.seq}, true
}

// Signed takes our own signed wave and sends it to every neighbour.
func (t *Table) Signed(w *wire.Wave, now time.Duration) {
	if w.Incarnation != t.cfg.Incarnation {
		return // of a life that is over
	}
	t.own.signing = false
	t.own.signed = true
	t.own.wave = *w
	t.own.wave.Metric, t.own.wave.Hops = 0, 0
	t.own.nextAt = now + t.cfg.Interval
	t.sendAll(t.ownPayload(), nobody, nobody)
}

// sendOwn tells a neighbour our own wave as it stands.
func (t *Table) sendOwn(nb *neighbor) {
	if t.own.signed {
		t.send(nb, t.ownPayload())
	}
}

func (t *Table) ownPayload() []byte {
	w := t.own.wave
	w.MTU = ownMTU
	return t.encoded(w)
}

// OnWave takes a wave from a neighbour.
func (t *Table) OnWave(n Neighbor, w *wire.Wave, now time.Duration) WaveVerdict {
	nb := t.find(n)
	switch {
	case nb == nil, w.Incarnation == 0 || w.Seq == 0, w.Hops >= wire.MaxTTL,
		(w.Hops == 0) != (w.Origin == nb.id) && w.Metric != Infinity, w.Metric == 0 && w.Origin != nb.id,
		w.Metric == Infinity && w.Hops == 0:
		return Refuse
	case w.Origin == t.cfg.Self:
		if w.Incarnation < t.cfg.Incarnation || w.Incarnation == t.cfg.Incarnation && w.Seq <= t.own.seq {
			return Done // our own words, passed on
		}
		return t.check(nb, w, now) // not ours, and yet perhaps signed with our key (R1.7)
	}
	o := t.byNode[w.Origin]
	if w.Metric == Infinity && (o == nil || !newer(w, &o.newest)) {
		return Done // nothing new, and no offer
	}
	if o != nil {
		if w.Incarnation < o.newest.Incarnation {
			t.correct(nb, o, now)
			return RefuseStale
		}
		if w.Incarnation == o.newest.Incarnation && w.Seq == o.newest.Seq && w.Sig == o.newest.Sig && w.Digest == o.newest.Digest {
			t.accept(nb, o, w, now)
			return Done
		}
		for _, e := range o.entries { // an older one that was checked before
			if e.inc == w.Incarnation && e.seq == w.Seq && e.wave.Sig == w.Sig && e.wave.Digest == w.Digest {
				t.accept(nb, o, w, now)
				return Done
			}
		}
	}
	return t.check(nb, w, now)
}

// check has a signature checked, unless that is under way.
func (t *Table) check(nb *neighbor, w *wire.Wave, now time.Duration) WaveVerdict {
	if t.await(nb, w) {
		return Done
	}
	if !nb.token(now) {
		return RefuseRate
	}
	t.checks[statementOf(w)] = []heard{{nb, *w}}
	return Verify
}

// accept takes an authentic offer.
func (t *Table) accept(nb *neighbor, o *origin, w *wire.Wave, now time.Duration) {
	if o.muted(nb, now) {
		return
	}
	for _, e := range o.entries {
		if e.via == nb && (e.inc > w.Incarnation || e.inc == w.Incarnation && e.seq > w.Seq) {
			return // overtaken on the way
		}
		if e == o.best && e.via == nb && e.inc == w.Incarnation && e.seq == w.Seq && w.Metric > e.metric &&
			w.Metric >= o.fd.metric {
			// The next hop in use got worse than what we promised others. The old
			// offer stays in use, which cannot loop, until a newer sequence lets
			// everybody choose anew (RFC 8966, 3.5.3 and 3.8.2.2).
			e.at, e.wave.MTU = now, w.MTU
			t.tellMTU(o, now)
			if now >= o.requestAt {
				t.request(o, now)
			}
			return
		}
	}
	o.put(&entry{via: nb, inc: w.Incarnation, seq: w.Seq, metric: w.Metric, hops: w.Hops + 1, wave: *w, at: now})
	t.reselect(o, now)
	if o.best == nil && len(o.entries) > 0 && now >= o.requestAt { // offers, none of them feasible
		o.requests = min(o.requests, seqRequestTries-1)
		t.pursue(o, now)
	}
}

// token takes one of the signatures a neighbour may cost us.
func (nb *neighbor) token(now time.Duration) bool {
	nb.tokens = min(verifyBurst, nb.tokens+(now-nb.tokensAt).Seconds()*verifyRate)
	nb.tokensAt = now
	if nb.tokens < 1 {
		return false
	}
	nb.tokens--
	return true
}

// OnRetract takes a neighbour's word that it lost a route. It withdraws what that
// neighbour offered and nothing else.
func (t *Table) OnRetract(n Neighbor, r wire.Retract, now time.Duration) {
	nb, o := t.find(n), t.byNode[r.Origin]
	if nb == nil || o == nil || nb.id == r.Origin {
		return
	}
	for _, e := range o.entries {
		if e.via == nb && e.inc <= r.Incarnation {
			o.remove(nb)
			t.reselect(o, now)
			return
		}
	}
}

// OnSeqRequest answers, or passes on, a request for a newer sequence (R5.2).
func (t *Table) OnSeqRequest(n Neighbor, r wire.SeqRequest, now time.Duration) {
	nb := t.find(n)
	if nb == nil {
		return
	}
	if r.Origin == t.cfg.Self {
		if r.Incarnation == t.cfg.Incarnation && r.Seq > t.own.seq && !t.own.want && !t.own.signing && now >= t.own.answerAt {
			t.own.answerAt = now + seqRequestEvery
			// One that crosses the mesh. What was asked for has no say in it: a
			// neighbour must not use our sequences up.
			t.own.seq = (t.own.seq/fullPeriod+1)*fullPeriod + 1
			t.own.want = true
		} else {
			t.sendOwn(nb)
		}
		return
	}
	o := t.byNode[r.Origin]
	if o == nil || t.cfg.RelayOff {
		return
	}
	b := o.best
	if b != nil && b.via != nb && (b.inc > r.Incarnation || b.inc == r.Incarnation && b.seq >= r.Seq) {
		t.advertiseTo(o, nb)
		return
	}
	if r.TTL <= 1 || now < o.passAt {
		return
	}
	o.passAt = now + seqRequestEvery*4/5
	t.doubt(o, nb, &r, now)
	b = o.best
	r.TTL--
	msg := wire.AppendSeqRequest(nil, r)
	if b != nil && b.via != nb && !b.via.suspect {
		t.send(b.via, msg)
		return
	}
	for _, e := range o.entries {
		if e.via != nb {
			t.send(e.via, msg)
		}
	}
}
