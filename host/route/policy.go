package route

import (
	"time"

	"nethost/sdk"
)

// SetRelay changes whether routes of others are passed on. Off retracts what was
// told of them (R9.1); on tells every neighbour the routes there are.
func (t *Table) SetRelay(on bool, now time.Duration) {
	if on == !t.cfg.RelayOff {
		return
	}
	t.cfg.RelayOff = !on
	if on {
		for _, nb := range t.nbrs {
			nb.again, nb.cursor = tellAgain, 0
			t.introduce(nb, now)
		}
		return
	}
	for _, nb := range t.nbrs {
		nb.introducing, nb.repeating, nb.again, nb.cursor = false, false, 0, 0
	}
	for _, o := range t.origins {
		if o.advertised && !o.inPending {
			o.inPending = true
			t.pending = append(t.pending, o)
		}
	}
	if len(t.pending) > 0 {
		t.flushAt = min(t.flushAt, now+coalesce)
	}
}

// Forget drops every route to a node and retracts it, as if all neighbours had lost
// it (R9.2). The caller takes no more waves of it.
func (t *Table) Forget(id sdk.NodeID, now time.Duration) {
	o := t.byNode[id]
	if o == nil || len(o.entries) == 0 {
		return
	}
	o.entries = nil
	t.reselect(o, now)
	o.requests = seqRequestTries // nobody's answer would be taken
}

// Why says what made an offer the next hop.
type Why uint8

// The reasons.
const (
	WhyOnly    Why = iota + 1 // no other offer is feasible
	WhyLowest                 // the lowest metric
	WhyKept                   // another is better by less than an eighth
	WhySuspect                // another has a lower metric, but its neighbour is suspect
)

// whyTexts are the reasons in words, wire.TraceWhyDirect among them.
func whyTexts() [6]string {
	return [...]string{"", "the only feasible way", "lowest metric", "kept: another is better by less than an eighth",
		"the better way is suspect", "it is a neighbour"}
}

// WhyText says a reason in words.
func WhyText(why uint8) string {
	if t := whyTexts(); int(why) < len(t) {
		return t[why]
	}
	return ""
}

// Offer is one way towards a node.
type Offer struct {
	Via    Neighbor
	Metric uint32 // of the whole way, in microseconds
}

// Explain tells the next hop towards a node, why it is that, and the other feasible
// offers, best first.
func (t *Table) Explain(id sdk.NodeID) (best Offer, hops uint8, why Why, others []Offer, ok bool) {
	o := t.byNode[id]
	if o == nil || o.best == nil {
		return best, 0, 0, nil, false
	}
	best, hops, why = Offer{o.best.via.n, o.best.total()}, o.best.hops, WhyOnly
	for _, e := range o.entries {
		if e == o.best || e.total() == Infinity || !o.feasible(e) {
			continue
		}
		switch better := e.total() < best.Metric; {
		case better && e.via.suspect && !o.best.via.suspect:
			why = WhySuspect
		case better:
			why = WhyKept
		case why == WhyOnly:
			why = WhyLowest
		}
		if len(others) < maxAlternates-1 {
			others = append(others, Offer{e.via.n, e.total()})
		}
	}
	return best, hops, why, others, true
}
