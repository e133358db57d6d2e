//go:build unix

package localapi

import (
	"net"
	"syscall"
)

// listenPrivate listens on a socket of mode 0600. The mode must be right from the
// first moment: a chmod after listen leaves a window in which others may connect.
func listenPrivate(path string) (net.Listener, error) {
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}
