package main

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// greyProxy carries datagrams between those who send to it and one node. While it is
// grey, what is forwarded for others gets lost, and what the two say to each other
// does not: behind it a healthy relay looks like one that lies.
type greyProxy struct {
	front *net.UDPConn
	to    netip.AddrPort
	grey  atomic.Bool

	mu   sync.Mutex
	back map[netip.AddrPort]*net.UDPConn
}

func newGreyProxy(to netip.AddrPort) (*greyProxy, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		return nil, err
	}
	p := &greyProxy{front: c, to: to, back: map[netip.AddrPort]*net.UDPConn{}}
	go p.up()
	return p, nil
}

func (p *greyProxy) addr() netip.AddrPort { return p.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// close ends it, and the goroutines with it.
func (p *greyProxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.front.Close()
	for _, c := range p.back {
		c.Close()
	}
}

func (p *greyProxy) drops(b []byte) bool {
	return p.grey.Load() && len(b) > 0 && b[0]&^7 == forwardByte // the low bits are the class
}

// up carries what clients send.
func (p *greyProxy) up() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if p.drops(buf[:n]) {
			continue
		}
		if c := p.upstream(from); c != nil {
			c.Write(buf[:n])
		}
	}
}

// upstream is the client's own socket towards the node.
func (p *greyProxy) upstream(client netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.back[client]
	if c == nil {
		var err error
		if c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.to)); err != nil {
			return nil
		}
		p.back[client] = c
		go p.down(c, client)
	}
	return c
}

func (p *greyProxy) down(c *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if !p.drops(buf[:n]) {
			p.front.WriteToUDPAddrPort(buf[:n], client)
		}
	}
}
