package channels

import (
	"fmt"
	"slices"

	"nethost/sdk"
)

const (
	// maxOut is how much of a stream is prepared at once, in bytes.
	maxOut = sdk.MaxStreamData
	// quantum is how many events of one channel go before those of the next of its
	// priority.
	quantum = 16
)

// enqueue puts an item into a seat's ring. A full ring loses its oldest event, or the
// node its seat (S1, S2).
func (m *module) enqueue(s *seat, it ditem) {
	if s.cut {
		return
	}
	size := it.size()
	for len(s.ring) > 0 && (len(s.ring) >= s.t.pol.Ring || s.bytes+size > maxRingBytes || m.queued+size > maxQueued) {
		if s.t.pol.Slow == "disconnect" {
			s.cut = true
			return
		}
		if !m.dropOldest(s) {
			break
		}
	}
	s.ring = append(s.ring, it)
	s.bytes += size
	m.queued += size
	if s.half() && s.d.credit > 0 && !m.held(&s.pass) {
		m.pressed = true
	}
}

func (s *seat) half() bool { return 2*len(s.ring) >= s.t.pol.Ring || 2*s.bytes >= maxRingBytes }

func (s *sub) half() bool { return 2*len(s.ring) >= s.size || 2*s.bytes >= maxRingBytes }

// full says that the policy has a publisher wait for its slowest subscriber (S4).
func (t *topic) full() bool {
	return t.pol.Slow == "wait" && (slices.ContainsFunc(t.seats, (*seat).half) || slices.ContainsFunc(t.locals, func(l local) bool { return l.s.half() }) ||
		slices.ContainsFunc(t.groups, func(g *group) bool {
			return slices.ContainsFunc(g.members, func(w member) bool { return w.seat == nil && w.local.s.half() })
		}))
}

// dropOldest lets go of the oldest event of a ring; joins stay.
func (m *module) dropOldest(s *seat) bool {
	i := slices.IndexFunc(s.ring, func(it ditem) bool { return it.e != nil })
	if i < 0 {
		return false
	}
	n := s.ring[i].size()
	s.bytes, m.queued = s.bytes-n, m.queued-n
	if i == 0 {
		s.ring = s.ring[1:]
	} else {
		s.ring = slices.Delete(s.ring, i, i+1)
	}
	s.missed++
	return true
}

// drain writes what waits for a node, as far as credit and batch allow. A right is
// looked at when its event goes, so that a floor overtakes what waits (A5).
func (m *module) drain(env *sdk.Env, d *down) {
	for d.credit > 0 && m.left > 0 {
		if len(d.out) == 0 {
			d.out, d.ctl = append(d.buf[:0], d.ctl...), d.ctl[:0]
			m.fill(env, d)
			if d.buf = d.out; cap(d.buf) > 2*maxOut {
				d.buf = nil
			}
		}
		n := int(min(uint64(len(d.out)), d.credit, uint64(m.left), maxOut))
		if n == 0 {
			return
		}
		env.Write(d.ref, d.out[:n], false)
		d.credit, m.left, d.sent = d.credit-uint64(n), m.left-n, d.sent+uint64(n)
		d.out = d.out[n:]
	}
	if d.credit > 0 {
		m.waits = m.waits || len(d.out) > 0 || d.pending()
	}
}

// release lets a node go on, unless it does not take the answers.
func (d *down) release(env *sdk.Env) {
	if d.owed > 0 && len(d.ctl) < maxHeld/4 {
		env.Credit(d.ref, d.owed)
		d.owed = 0
	}
}

func (d *down) pending() bool {
	return len(d.ctl) > 0 || slices.ContainsFunc(d.seats, func(s *seat) bool { return len(s.ring) > 0 })
}

// fill moves frames from the rings to the front of the stream: the highest priority
// first, within one in turns.
func (m *module) fill(env *sdk.Env, d *down) {
	room := int(min(maxOut, d.credit))
	for lo := 0; lo < len(d.seats); {
		hi := lo + 1
		for hi < len(d.seats) && d.seats[hi].t.pol.Priority == d.seats[lo].t.pol.Priority {
			hi++
		}
		for more := true; more; {
			more = false
			d.turn++
			for i := range hi - lo {
				s := d.seats[lo+(i+d.turn)%(hi-lo)]
				if len(d.out) >= room {
					return
				}
				more = m.take(env, s, room) || more
			}
		}
		lo = hi
	}
}

// take moves up to a quantum of a seat's items. It reports whether more are there.
func (m *module) take(env *sdk.Env, s *seat, room int) bool {
	if len(s.ring) == 0 || s.cut || m.held(&s.pass) {
		return false
	}
	if err := m.still(&s.pass, &s.t.pol); err != nil {
		s.cut = true // told in cutSlow: seats must not move while they are gone through
		return false
	}
	n := 0
	for n < len(s.ring) && n < quantum && (len(s.d.out) < room || n == 0) {
		it := &s.ring[n]
		n++
		switch {
		case it.e == nil:
			f := frame{kind: frJoin, num: s.t.num, ref: it.ref, seq: it.next}
			s.d.out = f.append(s.d.out)
		case it.ref == 0:
			s.d.out = append(s.d.out, it.e.frame...)
		default:
			f := frame{kind: frOne, ref: it.ref, num: s.t.num, seq: it.e.seq, hops: it.e.hops, body: it.e.body()}
			s.d.out = f.append(s.d.out)
		}
		s.bytes, m.queued = s.bytes-it.size(), m.queued-it.size()
		*it = ditem{}
	}
	if s.ring = s.ring[n:]; len(s.ring) == 0 {
		s.ring = nil
		return false
	}
	return true
}

// cutSlow takes seats away that were marked in this batch, and says why.
func (m *module) cutSlow(env *sdk.Env) {
	for _, t := range m.topics {
		if !slices.ContainsFunc(t.seats, func(s *seat) bool { return s.cut }) {
			continue
		}
		for _, s := range slices.Clone(t.seats) {
			if !s.cut {
				continue
			}
			if err := m.still(&s.pass, &t.pol); err != nil {
				m.count("revoked", 1)
				m.unseat(s, sdk.PermissionDenied, err.Error())
			} else {
				m.count("slow_disconnected", 1)
				m.unseat(s, sdk.Overloaded, fmt.Sprintf("channel %q: %d events waited for this node, more than its policy lets", t.name, len(s.ring)))
			}
			m.waits = true
		}
	}
}
