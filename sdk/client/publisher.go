package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"nethost/sdk/channel"
)

// maxUnsent bounds what a Publisher holds, in bytes: Publish waits above it.
const maxUnsent = 1 << 20

// Publisher publishes to one channel. What Publish is given goes out at once, and
// together with what came meanwhile. When the node goes away it opens its stream
// again and goes on with what was not written yet; what was written and not taken is
// lost. Its methods may be called from several goroutines.
type Publisher struct {
	c   *Client
	ctx context.Context
	h   channel.Publish
	end context.CancelFunc

	mu     sync.Mutex
	change *sync.Cond
	unsent []byte
	closed bool
	err    error
	done   chan struct{}
	result channel.Published
}

// OpenPublisher opens a publisher; h.Format is filled in. What the node refuses is
// said by the methods.
func (c *Client) OpenPublisher(ctx context.Context, h channel.Publish) (*Publisher, error) {
	h.Format = channel.Frames
	p := &Publisher{c: c, h: h, done: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(ctx)
	p.change = sync.NewCond(&p.mu)
	s, err := p.open()
	if err != nil {
		p.end()
		return nil, err
	}
	context.AfterFunc(p.ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.change.Broadcast()
	})
	go p.run(s)
	return p, nil
}

func (p *Publisher) open() (*Stream, error) {
	s, err := p.c.Stream(p.ctx, Target{Module: channelsPub})
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(header(p.h)); err != nil {
		return nil, p.why(s, err)
	}
	return s, nil
}

// why asks a broken stream for its reason.
func (p *Publisher) why(s *Stream, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	_, rerr := io.ReadAll(s)
	s.Close()
	return unexpected(rerr)
}

// Publish gives an event to the channel; parent, when it is not nil, is the event
// that it is an effect of. An error says that this publisher has failed, perhaps for
// an event before this one.
func (p *Publisher) Publish(parent *channel.EventID, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.unsent) > maxUnsent && p.err == nil && !p.closed && p.ctx.Err() == nil {
		p.change.Wait()
	}
	switch {
	case p.err != nil:
		return p.err
	case p.closed:
		return errClosed
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	}
	p.unsent = channel.AppendPublish(p.unsent, parent, data)
	p.change.Broadcast()
	return nil
}

// Close waits until the node has taken everything, and gives its answer.
func (p *Publisher) Close() (*channel.Published, error) {
	p.mu.Lock()
	p.closed = true
	p.change.Broadcast()
	p.mu.Unlock()
	<-p.done
	p.end()
	if p.err != nil {
		return nil, p.err
	}
	return &p.result, nil
}

// run writes what there is until the end.
func (p *Publisher) run(s *Stream) {
	defer close(p.done)
	var wait time.Duration
	var batch []byte
	for {
		p.mu.Lock()
		for len(batch) == 0 && len(p.unsent) == 0 && !p.closed && p.ctx.Err() == nil {
			p.change.Wait()
		}
		if len(batch) == 0 {
			batch, p.unsent = p.unsent, batch[:0:0]
			p.change.Broadcast()
		}
		p.mu.Unlock()
		var err error
		switch {
		case p.ctx.Err() != nil:
			err = p.ctx.Err()
		case s == nil:
			s, err = p.open()
		case len(batch) > 0:
			if _, err = s.Write(batch); err == nil {
				batch, wait = nil, 0
			} else {
				err = p.why(s, err)
			}
		default:
			if err = p.finish(s); err == nil {
				return
			}
		}
		if err == nil {
			continue
		}
		s = nil
		if again(err) && p.ctx.Err() == nil && pause(p.ctx, &wait) {
			continue
		}
		p.mu.Lock()
		p.err = err
		p.change.Broadcast()
		p.mu.Unlock()
		return
	}
}

// finish ends the stream and reads the answer.
func (p *Publisher) finish(s *Stream) error {
	defer s.Close()
	if err := s.CloseWrite(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	b, err := io.ReadAll(s)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &p.result); err != nil {
		return unexpected(nil)
	}
	return nil
}
