package main

import "context"

// benchTransport measures the wire against raw sockets on this machine.
func benchTransport(ctx context.Context, env *benchEnv) error {
	trips := func(ctx context.Context, env *benchEnv) error { return benchRoundTrips(ctx, env, 2.0, 1.3) }
	for _, run := range []func(context.Context, *benchEnv) error{benchRelay, trips, benchFlood, benchLoss, benchMemory} {
		if err := run(ctx, env); err != nil {
			return err
		}
	}
	return nil
}
