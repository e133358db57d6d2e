package process

import (
	"context"
	"errors"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"nethost/sdk/plugin"
)

// unaryMethod takes google.protobuf.BytesValue and gives it back.
const unaryMethod = "/nethost.bench.Unary/Echo"

// unary is a go-plugin program as its documentation shows it: one gRPC method, called
// once for each message. It is what the data socket is measured against.
type unary struct {
	goplugin.NetRPCUnsupportedPlugin
}

// echoer is what grpc checks the implementation against.
type echoer interface{ echo() }

func (unary) echo() {}

// GRPCServer implements goplugin.GRPCPlugin.
func (u unary) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "nethost.bench.Unary", HandlerType: (*echoer)(nil), Methods: []grpc.MethodDesc{{MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var b wrapperspb.BytesValue
			return &b, decode(&b)
		}}}}, u)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (unary) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// ServeUnary is the main function of the program that OpenUnary starts.
func ServeUnary() {
	goplugin.Serve(&goplugin.ServeConfig{HandshakeConfig: plugin.Handshake(), Plugins: goplugin.PluginSet{plugin.Dispense: unary{}},
		GRPCServer: goplugin.DefaultGRPCServer, Logger: hclog.NewNullLogger()})
}

// OpenUnary starts a program that calls ServeUnary. call sends one message and waits
// for it to come back; stop ends the program.
func OpenUnary(cmd *exec.Cmd) (call func(context.Context, []byte) error, stop func(), err error) {
	client := goplugin.NewClient(&goplugin.ClientConfig{HandshakeConfig: plugin.Handshake(), Plugins: goplugin.PluginSet{plugin.Dispense: unary{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, Cmd: cmd, Logger: hclog.NewNullLogger()})
	rpc, err := client.Client()
	var raw any
	if err == nil {
		raw, err = rpc.Dispense(plugin.Dispense)
	}
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	conn := raw.(*grpc.ClientConn)
	return func(ctx context.Context, b []byte) error {
		var back wrapperspb.BytesValue
		if err := conn.Invoke(ctx, unaryMethod, wrapperspb.Bytes(b), &back); err != nil {
			return err
		}
		if len(back.Value) != len(b) {
			return errors.New("process: another message came back")
		}
		return nil
	}, client.Kill, nil
}
