package client

import (
	"context"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// Approve lets the package of a name that lies in the node's plugin directory now
// have all that it asks for, and take over from the version that serves.
func (c *Client) Approve(ctx context.Context, name string) (*v1.ApproveResponse, error) {
	r, err := c.care.Approve(ctx, connect.NewRequest(&v1.ApproveRequest{Name: name}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// ShowModules says what modules used of the processor and for whom, and which files
// are kept of their crashes; of all modules when name is "".
func (c *Client) ShowModules(ctx context.Context, name string) (*v1.ShowResponse, error) {
	r, err := c.care.Show(ctx, connect.NewRequest(&v1.ShowRequest{Name: name}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}
