package client

import (
	"context"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// Rules tells what the node lets others use of it.
func (c *Client) Rules(ctx context.Context) (*v1.RulesResponse, error) {
	r, err := c.swarm.Rules(ctx, connect.NewRequest(&v1.RulesRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// ChangeRules changes that, at once and for the next start.
func (c *Client) ChangeRules(ctx context.Context, m *v1.ChangeRulesRequest) (*v1.RulesResponse, error) {
	r, err := c.swarm.ChangeRules(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// NetworkKeys tells about the node's network keys. action is "", "begin" (with the
// second key as text), "finish" or "abort".
func (c *Client) NetworkKeys(ctx context.Context, action, key string) (*v1.NetworkKeysResponse, error) {
	r, err := c.swarm.NetworkKeys(ctx, connect.NewRequest(&v1.NetworkKeysRequest{Action: action, Key: key}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Reload makes the node read its configuration again.
func (c *Client) Reload(ctx context.Context) (*v1.ReloadResponse, error) {
	r, err := c.swarm.Reload(ctx, connect.NewRequest(&v1.ReloadRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Trace calls f for each node on the way to another, in order.
func (c *Client) Trace(ctx context.Context, m *v1.TraceRequest, f func(*v1.TraceHop) error) error {
	s, err := c.swarm.Trace(ctx, connect.NewRequest(m))
	if err != nil {
		return c.fail(err)
	}
	defer s.Close()
	for s.Receive() {
		if err := f(s.Msg()); err != nil {
			return err
		}
	}
	return c.fail(s.Err())
}

// Health tells how well each peer is reached, and what stands against it.
func (c *Client) Health(ctx context.Context) (*v1.HealthResponse, error) {
	r, err := c.swarm.Health(ctx, connect.NewRequest(&v1.HealthRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Doctor explains what is wrong around the node, or with another one ("": all).
func (c *Client) Doctor(ctx context.Context, node string) (*v1.DoctorResponse, error) {
	r, err := c.swarm.Doctor(ctx, connect.NewRequest(&v1.DoctorRequest{Node: node}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}
