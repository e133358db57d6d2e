package main

import (
	"context"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcNode is grpc-go over TLS: one bidirectional stream of byte messages, and a
// unary echo.
type grpcNode struct {
	srv  *grpc.Server
	conn *grpc.ClientConn
}

func startGRPC(_ context.Context, s Spec, m *Meter) (Node, error) {
	conf, err := s.tlsFor()
	if err != nil {
		return nil, err
	}
	conf.NextProtos = nil // gRPC adds h2
	n := &grpcNode{}
	if s.isSource() {
		n.conn, err = grpc.NewClient("passthrough:///"+s.Dial[1].String(), grpc.WithTransportCredentials(credentials.NewTLS(conf)))
		return n, err
	}
	l, err := net.Listen("tcp", s.Listen[s.Index].String())
	if err != nil {
		return nil, err
	}
	n.srv = grpc.NewServer(grpc.Creds(credentials.NewTLS(conf)))
	n.srv.RegisterService(&grpc.ServiceDesc{ServiceName: "bench", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "pipe", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, st grpc.ServerStream) error { return serve(&grpcStream{st: st}, m) }}},
		Methods: []grpc.MethodDesc{{MethodName: "echo", Handler: grpcEcho}}}, n)
	go n.srv.Serve(l)
	return n, nil
}

func grpcEcho(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	return in, nil
}

func (n *grpcNode) Close() error {
	if n.srv != nil {
		n.srv.Stop()
		return nil
	}
	return n.conn.Close()
}

func (n *grpcNode) Call(ctx context.Context, b []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := n.conn.Invoke(ctx, "/bench/echo", wrapperspb.Bytes(b), out)
	return out.Value, err
}

func (n *grpcNode) Open(_ context.Context, svc Service, size int) (Stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	st, err := n.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/bench/pipe")
	if err != nil {
		cancel()
		return nil, err
	}
	s := &grpcStream{st: st, client: st, cancel: cancel}
	_, err = s.Write(appendHead(svc, size))
	return s, err
}

func (n *grpcNode) SendMessages(ctx context.Context, size int, p *Pacer) error {
	return sendFramed(ctx, n, size, p)
}

// grpcStream makes a byte stream of a stream of messages.
type grpcStream struct {
	st interface {
		SendMsg(any) error
		RecvMsg(any) error
	}
	client grpc.ClientStream // nil at the server, whose side ends when the handler returns
	cancel context.CancelFunc
	in     wrapperspb.BytesValue
	rest   []byte
}

func (s *grpcStream) Write(b []byte) (int, error) {
	if err := s.st.SendMsg(wrapperspb.Bytes(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *grpcStream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		s.in.Reset()
		if err := s.st.RecvMsg(&s.in); err != nil {
			return 0, err
		}
		s.rest = s.in.Value
	}
	k := copy(b, s.rest)
	s.rest = s.rest[k:]
	return k, nil
}

func (s *grpcStream) CloseWrite() error {
	if s.client == nil {
		return nil
	}
	return s.client.CloseSend()
}

func (s *grpcStream) Close() error {
	if s.cancel != nil {
		s.cancel()
	}
	return nil
}

var _ io.ReadWriteCloser = (*grpcStream)(nil)
