package link

import (
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxQuote bounds what is kept of a quoted datagram, in bytes: routers quote up
// to 548 bytes of payload, nothing needs more.
const maxQuote = 576

// setup enlarges the socket's buffers, turns its error queue on and prepares
// batches.
func (u *UDP) setup(gso GSO) error {
	raw, err := u.conn.SyscallConn()
	if err != nil {
		return err
	}
	u.scratch = make([]byte, maxQuote)
	var failed error
	err = raw.Control(func(fd uintptr) {
		f := int(fd)
		// The FORCE forms pass net.core.rmem_max but need CAP_NET_ADMIN; a
		// small buffer is slower, not wrong, so failure is no error.
		if unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, SocketBuffer) != nil {
			_ = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUF, SocketBuffer)
		}
		if unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, SocketBuffer) != nil {
			_ = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUF, SocketBuffer)
		}
		domain, derr := unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if derr != nil {
			failed = derr
			return
		}
		// Datagrams go out whole or not at all, and what routers claim about the
		// path does not count: the size is found by probes.
		_ = unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		if domain == unix.AF_INET6 {
			_ = unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}
		// A dual-stack socket is an IPv6 one and needs both.
		failed = unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		if domain == unix.AF_INET6 {
			failed = unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
			_ = unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}
	})
	if err = errors.Join(err, failed); err != nil || gso == gsoNone {
		return err
	}
	return u.setupBatch(raw, gso)
}

// tooBigError is what a write says of a datagram that is too long to send.
const tooBigError = unix.EMSGSIZE

// isPending reports whether err may belong to an earlier datagram.
func isPending(err error) bool {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.EPROTO,
		unix.ENOPROTOOPT, unix.EMSGSIZE, unix.EACCES, unix.EOPNOTSUPP, unix.ENONET:
		return true
	}
	return false
}

// drain moves the socket's error queue into pending and reports whether anything
// is pending.
func (u *UDP) drain() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	raw, err := u.conn.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		oob := make([]byte, 256)
		for {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), u.scratch, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return // EAGAIN: the queue is empty, and with it the pending error
			}
			r, ok := parseError(oob[:oobn], from)
			if r.Local {
				u.tooBig.Add(1)
			}
			if !ok || len(u.pending) >= maxPending {
				continue
			}
			r.Quote = append([]byte(nil), u.scratch[:n]...)
			u.pending = append(u.pending, r)
		}
	})
	return len(u.pending) > 0
}

// parseError reads the control message of one entry of the error queue. Entries
// that the local stack made itself are not ok: Write returned them already. Local tells
// those that are about the size.
func parseError(oob []byte, from unix.Sockaddr) (r Rejection, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return r, false
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		r.Local = r.Local || e.Origin == unix.SO_EE_ORIGIN_LOCAL && syscall.Errno(e.Errno) == unix.EMSGSIZE
		if e.Origin != unix.SO_EE_ORIGIN_ICMP && e.Origin != unix.SO_EE_ORIGIN_ICMP6 {
			continue
		}
		r.Err = syscall.Errno(e.Errno)
		if r.Err == unix.EMSGSIZE {
			r.MTU = int(e.Info)
		}
		ok = true
	}
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		r.To = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		r.To = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	default:
		return r, false
	}
	return r, ok
}
