package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// SocketBuffer is what a UDP link asks the kernel for in each direction, in
// bytes: at 1 Gbit/s and 1200-byte datagrams it rides out 33 ms in which nobody
// reads.
const SocketBuffer = 4 << 20

// maxPending bounds the rejections waiting for the reader. More are dropped: a
// rejection is a hint, and silence says the same a little later.
const maxPending = 64

// maxStrikes is how many reads in a row may fail for an unknown reason, a
// millisecond apart, before the link gives up.
const maxStrikes = 1000

// maxRetries bounds how often one Write runs into errors left by datagrams to
// other destinations.
const maxRetries = 3

// UDP is a Link over one UDP socket.
type UDP struct {
	conn     *net.UDPConn
	local    netip.AddrPort
	onReject func(Rejection)

	mu      sync.Mutex // guards the error queue and pending
	pending []Rejection
	scratch []byte // receives quotes; nil where the system has no error queue
}

var (
	_ Link        = (*UDP)(nil)
	_ ErrorSource = (*UDP)(nil)
)

// ListenUDP binds a UDP socket. An unspecified address ("[::]:4242") takes IPv4
// and IPv6 alike; port 0 lets the system choose.
func ListenUDP(addr netip.AddrPort) (*UDP, error) {
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
		if addr.Addr().IsUnspecified() {
			network = "udp"
		}
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("link: cannot listen on udp %s: %w (is another nethost running? choose a different listen address)", addr, err)
	}
	u := &UDP{conn: conn, local: unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort())}
	if err := u.setup(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("link: cannot prepare udp socket %s: %w", addr, err)
	}
	return u, nil
}

// OnRejection implements ErrorSource. Systems without an error queue never call f.
func (u *UDP) OnRejection(f func(Rejection)) { u.onReject = f }

// LocalAddr implements Link.
func (u *UDP) LocalAddr() netip.AddrPort { return u.local }

// Close implements Link.
func (u *UDP) Close() error {
	if err := u.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Read implements Link. The kernel reports a rejected datagram as a failure of
// whatever the socket does next; that is not the end of the link, so Read takes
// the rejection from the error queue and waits on.
func (u *UDP) Read(b []byte) (int, netip.AddrPort, error) {
	for strikes := 0; ; {
		n, from, err := u.conn.ReadFromUDPAddrPort(b)
		if err == nil {
			return n, unmap(from), nil
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, netip.AddrPort{}, net.ErrClosed
		case errors.Is(err, os.ErrDeadlineExceeded):
			// A writer woke us. The deadline goes first: what a writer adds
			// after this line wakes us again.
			u.conn.SetReadDeadline(time.Time{})
		case !isPending(err):
			if strikes++; strikes > maxStrikes {
				return 0, netip.AddrPort{}, fmt.Errorf("link: reading udp %s: %w", u.local, err)
			}
			time.Sleep(time.Millisecond)
		}
		u.drain()
		u.deliver()
	}
}

// Write implements Link. A failure may be the rejection of an earlier datagram
// to somebody else: the error queue is emptied and the send is repeated, so that
// a dead peer never costs a healthy one a packet.
func (u *UDP) Write(b []byte, to netip.AddrPort) error {
	_, err := u.conn.WriteToUDPAddrPort(b, to)
	if err == nil {
		return nil
	}
	return u.rewrite(b, to, err)
}

func (u *UDP) rewrite(b []byte, to netip.AddrPort, err error) error {
	for range maxRetries {
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		if !isPending(err) {
			break
		}
		if u.drain() {
			// Rejections are told on the reader's goroutine: ours may hold
			// the lock the handler wants. A deadline in the past wakes it.
			u.conn.SetReadDeadline(time.Unix(1, 0))
		}
		if _, err = u.conn.WriteToUDPAddrPort(b, to); err == nil {
			return nil
		}
	}
	return fmt.Errorf("link: sending to %s: %w", to, err)
}

// deliver tells the pending rejections. Only Read calls it.
func (u *UDP) deliver() {
	u.mu.Lock()
	list := u.pending
	u.pending = nil
	u.mu.Unlock()
	if u.onReject == nil {
		return
	}
	for _, r := range list {
		u.onReject(r)
	}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
