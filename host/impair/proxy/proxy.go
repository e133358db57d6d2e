package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"nethost/host/impair"
)

// Defaults of Config.
const (
	DefaultClients = 1024
	DefaultIdle    = 60 * time.Second
)

// socketBuffer is what each socket asks the kernel for, in each direction, in
// bytes.
const socketBuffer = 4 << 20

// maxStrikes is how many reads in a row may fail before a socket is given up.
const maxStrikes = 1000

// stopWithin bounds how long Run waits for writers when it ends.
const stopWithin = 200 * time.Millisecond

// Config describes a proxy.
type Config struct {
	// Listen is where clients send to. Port 0: the system chooses. Required.
	Listen netip.AddrPort
	// To is the server. Required.
	To netip.AddrPort
	// Up is the link from the clients to the server, Down the one back. The zero
	// value is a perfect link.
	Up, Down impair.Config
	// Seed of the dice of both links: they follow from it, each its own.
	Seed uint64
	// Clients bounds the table of clients. 0: DefaultClients. Each client holds
	// a socket.
	Clients int
	// Idle is the silence, in both directions, after which a client is
	// forgotten. 0: DefaultIdle.
	Idle time.Duration
	// RebindEvery gives each client a new upstream address that often. 0: only
	// when Rebind is called.
	RebindEvery time.Duration
}

// Direction counts what went one way. In + Duplicated = Forwarded + Waiting + the
// sum of Lost, always.
type Direction struct {
	In             uint64 `json:"in"` // datagrams that arrived
	InBytes        uint64 `json:"in_bytes"`
	Forwarded      uint64 `json:"forwarded"`
	ForwardedBytes uint64 `json:"forwarded_bytes"`
	Duplicated     uint64 `json:"duplicated"`
	Waiting        uint64 `json:"waiting"` // in the queue or on the wire of the model
	// Lost by reason: cut, mtu, loss and queue are the link's; table (too many
	// clients), memory (128 MiB wait already), send (refused by the system) and
	// rebound (for an address that is no longer the client's) the proxy's.
	Lost map[string]uint64 `json:"lost"`
}

// Stats counts what went through a proxy.
type Stats struct {
	Up      Direction `json:"up"`
	Down    Direction `json:"down"`
	Clients int       `json:"clients"` // at present
	Rebinds uint64    `json:"rebinds"`
	// KernelDrops counts datagrams for the proxy that the kernel dropped, because
	// the proxy did not keep up. They are in no Direction. Linux only.
	KernelDrops uint64 `json:"kernel_drops"`
}

// Proxy is a lossy link between real sockets.
type Proxy struct {
	cfg      Config
	start    time.Time
	front    *net.UDPConn
	toFront  *endpoint
	up, down *flow
	arenas   *arenas
	wg       sync.WaitGroup

	mu       sync.Mutex
	clients  map[netip.AddrPort]*client
	rebinds  uint64
	drops    uint64 // of sockets that are closed
	stopping bool   // no new sockets
	closed   bool
}

// New binds the address to listen at. The error wraps that of the system
// (syscall.EADDRINUSE, for one). The proxy carries nothing before Run.
func New(cfg Config) (*Proxy, error) {
	for _, way := range []struct {
		name string
		c    impair.Config
	}{{"up", cfg.Up}, {"down", cfg.Down}} {
		if err := way.c.Check(); err != nil {
			return nil, fmt.Errorf("impair %s: %w", way.name, err)
		}
	}
	if !cfg.Listen.IsValid() || !cfg.To.IsValid() || cfg.To.Port() == 0 {
		return nil, errors.New("impair: Config.Listen and Config.To are required")
	}
	if cfg.Clients < 0 || cfg.Idle < 0 || cfg.RebindEvery < 0 {
		return nil, errors.New("impair: Config.Clients, Idle and RebindEvery must not be negative")
	}
	if cfg.Clients == 0 {
		cfg.Clients = DefaultClients
	}
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, fmt.Errorf("impair: cannot listen on udp %s: %w", cfg.Listen, err)
	}
	p := &Proxy{cfg: cfg, start: time.Now(), front: front, arenas: new(arenas), clients: map[netip.AddrPort]*client{}}
	p.toFront, err = newEndpoint(front)
	if err = errors.Join(err, enlarge(front), takeTrains(front)); err != nil {
		front.Close()
		return nil, fmt.Errorf("impair: cannot prepare udp socket %s: %w", cfg.Listen, err)
	}
	// The dice of the two differ, and no pair of neighbouring seeds shares one.
	p.up, p.down = newFlow(cfg.Up, cfg.Seed*2, p.now), newFlow(cfg.Down, cfg.Seed*2+1, p.now)
	return p, nil
}

// now is the time of the links.
func (p *Proxy) now() time.Duration { return time.Since(p.start) }

// LocalAddr is where clients send to.
func (p *Proxy) LocalAddr() netip.AddrPort {
	a := p.front.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Run carries datagrams until ctx ends, and closes all sockets. It runs once. It
// returns nil when ctx ended, or why the socket failed.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := newReader(p.front, p.arenas)
	if err != nil {
		p.Close()
		return err
	}
	failed := make(chan error, 1)
	p.wg.Go(func() { failed <- p.clientsToServer(in) })
	p.wg.Go(func() { p.up.release(ctx, newWriter(nil)) })
	p.wg.Go(func() { p.down.release(ctx, newWriter(p.toFront)) })
	p.wg.Go(func() { p.housekeeping(ctx) })
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	p.stop()
	p.Close()
	p.wg.Wait()
	if err != nil && !ended(err) {
		return fmt.Errorf("impair: reading udp %s: %w", p.cfg.Listen, err)
	}
	return nil
}

// stop ends all reading and waits, for a short while, until what was read has been
// sent: closing a socket under a writer would count as datagrams refused.
func (p *Proxy) stop() {
	p.mu.Lock()
	p.stopping = true
	past := time.Unix(1, 0)
	p.front.SetReadDeadline(past)
	for _, c := range p.clients {
		for _, e := range c.endpoints() {
			e.conn.SetReadDeadline(past)
		}
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { p.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopWithin):
	}
}

// Close closes all sockets. Run does so itself.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.stopping, p.closed = true, true
	p.drops += kernelDrops(p.front)
	p.front.Close()
	for _, c := range p.clients {
		p.hangUp(c)
	}
}

// Set changes both links from now on; what waits in them keeps its time.
func (p *Proxy) Set(up, down impair.Config) error {
	if err := errors.Join(up.Check(), down.Check()); err != nil {
		return err
	}
	for _, x := range []struct {
		f *flow
		c impair.Config
	}{{p.up, up}, {p.down, down}} {
		x.f.mu.Lock()
		x.f.link.Set(x.c)
		x.f.mu.Unlock()
	}
	return nil
}

// Cut drops everything in both directions while cut is true.
func (p *Proxy) Cut(cut bool) {
	for _, f := range []*flow{p.up, p.down} {
		f.mu.Lock()
		f.link.Cut = cut
		f.mu.Unlock()
	}
}

// Stats counts what went through so far. It may be called at any time.
func (p *Proxy) Stats() Stats {
	s := Stats{Up: p.up.stats(), Down: p.down.stats()}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Clients, s.Rebinds, s.KernelDrops = len(p.clients), p.rebinds, p.drops
	if p.closed {
		s.Clients = 0
		return s
	}
	s.KernelDrops += kernelDrops(p.front)
	for _, c := range p.clients {
		for _, e := range c.endpoints() {
			s.KernelDrops += kernelDrops(e.conn)
		}
	}
	return s
}

// arenas are buffers for batches, as many as ever were in use at once.
type arenas struct {
	mu   sync.Mutex
	free []*arena
}

func (as *arenas) get() *arena {
	as.mu.Lock()
	defer as.mu.Unlock()
	if n := len(as.free); n > 0 {
		a := as.free[n-1]
		as.free = as.free[:n-1]
		return a
	}
	return newArena()
}

func (as *arenas) put(a *arena) {
	as.mu.Lock()
	as.free = append(as.free, a)
	as.mu.Unlock()
}
