package stream

// peerIDs remembers which of the peer's stream ids were used, in memory bounded
// by how many it may leave open: every id up to the highest seen that is neither
// open nor skipped is closed.
type peerIDs struct {
	highest uint64              // highest id seen; 0: none
	first   uint64              // 1 or 2
	skipped map[uint64]struct{} // below highest and never seen
}

type idState uint8

const (
	idFresh  idState = iota // may be opened
	idUsed                  // open or closed
	idBeyond                // skips more ids than the peer may have open
)

// state tells what an id of the peer's parity is; budget is how many more ids may
// come into being, this one included.
func (p *peerIDs) state(sid uint64, budget int) idState {
	if sid <= p.highest {
		if _, ok := p.skipped[sid]; ok {
			return idFresh
		}
		return idUsed
	}
	from := p.first
	if p.highest != 0 {
		from = p.highest + 2
	}
	if budget <= 0 || (sid-from)/2 >= uint64(budget) {
		return idBeyond
	}
	return idFresh
}

// use marks a fresh id as used.
func (p *peerIDs) use(sid uint64) {
	if sid <= p.highest {
		delete(p.skipped, sid)
		return
	}
	from := p.first
	if p.highest != 0 {
		from = p.highest + 2
	}
	if from < sid && p.skipped == nil {
		p.skipped = map[uint64]struct{}{}
	}
	for ; from < sid; from += 2 {
		p.skipped[from] = struct{}{}
	}
	p.highest = sid
}
