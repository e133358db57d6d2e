package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// udpNode is bare net.UDPConn: the floor under everybody's round trip.
type udpNode struct {
	c    *net.UDPConn
	next netip.AddrPort
}

func startUDP(_ context.Context, s Spec, m *Meter) (Node, error) {
	c, err := listenUDP(s.Listen[s.Index])
	if err != nil {
		return nil, err
	}
	n := &udpNode{c: c}
	switch {
	case s.isSource():
		n.next = s.Dial[1]
	case s.isSink():
		go n.sink(m)
	default:
		go n.relay(s.Dial[s.Index+1])
	}
	return n, nil
}

// sink counts messages, and sends back what is marked for echo.
func (n *udpNode) sink(m *Meter) {
	buf := make([]byte, 64<<10)
	for {
		k, from, err := n.c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if k == 0 {
			continue
		}
		if buf[k-1] == byte(Echo) {
			_, _ = n.c.WriteToUDPAddrPort(buf[:k], from)
		} else {
			m.Message(buf[:k])
		}
	}
}

// relay passes on what comes, and answers to whoever spoke last.
func (n *udpNode) relay(next netip.AddrPort) {
	buf := make([]byte, 64<<10)
	var back netip.AddrPort
	for {
		k, from, err := n.c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		to := next
		if from == next {
			to = back
		} else {
			back = from
		}
		if k > 0 && to.IsValid() {
			_, _ = n.c.WriteToUDPAddrPort(buf[:k], to)
		}
	}
}

func (n *udpNode) Close() error { return n.c.Close() }

func (n *udpNode) SendMessages(_ context.Context, size int, p *Pacer) error {
	buf := make([]byte, size)
	for {
		k := p.Take(64)
		if k == 0 {
			return nil
		}
		for range k {
			p.Stamp(buf)
			_, _ = n.c.WriteToUDPAddrPort(buf, n.next)
		}
	}
}

// Open gives a stream for Echo only: one datagram each way.
func (n *udpNode) Open(_ context.Context, svc Service, _ int) (Stream, error) {
	if svc != Echo {
		return nil, errors.ErrUnsupported
	}
	return &udpStream{n: n}, nil
}

type udpStream struct {
	n    *udpNode
	buf  [64 << 10]byte
	rest []byte
	done atomic.Bool
}

func (s *udpStream) Write(b []byte) (int, error) {
	b[len(b)-1] = byte(Echo)
	return s.n.c.WriteToUDPAddrPort(b, s.n.next)
}

func (s *udpStream) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		_ = s.n.c.SetReadDeadline(time.Now().Add(time.Second))
		if s.done.Load() {
			return 0, io.ErrClosedPipe
		}
		k, _, err := s.n.c.ReadFromUDPAddrPort(s.buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		s.rest = s.buf[:k]
	}
	k := copy(b, s.rest)
	s.rest = s.rest[k:]
	return k, nil
}

func (s *udpStream) CloseWrite() error { return nil }
func (s *udpStream) Close() error {
	s.done.Store(true)
	return s.n.c.SetReadDeadline(time.Unix(1, 0)) // a reader that waits wakes
}
