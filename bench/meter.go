package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is CLOCK_MONOTONIC in nanoseconds: the one clock that all processes
// of a cell share.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// Counters are what the processes of one cell count together. They live in a
// mapped file, so that the window of the source and the rates the parent sees cost
// no message of the transport under test, in one process or in several.
type Counters struct {
	_        [64]byte
	Sent     atomic.Uint64 // messages the source handed to its transport
	_        [56]byte
	Received atomic.Uint64 // messages that arrived
	_        [56]byte
	Bytes    atomic.Uint64 // bytes that arrived, messages or stream
	_        [56]byte
	Next     atomic.Uint64 // highest sequence number that arrived, plus one
	_        [56]byte
	Trips    atomic.Uint64 // round trips or handshakes completed
	_        [56]byte
}

// mapCounters maps the counters in a file.
func mapCounters(path string) (*Counters, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		return nil, err
	}
	return mapped(f)
}

// messageHead is the sequence number and the intended send time at the start of
// each message.
const messageHead = 16

// maxSamples bounds the latencies kept of one measurement.
const maxSamples = 4 << 20

// Meter takes what arrives at one node and how long it took.
type Meter struct {
	*Counters
	timing atomic.Bool // keep message latencies: only at a fixed rate do they mean something

	mu      sync.Mutex
	samples []int64
}

// Message counts one message that arrived.
func (m *Meter) Message(b []byte) {
	m.Received.Add(1)
	m.Bytes.Add(uint64(len(b)))
	if len(b) < messageHead {
		return
	}
	if seq := binary.LittleEndian.Uint64(b) + 1; seq > m.Next.Load() {
		m.Next.Store(seq) // one goroutine delivers; a race would only cost window
	}
	if m.timing.Load() {
		m.Sample(monotonic() - int64(binary.LittleEndian.Uint64(b[8:])))
	}
}

// Sample keeps one latency in nanoseconds.
func (m *Meter) Sample(ns int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples) < maxSamples {
		m.samples = append(m.samples, ns)
	}
}

// Reset forgets the latencies so far.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = m.samples[:0]
}

// Latency is the distribution of what was kept, in microseconds.
type Latency struct {
	N                        int
	P50, P90, P99, P999, Max float64
}

// Latency sums up the samples.
func (m *Meter) Latency() Latency {
	m.mu.Lock()
	s := slices.Clone(m.samples)
	m.mu.Unlock()
	if len(s) == 0 {
		return Latency{}
	}
	slices.Sort(s)
	at := func(q float64) float64 { return float64(s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)]) / 1e3 }
	return Latency{len(s), at(.5), at(.9), at(.99), at(.999), float64(s[len(s)-1]) / 1e3}
}

// framer cuts a byte stream into messages of one size and counts them.
type framer struct {
	size int
	buf  []byte
}

func (f *framer) feed(m *Meter, b []byte) {
	for len(b) > 0 {
		if len(f.buf) == 0 && len(b) >= f.size {
			m.Message(b[:f.size])
			b = b[f.size:]
			continue
		}
		n := min(f.size-len(f.buf), len(b))
		f.buf, b = append(f.buf, b[:n]...), b[n:]
		if len(f.buf) == f.size {
			m.Message(f.buf)
			f.buf = f.buf[:0]
		}
	}
}

// pollWindow is how often a source with a full window looks again.
const pollWindow = 100 * time.Microsecond

// stallAfter is the time without an arrival after which what is on the way counts
// as lost, so that the tail of a lossy run does not stop it.
const stallAfter = 5 * time.Millisecond

// lossCheck is how often a careful source looks for loss.
const lossCheck = int64(2 * time.Millisecond)

// caution shrinks the window of a source whose transport drops what is too much and
// does not say so: what CUBIC does for TCP, for the messages of one source.
type caution struct {
	size, last float64 // window now, and when it was last too large
	lost       uint64
	checked    int64
}

// look adapts the window to what was lost since the last look, at most every
// lossCheck.
func (w *caution) look(c *Counters, most float64) uint64 {
	now := monotonic()
	if now-w.checked < lossCheck {
		return uint64(w.size)
	}
	w.checked = now
	next := c.Next.Load() // first: what arrives in between must not look like loss
	lost := next - min(next, c.Received.Load())
	switch {
	case lost > w.lost:
		w.last = w.size
		w.size = max(8, .7*w.size)
	case w.size < .9*w.last || w.last == 0:
		w.size *= 1.1
	default:
		w.size += .1
	}
	w.size, w.lost = min(w.size, most), lost
	return uint64(w.size)
}

// Pacer tells a source when it may send. One goroutine at a time uses it.
type Pacer struct {
	c      *Counters
	window uint64   // messages on the way, closed loop
	care   *caution // of a transport that drops in silence; nil: the whole window
	rate   float64  // messages a second, open loop; 0: closed
	stop   atomic.Bool
	timer  *timerFD

	began int64 // of the schedule
	seq   uint64
	first uint64 // seq when the schedule began
	lost  uint64 // sequence numbers below this are written off
}

func newPacer(c *Counters, window uint64, rate float64) (*Pacer, error) {
	t, err := newTimerFD()
	if err != nil {
		return nil, err
	}
	seq := c.Sent.Load()
	return &Pacer{c: c, window: window, rate: rate, timer: t, began: monotonic(), seq: seq, first: seq, lost: seq}, nil
}

// Stop makes Take return 0.
func (p *Pacer) Stop() { p.stop.Store(true) }

// Take waits until messages may be sent and says how many, at most limit; 0 ends
// the run.
func (p *Pacer) Take(limit int) int {
	for !p.stop.Load() {
		var n int64
		if p.rate > 0 {
			due := int64(float64(monotonic()-p.began)*p.rate/1e9) + 1
			if n = due - int64(p.seq-p.first); n <= 0 {
				p.timer.sleepUntil(p.at(p.seq))
				continue
			}
		} else if n = p.room(); n <= 0 {
			continue
		}
		return int(min(n, int64(limit)))
	}
	return 0
}

// room is what the window has left. It waits a moment when there is little.
func (p *Pacer) room() int64 {
	began := monotonic()
	last := p.c.Next.Load()
	for {
		next := max(p.c.Next.Load(), p.lost)
		size := p.window
		if p.care != nil {
			size = p.care.look(p.c, float64(p.window))
		}
		free := int64(size) - int64(p.seq-next)
		if free >= int64(max(1, size/8)) || p.stop.Load() {
			return free
		}
		now := monotonic()
		if next != last {
			last, began = next, now
		} else if now-began > int64(stallAfter) {
			p.lost = p.seq
		}
		p.timer.sleepUntil(now + int64(pollWindow))
	}
}

// at is when message seq is due.
func (p *Pacer) at(seq uint64) int64 { return p.began + int64(float64(seq-p.first)/p.rate*1e9) }

// Stamp writes number and intended send time of the next message into b.
func (p *Pacer) Stamp(b []byte) {
	at := int64(0)
	if p.rate > 0 {
		at = p.at(p.seq)
	}
	binary.LittleEndian.PutUint64(b, p.seq)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	p.seq++
	p.c.Sent.Store(p.seq)
}

// timerFD is a kernel timer whose reader parks in the netpoller: it wakes within
// microseconds without a thread of its own, where a runtime timer of an idle
// process wakes a millisecond late.
type timerFD struct {
	f   *os.File
	buf [8]byte
}

func newTimerFD() (*timerFD, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &timerFD{f: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (t *timerFD) sleepUntil(at int64) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(at, 1))}
	raw, err := t.f.SyscallConn()
	if err != nil {
		return
	}
	if raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil) }) != nil || err != nil {
		return
	}
	_, _ = t.f.Read(t.buf[:])
}
