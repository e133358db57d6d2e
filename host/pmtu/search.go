package pmtu

import (
	"math"
	"time"
)

// Never is the deadline of a search that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// Base is the size that every link carries (P1.1).
const Base = 1200

const (
	granularity = 16 // bytes: a search ends when it knows the size so well (P2.2)
	confirm     = 2  // acknowledged probes that a size needs
	tries       = 3  // probes in a row whose loss fails a size (RFC 8899, MAX_PROBES)
	raiseAfter  = 10 * time.Minute
	firstHold   = time.Second // before the search that follows a black hole
	firstWait   = time.Second
	minWait     = 20 * time.Millisecond
	maxWait     = 3 * time.Second
)

// common are the payload sizes of links that are built (P2.1), largest first.
var common = [...]int{8972, 8952, 4052, 1472, 1452}

// Config of a Search. Zero fields take the defaults.
type Config struct {
	// Base is the size that needs no proof, in bytes. Default 1200.
	Base int
	// Max is the largest size worth trying, in bytes: what both sockets can
	// take, 65507 at most. Default 9000 bytes of IPv4, 8972.
	Max int
}

// Search finds the size of one link. The zero value is not usable; New makes one.
type Search struct {
	base, max int
	size      int // in force: the largest that passed
	failed    int // the smallest that failed; above max: none
	probing   int // the size under test; 0: the search is over
	edge      bool
	acked     int // probes of that size
	lost      int // ... in a row
	under     bool
	next      time.Duration // of the next step
	retry     time.Duration // soonest next try of the same size
	wait      time.Duration
	holes     int // black holes not forgiven
	hole      BlackHole
}

// New begins a search: OnTimer wants to be called at once.
func New(cfg Config, now time.Duration) *Search {
	if cfg.Base == 0 {
		cfg.Base = Base
	}
	if cfg.Max == 0 {
		cfg.Max = common[0]
	}
	s := &Search{base: cfg.Base, max: max(cfg.Max, cfg.Base), wait: firstWait}
	s.PathChanged(now)
	return s
}

// Size is the largest datagram that may be sent, in bytes.
func (s *Search) Size() int { return s.size }

// Searching reports that the size may still grow soon.
func (s *Search) Searching() bool { return s.probing != 0 }

// Deadline is when OnTimer must be called.
func (s *Search) Deadline() time.Duration { return s.next }

// RTT tells the measured round trip.
func (s *Search) RTT(srtt, rttvar time.Duration) {
	if srtt > 0 {
		s.wait = min(max(2*srtt+4*rttvar+10*time.Millisecond, minWait), maxWait)
	}
}

// OnTimer does what is due. With send the caller sends one probe of that size
// now, and reports its fate: acknowledged, lost, or canceled.
func (s *Search) OnTimer(now time.Duration) (size int, send bool) {
	if now < s.next {
		return 0, false
	}
	if s.under {
		s.OnProbeLost(s.probing, now)
	}
	if s.probing == 0 && now >= s.next { // the result stood for ten minutes, or a hole was waited for
		s.begin(now)
	}
	if s.probing == 0 || s.under || now < s.next {
		return 0, false
	}
	s.under, s.retry = true, now+s.wait
	s.next = s.retry
	return s.probing, true
}

// OnProbeAcked takes word that a probe arrived. A late one counts as well, as
// long as its size is under test. It reports true when Size has changed.
func (s *Search) OnProbeAcked(size int, now time.Duration) bool {
	if size != s.probing || size == 0 {
		return false
	}
	s.under, s.lost, s.next = false, 0, now
	if s.acked++; s.acked < confirm {
		return false
	}
	s.size = size
	s.advance(now)
	return true
}

// OnProbeLost takes word that the probe under way was lost.
func (s *Search) OnProbeLost(size int, now time.Duration) {
	if size != s.probing || !s.under {
		return
	}
	s.under = false
	s.next = max(now, s.retry)
	if s.lost++; s.lost == tries {
		s.failed = size
		s.advance(s.next)
	}
}

// OnProbeCanceled says that the fate of the probe under way says nothing about its
// size (P1.7). It is sent again after a while.
func (s *Search) OnProbeCanceled(now time.Duration) {
	if s.under {
		s.under, s.next = false, max(s.retry, now)
	}
}

// OnRefused takes the refusal of the own machine to send a datagram of a size
// (EMSGSIZE). It reports true when Size has changed.
func (s *Search) OnRefused(size int, now time.Duration) (changed bool) {
	if size <= s.base {
		return false
	}
	if size <= s.size { // the interface was changed under us
		s.PathChanged(now)
		changed = true
	}
	s.failed = min(s.failed, size)
	if s.probing >= s.failed {
		s.advance(now)
	}
	return changed
}

// OnPacketAcked takes word that a packet which is no probe arrived: its size, and
// when it was sent. It reports true when Size has fallen.
func (s *Search) OnPacketAcked(size int, sent, now time.Duration) bool {
	return s.hole.Acked(size, sent) && s.fall(now)
}

// OnPacketLost takes word that a packet which is no probe was lost. It reports true
// when Size has fallen.
func (s *Search) OnPacketLost(size int, sent, now time.Duration) bool {
	return s.hole.Lost(size, sent) && s.fall(now)
}

// fall reacts to a black hole (P3.2, P3.3).
func (s *Search) fall(now time.Duration) bool {
	s.hole = BlackHole{Base: s.base}
	if s.size == s.base {
		return false
	}
	hold := raiseAfter
	if s.holes < 10 {
		hold = min(hold, firstHold<<s.holes)
	}
	s.holes++
	s.size, s.probing, s.under = s.base, 0, false
	s.next = now + hold
	return true
}

// PathChanged says that packets take another way: what was found is worth nothing.
// The fates of earlier probes must not be reported any more.
func (s *Search) PathChanged(now time.Duration) {
	s.size, s.holes, s.hole = s.base, 0, BlackHole{Base: s.base}
	s.begin(now)
}

// begin starts a search above the size in force.
func (s *Search) begin(now time.Duration) {
	if s.size > s.base {
		s.holes = 0
	}
	s.failed, s.edge, s.under = s.max+1, false, false
	s.advance(now)
}

// advance chooses the next size to test, or ends the search.
func (s *Search) advance(now time.Duration) {
	s.acked, s.lost, s.under, s.next = 0, 0, false, now
	if s.failed-s.size <= granularity && (s.failed <= s.max || s.size == s.max) {
		s.probing, s.next = 0, now+raiseAfter
		if s.base == s.max {
			s.next = Never
		}
		return
	}
	s.probing = s.choose()
}

func (s *Search) choose() int {
	if s.failed > s.max { // nothing has failed yet
		return s.max
	}
	if !s.edge {
		for _, c := range common {
			if c > s.size && c < s.failed {
				return c
			}
		}
		s.edge = true
		return min(s.size+granularity, s.failed-1)
	}
	return s.size + (s.failed-s.size)/2
}
