package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nethost/host/module"
)

// checkLimits says whether this system has the limits that are asked for.
func checkLimits(module.ProcessLimits) error { return nil }

// limit bounds a program that has just started, and what it starts from now on. It
// cannot raise its limits again.
func limit(pid int, l module.ProcessLimits) error {
	for _, r := range []struct {
		name     string
		resource int
		max      uint64
	}{{"memory", unix.RLIMIT_AS, l.Memory}, {"open_files", unix.RLIMIT_NOFILE, l.OpenFiles}} {
		if r.max == 0 {
			continue
		}
		to := r.max
		var now unix.Rlimit
		if err := unix.Prlimit(pid, r.resource, nil, &now); err == nil {
			to = min(to, now.Max) // only root may have more than the host
		}
		if err := unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: to, Max: to}, nil); err != nil {
			return fmt.Errorf("limits.%s = %d: %w", r.name, r.max, err)
		}
	}
	return nil
}
