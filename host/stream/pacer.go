package stream

import "time"

const (
	// pacingFrom is the shortest round trip up to which nothing is paced: a timer
	// would be later than the acknowledgements that clock packets out, and what makes
	// the smoothed one longer is our own load.
	pacingFrom  = 2 * time.Millisecond
	burstTime   = 2 * time.Millisecond // what a late timer may make up for
	burstLeast  = 16                   // packets
	quantumTime = 500 * time.Microsecond
)

// pacer spreads a window over its round trip (RFC 9002, 7.7).
type pacer struct {
	credit int // bytes that may leave; below 0 a packet was larger
	at     time.Duration
	shut   bool // waits until a quantum has gathered, so that trains stay trains
}

// flow is a speed: bytes in a time.
type flow struct {
	bytes int
	per   time.Duration
}

func (f flow) over(d time.Duration) int {
	return int(int64(f.bytes) * int64(d) / int64(f.per))
}

// speed is what packets are spread to: the window and a quarter more in a round
// trip, twice the window in slow start.
func (m *Mux) speed() flow {
	srtt, _ := m.rtt.values()
	if m.cc.slowStart() {
		return flow{m.cc.window * 2, srtt}
	}
	return flow{m.cc.window * 5 / 4, srtt}
}

// paced reports whether the pace lets a packet out now.
func (m *Mux) paced(now time.Duration) bool {
	p := &m.pace
	if m.unpaced() {
		p.shut, p.credit, p.at = false, burstLeast*m.cc.mss, now
		return true
	}
	f := m.speed()
	burst := max(burstLeast*m.cc.mss, f.over(burstTime))
	// More time than fills the burst adds nothing, and must not overflow.
	p.credit = min(p.credit+f.over(min(max(now-p.at, 0), f.per)), burst)
	p.at = now
	if p.shut && p.credit >= m.quantum(f) {
		p.shut = false
	}
	return !p.shut
}

// unpaced: without a sample the first window goes as it is (RFC 9002, 7.7).
func (m *Mux) unpaced() bool {
	return !m.rtt.sampled || min(m.rtt.shortest(), m.rtt.smoothed) <= pacingFrom
}

func (m *Mux) quantum(f flow) int { return max(m.cc.mss, f.over(quantumTime)) }

// spend takes a packet off the credit.
func (p *pacer) spend(size int) {
	if p.credit -= size; p.credit <= 0 {
		p.shut = true
	}
}

// nextRelease is when the pace lets the next packets out.
func (m *Mux) nextRelease() time.Duration {
	f := m.speed()
	need := int64(m.quantum(f) - m.pace.credit)
	if need <= 0 {
		return m.pace.at
	}
	return m.pace.at + time.Duration((need*int64(f.per)+int64(f.bytes)-1)/int64(f.bytes))
}
