package liveness

import (
	"math"
	"time"
)

// Never is the deadline of a detector that waits for nothing.
const Never = time.Duration(math.MaxInt64)

// The schedule (L2).
const (
	minSilence  = 10 * time.Millisecond // shortest silence that means anything
	burstGap    = 5 * time.Millisecond
	burstSize   = 3
	idleProbe   = time.Second            // an idle link
	activeProbe = 250 * time.Millisecond // an idle link that carries a route
	lateTimer   = 25 * time.Millisecond  // a timer this late speaks of us, not of the neighbour
	// DefaultDead is the silence that ends it, while probes stay unanswered.
	DefaultDead = 150 * time.Millisecond
	// FastDead is the same for networks that know their delays.
	FastDead = 50 * time.Millisecond
	// A new neighbour may be on the other side of the earth: until a round trip
	// was measured, one as long as RFC 9002 (6.2.2) assumes accuses nobody.
	firstRTT   = 333 * time.Millisecond
	maxSilence = time.Second
	maxReply   = 2 * time.Second
)

// State is the verdict on a neighbour.
type State uint8

// The verdicts.
const (
	Alive   State = iota + 1
	Suspect       // traffic moves to an alternate; one packet makes it Alive again
	Dead          // final: the detector is thrown away
)

// String names the state.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// Action is what OnTimer asks for.
type Action uint8

// The actions.
const (
	None      Action = iota
	Probe            // send one ack-eliciting packet straight to the neighbour
	Suspected        // it became Suspect; a probe is due as well
	Died             // it became Dead
)

// Config of a detector. Zero fields take the defaults.
type Config struct {
	// Dead is the silence after which a neighbour is given up while probes
	// stay unanswered. Default 150 ms.
	Dead time.Duration
	// Health of the node itself, shared by its detectors. Default: always good.
	Health *Health
	// Blind takes no account of our own health at all, late timers included. For
	// measurements of what that account is worth.
	Blind bool
}

// Cause is why a neighbour is not simply alive.
type Cause uint8

// The causes.
const (
	NoCause     Cause = iota
	Unanswered        // something was sent and nothing came; a probe is out
	BurstFailed       // a burst of probes stayed unanswered
	Unreachable       // the network said that what we sent was not delivered
)

// String says it in words.
func (c Cause) String() string {
	return [...]string{"", "a packet is unanswered", "a burst of probes was unanswered", "the network reports it unreachable"}[c]
}

// phase is where a detector is in accusing.
type phase uint8

const (
	idle    phase = iota // nothing sent since we last heard
	waiting              // something was sent; the silence runs
	probed               // one probe is out
	burst                // the burst is going out, or is out
	accused              // suspect: probing on until Dead
)

// Detector watches one neighbour. The zero value is not usable; New makes one.
type Detector struct {
	dead    time.Duration
	health  *Health
	blind   bool
	cause   Cause         // of the suspicion
	silence time.Duration // how long unanswered sending may last
	srtt    time.Duration
	bound   time.Duration // srtt + 4 rttvar: how long an answer may take
	reply   time.Duration // how long the one to a probe is waited for
	heard   time.Duration // last authentic packet
	unheard time.Duration // first packet sent after that
	phase   phase
	sent    int // probes of the burst
	state   State
	next    time.Duration
	active  bool
	excused bool // a late timer has been excused in this silence

	// The earliest time of death: an answer to the first probe of a suspicion
	// that no burst preceded may still come. Never = that probe is yet to go.
	spared time.Duration
}

// New watches a neighbour that was just heard.
func New(cfg Config, now time.Duration) *Detector {
	if cfg.Dead == 0 {
		cfg.Dead = DefaultDead
	}
	d := &Detector{dead: cfg.Dead, state: Alive, health: cfg.Health, blind: cfg.Blind}
	if d.health == nil || d.blind {
		d.health = &Health{}
	}
	d.RTT(firstRTT, 0)
	d.reset(now)
	return d
}

// State is the current verdict.
func (d *Detector) State() State { return d.state }

// Silent reports that a probe is unanswered now.
func (d *Detector) Silent() bool { return d.phase == burst || d.phase == accused }

// Why says what stands against the neighbour, and since when something of ours is
// unanswered.
func (d *Detector) Why() (Cause, time.Duration) {
	switch {
	case d.cause != NoCause:
		return d.cause, d.unheard
	case d.phase == probed || d.phase == burst:
		return Unanswered, d.unheard
	}
	return NoCause, 0
}

// Deadline is when OnTimer must be called.
func (d *Detector) Deadline() time.Duration { return d.next }

// SetActive says whether the neighbour carries a route: an idle link is then
// probed four times as often.
func (d *Detector) SetActive(on bool) {
	if d.active != on {
		d.active = on
		if d.phase == idle {
			d.next = d.heard + d.idleEvery()
		}
	}
}

// RTT tells the measured round trip to the neighbour.
func (d *Detector) RTT(srtt, rttvar time.Duration) {
	if srtt > 0 {
		d.srtt = srtt
		d.silence = min(max(3*srtt+4*rttvar, minSilence), maxSilence)
		d.bound = min(srtt+4*rttvar, maxReply)
		d.reply = min(max(srtt+srtt/2, d.bound, minSilence), maxReply)
	}
}

// Sent notes that a packet went to the neighbour which it should answer, or which
// should make something come back through it. It reports true when the deadline
// came closer by that.
func (d *Detector) Sent(now time.Duration) bool {
	if d.phase != idle {
		return false
	}
	d.phase, d.unheard, d.next = waiting, now, now+d.silence*d.health.Factor(now)
	return true
}

// Heard notes an authentic packet. It reports true when that lifts a suspicion.
func (d *Detector) Heard(now time.Duration) (lifted bool) {
	if d.state == Dead {
		return false
	}
	lifted = d.state == Suspect
	d.state = Alive
	d.reset(now)
	return lifted
}

// Hint takes word from the network that what we sent was not delivered: suspect
// at once, and probing on.
func (d *Detector) Hint(now time.Duration) {
	if d.state == Alive {
		if d.phase == idle {
			d.unheard = now
		}
		d.state, d.phase, d.next, d.spared, d.cause = Suspect, accused, now, Never, Unreachable
	}
}

// OnTimer moves on when a deadline has come, and says what to do.
func (d *Detector) OnTimer(now time.Duration) Action {
	if d.state == Dead || now < d.next {
		return None
	}
	scale := d.health.Factor(now)
	// A machine that could not run us on time could not have taken the answer
	// either: it waits once more before it accuses (L5).
	if now > d.next+lateTimer && !d.excused && d.phase != idle && !d.blind {
		d.excused = true
		d.unheard, d.phase = now, waiting
		if d.state == Suspect {
			d.phase, d.spared = accused, Never
		}
		d.next = now + d.silence*scale
		return None
	}
	// Further stalls move the schedule on, but their time is ours: it does not
	// count towards death, for the answers may lie in our own socket.
	if late := now - d.next; late > lateTimer && d.phase != idle && !d.blind {
		d.unheard += late
	}
	switch d.phase {
	case idle: // an idle link: make sure it is there
		d.phase, d.unheard = probed, now
		return d.probe(now, scale)
	case waiting:
		d.phase = probed
		return d.probe(now, scale)
	case probed:
		d.phase, d.sent = burst, 1
		d.next = now + burstGap
		return Probe
	case burst:
		if d.sent < burstSize {
			d.sent++
			d.next = now + burstGap
			if d.sent == burstSize {
				d.next = now + max(d.srtt+burstGap, d.bound)*scale
			}
			return Probe
		}
		d.phase, d.state, d.cause = accused, Suspect, BurstFailed
		d.next = now + minSilence
		return Suspected
	}
	dead := d.dead * scale
	if now-d.unheard >= dead && now >= d.spared {
		d.state, d.next = Dead, Never
		return Died
	}
	if d.spared == Never {
		d.spared = now + d.reply*scale
	}
	d.next = min(now+max(d.srtt, minSilence), max(d.unheard+dead, d.spared))
	return Probe
}

func (d *Detector) probe(now, scale time.Duration) Action {
	d.next = now + d.reply*scale
	return Probe
}

func (d *Detector) reset(now time.Duration) {
	d.heard, d.phase, d.sent, d.excused, d.spared, d.cause = now, idle, 0, false, 0, NoCause
	d.next = now + d.idleEvery()
}

func (d *Detector) idleEvery() time.Duration {
	if d.active {
		return activeProbe
	}
	return idleProbe
}
