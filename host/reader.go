package host

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"nethost/host/kernel"
	"nethost/host/link"
)

const (
	// readTrains is how many trains one read of the link may bring: the link knows
	// how many are good for it.
	readTrains = 64

	// readerTick is how long the socket may be left alone by an application that
	// read it and went away. It is also what a timer can tell here.
	readerTick = time.Millisecond
	// quietTicks is after how many ticks without a turn the host's goroutine stops
	// looking and waits to be woken.
	quietTicks = 16
)

// reader decides which goroutine reads the link.
//
// An application that waits for an answer would be woken by the goroutine that
// read it: on an idle machine that costs more than the answer. So an application
// with nothing to read may read the link itself ("leader and followers", Schmidt
// 2000), and finds its answer without any other goroutine. When it has its data it
// goes, and nobody reads until it is back, mostly some microseconds later; the
// host's own goroutine looks every readerTick, and takes over where nobody came.
//
// That is for questions and answers. Where anything else comes as well, a tick
// without a reader would be a tick in which a relay stands still: then the
// application hands over as it goes.
type reader struct {
	poke   link.Interrupter // nil: only the host's goroutine reads
	token  chan struct{}    // holds one while nobody reads
	turns  atomic.Uint64    // how often an application has read
	asleep atomic.Bool      // the host's goroutine waits for wake, and nothing else
	hurry  atomic.Bool      // it is wanted now
	wake   chan struct{}
	trains []link.Train // of whoever has the token
	calm   int          // reads in a row that brought one answer and no more; likewise
	served bool         // a waiting application got data; guarded by Host.mu
}

// calmReads is how many such reads in a row make a conversation.
const calmReads = 8

func newReader(l link.Link) *reader {
	poke, _ := l.(link.Interrupter)
	r := &reader{poke: poke, token: make(chan struct{}, 1), wake: make(chan struct{}, 1), trains: make([]link.Train, readTrains)}
	r.token <- struct{}{}
	return r
}

func (r *reader) take() bool {
	select {
	case <-r.token:
		return true
	default:
		return false
	}
}

// give puts the token back. now: the host's goroutine shall read at once.
func (r *reader) give(now bool) {
	if now {
		r.hurry.Store(true)
	}
	r.token <- struct{}{}
	if now || r.asleep.Load() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// read feeds the kernel with datagrams until the link ends, except while
// applications do.
func (h *Host) read() error {
	r := h.reader
	for {
		if !r.take() {
			r.rest()
			continue
		}
		err := h.readOnce(nil)
		calm := r.calm
		r.give(false)
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if calm >= calmReads && r.poke != nil {
			r.rest() // the application that was served may want to read on itself
		}
	}
}

// rest waits until no application has read for a whole tick, or one hands over. It
// does not look while one waits in the link.
func (r *reader) rest() {
	tick := time.NewTimer(readerTick)
	defer tick.Stop()
	for seen, quiet := r.turns.Load(), 0; ; tick.Reset(readerTick) {
		select {
		case <-tick.C:
		case <-r.wake:
		}
		turns := r.turns.Load()
		switch {
		case r.hurry.Swap(false), turns == seen && len(r.token) > 0:
			return
		case turns != seen:
			seen, quiet = turns, 0
		default:
			quiet++
		}
		if quiet == quietTicks {
			r.asleep.Store(true)
			if len(r.token) == 0 {
				<-r.wake
			}
			r.asleep.Store(false)
			quiet = 0
		}
	}
}

// readOnce reads the link once and lets the kernel have it. The caller has the
// token; by is the stream whose application it is, nil for the host itself.
func (h *Host) readOnce(by *Stream) error {
	r := h.reader
	n, err := h.cfg.Link.Read(r.trains)
	if err != nil || n == 0 {
		return err
	}
	h.mu.Lock()
	h.by, r.served = by, false
	h.in = kernel.Input{Kind: kernel.InTrains, Trains: r.trains[:n]}
	h.stepLocked()
	if r.calm++; !r.served || n > 1 || r.trains[0].Count() > 1 {
		r.calm = 0
	}
	h.by = nil
	h.mu.Unlock()
	h.mods.RunInline()
	return nil
}

// lead reads the link for a stream that has nothing to read, if nobody else does.
// The caller holds s.mu, which is free meanwhile: afterwards anything may have
// changed. led is false when the caller must wait to be woken.
func (s *Stream) lead() (led bool, err error) {
	r := s.h.reader
	if r.poke == nil || !r.take() {
		return false, nil
	}
	r.turns.Add(1)
	s.leading = true
	s.mu.Unlock()
	err = s.h.readOnce(s)
	now := r.calm == 0
	s.mu.Lock()
	s.leading = false
	r.give(now)
	return true, err
}
