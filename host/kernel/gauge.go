package kernel

// lossPeriod is over how many packets a share of lost ones is taken.
const lossPeriod = 64

// lossGauge is the smoothed share of packets that got lost on their way, 0 to 1.
type lossGauge struct {
	share float64
	known bool
}

func (g *lossGauge) period(lost, of uint64) {
	s := float64(min(lost, of)) / float64(of)
	if !g.known {
		g.share, g.known = s, true
		return
	}
	g.share += (s - g.share) / 4
}

// inGauge is the loss towards us, read off the gaps in the packet counters of a key.
type inGauge struct {
	lossGauge
	gen        uint32
	base, high uint64 // the period: counters base to high, of which got came
	got        uint64
}

func (g *inGauge) note(gen uint32, counter uint64) {
	if g.gen != gen {
		g.gen, g.base, g.high, g.got = gen, counter, counter, 0
	}
	if counter < g.base {
		return // of a period that is over: it counted as lost, and was late
	}
	g.got++
	if g.high = max(g.high, counter); g.high-g.base+1 >= lossPeriod {
		of := g.high - g.base + 1
		g.period(of-min(g.got, of), of)
		g.base, g.got = g.high+1, 0
	}
}

// outGauge is the loss from us, read off what the peer acknowledged.
type outGauge struct {
	lossGauge
	sent, lost uint64 // totals at the end of the last period
}

func (g *outGauge) note(sent, lost uint64) {
	if sent < g.sent { // another association
		g.sent, g.lost = 0, 0
	}
	if of := sent - g.sent; of >= lossPeriod {
		g.period(lost-min(lost, g.lost), of)
		g.sent, g.lost = sent, lost
	}
}
