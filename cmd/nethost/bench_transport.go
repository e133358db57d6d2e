package main

import "context"

// benchTransport measures the wire against raw sockets on this machine.
func benchTransport(ctx context.Context, env *benchEnv) error {
	for _, run := range []func(context.Context, *benchEnv) error{benchRelay, benchFlood, benchMemory} {
		if err := run(ctx, env); err != nil {
			return err
		}
	}
	return nil
}
