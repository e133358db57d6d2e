package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of the batches. A system call costs more than the datagram it carries, so
// many share one: recvmmsg and sendmmsg, and trains of equal datagrams in one
// message (UDP_GRO, UDP_SEGMENT) where the kernel has them.
const (
	batch      = 32    // messages in one call
	bufferSize = 65535 // of a message: a whole train
	maxTrain   = 64    // datagrams in a train: UDP_MAX_SEGMENTS of older kernels
	maxPieces  = 1024  // of memory in one call: UIO_MAXIOV
	trainBytes = 65000 // of a train, headers left out
)

type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// name is a socket address as the kernel has it.
type name struct {
	raw unix.RawSockaddrInet6 // room for both families
	len uint32
}

// addrPort is the name in Go's terms.
func (n *name) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&n.raw.Port))[:])
	if n.raw.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&n.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	a := netip.AddrFrom16(n.raw.Addr)
	if n.raw.Scope_id != 0 {
		a = a.WithZone(zoneName(n.raw.Scope_id))
	}
	return netip.AddrPortFrom(a.Unmap(), port)
}

// zoneName keeps link-local clients on different interfaces apart.
func zoneName(scope uint32) string {
	var b [10]byte
	return string(binary.BigEndian.AppendUint32(b[:0], scope))
}

// arena is the memory of one batch to be received.
type arena struct {
	hdrs  [batch]mmsghdr
	iovs  [batch]unix.Iovec
	names [batch]name
	ctrl  [batch][32]byte
	bufs  [batch][bufferSize]byte
}

func newArena() *arena {
	a := new(arena)
	for i := range a.hdrs {
		h := &a.hdrs[i].Msghdr
		a.iovs[i].Base = &a.bufs[i][0]
		a.iovs[i].SetLen(bufferSize)
		h.Iov = &a.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&a.names[i].raw))
		h.Control = &a.ctrl[i][0]
	}
	return a
}

// reader receives batches from a socket. The arena is borrowed when something is
// there to be read, so that a thousand idle sockets need none.
type reader struct {
	raw    syscall.RawConn
	arenas *arenas
	a      *arena
	n      int
	err    error
	try    func(fd uintptr) bool // r.recv, made once
}

func newReader(conn *net.UDPConn, as *arenas) (*reader, error) {
	raw, err := conn.SyscallConn()
	r := &reader{raw: raw, arenas: as}
	r.try = r.recv
	return r, err
}

// read waits for datagrams and gives the number of messages. done must follow.
func (r *reader) read() (int, error) {
	if err := r.raw.Read(r.try); err != nil {
		return 0, err
	}
	return r.n, r.err
}

func (r *reader) recv(fd uintptr) bool {
	if r.a == nil {
		r.a = r.arenas.get()
	}
	for i := range r.a.hdrs {
		h := &r.a.hdrs[i].Msghdr
		h.Namelen = uint32(unsafe.Sizeof(r.a.names[i].raw))
		h.SetControllen(len(r.a.ctrl[i]))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.a.hdrs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	r.n, r.err = int(n), nil
	if errno != 0 {
		r.n, r.err = 0, errno
		r.done()
		return errno != unix.EAGAIN
	}
	return true
}

// done gives the memory of the batch back.
func (r *reader) done() {
	if r.a != nil {
		r.arenas.put(r.a)
		r.a = nil
	}
}

// message is the i-th of the batch: bytes, and how long each of its datagrams is
// (0: it is one).
func (r *reader) message(i int) (b []byte, segment int) {
	h := &r.a.hdrs[i]
	if h.Controllen >= unix.SizeofCmsghdr+4 {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&r.a.ctrl[i][0]))
		if c.Level == unix.IPPROTO_UDP && c.Type == unix.UDP_GRO {
			segment = int(*(*int32)(unsafe.Pointer(&r.a.ctrl[i][unix.SizeofCmsghdr])))
		}
	}
	return r.a.bufs[i][:h.n], segment
}

// name is who sent the i-th message.
func (r *reader) name(i int) name {
	n := r.a.names[i]
	n.len = r.a.hdrs[i].Namelen
	return n
}

// enlarge makes the buffers of a socket large.
func enlarge(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		// The FORCE forms pass net.core.rmem_max but need CAP_NET_ADMIN; what
		// is refused makes the proxy slower, not wrong.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
		}
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
		}
	})
}

// takeTrains makes a socket receive trains whole where the kernel can: its reader
// must split them.
func takeTrains(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
}

// kernelDrops is how many datagrams the kernel dropped because the socket's buffer
// was full: the proxy was too slow for them.
func kernelDrops(conn *net.UDPConn) (drops uint64) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		var info [9]uint32 // SK_MEMINFO_VARS; the last is SK_MEMINFO_DROPS
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && size == uint32(unsafe.Sizeof(info)) {
			drops = uint64(info[8])
		}
	})
	return drops
}
