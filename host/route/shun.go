package route

import (
	"slices"
	"time"

	"nethost/host/wire"
)

// shunHold is how long a neighbour that is avoided for an origin tells it nothing
// new: its wave of a new sequence would come first, and make the offers of all
// others infeasible again (R4.6).
const shunHold = 2 * time.Second

// Avoid says that packets for a destination get lost behind a neighbour that is
// alive, or (with false) that they do no more. While it is avoided it is used for
// that destination only where no other offer is feasible, and the origin is asked
// for a new sequence so that others become so.
func (t *Table) Avoid(dest wire.RID, n Neighbor, on bool, now time.Duration) {
	o, nb := t.byRID[dest], t.find(n)
	if o == nil || nb == nil || slices.Contains(o.shun, nb) == on {
		return
	}
	if !on {
		o.shun = slices.DeleteFunc(o.shun, func(x *neighbor) bool { return x == nb })
		t.reselect(o, now)
		return
	}
	o.shun = append(o.shun, nb)
	o.shunHold = now + shunHold
	t.reselect(o, now)
	if o.best != nil && o.best.via == nb && len(t.nbrs) > 1 && now >= o.requestAt {
		t.request(o, now)
	}
}

// doubts grades an offer: 0 is free of doubt, 1 is taken only when there is no such
// one, 2 only when there is nothing else. An avoided neighbour is at least alive, and
// may be accused of what another does on the way back; a suspect one answers nobody.
func (o *origin) doubts(e *entry) int {
	switch {
	case e.via.suspect:
		return 2
	case slices.Contains(o.shun, e.via) || o.doubtful(e):
		return 1
	}
	return 0
}

// doubtful reports that an offer is of a neighbour that asks for a newer sequence
// itself: it is about to lose what it offers (R4.7).
func (o *origin) doubtful(e *entry) bool {
	return e.via == o.asker && o.now < o.askedTill && (e.inc < o.asked.inc || e.inc == o.asked.inc && e.seq < o.asked.seq)
}

// doubt notes who asks for which sequence, and looks for a way that does not lead
// through it.
func (t *Table) doubt(o *origin, nb *neighbor, r *wire.SeqRequest, now time.Duration) {
	o.asker, o.asked = nb, distance{inc: r.Incarnation, seq: r.Seq}
	o.askedTill = now + askedFor
	if o.best != nil && o.best.via == nb {
		t.reselect(o, now)
	}
}

// muted reports that a neighbour's word on an origin must wait.
func (o *origin) muted(nb *neighbor, now time.Duration) bool {
	return len(o.shun) > 0 && now < o.shunHold && len(o.entries) > 1 && slices.Contains(o.shun, nb)
}
