package kernel

import "nethost/host/route"

// spread sends what the route table says, in its order to each neighbour. It goes
// straight into packets, neighbour by neighbour: what hundreds of them hear of
// hundreds of nodes would fill as many queues first.
func (k *Kernel) spread(messages []route.Send) {
	for len(messages) > 0 {
		first := &messages[0]
		n := 1
		for n < len(messages) && messages[n].All == first.All && (first.All || messages[n].To == first.To) {
			n++
		}
		run := messages[:n]
		messages = messages[n:]
		if !first.All {
			if p := k.byNum[first.To]; p != nil {
				k.spreadTo(p, run)
			}
			continue
		}
		for _, p := range k.byNum {
			if p != nil && p.det != nil {
				k.spreadTo(p, run)
			}
		}
	}
}

// spreadTo sends a peer those messages of a run that are for it.
func (k *Kernel) spreadTo(p *peer, run []route.Send) {
	if p.cur == nil {
		return
	}
	k.said = k.said[:0]
	for i := range run {
		if run[i].IsFor(p.num) {
			k.said = append(k.said, run[i].Payload)
		}
	}
	if len(k.said) == 0 {
		return
	}
	p.mux.Lend(k.said)
	k.pump(p)
	p.mux.TakeBack()
	clear(k.said)
	k.touch(p) // its deadlines changed
}
