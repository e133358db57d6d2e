package stream

import "time"

// Fate is what became of a tracked packet, for those who watch which sizes a path
// carries (RFC 8899).
type Fate struct {
	Size  int           // all of it, in bytes
	Sent  time.Duration // when it left
	Probe bool          // it was one of SentProbe
	Train bool          // it left in one piece with others
	Lost  bool          // else the peer has it
}

// Fates gives what became known since the last call, where Config.Fates asks for
// it: in the order it was found out, what arrived before what was lost. The slice
// is good until the next call into the Mux.
func (m *Mux) Fates() []Fate {
	f := m.fates
	m.fates = m.fates[:0]
	return f
}

func (m *Mux) fate(p *packet, lost bool) {
	if m.cfg.Fates {
		m.fates = append(m.fates, Fate{int(p.length), p.at, p.probe, p.train, lost})
	}
}

// SentProbe reports a packet that Fill did not write: a ping and padding, to find
// out whether the path carries a packet of that size. Its loss says nothing about
// congestion.
func (m *Mux) SentProbe(gen uint32, counter uint64, size int, now time.Duration) {
	m.cur = filling{items: noItems, eliciting: true, pathProbe: true}
	m.Sent(gen, counter, size, now)
}

// Probing reports that the next packet is one that a probe timeout lets out. It should
// leave alone: when what leaves in one piece gets lost, it is what tells (P4 of
// host/pmtu), and the only progress there is.
func (m *Mux) Probing() bool { return m.probes > 0 }

// SentInTrain says that the packet which Sent reported last, of that generation,
// left in one piece with others; with before, with the one of the counter before it.
func (m *Mux) SentInTrain(gen uint32, before bool) {
	g := m.log.find(gen)
	if g == nil || g.tail == none {
		return
	}
	last := g.top
	if p := &m.log.packets[g.tail]; p.counter == last {
		p.train = true
		if before && p.prev != none && m.log.packets[p.prev].counter == last-1 {
			m.log.packets[p.prev].train = true
		}
	} else if before && p.counter == last-1 { // the last one is not waited for
		p.train = true
	}
}
