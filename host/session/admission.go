package session

import (
	"encoding/binary"
	"time"

	"nethost/host/wire"
)

// Bounds of Admission (S2.3 to S2.10).
const (
	SeenEphemerals    = 65536
	MaxHalfOpen       = 1024
	HalfOpenPerSource = 8
	HalfOpenPerLink   = 128
	HalfOpenAge       = 5 * time.Second

	// MinM1 and MaxM1 are the lengths between which an envelope can be an m1.
	MinM1 = wire.EnvelopeMin + m1Size
	MaxM1 = wire.BaseMTU - wire.ForwardSize

	// LoadHold is how long a responder goes on asking for cookies after the last
	// sign of load.
	LoadHold = time.Second

	loadHalfOpen = MaxHalfOpen / 4 // this many half open are load; the others are for sources that proved themselves
	loadJobs     = 64              // ... and this many jobs that wait
	loadEvery    = time.Second / 256
	loadBurst    = 256
	sourceEvery  = time.Second / 32
	sourceBurst  = 64
	linkEvery    = time.Second / 64
	linkBurst    = 128
	claimEvery   = time.Second / 256 // reading a return address costs some microseconds
	claimBurst   = 256
	cookieEvery  = time.Second / 50000
	cookieBurst  = 2000
	versionEvery = time.Second / 10
	versionBurst = 10
	maxSources   = 4096
	sweepEvery   = 100 * time.Millisecond
	linkUnproven = HalfOpenPerLink / 2
)

// Ruling is what is to be done with an m1.
type Ruling uint8

// The rulings.
const (
	Admit      Ruling = iota // worth a Diffie-Hellman; End its token
	AskCookie                // answer with AppendCookie
	AskClaim                 // read the return address with Local.Claim and ask again
	Replay                   // seen before
	Crowded                  // too many half open, of this source or of all
	TooOften                 // its source, or all that ask for cookies, ask too often
	numRulings               // no ruling
)

// String gives the ruling in words.
func (r Ruling) String() string {
	if r < numRulings {
		return [numRulings]string{"admit", "ask for a cookie", "ask for the claim", "replay", "crowded", "too often"}[r]
	}
	return "unknown ruling"
}

// Admission decides how much an m1 of a stranger is worth. Its cost grows with
// what the stranger has shown, in the order of S2.6: length, mac1, the ring of
// ephemeral keys, under load a cookie, the shares of the source, and only then
// Noise. It belongs to one goroutine, holds no secret of the network, and is bounded:
// below 3 MB after a flood, some kilobytes before.
type Admission struct {
	doors  [2]door
	random func([]byte)
	jar    jar

	seen map[uint64]struct{}
	ring []uint64
	at   int

	slots   []halfOpen
	free    []uint32
	open    int
	sources map[share]*tally
	crowd   tally // of all that do not fit into sources
	swept   time.Duration

	pace      bucket // of m1s that nobody vouched for
	lots      lots
	versions  bucket
	loadUntil time.Duration
}

// door is one pre-shared key with its prepared MACs.
type door struct {
	local    *Local
	any, own *keyedMAC
}

// NewAdmission admits to l, and to l.Second if there is one. random fills its
// argument with fresh random bytes; it is called inside Judge only.
func NewAdmission(l *Local, random func([]byte)) *Admission {
	a := &Admission{random: random}
	a.SetLocal(l)
	return a
}

// Seen reports whether e is a first message whose ephemeral key is remembered. It
// costs less than a mac, and such a message is dropped whatever its mac is (S2.6).
func (a *Admission) Seen(e *wire.Envelope) bool {
	if e.Kind != wire.KindM1 || len(e.Noise) < 8 {
		return false
	}
	_, ok := a.seen[binary.LittleEndian.Uint64(e.Noise)]
	return ok
}

// Check finds the key that an envelope is under (S2.2); nil when mac1 is wrong
// under all of ours. e is what env parses to. It is the first thing to ask, keeps no
// state and allocates nothing.
func (a *Admission) Check(env []byte, e *wire.Envelope) *Local {
	if len(env) < wire.EnvelopeMin || len(env) > MaxM1 || e.Kind == wire.KindM1 && len(env) < MinM1 {
		return nil
	}
	for i := range a.doors {
		d := &a.doors[i]
		if d.local == nil || e.PSK != d.local.pskID {
			continue
		}
		mac := d.any
		if e.Dest == d.local.rid {
			mac = d.own
		} else if e.Dest != 0 {
			return nil
		}
		if equal(mac.mac(env[:len(env)-2*wire.MacSize]), &e.Mac1) {
			return d.local
		}
	}
	return nil
}

// share is what a source is counted under. Sources that proved themselves with a
// cookie are counted apart, so that nobody can use up another's share in his name.
type share struct {
	kind   uint8
	hi, lo uint64
}

const (
	shareAddr    = iota // an IPv4 address, or the /64 of an IPv6 one
	shareLink           // all that a neighbour relays unproven
	shareClaim          // a return address behind a neighbour
	shareProven         // added to shareAddr or shareClaim
	shareLinkAll = 10   // half open of a neighbour, proven or not
	shareReading = 11   // return addresses read for a neighbour
)

func (s Source) share(proven bool) share {
	sh := share{kind: shareAddr}
	switch a := s.addr.Addr(); {
	case s.link != 0 && !proven:
		return share{kind: shareLink, hi: uint64(s.link)}
	case s.link != 0:
		return share{kind: shareClaim + shareProven, hi: uint64(s.link), lo: uint64(s.rid)}
	case a.Is4():
		b := a.As4()
		sh.lo = uint64(binary.BigEndian.Uint32(b[:]))
	default:
		b := a.As16()
		sh.hi, sh.lo = binary.BigEndian.Uint64(b[:]), 1<<32
	}
	if proven {
		sh.kind += shareProven
	}
	return sh
}

// bucket is a token bucket as one number: when it will be full again.
type bucket struct{ full time.Duration }

// take takes a token, of which one comes every interval and at most burst are kept.
func (b *bucket) take(now, every time.Duration, burst int) bool {
	full := max(b.full, now) + every
	if full > now+every*time.Duration(burst) {
		return false
	}
	b.full = full
	return true
}

// tally is what is known of a source.
type tally struct {
	rate bucket
	open int
}

// tally finds what is known of a source, or a fresh one. When the table is full of
// sources that all asked in the last seconds, newcomers are counted as one.
func (a *Admission) tally(s share, now time.Duration) *tally {
	if t := a.sources[s]; t != nil {
		return t
	}
	if len(a.sources) >= maxSources {
		if now-a.swept >= sweepEvery {
			a.sweep(now)
		}
		if len(a.sources) >= maxSources {
			return &a.crowd
		}
	}
	if a.sources == nil {
		a.sources = map[share]*tally{}
	}
	t := &tally{}
	a.sources[s] = t
	return t
}

// sweep forgets the sources of which there is nothing to remember.
func (a *Admission) sweep(now time.Duration) {
	a.swept = now
	for s, t := range a.sources {
		if t.open == 0 && t.rate.full <= now {
			delete(a.sources, s)
		}
	}
}

// Loaded reports whether cookies are asked for: too many half open, too many jobs
// waiting, or too many m1s a moment ago.
func (a *Admission) Loaded(now time.Duration, jobs int) bool {
	if a.open >= loadHalfOpen || jobs >= loadJobs || a.pace.full > now+loadEvery*(loadBurst-1) {
		a.loadUntil = now + LoadHold
	}
	return now < a.loadUntil
}

// Judge rules on m1, an envelope that Check has found good; e is what it parses to,
// jobs how many jobs wait. A token is for Admit only.
func (a *Admission) Judge(m1 []byte, e *wire.Envelope, src Source, jobs int, now time.Duration) (Token, Ruling) {
	eph := binary.LittleEndian.Uint64(e.Noise)
	if _, ok := a.seen[eph]; ok {
		return Token{}, Replay
	}
	sh, every, burst, limit := src.share(false), sourceEvery, sourceBurst, HalfOpenPerSource
	if src.link != 0 {
		every, burst, limit = linkEvery, linkBurst, linkUnproven
	}
	proven := a.Loaded(now, jobs) || src.rid != 0
	if !proven { // or else a flood of made-up sources would fill the table
		t := a.tally(sh, now)
		proven = t.open >= limit || !t.rate.take(now, every, burst)
	}
	if proven {
		if src.link != 0 && src.rid == 0 {
			if !a.tally(share{kind: shareReading, hi: uint64(src.link)}, now).rate.take(now, claimEvery, claimBurst) {
				return Token{}, TooOften
			}
			return Token{}, AskClaim
		}
		a.jar.fresh(now, a.random)
		if !a.jar.proves(m1, e, src) {
			if !a.lots.draw(src.share(false), a.jar.nonce[:16], now) {
				return Token{}, TooOften
			}
			return Token{}, AskCookie
		}
		sh, limit = src.share(true), HalfOpenPerSource
		if !a.tally(sh, now).rate.take(now, sourceEvery, sourceBurst) {
			return Token{}, TooOften
		}
	}
	token, ok := a.begin(sh, src.link, limit, now)
	if !ok {
		return Token{}, Crowded
	}
	if !proven {
		a.pace.take(now, loadEvery, loadBurst)
	}
	a.remember(eph)
	return token, Admit
}

// AppendCookie answers an m1 that Judge wants a cookie for. l is what Check found.
func (a *Admission) AppendCookie(b []byte, l *Local, e *wire.Envelope, src Source) []byte {
	return a.jar.appendCookie(b, l, e, src)
}

// TakeVersion reports whether an m1 of a version that is not spoken here may be
// answered now, at most ten times a second.
func (a *Admission) TakeVersion(now time.Duration) bool {
	return a.versions.take(now, versionEvery, versionBurst)
}

// remember puts an ephemeral key into the ring: the first 8 bytes, which no two
// honest ones share. Only admitted ones are remembered, so a flood that gets cookies
// for answers cannot flush the ring.
func (a *Admission) remember(e uint64) {
	if a.seen == nil {
		a.seen = map[uint64]struct{}{}
	}
	if len(a.ring) < SeenEphemerals {
		a.ring = append(a.ring, e)
	} else {
		delete(a.seen, a.ring[a.at])
		a.ring[a.at] = e
		a.at = (a.at + 1) % SeenEphemerals
	}
	a.seen[e] = struct{}{}
}

// halfOpen is one of the places for handshakes that wait for m3.
type halfOpen struct {
	tallies [2]*tally
	until   time.Duration
	gen     uint32
	used    bool
}

// Token names a half-open handshake. The zero value names none.
type Token struct{ slot, gen uint32 }

// begin takes a place. End gives it back; after HalfOpenAge it comes back by
// itself.
func (a *Admission) begin(s share, link wire.RID, limit int, now time.Duration) (Token, bool) {
	t := a.tally(s, now)
	var all *tally
	if link != 0 {
		all = a.tally(share{kind: shareLinkAll, hi: uint64(link)}, now)
	}
	full := func() bool {
		return a.open >= MaxHalfOpen || t.open >= limit || all != nil && all.open >= HalfOpenPerLink
	}
	if full() {
		a.Expire(now)
		if full() {
			return Token{}, false
		}
	}
	var i uint32
	if n := len(a.free); n > 0 {
		i, a.free = a.free[n-1], a.free[:n-1]
	} else {
		i = uint32(len(a.slots))
		a.slots = append(a.slots, halfOpen{})
	}
	slot := &a.slots[i]
	*slot = halfOpen{tallies: [2]*tally{t, all}, until: now + HalfOpenAge, gen: slot.gen + 1, used: true}
	for _, t := range slot.tallies {
		if t != nil {
			t.open++
		}
	}
	a.open++
	return Token{i, slot.gen}, true
}

// End gives a place back. A token that is over already does nothing.
func (a *Admission) End(t Token) {
	if int(t.slot) < len(a.slots) && a.slots[t.slot].used && a.slots[t.slot].gen == t.gen {
		a.release(t.slot)
	}
}

// Expire gives back the places of handshakes that took too long.
func (a *Admission) Expire(now time.Duration) {
	for i := range a.slots {
		if a.slots[i].used && now >= a.slots[i].until {
			a.release(uint32(i))
		}
	}
}

// HalfOpen is how many handshakes are half open.
func (a *Admission) HalfOpen() int { return a.open }

func (a *Admission) release(i uint32) {
	s := &a.slots[i]
	s.used = false
	for _, t := range s.tallies {
		if t != nil {
			t.open--
		}
	}
	s.tallies = [2]*tally{}
	a.free = append(a.free, i)
	a.open--
}
