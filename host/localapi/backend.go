package localapi

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"

	"nethost/sdk"
)

// Backend is a node as the local API sees it. Its methods are called
// concurrently.
type Backend interface {
	Status() *v1.StatusResponse
	Peers() *v1.PeersResponse
	Routes() *v1.RoutesResponse
	Sessions() *v1.SessionsResponse
	Modules() *v1.ModulesResponse
	// Open opens a stream to a module. Errors that carry a code are *Error.
	Open(ctx context.Context, t *v1.Target) (Stream, error)
	// Watch calls send for each event until ctx ends or send fails. The first
	// has no kind: it says that from now on nothing is missed.
	Watch(ctx context.Context, send func(*v1.Event) error) error
}

// Stream is a stream to a module.
type Stream interface {
	io.ReadWriteCloser
	// CloseWrite ends our side.
	CloseWrite() error
	// Reset abandons the stream.
	Reset(code sdk.Code, text string)
}

// Error is a failure with a code of the contract.
type Error struct {
	Code sdk.Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// connectCodes maps the contract's codes to those of Connect and gRPC.
var connectCodes = [...]connect.Code{
	sdk.Cancelled: connect.CodeCanceled, sdk.Unimplemented: connect.CodeUnimplemented,
	sdk.UnsupportedID: connect.CodeUnimplemented, sdk.PermissionDenied: connect.CodePermissionDenied,
	sdk.Overloaded: connect.CodeResourceExhausted, sdk.ModuleRestarted: connect.CodeAborted,
	sdk.Draining: connect.CodeUnavailable, sdk.DeadlineExceeded: connect.CodeDeadlineExceeded,
	sdk.PeerGone: connect.CodeUnavailable, sdk.NoRoute: connect.CodeUnavailable,
	sdk.FlowControl: connect.CodeInternal, sdk.InvalidArgument: connect.CodeInvalidArgument,
	sdk.NotFound: connect.CodeNotFound, sdk.Internal: connect.CodeInternal,
	sdk.HandshakeFailed: connect.CodeUnavailable,
}

// CodeHeader carries the number of the sdk.Code behind a Connect error.
const CodeHeader = "Nethost-Code"

// rpcError makes an error a client can test and a person can read.
func rpcError(err error) error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		code := connect.CodeInternal
		if e.Code > 0 && int(e.Code) < len(connectCodes) {
			code = connectCodes[e.Code]
		}
		ce := connect.NewError(code, errors.New(e.Text))
		ce.Meta().Set(CodeHeader, fmt.Sprint(uint32(e.Code)))
		return ce
	case errors.Is(err, context.Canceled):
		return rpcError(&Error{sdk.Cancelled, err.Error()})
	case errors.Is(err, context.DeadlineExceeded):
		return rpcError(&Error{sdk.DeadlineExceeded, err.Error()})
	}
	var ce *connect.Error
	if errors.As(err, &ce) {
		return ce
	}
	return connect.NewError(connect.CodeInternal, err)
}
