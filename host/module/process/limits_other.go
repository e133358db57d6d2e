//go:build !linux

package process

import (
	"errors"

	"nethost/host/module"
)

// checkLimits refuses what cannot be enforced.
func checkLimits(l module.ProcessLimits) error {
	if l != (module.ProcessLimits{}) {
		return errors.New("its table limits in the configuration bounds a process, which works on Linux only: remove the table, or run the module on carrier wasm")
	}
	return nil
}

func limit(int, module.ProcessLimits) error { return nil }
