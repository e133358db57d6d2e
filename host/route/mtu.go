package route

import (
	"time"

	"nethost/host/wire"
)

// mtuEvery bounds how often a change of MTU that can wait is told (R8.3).
const mtuEvery = time.Second

// ownMTU is what an origin says of the way to itself.
const ownMTU = 0xffff

// mtuState is what is remembered of telling an origin's MTU.
type mtuState struct {
	told  uint16        // last, to all neighbours
	at    time.Duration // when a fall may be told at once again
	later bool          // in Table.mtuLater
}

// mtu is the least on the way through this entry (R8.1).
func (e *entry) mtu() uint16 { return max(min(e.wave.MTU, e.via.mtu), wire.BaseMTU) }

// MTU is the largest datagram, in bytes of UDP payload, that the route in use
// carries to a routing id; 0 when there is no route.
func (t *Table) MTU(dest wire.RID) int {
	if o := t.byRID[dest]; o != nil && o.best != nil {
		return int(o.best.mtu())
	}
	return 0
}

// NeighborMTU changes what a link carries from here to the neighbour, in bytes of
// UDP payload. Everybody who routes through it is told.
func (t *Table) NeighborMTU(n Neighbor, mtu uint16, now time.Duration) {
	nb := t.find(n)
	if nb == nil || nb.mtu == mtu {
		return
	}
	nb.mtu = mtu
	for _, o := range t.origins {
		if o.via() == nb {
			t.tellMTU(o, now)
		}
	}
}

// tellMTU arranges that the neighbours hear of another MTU of the route in use: a
// fall at once, since what is too large gets lost, a rise when it suits (R8.3).
func (t *Table) tellMTU(o *origin, now time.Duration) {
	switch mtu := o.best.mtu(); {
	case t.cfg.RelayOff, mtu == o.mtu.told, o.inPending && !o.refresh: // what is pending tells it
	case mtu < o.mtu.told && (mtu == wire.BaseMTU || now >= o.mtu.at):
		o.mtu.at = now + mtuEvery
		t.advertiseChange(o, now)
	case !o.mtu.later:
		o.mtu.later = true
		t.mtuLater = append(t.mtuLater, o)
		t.mtuAt = max(now, t.mtuNext)
	}
}

// tellLater tells what waited.
func (t *Table) tellLater(now time.Duration) {
	t.mtuAt, t.mtuNext = Never, now+mtuEvery
	for i, o := range t.mtuLater {
		t.mtuLater[i] = nil
		if o.mtu.later = false; o.best != nil && o.best.mtu() != o.mtu.told {
			t.advertiseChange(o, now)
		}
	}
	t.mtuLater = t.mtuLater[:0]
}

// advertiseChange tells all neighbours, whatever the radius of the sequence.
func (t *Table) advertiseChange(o *origin, now time.Duration) {
	o.again, o.refresh = tellAgain, false
	t.advertise(o, now)
}
