package route

import (
	"slices"
	"time"
)

// sweep forgets offers that no wave renewed, and repeats what may have been lost
// on the way.
func (t *Table) sweep(now time.Duration) {
	t.sweepAt = now + t.cfg.Interval
	t.origins = slices.DeleteFunc(t.origins, func(o *origin) bool {
		o.now = now
		if n := len(o.entries); n > 0 {
			o.entries = slices.DeleteFunc(o.entries, func(e *entry) bool { return now-e.at > t.lifetime(e.hops) })
			if len(o.entries) != n {
				t.reselect(o, now)
			}
		}
		if len(o.entries) > 0 || o.inPending || o.inLater || o.inRetry || now-o.lostAt <= lostKept*t.cfg.Interval {
			return false
		}
		discharge(o)
		delete(t.byNode, o.id)
		delete(t.byRID, o.rid)
		return true
	})
	t.repeat(now)
}

// repeat says again what changed of late and, in turn, everything else: messages
// between neighbours get lost, and no neighbour can know what it never heard (R6.3).
func (t *Table) repeat(now time.Duration) {
	for _, o := range t.origins {
		if o.best == nil && len(o.entries) > 0 { // offers, none of them feasible
			o.requests = min(o.requests, seqRequestTries-1)
			t.pursue(o, now)
		}
		if o.again > 0 {
			o.again--
			t.repeatOne(o, now)
		}
	}
	n := len(t.origins)
	for range min(n, max(roundMin, (n+roundLength-1)/roundLength)) {
		t.turn = (t.turn + 1) % n
		if o := t.origins[t.turn]; o.best == nil || now-o.spokenAt >= roundLength/2*t.cfg.Interval {
			t.repeatOne(o, now)
		}
	}
	for _, nb := range t.nbrs {
		if nb.again > 0 && !nb.introducing && !nb.repeating {
			nb.again--
			nb.repeating, nb.cursor = true, 0
			t.paceAt = min(t.paceAt, now+coalesce)
		}
	}
}

func (t *Table) repeatOne(o *origin, now time.Duration) {
	if !t.cfg.RelayOff && (o.best != nil || o.advertised) {
		t.sayAgain(o, now)
	}
}

// lifetime is how long an offer lives without a wave: three and a half of the
// waves that come so far, or of the rounds in which neighbours repeat what they
// know (R6.2).
func (t *Table) lifetime(hops uint8) time.Duration {
	period := time.Duration(1)
	switch {
	case hops > 4:
		period = maxPeriod
	case hops > 2:
		period = 4
	}
	return period * t.cfg.Interval * 7 / 2
}
