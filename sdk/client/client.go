// Package client talks to a running nethost through its local API: what an
// application imports.
//
//	c := client.New("/home/me/.nethost/api.sock")
//	answer, err := c.Call(ctx, client.Target{Module: "echo"}, []byte("hello"))
//
// Every method takes a context and honours its end. Errors of the node are
// *Error and carry an sdk.Code.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// idleTime is how long a connection is kept that nothing uses.
const idleTime = 10 * time.Second

// Client is a connection to one node. It is safe for concurrent use and needs
// no Close: it holds a connection while something runs, and ten seconds longer.
type Client struct {
	path string
	rpc  v1.NodeServiceClient

	packages v1.PackageServiceClient
	swarm    v1.SwarmServiceClient
	http     *http.Client
	mods     v1.ModuleServiceClient
	care     v1.CareServiceClient
}

// New returns a client of the node whose API socket is at path. It does not
// connect: the first call does.
func New(path string) *Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	hc := &http.Client{Transport: &http.Transport{
		Protocols:       protocols,
		IdleConnTimeout: idleTime,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 4 << 20},
	}}
	// No compression: the bytes do not leave the machine.
	opts := []connect.ClientOption{connect.WithGRPC(), connect.WithAcceptCompression("gzip", nil, nil)}
	return &Client{path: path, rpc: v1.NewNodeServiceClient(hc, "http://nethost", opts...),
		packages: v1.NewPackageServiceClient(hc, "http://nethost", opts...),
		swarm:    v1.NewSwarmServiceClient(hc, "http://nethost", opts...), http: hc,
		mods: v1.NewModuleServiceClient(hc, "http://nethost", opts...), care: v1.NewCareServiceClient(hc, "http://nethost", opts...)}
}

// Target is what to talk to.
type Target struct {
	// Node that shall answer, as its NodeID in text; "": the node we are
	// connected to.
	Node string
	// Module of that node: "echo", "counter.add" or an id such as "0x1001".
	Module string
	// Meta is for the module alone.
	Meta []byte
	// Timeout after which the stream is reset; 0: none.
	Timeout time.Duration
}

func (t Target) message() *v1.Target {
	return &v1.Target{Node: t.Node, Module: t.Module, Meta: t.Meta, TimeoutS: t.Timeout.Seconds()}
}

// Error is a failure the node told us.
type Error struct {
	Code sdk.Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// Is makes a node's word that a context ended equal to the context's own: either
// side may notice first.
func (e *Error) Is(target error) bool {
	return target == context.Canceled && e.Code == sdk.Cancelled ||
		target == context.DeadlineExceeded && e.Code == sdk.DeadlineExceeded
}

// ErrNotRunning is wrapped when nobody answers on the socket, or no longer.
var ErrNotRunning = errors.New("no nethost is running here")

// codeHeader is where the node puts the number of the sdk.Code.
const codeHeader = "Nethost-Code"

func (c *Client) fail(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w (%s): start it with `nethost run`, or name its socket with --socket", ErrNotRunning, c.path)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%s: permission denied: the api socket is for the user who runs the node", c.path)
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	if n, err := strconv.ParseUint(ce.Meta().Get(codeHeader), 10, 32); err == nil {
		return &Error{sdk.Code(n), ce.Message()}
	}
	switch {
	case ce.Code() == connect.CodeCanceled:
		return &Error{sdk.Cancelled, context.Canceled.Error()}
	case ce.Code() == connect.CodeDeadlineExceeded:
		return &Error{sdk.DeadlineExceeded, context.DeadlineExceeded.Error()}
	case connect.IsWireError(err):
		return errors.New(ce.Message())
	}
	return fmt.Errorf("%w (%s): it went away meanwhile: %s", ErrNotRunning, c.path, ce.Message())
}

// Status says who the node is and how it is.
func (c *Client) Status(ctx context.Context) (*v1.StatusResponse, error) {
	r, err := c.rpc.Status(ctx, connect.NewRequest(&v1.StatusRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Peers lists the nodes with a session.
func (c *Client) Peers(ctx context.Context) (*v1.PeersResponse, error) {
	r, err := c.rpc.Peers(ctx, connect.NewRequest(&v1.PeersRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Routes lists the destinations the node knows.
func (c *Client) Routes(ctx context.Context) (*v1.RoutesResponse, error) {
	r, err := c.rpc.Routes(ctx, connect.NewRequest(&v1.RoutesRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Sessions lists what was agreed with each peer.
func (c *Client) Sessions(ctx context.Context) (*v1.SessionsResponse, error) {
	r, err := c.rpc.Sessions(ctx, connect.NewRequest(&v1.SessionsRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Modules lists the node's modules, those refused included.
func (c *Client) Modules(ctx context.Context) (*v1.ModulesResponse, error) {
	r, err := c.rpc.Modules(ctx, connect.NewRequest(&v1.ModulesRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Call sends a request and waits for the whole answer, at most 16 MiB.
func (c *Client) Call(ctx context.Context, t Target, data []byte) ([]byte, error) {
	r, err := c.rpc.Call(ctx, connect.NewRequest(&v1.CallRequest{Target: t.message(), Data: data}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg.Data, nil
}

// Watch calls f for each event until ctx ends, f fails or the node stops. The
// first event has no kind: it says that the watch has begun.
func (c *Client) Watch(ctx context.Context, f func(*v1.Event) error) error {
	s, err := c.rpc.Watch(ctx, connect.NewRequest(&v1.WatchRequest{}))
	if err != nil {
		return c.fail(err)
	}
	defer s.Close()
	for s.Receive() {
		if err := f(s.Msg()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return c.fail(s.Err())
}

// Stream opens a stream to a module: Write sends, Read receives, CloseWrite ends
// our side. Its memory use does not grow with what passes through.
func (c *Client) Stream(ctx context.Context, t Target) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	bidi := c.rpc.Stream(ctx)
	if err := bidi.Send(&v1.StreamRequest{Target: t.message()}); err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, c.fail(err)
	}
	// Nobody below watches ctx while both sides wait for each other.
	context.AfterFunc(ctx, func() { bidi.CloseResponse() })
	return &Stream{c: c, bidi: bidi, cancel: cancel}, nil
}

// Stream is a stream to a module. One goroutine may read while another writes.
type Stream struct {
	c      *Client
	bidi   *connect.BidiStreamForClient[v1.StreamRequest, v1.Chunk]
	cancel context.CancelFunc
	rest   []byte
}

var _ io.ReadWriteCloser = (*Stream)(nil)

// Read takes bytes of the far end; io.EOF is its clean end.
func (s *Stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		msg, err := s.bidi.Receive()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, s.c.fail(err)
		}
		s.rest = msg.Data
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Write sends bytes, in messages of at most 64 KiB. After a failure of the far
// end it returns io.EOF; Read tells why.
func (s *Stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, 64<<10)
		if err := s.bidi.Send(&v1.StreamRequest{Data: p[done : done+n]}); err != nil {
			if errors.Is(err, io.EOF) {
				return done, io.EOF
			}
			return done, s.c.fail(err)
		}
		done += n
	}
	return done, nil
}

// CloseWrite ends our side.
func (s *Stream) CloseWrite() error { return s.c.fail(s.bidi.CloseRequest()) }

// Close abandons what is left of the stream: unless CloseWrite came before, the
// far end gets a reset, not an end.
func (s *Stream) Close() error {
	s.cancel()
	s.bidi.CloseResponse()
	s.bidi.CloseRequest()
	return nil
}
