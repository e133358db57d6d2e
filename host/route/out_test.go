package route

// Out is Messages, one by one for each neighbour.
func (t *Table) Out() (list []Send) {
	for _, s := range t.Messages() {
		if !s.All {
			list = append(list, s)
			continue
		}
		for _, nb := range t.nbrs {
			if s.IsFor(nb.n) {
				list = append(list, Send{To: nb.n, Payload: s.Payload})
			}
		}
	}
	return list
}
