package client

import (
	"context"
	"time"

	"connectrpc.com/connect"

	v1 "nethost/sdk/client/nethostv1"
)

// ReloadModules makes the node read its plugin directory anew. With a name, that module is
// loaded anew even if nothing changed.
func (c *Client) ReloadModules(ctx context.Context, name string) (*v1.ReloadModulesResponse, error) {
	r, err := c.mods.Reload(ctx, connect.NewRequest(&v1.ReloadModulesRequest{Name: name}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Enable starts a module that is in quarantine, failed or was disabled.
func (c *Client) Enable(ctx context.Context, name string) error {
	_, err := c.mods.Enable(ctx, connect.NewRequest(&v1.EnableRequest{Name: name}))
	return c.fail(err)
}

// Disable makes a module finish and keeps it down.
func (c *Client) Disable(ctx context.Context, name string) error {
	_, err := c.mods.Disable(ctx, connect.NewRequest(&v1.DisableRequest{Name: name}))
	return c.fail(err)
}

// ModuleLogs calls show for each line kept of a module and, with follow, for those
// to come, until ctx ends or show fails.
func (c *Client) ModuleLogs(ctx context.Context, name string, follow bool, show func(*v1.LogLine) error) error {
	s, err := c.mods.Logs(ctx, connect.NewRequest(&v1.LogsRequest{Name: name, Follow: follow}))
	if err != nil {
		return c.fail(err)
	}
	defer s.Close()
	for s.Receive() {
		if err := show(s.Msg()); err != nil {
			return err
		}
	}
	return c.fail(s.Err())
}

// Top says what each module costs.
func (c *Client) Top(ctx context.Context) (*v1.TopResponse, error) {
	r, err := c.mods.Top(ctx, connect.NewRequest(&v1.TopRequest{}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg, nil
}

// Drain ends the node once its modules are done, at the latest after the time
// within. It names the modules that were cut.
func (c *Client) Drain(ctx context.Context, within time.Duration) ([]string, error) {
	r, err := c.mods.Drain(ctx, connect.NewRequest(&v1.DrainRequest{WithinS: within.Seconds()}))
	if err != nil {
		return nil, c.fail(err)
	}
	return r.Msg.Cut, nil
}
