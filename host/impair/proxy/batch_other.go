//go:build !linux

package proxy

import (
	"net"
	"net/netip"
)

const bufferSize = 65535

// name is a client's address.
type name netip.AddrPort

func (n *name) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrPort(*n).Addr().Unmap(), netip.AddrPort(*n).Port())
}

// arena is the memory of one datagram to be received.
type arena struct {
	buf [bufferSize]byte
	n   int
	to  name
}

func newArena() *arena { return new(arena) }

// reader receives datagrams one by one.
type reader struct {
	conn *net.UDPConn
	a    *arena
}

func newReader(conn *net.UDPConn, _ *arenas) (*reader, error) {
	return &reader{conn, newArena()}, nil
}

func (r *reader) read() (int, error) {
	n, from, err := r.conn.ReadFromUDPAddrPort(r.a.buf[:])
	if err != nil {
		return 0, err
	}
	r.a.n, r.a.to = n, name(from)
	return 1, nil
}

func (r *reader) done() {}

func (r *reader) message(int) (b []byte, segment int) { return r.a.buf[:r.a.n], 0 }

func (r *reader) name(int) name { return r.a.to }

// endpoint is a socket that writers send through.
type endpoint struct{ conn *net.UDPConn }

func newEndpoint(conn *net.UDPConn) (*endpoint, error) { return &endpoint{conn}, nil }

// writer sends packets one by one. It has one owner.
type writer struct {
	out []packet
	via *endpoint // one socket for all, to the clients; nil: each client's own
}

func newWriter(via *endpoint) *writer { return &writer{via: via} }

func (w *writer) add(p packet) { w.out = append(w.out, p) }

// flush sends all of out, in order, and says what could not be sent. out stays.
func (w *writer) flush() (failed, failedBytes int) {
	for _, p := range w.out {
		if w.one(p) != nil && w.one(p) != nil { // the first may be the echo of an earlier refusal
			failed++
			failedBytes += len(p.b)
		}
	}
	return failed, failedBytes
}

func (w *writer) one(p packet) error {
	if w.via != nil {
		_, err := w.via.conn.WriteToUDPAddrPort(p.b, netip.AddrPort(p.c.name))
		return err
	}
	_, err := p.c.up.Load().conn.Write(p.b)
	return err
}

func enlarge(conn *net.UDPConn) error {
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	return nil
}

func takeTrains(*net.UDPConn) error { return nil }

func kernelDrops(*net.UDPConn) uint64 { return 0 }
