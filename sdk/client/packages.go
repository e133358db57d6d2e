package client

import (
	"context"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// Packages tells whose modules the node runs: publisher, signature, lock and
// grants.
func (c *Client) Packages(ctx context.Context) (*v1.PackagesResponse, error) {
	r, err := c.packages.Packages(ctx, connect.NewRequest(&v1.PackagesRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}
