package main

import "context"

// benchTransport measures the wire against raw sockets on this machine.
func benchTransport(ctx context.Context, env *benchEnv) error {
	return benchRelay(ctx, env)
}
