package client

import (
	"context"
	"time"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

func (c *Client) invites() v1.InviteServiceClient {
	return v1.NewInviteServiceClient(c.http, "http://nethost", connect.WithGRPC(), connect.WithAcceptCompression("gzip", nil, nil))
}

// CreateInvite makes an invite for uses nodes that is good until expires from now.
// addrs are where others reach the node, "host:port"; none: its own addresses. The
// text is a secret and is told here only.
func (c *Client) CreateInvite(ctx context.Context, expires time.Duration, uses int, addrs []string) (*v1.CreateInviteResponse, error) {
	r, err := c.invites().Create(ctx, connect.NewRequest(&v1.CreateInviteRequest{ExpiresS: expires.Seconds(), Uses: uint32(max(0, uses)), Addrs: addrs}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Invites lists the node's invites, those that are over included.
func (c *Client) Invites(ctx context.Context) (*v1.ListInvitesResponse, error) {
	r, err := c.invites().List(ctx, connect.NewRequest(&v1.ListInvitesRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// RevokeInvite ends an invite, by its id.
func (c *Client) RevokeInvite(ctx context.Context, id string) error {
	_, err := c.invites().Revoke(ctx, connect.NewRequest(&v1.RevokeInviteRequest{Id: id}))
	if err != nil {
		return c.fail(err)
	}
	return nil
}
