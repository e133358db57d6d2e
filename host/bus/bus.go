package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of Publish and Read.
var (
	ErrFull   = errors.New("bus: full")
	ErrClosed = errors.New("bus: closed")
	ErrSize   = errors.New("bus: event is larger than a ring")
)

// Options of a bus. The zero value is usable.
type Options struct {
	Shards int // rings; default 4, at most 256
	Events int // events a ring holds; default 8 192
	Bytes  int // bytes a ring holds, and so the largest event; default 1 MiB
	Mode   Mode
}

// Counters tell what became of the events, one number for each way of losing one.
type Counters struct {
	Published  uint64 // put into a ring
	DropNewest uint64 // dropped because the ring was full
	Failed     uint64 // refused with ErrFull
	Sampled    uint64 // not the one of n
	Blocked    uint64 // Publish calls that had to wait
	GaveUp     uint64 // Publish calls whose context ended while they waited
	Evicted    uint64 // made room before every consumer had read them
	Missed     uint64 // the same, counted once for each consumer that missed them
}

// Bus is what producers and consumers share. Its methods may be called
// concurrently.
type Bus struct {
	mode      Mode
	shards    []shard
	nextShard atomic.Uint32
	consumers atomic.Pointer[[]*Consumer]
	sleepers  atomic.Int32 // consumers that wait
	mu        sync.Mutex   // guards changes of consumers
	closed    chan struct{}
	once      sync.Once
}

// New makes a bus.
func New(o Options) (*Bus, error) {
	if o.Shards == 0 {
		o.Shards = 4
	}
	if o.Events == 0 {
		o.Events = 8192
	}
	if o.Bytes == 0 {
		o.Bytes = 1 << 20
	}
	if o.Shards < 0 || o.Shards > 256 || o.Events < 0 || o.Bytes < 0 {
		return nil, fmt.Errorf("bus: %d shards of %d events and %d bytes: 1 to 256 shards, and no negative number", o.Shards, o.Events, o.Bytes)
	}
	b := &Bus{mode: o.Mode, shards: make([]shard, o.Shards), closed: make(chan struct{})}
	for i := range b.shards {
		b.shards[i].slots = make([]slot, o.Events)
		b.shards[i].data = make([]byte, o.Bytes)
	}
	b.consumers.Store(new([]*Consumer))
	return b, nil
}

// Close ends every Publish and, once it has read what is there, every Read with
// ErrClosed.
func (b *Bus) Close() { b.once.Do(func() { close(b.closed) }) }

// Counters sums those of all rings.
func (b *Bus) Counters() (sum Counters) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		c := s.count
		s.mu.Unlock()
		sum.Published += c.Published
		sum.DropNewest += c.DropNewest
		sum.Failed += c.Failed
		sum.Sampled += c.Sampled
		sum.Blocked += c.Blocked
		sum.GaveUp += c.GaveUp
		sum.Evicted += c.Evicted
		sum.Missed += c.Missed
	}
	return sum
}

// Producer publishes into one ring. It may be used by several goroutines; one for
// each is faster.
type Producer struct {
	b *Bus
	s *shard
	i int
}

// Producer gives the next ring, in turn.
func (b *Bus) Producer() *Producer {
	i := int(b.nextShard.Add(1)-1) % len(b.shards)
	return &Producer{b, &b.shards[i], i}
}

// Publish copies the event into the ring, or does what the bus's Mode says. ctx
// matters to Block alone. Errors: ErrFull (Fail), ErrSize, ErrClosed, and what ended
// ctx.
func (p *Producer) Publish(ctx context.Context, event []byte) error {
	b, s := p.b, p.s
	if len(event) > len(s.data) {
		return fmt.Errorf("%w: %d bytes of at most %d", ErrSize, len(event), len(s.data))
	}
	waited := false
	s.mu.Lock()
	for {
		select {
		case <-b.closed:
			s.mu.Unlock()
			return ErrClosed
		default:
		}
		at, ok := s.place(room(event))
		if ok {
			s.put(at, event)
			break
		}
		verdict := p.full()
		if verdict == evict {
			p.evictOldest()
			continue
		}
		if verdict != wait {
			s.mu.Unlock()
			if verdict == refuse {
				return ErrFull
			}
			return nil
		}
		if !waited {
			waited = true
			s.count.Blocked++
		}
		if err := p.wait(ctx); err != nil {
			s.count.GaveUp++
			s.mu.Unlock()
			return err
		}
	}
	s.mu.Unlock()
	if b.sleepers.Load() > 0 {
		b.wake()
	}
	return nil
}

type verdict uint8

const (
	evict verdict = iota
	discard
	refuse
	wait
)

// full says what happens to an event that found no room.
func (p *Producer) full() verdict {
	s := p.s
	if s.slowest(*p.b.consumers.Load(), p.i) > s.oldest {
		return evict // everybody has read it
	}
	switch p.b.mode.kind {
	case dropNewest:
		s.count.DropNewest++
		return discard
	case fail:
		s.count.Failed++
		return refuse
	case block:
		return wait
	case sample:
		s.refused++
		if s.refused%p.b.mode.n != 0 {
			s.count.Sampled++
			return discard
		}
	}
	return evict
}

func (p *Producer) evictOldest() {
	s, missed := p.s, uint64(0)
	for _, c := range *p.b.consumers.Load() {
		if c.cursor[p.i] == s.oldest {
			c.cursor[p.i]++
			c.missed[p.i]++
			missed++
		}
	}
	s.oldest++
	if missed > 0 {
		s.count.Evicted++
		s.count.Missed += missed
	}
}

// wait gives the lock up until a consumer has read, or there is no point any more.
func (p *Producer) wait(ctx context.Context) error {
	s := p.s
	if s.reader == nil {
		s.reader = make(chan struct{})
	}
	read := s.reader
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-read:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.b.closed:
		return ErrClosed
	}
}

func (b *Bus) wake() {
	for _, c := range *b.consumers.Load() {
		if c.asleep.CompareAndSwap(true, false) {
			b.sleepers.Add(-1)
			c.bell <- struct{}{} // has room for one, and only who clears asleep rings
		}
	}
}

// remove takes a consumer away; who waited for it to read goes on.
func (b *Bus) remove(c *Consumer) {
	b.mu.Lock()
	cs := slices.Clone(*b.consumers.Load())
	cs = slices.DeleteFunc(cs, func(x *Consumer) bool { return x == c })
	b.consumers.Store(&cs)
	b.mu.Unlock()
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.letIn()
		s.mu.Unlock()
	}
}

// letIn wakes the producers that wait for room.
func (s *shard) letIn() {
	if s.reader != nil {
		close(s.reader)
		s.reader = nil
	}
}
