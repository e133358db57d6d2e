package host

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"nethost/host/kernel"
	"nethost/sdk"
)

// Target is what an application wants to talk to.
type Target struct {
	// Node that shall answer; zero or our own: the module on this node.
	Node sdk.NodeID
	// ID of the subprotocol.
	ID sdk.ID
	// Method of the module; "" is its default one.
	Method string
	// Meta is for the module; the host does not read it. At most 2 KiB.
	Meta []byte
	// Principal names the application's user towards a local module.
	Principal string
	// Deadline after which the stream is reset; 0: none.
	Deadline time.Duration
}

// StreamError is why a stream ended early. errors.As finds it.
type StreamError struct {
	Code sdk.Code
	Text string
}

func (e *StreamError) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Stream is an application's end of a stream. Read and Write may be used by one
// goroutine each at a time.
type Stream struct {
	h  *Host
	id uint64

	mu     sync.Mutex
	cond   sync.Cond // on mu: anything below changed
	opened bool
	buf    []byte // bytes not read yet; at most the credit we granted
	off    int
	fin    bool   // the far end has written its last
	credit uint64 // what we may still write
	closed bool   // our side has ended
	err    *StreamError
	unread uint64 // consumed and not yet given back as credit

	leading bool // the application reads the link
	waiting bool // ... or waits to be woken
}

var _ io.ReadWriteCloser = (*Stream)(nil)

// Open opens a stream and waits until the far end is there. The error is a
// *StreamError, ctx's error, or ErrClosed.
func (h *Host) Open(ctx context.Context, t Target) (*Stream, error) {
	s := &Stream{h: h}
	s.cond.L = &s.mu
	open := sdk.Open{Method: t.Method, Meta: t.Meta, Principal: []byte(t.Principal), Deadline: t.Deadline}
	if len(t.Method)+len(t.Meta)+len(t.Principal) > sdk.MaxOpen-64 {
		return nil, &StreamError{sdk.InvalidArgument, fmt.Sprintf("method, meta and principal are longer than %d bytes", sdk.MaxOpen-64)}
	}
	h.mu.Lock()
	if h.down {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	h.next++
	s.id = h.next
	h.apps[s.id] = s
	h.in = kernel.Input{Kind: kernel.InAppOpen, App: s.id, Node: t.Node, ID: t.ID, Open: open}
	h.stepLocked()
	h.mu.Unlock()
	h.mods.RunInline()

	stop := context.AfterFunc(ctx, func() { s.Reset(sdk.Cancelled, "") })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.opened && s.err == nil {
		s.cond.Wait()
	}
	if s.opened {
		return s, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, s.err
}

// Read takes bytes of the far end. io.EOF is a clean end, a *StreamError an early
// one. Credit goes back in quarters of the window, with the next Write, or when
// nothing more is there to read: a caller that asks and waits for the answer costs
// the kernel one step, not two.
func (s *Stream) Read(p []byte) (int, error) {
	var dead error // of the link: whoever closed it tells us why
	s.mu.Lock()
	for s.off == len(s.buf) && !s.fin && s.err == nil {
		if give := s.takeUnread(); give > 0 {
			s.mu.Unlock()
			s.credits(give)
			s.mu.Lock()
			continue
		}
		if dead == nil {
			var led bool
			if led, dead = s.lead(); led {
				continue
			}
		}
		s.waiting = true
		s.cond.Wait()
		s.waiting = false
	}
	n := copy(p, s.buf[s.off:])
	s.off += n
	s.unread += uint64(n)
	if s.off == len(s.buf) {
		s.buf, s.off = s.buf[:0], 0
	}
	var give uint64
	if s.unread >= sdk.InitialCredit/4 {
		give = s.takeUnread()
	}
	fin, err := s.fin, s.err
	s.mu.Unlock()
	if give > 0 {
		s.credits(give)
	}
	switch {
	case n > 0 || len(p) == 0:
		return n, nil
	case fin:
		return 0, io.EOF
	default:
		return 0, err
	}
}

// takeUnread is the credit to give back: none where the far end writes no more. The
// caller holds s.mu.
func (s *Stream) takeUnread() (n uint64) {
	if !s.fin {
		n, s.unread = s.unread, 0
	}
	return n
}

func (s *Stream) credits(n uint64) {
	s.h.mu.Lock()
	s.h.in = kernel.Input{Kind: kernel.InAppCredit, App: s.id, N: n}
	s.h.stepLocked()
	s.h.mu.Unlock()
	s.h.mods.RunInline()
}

// Write hands bytes to the far end, waiting for credit.
func (s *Stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		s.mu.Lock()
		for s.credit == 0 && s.err == nil && !s.closed {
			s.cond.Wait()
		}
		if s.err != nil {
			defer s.mu.Unlock()
			return done, s.err
		}
		if s.closed {
			s.mu.Unlock()
			return done, io.ErrClosedPipe
		}
		n := min(uint64(len(p)-done), s.credit, sdk.MaxStreamData)
		s.credit -= n
		give := s.takeUnread()
		s.mu.Unlock()
		s.write(p[done:done+int(n)], false, give)
		done += int(n)
	}
	return done, nil
}

// CloseWrite ends our side; the far end's may go on.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	if s.closed || s.err != nil {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.write(nil, true, 0)
	return nil
}

func (s *Stream) write(b []byte, fin bool, credit uint64) {
	s.h.mu.Lock()
	s.h.in = kernel.Input{Kind: kernel.InAppWrite, App: s.id, Data: b, FIN: fin, N: credit, Lazy: true}
	s.h.stepLocked()
	s.h.mu.Unlock()
	s.h.mods.RunInline()
}

// Reset abandons the stream in both directions.
func (s *Stream) Reset(code sdk.Code, text string) {
	s.h.mu.Lock()
	if s.h.apps[s.id] == s {
		delete(s.h.apps, s.id)
		s.h.in = kernel.Input{Kind: kernel.InAppReset, App: s.id, Code: code, Text: text}
		s.h.stepLocked()
	}
	s.h.mu.Unlock()
	s.h.mods.RunInline()
	s.fail(code, text)
}

// Close abandons what is still open of the stream.
func (s *Stream) Close() error {
	s.Reset(sdk.Cancelled, "")
	return nil
}

func (s *Stream) fail(code sdk.Code, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = &StreamError{code, text}
	}
	s.closed = true
	if s.leading {
		s.h.reader.poke.Interrupt()
	}
	s.cond.Broadcast()
}

// appEvent takes what the kernel says about an application's stream. The caller
// holds h.mu; s.mu is a leaf.
func (h *Host) appEvent(ev *kernel.AppEvent) {
	s := h.apps[ev.App]
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leading && h.by != s {
		h.reader.poke.Interrupt() // it waits for the link, and something came another way
	}
	switch ev.Kind {
	case kernel.AppOpened:
		s.opened, s.credit = true, s.credit+ev.N
	case kernel.AppData:
		if s.off > len(s.buf)/2 { // a reader that never quite catches up must not make the buffer grow
			s.buf, s.off = s.buf[:copy(s.buf, s.buf[s.off:])], 0
		}
		s.buf = append(s.buf, ev.Data...)
		s.fin = ev.FIN
		h.reader.served = h.reader.served || s.waiting || s.leading
	case kernel.AppCredit:
		s.credit += ev.N
	case kernel.AppReset:
		if s.err == nil {
			s.err = &StreamError{ev.Code, ev.Text}
		}
		s.closed = true
		delete(h.apps, ev.App)
	}
	s.cond.Broadcast()
}
