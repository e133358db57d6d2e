package localapi

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// CareBackend is a node whose modules can be approved and looked at one by one. Its
// methods are called concurrently.
type CareBackend interface {
	Approve(ctx context.Context, name string) (*v1.ApproveResponse, error)
	// Show takes the name of a module, or "" for all.
	Show(name string) (*v1.ShowResponse, error)
}

// mountCare serves CareService for a backend that has it.
func mountCare(mux *http.ServeMux, b Backend) {
	if c, ok := b.(CareBackend); ok {
		mux.Handle(v1.NewCareServiceHandler(careService{c}, connect.WithReadMaxBytes(1<<20), connect.WithCompression("gzip", nil, nil)))
	}
}

type careService struct{ b CareBackend }

var _ v1.CareServiceHandler = careService{}

func (s careService) Approve(ctx context.Context, r *connect.Request[v1.ApproveRequest]) (*connect.Response[v1.ApproveResponse], error) {
	a, err := s.b.Approve(ctx, r.Msg.Name)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(a), nil
}

func (s careService) Show(_ context.Context, r *connect.Request[v1.ShowRequest]) (*connect.Response[v1.ShowResponse], error) {
	a, err := s.b.Show(r.Msg.Name)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(a), nil
}
