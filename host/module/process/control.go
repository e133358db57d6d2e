package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/sdk/plugin"
)

var errNoDescribe = errors.New("Describe is not implemented")

// control is the host's side of the control service.
type control struct {
	goplugin.NetRPCUnsupportedPlugin
	conn *grpc.ClientConn
}

var _ goplugin.GRPCPlugin = (*control)(nil)

// GRPCServer implements goplugin.GRPCPlugin. The program has its own.
func (*control) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("process: the host's side is no server")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (*control) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &control{conn: conn}, nil
}

func (c *control) describe(ctx context.Context) (sdk.Descriptor, error) {
	var answer wrapperspb.StringValue
	err := c.conn.Invoke(ctx, plugin.DescribeMethod, new(emptypb.Empty), &answer)
	if status.Code(err) == codes.Unimplemented {
		return sdk.Descriptor{}, errNoDescribe
	}
	if err != nil {
		return sdk.Descriptor{}, err
	}
	return plugin.UnmarshalDescriptor([]byte(answer.Value))
}

// checkDescription compares what a program says of itself with its package. The
// host has negotiated by module.toml, so a difference is a fault.
func checkDescription(d sdk.Descriptor, s module.Spec) error {
	if d.Name != s.Name {
		return fmt.Errorf("the program calls itself %q: correct name in module.toml, or the artifact", d.Name)
	}
	says, wants := sorted(d.Subprotocols), sorted(s.Subprotocols)
	if !slices.Equal(says, wants) {
		return fmt.Errorf("the program speaks %s, module.toml says %s: correct [[subprotocol]] there, or the artifact", list(says), list(wants))
	}
	return nil
}

func sorted(s []sdk.Subprotocol) []sdk.Subprotocol {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b sdk.Subprotocol) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Version.Compare(b.Version), a.MinPeer.Compare(b.MinPeer))
	})
	return s
}

func list(s []sdk.Subprotocol) string {
	text := ""
	for i, p := range s {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%v %v (min_peer %v, required %v)", p.ID, p.Version, p.MinPeer, p.Required)
	}
	return cmp.Or(text, "nothing")
}
