package localapi

import (
	"context"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// Swarm rules a node and explains the mesh around it. A Backend that has these
// methods too serves v1.SwarmService. They are called concurrently.
type Swarm interface {
	Rules() *v1.RulesResponse
	// ChangeRules fails with an *Error for a change that makes no sense.
	ChangeRules(*v1.ChangeRulesRequest) (*v1.RulesResponse, error)
	NetworkKeys(*v1.NetworkKeysRequest) (*v1.NetworkKeysResponse, error)
	Reload(ctx context.Context) *v1.ReloadResponse
	// Trace calls send for each hop, in order.
	Trace(ctx context.Context, r *v1.TraceRequest, send func(*v1.TraceHop) error) error
	Health() *v1.HealthResponse
	Doctor(ctx context.Context, r *v1.DoctorRequest) (*v1.DoctorResponse, error)
}

// swarm is the API over a Swarm.
type swarm struct{ b Swarm }

var _ v1.SwarmServiceHandler = swarm{}

func (s swarm) Rules(context.Context, *connect.Request[v1.RulesRequest]) (*connect.Response[v1.RulesResponse], error) {
	return connect.NewResponse(s.b.Rules()), nil
}

func (s swarm) ChangeRules(_ context.Context, r *connect.Request[v1.ChangeRulesRequest]) (*connect.Response[v1.RulesResponse], error) {
	return answer(s.b.ChangeRules(r.Msg))
}

func (s swarm) NetworkKeys(_ context.Context, r *connect.Request[v1.NetworkKeysRequest]) (*connect.Response[v1.NetworkKeysResponse], error) {
	return answer(s.b.NetworkKeys(r.Msg))
}

func (s swarm) Reload(ctx context.Context, _ *connect.Request[v1.ReloadRequest]) (*connect.Response[v1.ReloadResponse], error) {
	return connect.NewResponse(s.b.Reload(ctx)), nil
}

func (s swarm) Trace(ctx context.Context, r *connect.Request[v1.TraceRequest], out *connect.ServerStream[v1.TraceHop]) error {
	return rpcError(cause(ctx, s.b.Trace(ctx, r.Msg, out.Send)))
}

func (s swarm) Health(context.Context, *connect.Request[v1.HealthRequest]) (*connect.Response[v1.HealthResponse], error) {
	return connect.NewResponse(s.b.Health()), nil
}

func (s swarm) Doctor(ctx context.Context, r *connect.Request[v1.DoctorRequest]) (*connect.Response[v1.DoctorResponse], error) {
	return answer(s.b.Doctor(ctx, r.Msg))
}

// answer makes a response of a result.
func answer[T any](m *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(m), nil
}
