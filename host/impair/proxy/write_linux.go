package proxy

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// endpoint is a socket that writers send through.
type endpoint struct {
	conn *net.UDPConn
	raw  syscall.RawConn
}

func newEndpoint(conn *net.UDPConn) (*endpoint, error) {
	raw, err := conn.SyscallConn()
	return &endpoint{conn, raw}, err
}

// writer sends packets in batches. It has one owner.
type writer struct {
	out    []packet
	via    *endpoint // one socket for all, to the clients; nil: each client's own
	trains bool

	hdrs   [batch]mmsghdr
	counts [batch]int // packets in each message
	iovs   [maxPieces]unix.Iovec
	ctrl   [batch]segmentMessage
	n      int // messages ready
	sent   int // of those, in the last call
	errno  syscall.Errno
	try    func(fd uintptr) bool // w.sendmmsg, made once
}

// segmentMessage is the control message that says where to cut a train.
type segmentMessage struct {
	unix.Cmsghdr
	size uint16
	_    [6]byte // CMSG_SPACE
}

func newWriter(via *endpoint) *writer {
	w := &writer{via: via, trains: true}
	w.try = w.sendmmsg
	for i := range w.ctrl {
		c := &w.ctrl[i]
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.SizeofCmsghdr + 2)
	}
	return w
}

func (w *writer) add(p packet) { w.out = append(w.out, p) }

// flush sends all of out, in order, and says what could not be sent. out stays.
func (w *writer) flush() (failed, failedBytes int) {
	for at := 0; at < len(w.out); {
		via := w.prepare(w.out[at:])
		done, bad := w.send(via)
		for _, p := range w.out[at+done : at+done+bad] {
			failedBytes += len(p.b)
		}
		failed += bad
		at += done + bad
	}
	return failed, failedBytes
}

// prepare makes as many messages of ps as one call takes, and says for which
// socket.
func (w *writer) prepare(ps []packet) (via *endpoint) {
	pieces, taken := 0, 0
	for w.n = 0; w.n < batch && taken < len(ps); w.n++ {
		first := ps[taken]
		to := w.via
		if to == nil {
			to = first.c.up.Load()
		}
		if via == nil {
			via = to
		} else if to != via {
			break // another socket: another call
		}
		count, more := w.message(ps[taken:], w.iovs[pieces:])
		if count == 0 {
			break // no piece left
		}
		w.counts[w.n] = count
		taken += count
		pieces += more
	}
	return via
}

// message makes message w.n of the first of ps: of one packet, or of a train of
// those to one client that are equally long, the last perhaps shorter.
func (w *writer) message(ps []packet, iovs []unix.Iovec) (count, pieces int) {
	size, total := len(ps[0].b), 0
	for count < len(ps) && count < maxTrain && ps[count].c == ps[0].c && (count == 0 || w.trains) {
		b := ps[count].b
		if count > 0 && (len(b) > size || len(b) == 0 || total+len(b) > trainBytes) {
			break
		}
		if last := pieces - 1; last >= 0 && len(b) > 0 && unsafe.Add(unsafe.Pointer(iovs[last].Base), int(iovs[last].Len)) == unsafe.Pointer(&b[0]) {
			iovs[last].SetLen(int(iovs[last].Len) + len(b)) // a train as it came
		} else if pieces == len(iovs) {
			break
		} else {
			iovs[pieces].Base = unsafe.SliceData(b)
			iovs[pieces].SetLen(len(b))
			pieces++
		}
		count++
		total += len(b)
		if len(b) < size {
			break
		}
	}
	if count == 0 {
		return 0, 0
	}
	h := &w.hdrs[w.n].Msghdr
	*h = unix.Msghdr{Iov: &iovs[0]}
	h.SetIovlen(pieces)
	if count > 1 {
		w.ctrl[w.n].size = uint16(size)
		h.Control = (*byte)(unsafe.Pointer(&w.ctrl[w.n]))
		h.SetControllen(int(unsafe.Sizeof(w.ctrl[w.n])))
	}
	if w.via != nil {
		c := ps[0].c
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&c.name.raw)), c.name.len
	}
	return count, pieces
}

// send sends what was prepared: done packets went out, bad ones after them never
// will. What is left is tried again by the next call.
func (w *writer) send(via *endpoint) (done, bad int) {
	for range 2 {
		w.sent, w.errno = 0, 0
		if err := via.raw.Write(w.try); err != nil {
			w.errno = unix.EBADF // the socket is closed
		}
		if w.sent > 0 {
			for _, n := range w.counts[:w.sent] {
				done += n
			}
			return done, 0
		}
		// A refusal may be the echo of an earlier datagram: once more.
		if w.errno != unix.ECONNREFUSED {
			break
		}
	}
	if w.counts[0] > 1 && w.errno != unix.EBADF && w.errno != unix.ECONNREFUSED {
		w.trains = false // a device without them, or an MTU below the segments
		return 0, 0
	}
	return 0, w.counts[0]
}

func (w *writer) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.hdrs[0])), uintptr(w.n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		w.errno = errno
		return errno != unix.EAGAIN
	}
	w.sent = int(n)
	return true
}
