package route

import (
	"math"
	"slices"
	"time"

	"nethost/host/wire"
)

const (
	// paceGap is the pause between two lots of what is said again, and leastPaced the
	// size of a lot, in origins: about one packet for each neighbour.
	paceGap    = 10 * time.Millisecond
	leastPaced = 8

	// nobody is a Neighbor that does not exist.
	nobody = Neighbor(math.MaxUint32)
)

// Send is a core message for a neighbour, or for all that are there when it is sent.
type Send struct {
	To      Neighbor // unless All
	All     bool
	Except  [2]Neighbor // with All: who does not get it
	Payload []byte
}

// IsFor reports that the message goes to a neighbour.
func (s *Send) IsFor(n Neighbor) bool {
	if s.All {
		return n != s.Except[0] && n != s.Except[1]
	}
	return n == s.To
}

func (t *Table) sendAll(payload []byte, but, nor Neighbor) {
	if len(t.nbrs) > 0 {
		t.out = append(t.out, Send{All: true, Except: [2]Neighbor{but, nor}, Payload: payload})
	}
}

// itself is an origin's handle as a neighbour, nobody if it is none.
func (t *Table) itself(o *origin) Neighbor {
	for _, nb := range t.nbrs {
		if nb.id == o.id {
			return nb.n
		}
	}
	return nobody
}

// offer encodes the route in use as neighbours hear it; nil if none may.
func (t *Table) offer(o *origin) []byte {
	b := o.best
	if b.hops >= wire.MaxTTL || b.total() == Infinity {
		return nil
	}
	w := b.wave
	w.Metric, w.Hops, w.MTU = b.total(), b.hops, b.mtu()
	return t.encoded(w)
}

// hears reports that a neighbour is told the route in use. Not the one it goes
// through: that is an optimisation, the feasibility condition is the guarantee.
func (o *origin) hears(nb *neighbor) bool { return o.best.via != nb && nb.id != o.id }

// advertiseTo tells one neighbour our route.
func (t *Table) advertiseTo(o *origin, nb *neighbor) {
	if o.hears(nb) {
		t.offerTo(o, nb, t.offer(o))
	}
}

func (t *Table) offerTo(o *origin, nb *neighbor, payload []byte) {
	if payload != nil {
		o.advertised, o.retract = true, 0
		t.send(nb, payload)
	}
}

// advertiseToAll tells every neighbour.
func (t *Table) advertiseToAll(o *origin) {
	payload := t.offer(o)
	if payload == nil || !slices.ContainsFunc(t.nbrs, o.hears) {
		return
	}
	o.advertised, o.retract = true, 0
	t.sendAll(payload, o.best.via.n, t.itself(o))
}

// retractToAll tells every neighbour that we have no route.
func (t *Table) retractToAll(o *origin) {
	t.sendAll(wire.AppendRetract(nil, wire.Retract{Origin: o.id, Incarnation: o.newest.Incarnation}), t.itself(o), nobody)
}

// sayAgain queues an origin to be spoken of once more, when it is its turn: nobody
// waits for it, and all at once would be a burst (R7.4).
func (t *Table) sayAgain(o *origin, now time.Duration) {
	o.refresh = false
	if !o.inPending && !o.inLater {
		o.inLater = true
		t.later = append(t.later, o)
		t.paceAt = min(t.paceAt, now+coalesce)
	}
}

// pace says the next lot of what is said again. A lot is so large that half an
// interval is enough for all origins, as long as queues hold that.
func (t *Table) pace(now time.Duration) {
	t.paceAt = Never
	lot := int(time.Duration(len(t.origins)) * 2 * paceGap / t.cfg.Interval)
	lot = min(max(lot, leastPaced), speakMax)
	n := min(len(t.later), lot)
	for _, o := range t.later[:n] {
		if o.inLater = false; !o.inPending { // else a change is about to be told
			t.speak(o, now)
		}
	}
	t.later = slices.Delete(t.later, 0, n)
	if t.introduceAgain(lot) || len(t.later) > 0 {
		t.paceAt = now + paceGap
	}
}

// introduceAgain repeats the next lot of the routes to the neighbours that are due,
// those first that heard least. It reports that there is more.
func (t *Table) introduceAgain(lot int) bool {
	least, due := len(t.origins), 0
	for _, nb := range t.nbrs {
		if nb.repeating {
			least, due = min(least, nb.cursor), due+1
		}
	}
	if due == 0 {
		return false
	}
	end := min(least+lot, len(t.origins))
	var offers [speakMax][]byte // each is encoded once
	for _, nb := range t.nbrs {
		if !nb.repeating || nb.cursor > least {
			continue
		}
		for i, o := range t.origins[least:end] {
			if o.best == nil || !o.hears(nb) {
				continue
			}
			if offers[i] == nil {
				offers[i] = t.offer(o)
			}
			t.offerTo(o, nb, offers[i])
		}
		if nb.cursor = end; end == len(t.origins) {
			nb.cursor, nb.repeating = 0, false
			due--
		}
	}
	return due > 0
}
