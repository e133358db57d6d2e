package route

import (
	"time"

	"nethost/host/wire"
	"nethost/sdk"
)

// statement is what a signature covers, with the signature.
type statement struct {
	origin   sdk.NodeID
	inc, seq uint64
	digest   [16]byte
	sig      [64]byte
}

func statementOf(w *wire.Wave) statement {
	return statement{w.Origin, w.Incarnation, w.Seq, w.Digest, w.Sig}
}

// heard is a wave that waits for the check of its statement.
type heard struct {
	from *neighbor
	wave wire.Wave
}

// await lets a wave wait for a check that is under way, with what the neighbour
// said last; false when none is (R1.3).
func (t *Table) await(nb *neighbor, w *wire.Wave) bool {
	s := statementOf(w)
	list, ok := t.checks[s]
	if !ok {
		return false
	}
	for i := range list {
		if list[i].from == nb {
			list[i].wave = *w
			return true
		}
	}
	t.checks[s] = append(list, heard{nb, *w})
	return true
}

// Unchecked says that the signature of a wave will not be checked: there is too
// much else to do. Who repeats it is asked about anew.
func (t *Table) Unchecked(w *wire.Wave) { delete(t.checks, statementOf(w)) }

// Verified takes a wave whose signature was checked, as it came from every
// neighbour that said it meanwhile. One that left is not believed any more, under
// whatever handle it came back.
func (t *Table) Verified(n Neighbor, w *wire.Wave, good bool, now time.Duration) WaveVerdict {
	s := statementOf(w)
	list, waited := t.checks[s]
	delete(t.checks, s)
	if nb := t.find(n); !waited && nb != nil {
		list = []heard{{nb, *w}}
	}
	if !good {
		return RefuseForged
	}
	if w.Origin == t.cfg.Self {
		t.outdone(w.Incarnation)
		return Done
	}
	verdict := Done
	for i := range list {
		if h := &list[i]; t.find(h.from.n) == h.from {
			if v := t.authentic(h.from, &h.wave, now); v != Done {
				verdict = v
			}
		}
	}
	return verdict
}

// authentic takes a wave whose signature is known to be good.
func (t *Table) authentic(nb *neighbor, w *wire.Wave, now time.Duration) WaveVerdict {
	o := t.byNode[w.Origin]
	if w.Metric == Infinity { // a statement, no offer (R1.8)
		if o != nil && newer(w, &o.newest) {
			o.newest = *w
		}
		return Done
	}
	if o == nil {
		if o = t.originOf(w.Origin, nb, now); o == nil {
			t.full++
			return RefuseFull
		}
	}
	if w.Incarnation < o.newest.Incarnation {
		t.correct(nb, o, now)
		return RefuseStale
	}
	if newer(w, &o.newest) {
		if w.Incarnation > o.newest.Incarnation && o.newest.Incarnation > 0 {
			// The node restarted: what was offered before is not it any more,
			// but stays usable until the new wave has come the same way.
			o.requests = 0
		}
		o.newest = *w
		if nb.id != o.id {
			t.confront(o, now)
		}
	}
	t.accept(nb, o, w, now)
	return Done
}

// confront tells an origin that is our neighbour of a statement of its own that came
// another way and is far above what it says itself (R1.8).
func (t *Table) confront(o *origin, now time.Duration) {
	for _, e := range o.entries {
		if e.via.id == o.id && (e.inc < o.newest.Incarnation || e.seq+1 < o.newest.Seq) {
			t.correct(e.via, o, now)
			return
		}
	}
}

// newer compares what two waves of one origin state.
func newer(a, b *wire.Wave) bool {
	return a.Incarnation > b.Incarnation || a.Incarnation == b.Incarnation && a.Seq > b.Seq
}

// correct answers a wave of an old incarnation with the newest statement of its
// origin. It offers no route: it is for the origin, which may have lost count, and
// for all on the way to it that do not know better (R1.8).
func (t *Table) correct(nb *neighbor, o *origin, now time.Duration) {
	if now < o.correctAt {
		return
	}
	o.correctAt = now + seqRequestEvery
	t.send(nb, wire.AppendWave(nil, bare(o.newest)))
}

// bare makes a statement without an offer of a wave.
func bare(w wire.Wave) wire.Wave {
	w.Metric, w.Hops, w.MTU = Infinity, 1, wire.BaseMTU
	return w
}

// Statement is the newest that is known of a node, without an offer: for the node
// itself, should it speak from an older incarnation.
func (t *Table) Statement(id sdk.NodeID) (wire.Wave, bool) {
	o := t.byNode[id]
	if o == nil || o.newest.Incarnation == 0 {
		return wire.Wave{}, false
	}
	return bare(o.newest), true
}

// outdone notes that we have signed, or another node has under our key, above what
// we know to have signed.
func (t *Table) outdone(inc uint64) {
	if inc >= t.cfg.Incarnation {
		t.above = max(t.above, inc)
	}
}

// Outdone gives, once, the highest incarnation that was signed with our key and is
// not ours: above it we must go on (Reincarnate), or another node has our key.
func (t *Table) Outdone() (inc uint64, ok bool) {
	inc, t.above = t.above, 0
	return inc, inc > 0
}

// Reincarnate goes on under a higher incarnation of our own.
func (t *Table) Reincarnate(inc uint64, now time.Duration) {
	t.cfg.Incarnation = inc
	t.own = ownWave{want: true, nextAt: now + t.cfg.Interval, seq: t.cfg.firstSeq()}
}
