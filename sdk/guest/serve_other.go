//go:build !wasip1

package guest

import "nethost/sdk"

// Serve makes m the module of this guest. It does something only when built for
// GOOS=wasip1.
func Serve(m sdk.Module) {}
