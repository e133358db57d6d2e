package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// client is somebody who sends to the proxy, with a socket towards the server of
// its own.
type client struct {
	name  name
	up    atomic.Pointer[endpoint]
	past  *endpoint    // the one before, kept open so that nobody is told; under Proxy.mu
	heard atomic.Int64 // when a datagram came last, in either direction; a time.Duration
	gone  atomic.Bool  // no longer in the table
}

// clientsToServer reads what clients send until the socket is closed.
func (p *Proxy) clientsToServer(r *reader) error {
	w := newWriter(nil)
	var in []packet
	var last *client // trains and bursts come from one client
	var lastName name
	for strikes := 0; ; {
		n, err := r.read()
		if err != nil {
			if strikes++; strikes > maxStrikes || ended(err) {
				return err
			}
			continue
		}
		strikes = 0
		in = in[:0]
		now := p.now()
		for i := range n {
			b, segment := r.message(i)
			if from := r.name(i); last == nil || from != lastName || !last.current() {
				last, lastName = p.client(from), from
			}
			if last == nil {
				p.up.refuse(lostTable, segments(b, segment), len(b))
				continue
			}
			last.heard.Store(int64(now))
			in = split(in, b, segment, last)
		}
		p.up.carry(in, w)
		r.done()
	}
}

// serverToClient reads what the server sends to one socket of a client until that
// is closed.
func (p *Proxy) serverToClient(c *client, e *endpoint, r *reader) {
	w := newWriter(p.toFront)
	var in []packet
	for strikes := 0; ; {
		n, err := r.read()
		if err != nil {
			// Nobody listening at the server is no reason to end: it may come.
			if strikes++; strikes > maxStrikes || ended(err) {
				return
			}
			continue
		}
		strikes = 0
		in = in[:0]
		for i := range n {
			b, segment := r.message(i)
			if c.up.Load() != e {
				p.down.refuse(lostRebound, segments(b, segment), len(b))
				continue
			}
			c.heard.Store(int64(p.now()))
			in = split(in, b, segment, c)
		}
		p.down.carry(in, w)
		r.done()
	}
}

// segments is how many datagrams a message of trains holds.
func segments(b []byte, size int) int {
	if size <= 0 || len(b) <= size {
		return 1
	}
	return (len(b) + size - 1) / size
}

// split appends the datagrams of a message.
func split(ps []packet, b []byte, size int, c *client) []packet {
	for size > 0 && len(b) > size {
		ps = append(ps, packet{b[:size], c})
		b = b[size:]
	}
	return append(ps, packet{b, c})
}

// current reports whether the client is still in the table.
func (c *client) current() bool { return !c.gone.Load() }

// client finds or makes the client of a name; nil when there is no room.
func (p *Proxy) client(n name) *client {
	addr := n.addrPort()
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clients[addr]; c != nil {
		return c
	}
	if p.stopping || len(p.clients) >= p.cfg.Clients {
		return nil
	}
	c := &client{name: n}
	c.heard.Store(int64(p.now()))
	if p.dial(c) != nil { // no socket left: as good as no room
		return nil
	}
	p.clients[addr] = c
	return c
}

// dial gives a client a new upstream socket. Proxy.mu is held.
func (p *Proxy) dial(c *client) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.cfg.To))
	if err != nil {
		return err
	}
	e, err := newEndpoint(conn)
	r, rerr := newReader(conn, p.arenas)
	if err := errors.Join(err, rerr, enlarge(conn), takeTrains(conn)); err != nil {
		conn.Close()
		return err
	}
	c.past = c.up.Swap(e)
	p.wg.Go(func() { p.serverToClient(c, e, r) })
	return nil
}

// Rebind gives every client a new upstream address, as a NAT does that has
// forgotten its bindings. What still arrives at the old one is dropped and counted.
func (p *Proxy) Rebind() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.clients {
		if p.stopping {
			break
		}
		past := c.past
		if err := p.dial(c); err != nil {
			errs = append(errs, err)
			continue
		}
		p.rebinds++
		if past != nil {
			p.close(past)
		}
	}
	return errors.Join(errs...)
}

// endpoints are the sockets of a client. Proxy.mu is held.
func (c *client) endpoints() []*endpoint {
	if c.past == nil {
		return []*endpoint{c.up.Load()}
	}
	return []*endpoint{c.up.Load(), c.past}
}

// ended reports whether a read failed because reading is over.
func ended(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// hangUp closes the sockets of a client. Proxy.mu is held.
func (p *Proxy) hangUp(c *client) {
	c.gone.Store(true)
	for _, e := range c.endpoints() {
		p.close(e)
	}
}

func (p *Proxy) close(e *endpoint) {
	p.drops += kernelDrops(e.conn)
	e.conn.Close()
}

// housekeeping forgets idle clients and rebinds the others.
func (p *Proxy) housekeeping(ctx context.Context) {
	idle := time.NewTicker(max(p.cfg.Idle/10, 10*time.Millisecond))
	defer idle.Stop()
	rebind := make(<-chan time.Time)
	if p.cfg.RebindEvery > 0 {
		t := time.NewTicker(p.cfg.RebindEvery)
		defer t.Stop()
		rebind = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-rebind:
			_ = p.Rebind() // a client without a new socket keeps its old one
		case <-idle.C:
			p.forget(p.now() - p.cfg.Idle)
		}
	}
}

// forget drops the clients of whom nothing was heard since.
func (p *Proxy) forget(since time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, c := range p.clients {
		if h := c.heard.Load(); h < int64(since) {
			delete(p.clients, addr)
			p.hangUp(c)
		}
	}
}
