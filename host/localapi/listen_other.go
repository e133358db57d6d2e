//go:build !unix

package localapi

import "net"

// listenPrivate listens on a socket. Its directory says who may reach it.
func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
