package impair

import (
	"math/bits"
	"time"
)

// Fate is what became of a datagram, or of its copy.
type Fate uint8

// The fates. All but Passed are reasons for a drop.
const (
	Passed    Fate = iota
	DropCut        // the link is cut
	DropMTU        // larger than the link carries
	DropLoss       // bad luck
	DropQueue      // no room before the bottleneck
	NumFates  int  = iota
)

// String is the fate as people read it.
func (f Fate) String() string {
	switch f {
	case Passed:
		return "passed"
	case DropCut:
		return "cut"
	case DropMTU:
		return "mtu"
	case DropLoss:
		return "loss"
	case DropQueue:
		return "queue"
	}
	return "unknown"
}

// Copy is one datagram as it leaves the link, or does not.
type Copy struct {
	Fate Fate
	At   time.Duration // when it comes out, if Passed; never before it went in
}

// Stats counts datagrams. In + Duplicated = the sum of Fates, always.
type Stats struct {
	In         uint64 // given to Pass
	InBytes    uint64
	Duplicated uint64 // copies made
	Fates      [NumFates]uint64
	OutBytes   uint64 // of the datagrams and copies that passed
}

// Link is one direction of a link in operation. It has one owner.
type Link struct {
	// Cut drops everything while it is set.
	Cut bool

	cfg    Config
	dice   dice
	toBad  float64 // chance that a burst of losses begins; 0 when losses are single
	toGood float64 // ... and that it ends
	bad    bool    // within a burst

	free  time.Duration // when the bottleneck is free again
	rest  uint64        // what the division that gave free left over, below Rate
	stats Stats
}

// New makes a link. The same seed, config and calls give the same fates. c must
// pass Check.
func New(c Config, seed uint64) *Link {
	l := &Link{dice: dice(seed)}
	l.Set(c)
	return l
}

// Set changes the link from now on. What is in it already keeps its time.
func (l *Link) Set(c Config) {
	if c.Rate > 0 && c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	l.cfg, l.rest = c, 0
	l.toBad, l.toGood = 0, 0
	if c.Burst > 1 && c.Loss > 0 && c.Loss < 1 {
		l.toGood = 1 / c.Burst
		l.toBad = l.toGood * c.Loss / (1 - c.Loss)
	}
}

// Config is what the link was made or set to, with its defaults.
func (l *Link) Config() Config { return l.cfg }

// Stats counts what went through.
func (l *Link) Stats() Stats { return l.stats }

// Waiting is how many bytes wait for the rate, the datagram under way included.
func (l *Link) Waiting(now time.Duration) int {
	if l.cfg.Rate == 0 || l.free <= now {
		return 0
	}
	hi, lo := bits.Mul64(uint64(l.free-now), l.cfg.Rate)
	if hi >= 8e9 { // the rate was raised by so much that the count has no room
		return MaxQueue
	}
	n, rem := bits.Div64(hi, lo, 8e9)
	if rem > 0 {
		n++ // a byte half sent still waits
	}
	return int(min(n, MaxQueue))
}

// Pass gives a datagram of size bytes to the link. n is 1, or 2 when it came
// twice: so many of the copies say what became of it. now must not go back.
func (l *Link) Pass(now time.Duration, size int) (copies [2]Copy, n int) {
	l.stats.In++
	l.stats.InBytes += uint64(size)
	copies[0] = l.enter(size)
	n = 1
	if copies[0].Fate == Passed {
		if l.dice.roll(l.cfg.Duplicate) {
			l.stats.Duplicated++
			n = 2
		}
		for i := range n {
			copies[i] = l.carry(now, size)
		}
	}
	for i := range n {
		l.stats.Fates[copies[i].Fate]++
		if copies[i].Fate == Passed {
			l.stats.OutBytes += uint64(size)
		}
	}
	return copies, n
}

// enter says whether a datagram gets as far as the bottleneck.
func (l *Link) enter(size int) Copy {
	// The dice of a burst roll for every datagram: it ends with time, whatever
	// else is lost meanwhile.
	lost := l.lose()
	switch {
	case l.Cut:
		return Copy{Fate: DropCut}
	case l.cfg.MTU > 0 && size > l.cfg.MTU:
		return Copy{Fate: DropMTU}
	case lost:
		return Copy{Fate: DropLoss}
	}
	return Copy{}
}

func (l *Link) lose() bool {
	if l.toBad == 0 {
		return l.dice.roll(l.cfg.Loss)
	}
	if l.bad {
		l.bad = !l.dice.roll(l.toGood)
	} else {
		l.bad = l.dice.roll(l.toBad)
	}
	return l.bad
}

// carry takes a datagram through the bottleneck and over the wire.
func (l *Link) carry(now time.Duration, size int) Copy {
	at := now
	if rate := l.cfg.Rate; rate > 0 {
		if waiting := l.Waiting(now); waiting > 0 && waiting+size > l.cfg.Queue {
			return Copy{Fate: DropQueue}
		}
		if l.free <= now {
			l.free, l.rest = now, 0
		}
		// The remainder is carried on, so that the mean is the rate exactly.
		work := uint64(size)*8e9 + l.rest
		l.free += time.Duration(work / rate)
		l.rest = work % rate
		at = l.free
	}
	at += l.cfg.Delay
	if l.cfg.Jitter > 0 {
		at += time.Duration(l.dice.below(uint64(l.cfg.Jitter)))
	}
	if l.dice.roll(l.cfg.Reorder) {
		at += l.cfg.ReorderDelay
	}
	return Copy{At: at}
}
