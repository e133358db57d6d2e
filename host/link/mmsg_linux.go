package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// readTrains is how many trains one system call brings, and readSingles how
	// many datagrams where there are no trains. The buffers, each as large as what
	// a socket can give, are touched only as far as they are used.
	readTrains  = 8
	readSingles = 64
	bufferSize  = 64 << 10
	// writeMessages and writePieces bound one system call for sending.
	writeMessages = 64
	writePieces   = 256
	// lookBack is how many messages before the last one a datagram may still join.
	lookBack = 16
	// shortCall is up to how many messages a call is made without telling Go's
	// scheduler. Telling it wakes sysmon, its watching thread, out of a node that was
	// idle: for each question and each answer a thread that wants the core of who
	// waits for it. No call waits for anything; what is longer tells, so that the
	// collector need not wait for it.
	shortCall = 2

	controlSize = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// mmsg is batch by recvmmsg and sendmmsg, with UDP_GRO and UDP_SEGMENT where the
// system has them. Everything is laid out once: a call allocates nothing.
type mmsg struct {
	u    *UDP
	raw  syscall.RawConn
	inet bool // an IPv4 socket
	gro  bool
	gso  atomic.Bool
	note atomic.Pointer[string]

	// The reader's.
	rmsgs  [readSingles]mmsghdr
	riovs  [readSingles]unix.Iovec
	rnames [readSingles]unix.RawSockaddrInet6
	rctl   [readSingles][controlSize]byte
	rbufs  [readSingles][]byte
	batch  int // how many of them are used
	rn     int
	rwant  int
	rerr   syscall.Errno
	rcall  func(fd uintptr) bool

	mu     sync.Mutex // guards what follows
	wmsgs  [writeMessages]mmsghdr
	wiovs  [writePieces]unix.Iovec
	wnames [writeMessages]unix.RawSockaddrInet6
	wctl   [writeMessages][32]byte
	wouts  [writeMessages]outgoing
	nmsgs  int
	niovs  int
	sent   int
	werr   syscall.Errno
	nowait bool    // EAGAIN is an answer
	unsent []Train // what could not go at once
	wcall  func(fd uintptr) bool
}

// setupBatch turns on what the system has.
func (u *UDP) setupBatch(raw syscall.RawConn, gso GSO) error {
	m := &mmsg{u: u, raw: raw}
	var canSend, canReceive error
	err := raw.Control(func(fd uintptr) {
		f := int(fd)
		if domain, _ := unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET {
			m.inet = true
		}
		_ = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		if gso != GSOOff {
			_, canSend = unix.GetsockoptInt(f, unix.SOL_UDP, unix.UDP_SEGMENT)
			canReceive = unix.SetsockoptInt(f, unix.SOL_UDP, unix.UDP_GRO, 1)
			m.gso.Store(canSend == nil)
			m.gro = canReceive == nil
		}
	})
	switch failed := errors.Join(canSend, canReceive); {
	case err != nil:
		return err
	case failed != nil && gso == GSOOn:
		return fmt.Errorf("link.gso = \"on\": the system cannot send or receive segments in one piece: %w: say \"auto\"", failed)
	case failed != nil:
		m.say("the system cannot send or receive segments in one piece: " + failed.Error())
	case gso == GSOOff:
		m.say(`link.gso = "off"`)
	}
	m.batch = readSingles
	if m.gro {
		m.batch = readTrains
	}
	for i := range m.batch {
		m.rbufs[i] = make([]byte, bufferSize)
		m.riovs[i].Base = &m.rbufs[i][0]
		m.riovs[i].SetLen(bufferSize)
		h := &m.rmsgs[i].hdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&m.rnames[i])), &m.riovs[i], &m.rctl[i][0]
		h.SetIovlen(1)
	}
	m.rcall = m.recv
	m.wcall = m.send
	u.batch = m
	return nil
}

func (m *mmsg) say(note string) { m.note.Store(&note) }

func (m *mmsg) mode() (mode, note string) {
	mode = "mmsg"
	if m.gso.Load() && m.gro {
		mode = "gso"
	}
	if s := m.note.Load(); s != nil {
		note = *s
	}
	return mode, note
}

// recv is one recvmmsg; false when nothing is there, so that the poller waits.
func (m *mmsg) recv(fd uintptr) bool {
	for i := range m.rwant {
		h := &m.rmsgs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
	for {
		var n uintptr
		var errno syscall.Errno
		if m.rn <= shortCall {
			n, _, errno = unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.rmsgs[0])), uintptr(m.rwant), unix.MSG_DONTWAIT, 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.rmsgs[0])), uintptr(m.rwant), unix.MSG_DONTWAIT, 0, 0)
		}
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			m.rn = 0
			return false
		default:
			m.rn, m.rerr = int(n), errno
			return true
		}
	}
}

func (m *mmsg) read(trains []Train) (int, error) {
	m.rwant = min(len(trains), m.batch)
	if err := m.raw.Read(m.rcall); err != nil {
		return 0, err
	}
	if m.rerr != 0 {
		return 0, m.rerr
	}
	in := 0
	for i := range m.rn {
		t := &trains[i]
		t.Bytes, t.Segment = m.rbufs[i][:m.rmsgs[i].n], 0
		t.Addr = addrOf(&m.rnames[i])
		m.control(i, t)
		in++
		if t.Segment > 0 && t.Segment < len(t.Bytes) {
			in += (len(t.Bytes) - 1) / t.Segment
		}
	}
	m.u.counts.readCalls.Add(1)
	m.u.counts.in.Add(uint64(in))
	return m.rn, nil
}

// control reads the control messages of what was received: the size of segments
// and the count of datagrams that found no room.
func (m *mmsg) control(i int, t *Train) {
	b := m.rctl[i][:m.rmsgs[i].hdr.Controllen]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if uint64(h.Len) < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(b)) {
			return
		}
		data := b[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			t.Segment = int(*(*int32)(unsafe.Pointer(&data[0])))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			m.overflow(*(*uint32)(unsafe.Pointer(&data[0])))
		}
		b = b[min(unix.CmsgSpace(len(data)), len(b)):]
	}
}

// overflow takes the socket's count, which is 32 bits wide and wraps.
func (m *mmsg) overflow(n uint32) {
	c := &m.u.counts.overflows
	c.Add(uint64(n - uint32(c.Load())))
}

// addrOf reads an address.
func addrOf(s *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.Port))[:])
	if s.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(s)).Addr), port)
	}
	ip := netip.AddrFrom16(s.Addr).Unmap()
	if s.Scope_id != 0 && ip.IsLinkLocalUnicast() {
		ip = ip.WithZone(strconv.FormatUint(uint64(s.Scope_id), 10))
	}
	return netip.AddrPortFrom(ip, port)
}
