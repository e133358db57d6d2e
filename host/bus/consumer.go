package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Start is where a new consumer begins.
type Start uint8

const (
	Newest Start = iota // with the next event
	Oldest              // with the oldest event still in the rings
)

// Consumer reads every event of the bus at its own pace. It belongs to one
// goroutine, Close excepted.
type Consumer struct {
	b      *Bus
	cursor []uint64 // next sequence, by ring; guarded by the ring's lock
	missed []uint64 // likewise
	from   int      // the ring to look at first
	asleep atomic.Bool
	bell   chan struct{}
	closed chan struct{}
	gone   atomic.Bool
}

// Batch is what Read returns: events and how many were missed before them. Its
// memory is used again by the next Read into it.
type Batch struct {
	Events [][]byte
	Missed uint64
	data   []byte
}

// batchEvents and batchBytes bound what one Read takes under a ring's lock.
const (
	batchEvents = 256
	batchBytes  = 64 << 10
)

// Consumer makes a consumer. While it is open it holds the producers of a Block bus
// back; Close it when it is no longer read.
func (b *Bus) Consumer(start Start) *Consumer {
	c := &Consumer{b: b, cursor: make([]uint64, len(b.shards)), missed: make([]uint64, len(b.shards)),
		bell: make(chan struct{}, 1), closed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.shards { // all together, so that no event falls between cursor and list
		b.shards[i].mu.Lock()
	}
	for i := range b.shards {
		c.cursor[i] = b.shards[i].next
		if start == Oldest {
			c.cursor[i] = b.shards[i].oldest
		}
	}
	cs := append((*b.consumers.Load())[:len(*b.consumers.Load()):len(*b.consumers.Load())], c)
	b.consumers.Store(&cs)
	for i := range b.shards {
		b.shards[i].mu.Unlock()
	}
	return c
}

// Close ends the consumer and every Read of it.
func (c *Consumer) Close() {
	if c.gone.CompareAndSwap(false, true) {
		close(c.closed)
		c.b.remove(c)
	}
}

// Read waits until there is an event and fills the batch with what one ring has of
// them, at most 256 events or 64 KiB and always one. Errors: ErrClosed, and what
// ended ctx.
func (c *Consumer) Read(ctx context.Context, batch *Batch) error {
	for {
		if c.gone.Load() {
			return ErrClosed
		}
		if c.take(batch) {
			return nil
		}
		c.asleep.Store(true) // before the second look: who publishes after it sees this
		c.b.sleepers.Add(1)
		if c.take(batch) {
			c.rise()
			return nil
		}
		select {
		case <-c.bell:
			continue
		case <-ctx.Done():
			c.rise()
			return ctx.Err()
		case <-c.closed:
			c.rise()
			return ErrClosed
		case <-c.b.closed:
			c.rise()
			if c.take(batch) {
				return nil
			}
			return ErrClosed
		}
	}
}

// rise ends a sleep that nobody ended, or hears the bell of who did.
func (c *Consumer) rise() {
	if c.asleep.CompareAndSwap(true, false) {
		c.b.sleepers.Add(-1)
		return
	}
	<-c.bell
}

func (c *Consumer) take(batch *Batch) bool {
	n := len(c.b.shards)
	for k := range n {
		i := (c.from + k) % n
		if c.takeFrom(i, batch) {
			c.from = (i + 1) % n
			return true
		}
	}
	return false
}

func (c *Consumer) takeFrom(i int, batch *Batch) bool {
	batch.Events, batch.Missed, batch.data = batch.Events[:0], 0, batch.data[:0]
	s := &c.b.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	at := c.cursor[i]
	if at == s.next {
		return false
	}
	size, end := 0, at
	for end < s.next && end-at < batchEvents {
		n := s.slots[end%uint64(len(s.slots))].len
		if size += n; size > batchBytes && end > at {
			size -= n
			break
		}
		end++
	}
	if cap(batch.data) < size {
		batch.data = make([]byte, 0, max(size, batchBytes))
	}
	for ; at < end; at++ {
		sl := s.slots[at%uint64(len(s.slots))]
		from := len(batch.data)
		batch.data = append(batch.data, s.data[sl.off:sl.off+sl.len]...)
		batch.Events = append(batch.Events, batch.data[from:len(batch.data):len(batch.data)])
	}
	c.cursor[i] = end
	batch.Missed, c.missed[i] = c.missed[i], 0
	s.letIn()
	return true
}

// Cursor is where the consumer stands: for each ring the number of the next event.
func (c *Consumer) Cursor() []uint64 {
	out := make([]uint64, len(c.cursor))
	for i := range out {
		s := &c.b.shards[i]
		s.mu.Lock()
		out[i] = c.cursor[i]
		s.mu.Unlock()
	}
	return out
}

// ErrCursor is what Seek returns for a cursor of another bus.
var ErrCursor = errors.New("bus: not a cursor of this bus")

// Seek moves the consumer to a Cursor of an earlier time. Events that are no longer
// there count as missed in the next Batch of their ring.
func (c *Consumer) Seek(cursor []uint64) error {
	if len(cursor) != len(c.cursor) {
		return fmt.Errorf("%w: it names %d rings of %d", ErrCursor, len(cursor), len(c.cursor))
	}
	for i, at := range cursor {
		s := &c.b.shards[i]
		s.mu.Lock()
		if at > s.next {
			s.mu.Unlock()
			return fmt.Errorf("%w: ring %d is at %d, not at %d", ErrCursor, i, s.next, at)
		}
		c.missed[i] = 0
		if at < s.oldest {
			c.missed[i] = s.oldest - at
			at = s.oldest
		}
		c.cursor[i] = at
		s.letIn()
		s.mu.Unlock()
	}
	return nil
}
