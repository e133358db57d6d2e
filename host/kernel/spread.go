package kernel

import "nethost/host/route"

// spreadChunks is how many chunks of packets one Step may fill with what the route
// table says. Hundreds of neighbours that hear of hundreds of nodes are served in
// several: else their packets would be megabytes that are seldom needed.
const spreadChunks = 2

// spread is what the route table says and is not sent yet.
type spread struct {
	rest []route.Send // valid until the table is asked for more
	next int          // of Kernel.byNum: who hears the first run of rest next
	said [][]byte     // for one neighbour; reused
}

// spreadOn sends what is left, in its order to each neighbour. It goes straight into
// packets, neighbour by neighbour: otherwise it would fill as many queues first. It
// reports whether that is all; if not, the next Step goes on.
func (k *Kernel) spreadOn() bool {
	s := &k.spread
	for len(s.rest) > 0 {
		run := s.rest[:1]
		for len(run) < len(s.rest) && s.rest[len(run)].All == run[0].All && (run[0].All || s.rest[len(run)].To == run[0].To) {
			run = s.rest[:len(run)+1]
		}
		if !run[0].All {
			s.next = int(run[0].To)
		}
		for ; s.next < len(k.byNum); s.next++ {
			if k.out.chunk >= spreadChunks {
				return false
			}
			if p := k.byNum[s.next]; p != nil && p.cur != nil && (p.det != nil || !run[0].All) {
				k.spreadTo(p, run)
			}
			if !run[0].All {
				break
			}
		}
		s.next, s.rest = 0, s.rest[len(run):]
	}
	return true
}

// spreadTo sends a peer those messages of a run that are for it.
func (k *Kernel) spreadTo(p *peer, run []route.Send) {
	s := &k.spread
	s.said = s.said[:0]
	for i := range run {
		if run[i].IsFor(p.num) {
			s.said = append(s.said, run[i].Payload)
		}
	}
	if len(s.said) == 0 {
		return
	}
	p.mux.Lend(s.said)
	k.pump(p)
	p.mux.TakeBack()
	clear(s.said)
	k.touch(p) // its deadlines changed
}
