package kernel

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"nethost/sdk"
)

// Reputation: what a peer did wrong adds demerits, which fade by half in
// demeritHalf. At barAt the breaker opens: what the peer begins is refused until
// its demerits have fallen to unbarAt. The session, its routes and what this node
// begins towards it go on.
const (
	barAt         = 100
	unbarAt       = 50
	maxDemerits   = 400 // 3 half-lives until the breaker closes at most
	demeritHalf   = 30 * time.Second
	maxPenalty    = 100 // of one effect of a module
	demeritWave   = 20  // a neighbour passed a wave on whose signature is wrong
	demeritFrame  = 10  // an authentic packet that is malformed
	demeritForged = 1   // a packet under its index that does not open ...
	maxForged     = 40  // ... which others can send: alone it opens no breaker
)

// barredText is what a peer hears whose stream is refused.
const barredText = "too many demerits here: nothing you begin is taken for a while"

// reputation of a peer. It outlives sessions, in Kernel.judged.
type reputation struct {
	demerits float64
	forged   float64 // the share of demeritForged in it
	at       time.Duration
	barred   bool
	total    uint64 // demerits ever, and what the last was for
	last     string
}

// fade lets demerits fade until now.
func (r *reputation) fade(now time.Duration) {
	if d := now - r.at; d > 0 {
		f := math.Exp2(-d.Seconds() / demeritHalf.Seconds())
		r.demerits *= f
		r.forged *= f
	}
	r.at = now
	if r.barred && r.demerits <= unbarAt {
		r.barred = false
	}
}

// blame adds demerits to a peer.
func (k *Kernel) blame(p *peer, weight float64, why string) {
	r := k.judged[p.id]
	if r == nil {
		if len(k.judged) >= maxPeers {
			return
		}
		r = &reputation{at: k.now}
		k.judged[p.id] = r
	}
	p.judged = r
	r.fade(k.now)
	r.demerits = min(r.demerits+weight, maxDemerits)
	r.total += uint64(weight)
	r.last = why
	if r.demerits >= barAt && !r.barred {
		r.barred = true
		k.trace(TraceBarred, p.id, netip.AddrPort{}, fmt.Sprintf("what it begins is refused for a while: %s", why))
	}
	if k.judgeAt.pos == 0 {
		k.timers.set(&k.judgeAt, k.now+demeritHalf)
	}
}

// blameForged adds the little that a packet which does not open may count.
func (k *Kernel) blameForged(p *peer) {
	if r := p.judged; r != nil {
		if r.fade(k.now); r.forged+demeritForged > maxForged {
			return
		}
	}
	k.blame(p, demeritForged, "packets that do not open")
	p.judged.forged += demeritForged
}

// barred reports that what the peer begins is refused now.
func (k *Kernel) barred(p *peer) bool {
	r := p.judged
	if r == nil || !r.barred {
		return false
	}
	r.fade(k.now)
	return r.barred
}

// penalize takes a module's judgement of a peer.
func (k *Kernel) penalize(slot int, f *sdk.Effect) {
	p := k.handle[f.Peer]
	if p == nil {
		k.drop(DropNoPeer)
		return
	}
	k.blame(p, float64(min(f.Arg, maxPenalty)), k.moduleName(slot)+": "+string(f.Payload))
}

// forgive forgets those whose demerits have faded.
func (k *Kernel) forgive(now time.Duration) {
	for id, r := range k.judged {
		if r.fade(now); r.demerits >= 1 {
			continue
		}
		delete(k.judged, id)
		if p := k.peers[id]; p != nil {
			p.judged = nil
		}
	}
	if len(k.judged) > 0 {
		k.timers.set(&k.judgeAt, now+demeritHalf)
	}
}
