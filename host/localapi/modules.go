package localapi

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// ModuleBackend is a node whose modules can be changed while it runs. Its methods
// are called concurrently.
type ModuleBackend interface {
	ReloadModules(ctx context.Context, name string) (*v1.ReloadModulesResponse, error)
	Enable(ctx context.Context, name string) error
	Disable(ctx context.Context, name string) error
	// Logs calls send for each line until ctx ends or send fails.
	Logs(ctx context.Context, name string, follow bool, send func(*v1.LogLine) error) error
	Top() *v1.TopResponse
	// Drain ends the node once its modules are done, or the seconds are over.
	Drain(ctx context.Context, within float64) (*v1.DrainResponse, error)
}

// mountModules serves ModuleService for a backend that has it.
func mountModules(mux *http.ServeMux, b Backend) {
	if m, ok := b.(ModuleBackend); ok {
		mux.Handle(v1.NewModuleServiceHandler(moduleService{m}, connect.WithReadMaxBytes(1<<20), connect.WithCompression("gzip", nil, nil)))
	}
}

type moduleService struct{ b ModuleBackend }

var _ v1.ModuleServiceHandler = moduleService{}

func (s moduleService) Reload(ctx context.Context, r *connect.Request[v1.ReloadModulesRequest]) (*connect.Response[v1.ReloadModulesResponse], error) {
	a, err := s.b.ReloadModules(ctx, r.Msg.Name)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(a), nil
}

func (s moduleService) Enable(ctx context.Context, r *connect.Request[v1.EnableRequest]) (*connect.Response[v1.EnableResponse], error) {
	if err := s.b.Enable(ctx, r.Msg.Name); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&v1.EnableResponse{}), nil
}

func (s moduleService) Disable(ctx context.Context, r *connect.Request[v1.DisableRequest]) (*connect.Response[v1.DisableResponse], error) {
	if err := s.b.Disable(ctx, r.Msg.Name); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&v1.DisableResponse{}), nil
}

func (s moduleService) Logs(ctx context.Context, r *connect.Request[v1.LogsRequest], out *connect.ServerStream[v1.LogLine]) error {
	return rpcError(s.b.Logs(ctx, r.Msg.Name, r.Msg.Follow, out.Send))
}

func (s moduleService) Top(context.Context, *connect.Request[v1.TopRequest]) (*connect.Response[v1.TopResponse], error) {
	return connect.NewResponse(s.b.Top()), nil
}

func (s moduleService) Drain(ctx context.Context, r *connect.Request[v1.DrainRequest]) (*connect.Response[v1.DrainResponse], error) {
	a, err := s.b.Drain(ctx, r.Msg.WithinS)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(a), nil
}
