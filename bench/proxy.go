package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// proxy stands between a source and the next node on real UDP and does to datagrams
// what a path may: drop what is too long, drop some, delay some. Both directions.
type proxy struct {
	front  *net.UDPConn
	target netip.AddrPort

	maxSize atomic.Int64 // longest IPv4 packet that passes, in bytes with headers; 0: any
	impair  atomic.Bool  // apply loss and delay
	loss    float64      // share of datagrams dropped
	late    float64      // share of datagrams held back
	delay   time.Duration

	dropped atomic.Uint64

	mu    sync.Mutex
	backs map[netip.AddrPort]*net.UDPConn
	seed  uint64
	done  bool
}

// headers of IPv4 and UDP count towards the MTU of a path.
const headers = 28

// proxyBatch is how many datagrams one system call carries.
const proxyBatch = 64

func newProxy(seed uint64) (*proxy, error) {
	c, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	return &proxy{front: c, backs: map[netip.AddrPort]*net.UDPConn{}, seed: seed}, nil
}

// via is what newLine asks for: start towards a target, and say where to dial.
func (p *proxy) via(target netip.AddrPort) (netip.AddrPort, error) {
	p.target = target
	go p.forward()
	return p.front.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	p.front.Close()
	for _, c := range p.backs {
		c.Close()
	}
}

// back gives the socket that stands for a client at the target.
func (p *proxy) back(client netip.AddrPort) (*net.UDPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.backs[client]; c != nil || p.done {
		return c, nil
	}
	c, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	p.backs[client] = c
	p.seed++
	go p.copy(c, func(netip.AddrPort) (*net.UDPConn, net.Addr) { return p.front, net.UDPAddrFromAddrPort(client) }, p.seed)
	return c, nil
}

// forward passes datagrams of clients on.
func (p *proxy) forward() {
	to := net.UDPAddrFromAddrPort(p.target)
	p.copy(p.front, func(from netip.AddrPort) (*net.UDPConn, net.Addr) {
		c, err := p.back(from)
		if err != nil || c == nil {
			return nil, nil
		}
		return c, to
	}, p.seed)
}

// copy reads batches and writes what may pass, in batches to one place.
func (p *proxy) copy(in *net.UDPConn, route func(from netip.AddrPort) (*net.UDPConn, net.Addr), seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 2))
	msgs, out := make([]ipv4.Message, proxyBatch), make([]ipv4.Message, 0, proxyBatch)
	for i := range msgs {
		msgs[i].Buffers = [][]byte{make([]byte, 9<<10)}
	}
	reader := ipv4.NewPacketConn(in)
	for {
		n, err := reader.ReadBatch(msgs, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var conn *net.UDPConn
		out = out[:0]
		flush := func() {
			if conn == nil {
				return
			}
			w := ipv4.NewPacketConn(conn)
			for rest := out; len(rest) > 0; {
				k, err := w.WriteBatch(rest, 0)
				if err != nil {
					break
				}
				rest = rest[k:]
			}
			out = out[:0]
		}
		for i := range max(n, 0) {
			b := msgs[i].Buffers[0][:msgs[i].N]
			c, to := route(msgs[i].Addr.(*net.UDPAddr).AddrPort())
			if c == nil || !p.passes(b, dice, c, to) {
				continue
			}
			if c != conn {
				flush()
				conn = c
			}
			out = append(out, ipv4.Message{Buffers: [][]byte{b}, Addr: to})
		}
		flush()
	}
}

// passes decides about one datagram; one that is late is sent later, by itself.
func (p *proxy) passes(b []byte, dice *rand.Rand, c *net.UDPConn, to net.Addr) bool {
	if limit := p.maxSize.Load(); limit > 0 && int64(len(b)+headers) > limit {
		p.dropped.Add(1)
		return false
	}
	if !p.impair.Load() {
		return true
	}
	if dice.Float64() < p.loss {
		p.dropped.Add(1)
		return false
	}
	if dice.Float64() < p.late {
		held := append([]byte(nil), b...)
		time.AfterFunc(p.delay, func() { _, _ = c.WriteTo(held, to) })
		return false
	}
	return true
}
