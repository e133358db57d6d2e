package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nethost/host/wire"
)

// outgoing is what a message under construction holds.
type outgoing struct {
	addr    netip.AddrPort
	segment int
	bytes   int
	count   int // datagrams
	iov     int // the first piece
	pieces  int
	open    bool // another datagram may join
}

func (m *mmsg) write(trains []Train) (failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writeLocked(trains)
}

func (m *mmsg) tryWrite(trains, unsent []Train) ([]Train, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nowait, m.unsent = true, unsent
	err := m.writeLocked(trains)
	unsent = m.unsent
	m.nowait, m.unsent = false, nil
	return unsent, err
}

func (m *mmsg) writeLocked(trains []Train) (failed error) {
	m.nmsgs, m.niovs = 0, 0
	for _, t := range trains {
		size := t.Segment
		if size <= 0 || size > len(t.Bytes) {
			size = len(t.Bytes)
		}
		for {
			// As much as one message can take, in whole datagrams.
			piece := t.Bytes
			if limit := pieceLimit(size, m.gso.Load()); limit < len(piece) {
				piece = piece[:limit]
			}
			if !m.join(&t, piece, size) {
				if err := m.flush(); err != nil {
					failed = err
				}
				m.join(&t, piece, size)
			}
			if t.Bytes = t.Bytes[len(piece):]; len(t.Bytes) == 0 {
				break
			}
		}
	}
	if err := m.flush(); err != nil {
		failed = err
	}
	return failed
}

// pieceLimit is how many bytes of a train of such datagrams fit one message.
func pieceLimit(size int, gso bool) int {
	if !gso || size == 0 {
		return max(size, 1)
	}
	return max(1, min(wire.MaxSegments, wire.MaxTrain/size)) * size
}

// join puts datagrams into a message under way to the same address, or into a new
// one; false when there is no room for either.
func (m *mmsg) join(t *Train, b []byte, size int) bool {
	addr := t.Addr
	count := 1
	if size > 0 {
		count = (len(b) + size - 1) / size
	}
	if m.gso.Load() {
		for i := m.nmsgs - 1; i >= max(0, m.nmsgs-lookBack); i-- {
			if o := &m.wouts[i]; o.addr == addr {
				if !o.open || t.Alone || size > o.segment || len(b) == 0 || count > 1 && size != o.segment ||
					o.count+count > wire.MaxSegments || o.bytes+len(b) > wire.MaxTrain || !m.extend(i, b) {
					break // what was sent earlier to this address stays before it
				}
				o.count += count
				o.bytes += len(b)
				o.open = len(b)%o.segment == 0
				return true
			}
		}
	}
	if m.nmsgs == writeMessages || m.niovs == writePieces {
		return false
	}
	i := m.nmsgs
	m.nmsgs++
	m.wouts[i] = outgoing{addr: addr, segment: size, bytes: len(b), count: count, iov: m.niovs, pieces: 1,
		open: size > 0 && len(b)%size == 0 && !t.Alone}
	m.piece(b)
	return true
}

// extend adds bytes to message i: only the last one can grow by a piece that does
// not follow in memory, because pieces of a message lie side by side.
func (m *mmsg) extend(i int, b []byte) bool {
	o := &m.wouts[i]
	last := &m.wiovs[o.iov+o.pieces-1]
	if uintptr(unsafe.Pointer(last.Base))+uintptr(last.Len) == uintptr(unsafe.Pointer(&b[0])) {
		last.SetLen(int(last.Len) + len(b))
		return true
	}
	if m.niovs == writePieces {
		return false
	}
	if i < m.nmsgs-1 { // make room behind this message's pieces
		at := o.iov + o.pieces
		copy(m.wiovs[at+1:m.niovs+1], m.wiovs[at:m.niovs])
		for j := range m.nmsgs {
			if j != i && m.wouts[j].iov >= at {
				m.wouts[j].iov++
			}
		}
		m.wiovs[at] = iovec(b)
		m.niovs++
	} else {
		m.piece(b)
	}
	o.pieces++
	return true
}

func (m *mmsg) piece(b []byte) {
	m.wiovs[m.niovs] = iovec(b)
	m.niovs++
}

func iovec(b []byte) (v unix.Iovec) {
	if len(b) > 0 {
		v.Base = &b[0]
	}
	v.SetLen(len(b))
	return v
}

// flush sends the messages that were put together.
func (m *mmsg) flush() (failed error) {
	for i := range m.nmsgs {
		m.seal(i)
	}
	retries, tooBig := 0, m.u.tooBig.Load()
	for m.sent = 0; m.sent < m.nmsgs; {
		m.werr = 0
		if err := m.raw.Write(m.wcall); err != nil {
			m.nmsgs, m.niovs = 0, 0
			if errors.Is(err, net.ErrClosed) {
				return net.ErrClosed
			}
			return fmt.Errorf("link: sending: %w", err)
		}
		if m.werr == 0 {
			continue
		}
		o := &m.wouts[m.sent]
		switch {
		case m.nowait && (m.werr == unix.EAGAIN || m.werr == unix.ENOBUFS):
			m.giveBack()
			continue
		case o.count > 1 && m.tooMuch(m.werr):
			// Once more, in pieces: whatever the system has against trains, it
			// must not cost a packet.
			if err := m.replay(m.sent); err != nil {
				failed = err
			}
			m.sent++
		case isPending(m.werr) && retries < maxRetries:
			retries++
			m.u.wakeReader()
			continue
		default:
			failed = fmt.Errorf("link: sending to %s: %w", o.addr, m.werr)
			if m.werr == tooBigError {
				m.u.refused(o.addr, o.bytes, tooBig)
			}
			m.sent++
		}
		retries, tooBig = 0, m.u.tooBig.Load()
	}
	m.nmsgs, m.niovs = 0, 0
	return failed
}

// giveBack puts the messages that were not sent into unsent.
func (m *mmsg) giveBack() {
	for ; m.sent < m.nmsgs; m.sent++ {
		o := &m.wouts[m.sent]
		m.u.counts.out.Add(-uint64(o.count))
		for _, v := range m.wiovs[o.iov : o.iov+o.pieces] {
			m.unsent = append(m.unsent, Train{Addr: o.addr, Bytes: unsafe.Slice(v.Base, int(v.Len)), Segment: o.segment})
		}
	}
}

// tooMuch reports whether a train failed because it is one. EIO is the device's
// word that it cannot do it at all (it lacks checksums): trains end for this
// socket.
func (m *mmsg) tooMuch(errno syscall.Errno) bool {
	switch errno {
	case unix.EIO:
		m.gso.Store(false)
		m.say("the network device refused a train (EIO): they are sent in pieces from now on")
		return true
	case unix.EINVAL, unix.EMSGSIZE:
		return true // the segments are above the device's MTU
	}
	return false
}

// replay sends message i datagram by datagram.
func (m *mmsg) replay(i int) (failed error) {
	o := &m.wouts[i]
	for _, v := range m.wiovs[o.iov : o.iov+o.pieces] {
		if err := m.u.writeEach(Train{Addr: o.addr, Bytes: unsafe.Slice(v.Base, int(v.Len)), Segment: o.segment}); err != nil {
			failed = err
		}
	}
	return failed
}

// seal fills in the header of message i.
func (m *mmsg) seal(i int) {
	o, h := &m.wouts[i], &m.wmsgs[i].hdr
	h.Name = (*byte)(unsafe.Pointer(&m.wnames[i]))
	h.Namelen = m.sockaddr(&m.wnames[i], o.addr)
	h.Iov = &m.wiovs[o.iov]
	h.SetIovlen(o.pieces)
	h.Control = nil
	h.SetControllen(0)
	if o.count > 1 {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&m.wctl[i][0]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&m.wctl[i][unix.CmsgLen(0)])) = uint16(o.segment)
		h.Control = &m.wctl[i][0]
		h.SetControllen(unix.CmsgSpace(2))
	}
	m.u.counts.out.Add(uint64(o.count))
}

// send is one sendmmsg; false when the socket has no room, so that the poller
// waits.
func (m *mmsg) send(fd uintptr) bool {
	for {
		var n uintptr
		var errno syscall.Errno
		if left := m.nmsgs - m.sent; left <= shortCall {
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&m.wmsgs[m.sent])), uintptr(left), unix.MSG_DONTWAIT, 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&m.wmsgs[m.sent])), uintptr(left), unix.MSG_DONTWAIT, 0, 0)
		}
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if !m.nowait {
				return false
			}
			m.werr = errno
		case 0:
			m.sent += int(n)
		default:
			m.werr = errno
		}
		m.u.counts.writeCalls.Add(1)
		return true
	}
}

// sockaddr writes an address as the system wants it, and gives its length.
func (m *mmsg) sockaddr(s *unix.RawSockaddrInet6, a netip.AddrPort) uint32 {
	var port uint16
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&port))[:], a.Port())
	if m.inet {
		s4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
		*s4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port}
		if ip := a.Addr().Unmap(); ip.Is4() {
			s4.Addr = ip.As4()
		}
		return unix.SizeofSockaddrInet4
	}
	*s = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		s.Scope_id = scopeOf(zone)
	}
	return unix.SizeofSockaddrInet6
}

// scopeOf finds the interface of a zone, which may be its number or its name.
func scopeOf(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}
