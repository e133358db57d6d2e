package localapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"nethost/sdk/client/nethostv1"
)

// maxSocketPath is what a unix socket address can hold, in bytes.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// maxRequest bounds a message a client sends, in bytes as they come: a Call of
// maxCall bytes is longer in JSON, which has them in base64.
const maxRequest = maxCall/3*4 + 1<<20

// Server serves the local API.
type Server struct {
	lis  net.Listener
	http *http.Server
	path string
}

// Listen makes the socket, mode 0600, and serves b on it until Close. A socket
// left behind by a dead node is replaced; one on which somebody answers is an
// error.
func Listen(path string, b Backend) (*Server, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("local api: socket path %s is longer than %d bytes: choose a shorter one with socket = \"...\"", path, maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lis, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("local api: %w", err)
	}
	mux := http.NewServeMux()
	// Compression costs more than a socket of this machine carries.
	mux.Handle(nethostv1.NewNodeServiceHandler(&service{b}, connect.WithReadMaxBytes(maxRequest),
		connect.WithCompression("gzip", nil, nil)))
	mountPackages(mux, b)
	if sw, ok := b.(Swarm); ok {
		mux.Handle(nethostv1.NewSwarmServiceHandler(swarm{sw}, connect.WithCompression("gzip", nil, nil)))
	}
	mountInvites(mux, b)
	mountModules(mux, b)
	mountCare(mux, b)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &Server{lis: lis, path: path, http: &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}}
	go s.http.Serve(lis)
	return s, nil
}

// Path is where the socket is.
func (s *Server) Path() string { return s.path }

// Close ends the API and removes the socket: running calls get a moment, then
// are cut.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	s.lis.Close() // Serve may not have taken it yet
	return nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err != nil {
		return fmt.Errorf("local api: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("local api: %s exists and is no socket: remove it, or choose another with socket = \"...\"", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("local api: another nethost answers on %s: stop it, or give this node its own data directory", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	// A socket that is merely busy has an owner who is alive.
	return fmt.Errorf("local api: cannot tell whether another nethost has %s: %w; remove it if none runs", path, err)
}
