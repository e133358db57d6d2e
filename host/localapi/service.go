package localapi

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	"nethost/sdk"
	v1 "nethost/sdk/client/nethostv1"
)

// maxCall bounds the answer of a unary Call, in bytes: larger ones are streams.
const maxCall = 16 << 20

// service is the API over a Backend.
type service struct{ b Backend }

var _ v1.NodeServiceHandler = (*service)(nil)

func (s *service) Status(context.Context, *connect.Request[v1.StatusRequest]) (*connect.Response[v1.StatusResponse], error) {
	return connect.NewResponse(s.b.Status()), nil
}

func (s *service) Peers(context.Context, *connect.Request[v1.PeersRequest]) (*connect.Response[v1.PeersResponse], error) {
	return connect.NewResponse(s.b.Peers()), nil
}

func (s *service) Routes(context.Context, *connect.Request[v1.RoutesRequest]) (*connect.Response[v1.RoutesResponse], error) {
	return connect.NewResponse(s.b.Routes()), nil
}

func (s *service) Sessions(context.Context, *connect.Request[v1.SessionsRequest]) (*connect.Response[v1.SessionsResponse], error) {
	return connect.NewResponse(s.b.Sessions()), nil
}

func (s *service) Modules(context.Context, *connect.Request[v1.ModulesRequest]) (*connect.Response[v1.ModulesResponse], error) {
	return connect.NewResponse(s.b.Modules()), nil
}

// Call writes the request, ends it, and reads the whole answer.
func (s *service) Call(ctx context.Context, r *connect.Request[v1.CallRequest]) (*connect.Response[v1.CallResponse], error) {
	st, done, err := s.request(ctx, r.Msg)
	if err != nil {
		return nil, rpcError(err)
	}
	defer done()
	b, err := io.ReadAll(io.LimitReader(st, maxCall+1))
	if err != nil {
		return nil, rpcError(cause(ctx, err))
	}
	if len(b) > maxCall {
		return nil, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("the answer is longer than %d MiB: use Stream or Subscribe", maxCall>>20))
	}
	return connect.NewResponse(&v1.CallResponse{Data: b}), nil
}

// Subscribe writes the request, ends it, and streams the answer.
func (s *service) Subscribe(ctx context.Context, r *connect.Request[v1.CallRequest], out *connect.ServerStream[v1.Chunk]) error {
	st, done, err := s.request(ctx, r.Msg)
	if err != nil {
		return rpcError(err)
	}
	defer done()
	return rpcError(cause(ctx, copyOut(st, out.Send)))
}

// cause is why a call ended: where its context did, the stream's word that the
// caller went away is only what came of that.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// request opens a stream and writes the data beside the reading of the answer:
// an answer may begin before the request is through. The caller calls done.
func (s *service) request(ctx context.Context, r *v1.CallRequest) (st Stream, done func(), err error) {
	if r.Target == nil {
		return nil, nil, &Error{sdk.InvalidArgument, "target is missing: give at least target.module"}
	}
	st, err = s.b.Open(ctx, r.Target)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { st.Reset(sdk.Cancelled, "the caller went away") })
	go func() {
		if _, err := st.Write(r.Data); err == nil {
			st.CloseWrite()
		}
	}()
	return st, func() {
		stop()
		st.Close()
	}, nil
}

// Stream moves bytes both ways until both ends are done.
func (s *service) Stream(ctx context.Context, bidi *connect.BidiStream[v1.StreamRequest, v1.Chunk]) error {
	first, err := bidi.Receive()
	if err != nil {
		return rpcError(err)
	}
	if first.Target == nil {
		return rpcError(&Error{sdk.InvalidArgument, "the first message must carry target"})
	}
	st, err := s.b.Open(ctx, first.Target)
	if err != nil {
		return rpcError(err)
	}
	defer st.Close()
	stop := context.AfterFunc(ctx, func() { st.Reset(sdk.Cancelled, "the caller went away") })
	defer stop()
	go func() {
		for msg := first; ; {
			if len(msg.Data) > 0 {
				if _, err := st.Write(msg.Data); err != nil {
					return // Read reports it
				}
			}
			var err error
			if msg, err = bidi.Receive(); errors.Is(err, io.EOF) {
				st.CloseWrite()
				return
			} else if err != nil {
				st.Reset(sdk.Cancelled, "the caller went away")
				return
			}
		}
	}()
	return rpcError(cause(ctx, copyOut(st, bidi.Send)))
}

// Watch streams events.
func (s *service) Watch(ctx context.Context, _ *connect.Request[v1.WatchRequest], out *connect.ServerStream[v1.Event]) error {
	return rpcError(s.b.Watch(ctx, out.Send))
}

// copyOut sends what st says, in pieces of at most 64 KiB.
func copyOut(st io.Reader, send func(*v1.Chunk) error) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := st.Read(buf)
		if n > 0 {
			if err := send(&v1.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
