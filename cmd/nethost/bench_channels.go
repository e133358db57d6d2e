package main

import (
	"context"
)

// benchChannels measures what channels stand on: capability and tokens.
func benchChannels(ctx context.Context, e *benchEnv) error {
	return nil
}
