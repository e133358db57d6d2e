package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"nethost/sdk"
	"nethost/sdk/channel"
)

const (
	channelsPub = "channels.pub"
	channelsSub = "channels.sub"
	retryFirst  = 50 * time.Millisecond
	retryLast   = 5 * time.Second
)

// again reports whether a stream that failed so may be opened again: the node or its
// module went, and comes back.
func again(err error) bool {
	if errors.Is(err, ErrNotRunning) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var e *Error
	return errors.As(err, &e) && (e.Code == sdk.ModuleRestarted || e.Code == sdk.Draining || e.Code == sdk.PeerGone)
}

// pause waits before the next try, longer each time; false when ctx ended.
func pause(ctx context.Context, wait *time.Duration) bool {
	*wait = min(max(2**wait, retryFirst), retryLast)
	t := time.NewTimer(*wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func header(v any) []byte {
	b, _ := json.Marshal(v)
	return append(b, '\n')
}

// Publish sends events to a channel and waits until the node has taken them all. A
// token, when the channel needs one, goes with OpenPublisher.
func (c *Client) Publish(ctx context.Context, name string, events ...[]byte) (*channel.Published, error) {
	p, err := c.OpenPublisher(ctx, channel.Publish{Channel: name})
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if err := p.Publish(nil, e); err != nil {
			return nil, err
		}
	}
	return p.Close()
}

// SubscribeOptions is what Subscribe may be told beside a pattern.
type SubscribeOptions struct {
	// Subscribe is the request; Pattern and Format are filled in.
	channel.Subscribe
	// Notice, when it is not nil, is told what happens: "ready", "joined", "left",
	// "refused" as from the node, "lost" when the node or its module went away.
	Notice func(channel.Notice)
	// Once ends with an error instead of subscribing again.
	Once bool
}

// Subscribe gives the events of the channels that a pattern stands for, until ctx
// ends, the loop is left, or the node refuses: then the last pair holds the error.
// When the node goes away after that it subscribes again until it is back; Missed of the next
// event counts what was lost, and no event comes twice.
func (c *Client) Subscribe(ctx context.Context, pattern string, o SubscribeOptions) iter.Seq2[channel.Event, error] {
	o.Pattern, o.Format = pattern, channel.Frames
	return func(yield func(channel.Event, error) bool) {
		r := reader{c: c, o: &o, yield: yield, had: map[had]seen{}}
		var wait time.Duration
		for first := time.Now(); ; {
			began := time.Now()
			if r.left = o.WaitS - began.Sub(first).Seconds(); o.WaitS > 0 && r.left <= 0 {
				return
			}
			err := r.run(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			if o.Once || !r.once || !again(err) {
				yield(channel.Event{}, err)
				return
			}
			if time.Since(began) > retryLast {
				wait = 0
			}
			r.notice(&channel.Notice{Notice: "lost", Text: err.Error()})
			if !pause(ctx, &wait) {
				return
			}
		}
	}
}

type had struct {
	channel string
	node    sdk.NodeID
}

type seen struct {
	epoch uint32
	seq   uint64
}

// reader is one Subscribe.
type reader struct {
	c     *Client
	o     *SubscribeOptions
	yield func(channel.Event, error) bool
	had   map[had]seen
	n     uint64
	left  float64 // of WaitS
	once  bool    // it was subscribed once
}

// run is one stream of it. No error means that it is over.
func (r *reader) run(ctx context.Context) error {
	s, err := r.c.Stream(ctx, Target{Module: channelsSub})
	if err != nil {
		return err
	}
	defer s.Close()
	o := r.o.Subscribe
	if o.Max > 0 {
		o.Max -= r.n
	}
	if o.WaitS > 0 {
		o.WaitS = r.left
	}
	if _, err := s.Write(header(o)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		in = append(in, buf[:n]...)
		b := in
		for {
			rec, rest, perr := channel.TakeRecord(b)
			if perr != nil {
				return perr
			}
			if b = rest; rec == nil {
				break
			}
			if over, perr := r.record(rec); perr != nil || over {
				return perr
			}
		}
		in = append(in[:0], b...)
		if err != nil {
			return r.over()
		}
	}
}

// over: the node ended the stream in order. That is the end when it was asked for.
func (r *reader) over() error {
	if o := &r.o.Subscribe; o.Max > 0 && r.n >= o.Max || o.WaitS > 0 {
		return nil
	}
	return io.ErrUnexpectedEOF
}

func (r *reader) notice(n *channel.Notice) {
	if r.o.Notice != nil {
		r.o.Notice(*n)
	}
}

func (r *reader) record(rec []byte) (over bool, err error) {
	e, n, err := channel.ParseRecord(rec)
	if err != nil {
		return false, err
	}
	r.once = true
	if n != nil {
		r.notice(n)
		return false, nil
	}
	k := had{e.Channel, e.Publisher}
	was, known := r.had[k]
	if known && was.epoch == e.Epoch {
		if e.Seq <= was.seq {
			return false, nil
		}
		if r.o.Group == "" {
			e.Missed = e.Seq - was.seq - 1
		}
	}
	r.had[k] = seen{e.Epoch, e.Seq}
	e.Data = append([]byte(nil), e.Data...)
	r.n++
	return !r.yield(*e, nil) || r.o.Max > 0 && r.n >= r.o.Max, nil
}

// errClosed is returned by a Publisher after Close.
var errClosed = errors.New("the publisher is closed")

func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the node ended the stream", io.ErrUnexpectedEOF)
	}
	return err
}
