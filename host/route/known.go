package route

import (
	"slices"
	"time"

	"nethost/host/identity"
	"nethost/host/wire"
	"nethost/sdk"
)

// maxForgotten is how many feasibility distances are kept of origins that had to
// make room.
const maxForgotten = 4096

// forgotten remembers what the return of an origin must be measured against (R7.6).
type forgotten struct {
	fd   map[wire.RID]distance
	ring []wire.RID
	next int
}

func (f *forgotten) put(rid wire.RID, d distance) {
	if f.fd == nil {
		f.fd = map[wire.RID]distance{}
	}
	if len(f.ring) < maxForgotten {
		f.ring = append(f.ring, rid)
	} else {
		delete(f.fd, f.ring[f.next])
		f.ring[f.next] = rid
		f.next = (f.next + 1) % maxForgotten
	}
	f.fd[rid] = d
}

// Known counts the origins in the table, waves refused for want of room, and
// origins that had to make room.
func (t *Table) Known() (origins int, full, evicted uint64) {
	return len(t.origins), t.full, t.evicted
}

// originOf makes the record of a node that nb speaks of; nil when there is no room
// for one more of that neighbour, or the routing id belongs to another key.
func (t *Table) originOf(id sdk.NodeID, nb *neighbor, now time.Duration) *origin {
	rid := identity.RIDOf(id)
	if t.byRID[rid] != nil || len(t.origins) >= t.cfg.MaxOrigins && !t.makeRoom(nb, now) {
		return nil
	}
	o := &origin{id: id, rid: rid, lostAt: now}
	if d, ok := t.gone.fd[rid]; ok {
		o.fd, o.hasFD = d, true
		delete(t.gone.fd, rid)
	}
	t.charge(o, nb)
	i, _ := slices.BinarySearchFunc(t.origins, id, func(x *origin, id sdk.NodeID) int { return x.id.Compare(id) })
	t.origins = slices.Insert(t.origins, i, o)
	t.byNode[id], t.byRID[rid] = o, o
	return o
}

// charge counts an origin as brought by a neighbour.
func (t *Table) charge(o *origin, nb *neighbor) {
	o.by = nb
	if nb != nil {
		nb.charged++
		nb.brought = append(nb.brought, o)
	}
}

// discharge takes an origin off the account of whoever brought it.
func discharge(o *origin) {
	if nb := o.by; nb != nil {
		nb.charged--
		o.by = nil
		if len(nb.brought) > 2*nb.charged+64 { // most of the list is of others by now
			nb.brought = slices.DeleteFunc(nb.brought, func(x *origin) bool { return x.by != nb })
		}
	}
}

// makeRoom forgets the youngest origin of the neighbour that brought most, for one
// that brought less: a node that makes up others fills its own share (R7.6).
func (t *Table) makeRoom(nb *neighbor, now time.Duration) bool {
	var most *neighbor
	for _, x := range t.nbrs {
		if most == nil || x.charged > most.charged {
			most = x
		}
	}
	if most == nil || most.charged <= nb.charged+1 {
		return false
	}
	for n := len(most.brought); n > 0; n-- {
		o := most.brought[n-1]
		most.brought = most.brought[:n-1]
		if o.by == most {
			t.evict(o, now)
			return true
		}
	}
	return false
}

// evict forgets an origin whose place is needed.
func (t *Table) evict(o *origin, now time.Duration) {
	t.evicted++
	if o.best != nil {
		o.best = nil
		t.changes = append(t.changes, o.rid)
	}
	o.entries = nil
	o.retract, o.requests = 0, seqRequestTries
	if o.advertised {
		o.advertised = false
		t.retractToAll(o)
	}
	if o.hasFD {
		t.gone.put(o.rid, o.fd)
	}
	discharge(o)
	if i, ok := slices.BinarySearchFunc(t.origins, o.id, func(x *origin, id sdk.NodeID) int { return x.id.Compare(id) }); ok {
		t.origins = slices.Delete(t.origins, i, i+1)
	}
	delete(t.byNode, o.id)
	delete(t.byRID, o.rid)
}

// left takes a neighbour off the accounts: what others offer as well is theirs now.
func (t *Table) left(nb *neighbor) {
	brought := nb.brought
	nb.brought = nil
	for _, o := range brought {
		if o.by != nb {
			continue
		}
		o.by = nil
		for _, e := range o.entries {
			if e.via != nb {
				t.charge(o, e.via)
				break
			}
		}
	}
}
