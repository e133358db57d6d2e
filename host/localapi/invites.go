package localapi

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// InviteBackend is implemented by a Backend that hands out invites. Errors that
// carry a code are *Error.
type InviteBackend interface {
	CreateInvite(*v1.CreateInviteRequest) (*v1.CreateInviteResponse, error)
	ListInvites() *v1.ListInvitesResponse
	RevokeInvite(id string) error
}

type inviteService struct{ b InviteBackend }

// mountInvites serves the invites of b, if it has any.
func mountInvites(mux *http.ServeMux, b Backend) {
	if i, ok := b.(InviteBackend); ok {
		mux.Handle(v1.NewInviteServiceHandler(inviteService{i}))
	}
}

func (s inviteService) Create(_ context.Context, r *connect.Request[v1.CreateInviteRequest]) (*connect.Response[v1.CreateInviteResponse], error) {
	resp, err := s.b.CreateInvite(r.Msg)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(resp), nil
}

func (s inviteService) List(context.Context, *connect.Request[v1.ListInvitesRequest]) (*connect.Response[v1.ListInvitesResponse], error) {
	return connect.NewResponse(s.b.ListInvites()), nil
}

func (s inviteService) Revoke(_ context.Context, r *connect.Request[v1.RevokeInviteRequest]) (*connect.Response[v1.RevokeInviteResponse], error) {
	if err := s.b.RevokeInvite(r.Msg.Id); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&v1.RevokeInviteResponse{}), nil
}
