//go:build !linux

package link

import (
	"errors"
	"syscall"
)

// setup enlarges the socket's buffers. The system may grant less.
func (u *UDP) setup(gso GSO) error {
	if gso == GSOOn {
		return errors.New("link.gso = \"on\": this system cannot send segments in one piece: say \"auto\"")
	}
	_ = u.conn.SetReadBuffer(SocketBuffer)
	_ = u.conn.SetWriteBuffer(SocketBuffer)
	return nil
}

// tooBigError is what a write says of a datagram that is too long to send.
const tooBigError = syscall.EMSGSIZE

// isPending reports whether err may belong to an earlier datagram.
func isPending(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// drain finds nothing: the error queue is a Linux thing.
func (u *UDP) drain() bool { return false }
