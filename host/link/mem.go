package link

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// QueueLen is how many datagrams wait at a Mem port before more are dropped.
const QueueLen = 1024

// Switch joins Mem ports: a network in memory. It delivers at once and in order;
// what it loses it loses because a queue is full or the filter says so.
type Switch struct {
	mu     sync.RWMutex
	ports  map[netip.AddrPort]*Mem
	filter func(from, to netip.AddrPort, b []byte) bool
	free   sync.Pool // of *memPacket
	lost   atomic.Uint64
}

type memPacket struct {
	b    []byte
	from netip.AddrPort
	// refused is the address nobody listens at, when this is our own datagram
	// coming back.
	refused netip.AddrPort
}

// NewSwitch returns a network without ports.
func NewSwitch() *Switch {
	s := &Switch{ports: make(map[netip.AddrPort]*Mem)}
	s.free.New = func() any { return new(memPacket) }
	return s
}

// SetFilter makes the switch drop every datagram for which keep returns false;
// nil keeps all. Writers call keep, several at once: it must be safe for that.
func (s *Switch) SetFilter(keep func(from, to netip.AddrPort, b []byte) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = keep
}

// Lost counts the datagrams dropped by full queues and the filter.
func (s *Switch) Lost() uint64 { return s.lost.Load() }

// Listen plugs a port in at addr.
func (s *Switch) Listen(addr netip.AddrPort) (*Mem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.ports[addr]; taken {
		return nil, fmt.Errorf("link: %s is taken on this switch", addr)
	}
	m := &Mem{sw: s, addr: addr, queue: make(chan *memPacket, QueueLen), closed: make(chan struct{})}
	s.ports[addr] = m
	return m, nil
}

// Mem is a Link plugged into a Switch. It is an ErrorSource: what is sent to an
// address without a port comes back as ECONNREFUSED, as on a real host.
type Mem struct {
	sw       *Switch
	addr     netip.AddrPort
	queue    chan *memPacket
	closed   chan struct{}
	once     sync.Once
	onReject func(Rejection)
	lent     []*memPacket // what the last Read gave away; the reader's
}

var (
	_ Link        = (*Mem)(nil)
	_ ErrorSource = (*Mem)(nil)
)

// OnRejection implements ErrorSource.
func (m *Mem) OnRejection(f func(Rejection)) { m.onReject = f }

// LocalAddr implements Link.
func (m *Mem) LocalAddr() netip.AddrPort { return m.addr }

// Read implements Link. Each train it gives is one datagram.
func (m *Mem) Read(trains []Train) (int, error) {
	m.recycle()
	for {
		select { // closed wins over what is still queued
		case <-m.closed:
			return 0, net.ErrClosed
		default:
		}
		select {
		case <-m.closed:
			return 0, net.ErrClosed
		case p := <-m.queue:
			if n := m.take(p, trains, 0); n > 0 {
				return m.more(trains, n), nil
			}
		}
	}
}

// more takes what else is queued.
func (m *Mem) more(trains []Train, n int) int {
	for n < len(trains) {
		select {
		case p := <-m.queue:
			n = m.take(p, trains, n)
		default:
			return n
		}
	}
	return n
}

// take puts a packet into trains[n], or tells the rejection that it is.
func (m *Mem) take(p *memPacket, trains []Train, n int) int {
	m.lent = append(m.lent, p)
	if !p.refused.IsValid() {
		trains[n] = Train{Addr: p.from, Bytes: p.b}
		return n + 1
	}
	if m.onReject != nil {
		m.onReject(Rejection{To: p.refused, Err: syscall.ECONNREFUSED, Quote: p.b})
	}
	return n
}

// recycle takes back what the last Read lent.
func (m *Mem) recycle() {
	for _, p := range m.lent {
		m.sw.free.Put(p)
	}
	m.lent = m.lent[:0]
}

// Write implements Link.
func (m *Mem) Write(trains []Train) error {
	select {
	case <-m.closed:
		return net.ErrClosed
	default:
	}
	for _, t := range trains {
		for more := true; more; {
			var b []byte
			b, more = t.Cut()
			m.send(b, t.Addr)
		}
	}
	return nil
}

func (m *Mem) send(b []byte, to netip.AddrPort) {
	s := m.sw
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.filter != nil && !s.filter(m.addr, to, b) {
		s.lost.Add(1)
		return
	}
	p := s.free.Get().(*memPacket)
	p.b, p.from, p.refused = append(p.b[:0], b...), m.addr, netip.AddrPort{}
	dst := s.ports[to]
	if dst == nil {
		p.refused, dst = to, m
	}
	select {
	case dst.queue <- p:
	default:
		s.lost.Add(1)
		s.free.Put(p)
	}
}

// Close implements Link. The address is free again.
func (m *Mem) Close() error {
	m.once.Do(func() {
		m.sw.mu.Lock()
		delete(m.sw.ports, m.addr)
		m.sw.mu.Unlock()
		close(m.closed)
	})
	return nil
}
