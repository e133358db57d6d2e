package pmtu

import "time"

const (
	lostRun     = 12 // packets of trains, lost in a row, that make a link without trains
	trainWindow = 128
	maxWindow   = 1024
	minSingles  = 8
	windowTime  = 500 * time.Millisecond
	badWindows  = 2
	trainsOff   = 10 * time.Minute
	maxOff      = 24 * time.Hour
)

// Trains tells a link that loses packets which leave together, in one piece
// (UDP_SEGMENT), from one that loses any: a network card or a tunnel that cannot cut
// a train drops all of it without a word (P4). The zero value is usable.
type Trains struct {
	// Base is the size that every path carries, in bytes: the loss of a larger packet
	// may be for its size. 0 is 1200.
	Base int

	until time.Duration // trains are off until then
	times int           // how often they were turned off

	runs   [2]lostTrains // up to the base, and above it
	alone  [4]fate       // the last packets that left alone and arrived
	nAlone int

	window struct {
		trains, lostTrains, singles, lostSingles int
		since                                    time.Duration
	}
	bad int // windows in a row
}

// lostTrains are packets of trains that were lost in a row.
type lostTrains struct {
	n, size     int // size: of the largest
	first, last time.Duration
}

// Off reports that packets should leave one by one now.
func (t *Trains) Off(now time.Duration) bool { return now < t.until }

// Until is when trains are tried again; 0 when they never were turned off.
func (t *Trains) Until() time.Duration { return t.until }

// PathChanged forgets everything.
func (t *Trains) PathChanged() { *t = Trains{Base: t.Base} }

// Fate takes word of what became of a packet that is no probe: its size, whether it
// left in a train, whether it was lost, and when it was sent. True: trains are off
// from now on.
func (t *Trains) Fate(size int, train, lost bool, sent, now time.Duration) bool {
	if t.Off(now) {
		return false
	}
	if !train && !lost {
		t.alone[t.nAlone%len(t.alone)] = fate{size, sent}
		t.nAlone++
	}
	if train {
		t.inRow(size, lost, sent)
	}
	if t.between(&t.runs[0], 0) || t.between(&t.runs[1], t.runs[1].size) || t.windows(train, lost, now) {
		off := maxOff
		if t.times < 8 {
			off = min(off, trainsOff<<t.times)
		}
		*t = Trains{Base: t.Base, until: now + off, times: t.times + 1}
		return true
	}
	return false
}

// inRow counts losses without an arrival between them.
func (t *Trains) inRow(size int, lost bool, sent time.Duration) {
	if !lost {
		t.runs = [2]lostTrains{}
		return
	}
	base := t.Base
	if base == 0 {
		base = Base
	}
	r := &t.runs[0]
	if size > base {
		r = &t.runs[1]
	}
	if r.n == 0 {
		r.first, r.last = sent, sent
	}
	r.n++
	r.size, r.first, r.last = max(r.size, size), min(r.first, sent), max(r.last, sent)
}

// between reports that a packet of at least that size which left alone got through
// while a run of trains did not: an outage is one for both.
func (t *Trains) between(r *lostTrains, size int) bool {
	if r.n < lostRun {
		return false
	}
	for _, f := range t.alone[:min(t.nAlone, len(t.alone))] {
		if r.first < f.sent && f.sent < r.last && f.size >= size {
			return true
		}
	}
	return false
}

// windows compares rates of loss, where some of the trains get through.
func (t *Trains) windows(train, lost bool, now time.Duration) bool {
	w := &t.window
	n, nLost := &w.singles, &w.lostSingles
	if train {
		n, nLost = &w.trains, &w.lostTrains
	}
	if w.trains+w.singles == 0 {
		w.since = now
	}
	*n++
	if lost {
		*nLost++
	}
	if w.trains < trainWindow || now-w.since < windowTime || w.singles < minSingles && w.trains < maxWindow {
		return false
	}
	// A queue that is full takes the tail of a train rather than a lone packet: only a
	// rate that congestion control would not leave standing counts.
	if w.singles >= minSingles && 4*w.lostTrains >= w.trains && 4*w.lostSingles*w.trains <= w.lostTrains*w.singles {
		t.bad++
	} else {
		t.bad = 0
	}
	*w = struct {
		trains, lostTrains, singles, lostSingles int
		since                                    time.Duration
	}{}
	return t.bad >= badWindows
}
