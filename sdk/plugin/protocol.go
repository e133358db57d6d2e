package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"nethost/sdk"
)

// What host and program must agree on to find each other.
const (
	// ProtocolVersion of the launch: handshake, control service and framing.
	// The batches have their own (sdk/abi).
	ProtocolVersion = 1
	CookieKey       = "NETHOST_PLUGIN_COOKIE"
	CookieValue     = "e2a0d1b7-nethost-module"
	// EnvDataSocket names the unix socket the program connects to for batches.
	EnvDataSocket = "NETHOST_DATA_SOCKET"
	// EnvModuleDir names the folder of the module's package, for files that
	// were shipped with it. The working directory is a private empty one.
	EnvModuleDir = "NETHOST_MODULE_DIR"
	// Dispense is the name of the one thing a program serves.
	Dispense = "module"
	// DescribeMethod takes google.protobuf.Empty and answers
	// google.protobuf.StringValue: the descriptor as JSON (Description). A
	// program may leave it unimplemented; the host then trusts module.toml.
	DescribeMethod = "/" + serviceName + "/Describe"

	serviceName = "nethost.plugin.v1.Module"
)

// Handshake is what go-plugin wants to know on both sides.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue}
}

// Description is a descriptor as JSON.
type Description struct {
	Name         string     `json:"name"`
	Release      string     `json:"release"`
	Subprotocols []Subproto `json:"subprotocols"`
	Methods      []string   `json:"methods,omitempty"`
}

// Subproto is one subprotocol of a Description, in the spelling of module.toml.
type Subproto struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	MinPeer  string `json:"min_peer"`
	Required bool   `json:"required,omitempty"`
}

// MarshalDescriptor writes a descriptor as Describe answers it.
func MarshalDescriptor(d sdk.Descriptor) ([]byte, error) {
	out := Description{Name: d.Name, Release: d.Release, Methods: d.Methods}
	for _, s := range d.Subprotocols {
		out.Subprotocols = append(out.Subprotocols,
			Subproto{ID: s.ID.String(), Version: s.Version.String(), MinPeer: s.MinPeer.String(), Required: s.Required})
	}
	return json.Marshal(out)
}

// UnmarshalDescriptor reads what Describe answered. Unknown fields are skipped.
func UnmarshalDescriptor(b []byte) (sdk.Descriptor, error) {
	var in Description
	if err := json.Unmarshal(b, &in); err != nil {
		return sdk.Descriptor{}, fmt.Errorf("descriptor: %w", err)
	}
	d := sdk.Descriptor{Name: in.Name, Release: in.Release, Methods: in.Methods}
	for _, s := range in.Subprotocols {
		p := sdk.Subprotocol{Required: s.Required}
		var err error
		if p.ID, err = sdk.ParseID(s.ID); err != nil {
			return sdk.Descriptor{}, fmt.Errorf("descriptor: %w", err)
		}
		if p.Version, err = sdk.ParseVersion(s.Version); err != nil {
			return sdk.Descriptor{}, fmt.Errorf("descriptor: %w", err)
		}
		if p.MinPeer, err = sdk.ParseVersion(s.MinPeer); err != nil {
			return sdk.Descriptor{}, fmt.Errorf("descriptor: %w", err)
		}
		d.Subprotocols = append(d.Subprotocols, p)
	}
	return d, nil
}

// served is the program's side of the control service.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	m sdk.Module
}

// describer is what grpc checks the implementation against.
type describer interface {
	describe() ([]byte, error)
}

func (s *served) describe() ([]byte, error) { return MarshalDescriptor(s.m.Describe()) }

// GRPCServer implements goplugin.GRPCPlugin.
func (s *served) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*describer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Describe", Handler: handleDescribe}},
	}, describer(s))
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin. The host has its own.
func (s *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("plugin: the program's side is no client")
}

func handleDescribe(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	if err := decode(new(emptypb.Empty)); err != nil {
		return nil, err
	}
	b, err := srv.(describer).describe()
	if err != nil {
		return nil, err
	}
	return wrapperspb.String(string(b)), nil
}
