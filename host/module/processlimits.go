package module

import (
	"errors"
	"fmt"
)

// overrideLimits is the table [module.NAME.limits]: what the process of a module may
// use at most.
type overrideLimits struct {
	Memory    string `toml:"memory"`
	OpenFiles uint64 `toml:"open_files"`
}

// minProcessMemory is less than any program with the control service can start in.
const minProcessMemory = 16 << 20

// process reads the table for a module of a carrier; "" when that is not known.
func (o overrideLimits) process(kind Kind) (l ProcessLimits, err error) {
	if o == (overrideLimits{}) {
		return l, nil
	}
	if kind != "" && kind != Process {
		return l, fmt.Errorf("limits: they bound a process, and this module's carrier is %s: memory and cpu_max beside it bound that", kind)
	}
	size, kerr := parseSize("limits.memory", o.Memory)
	switch {
	case kerr != nil:
		return l, kerr
	case o.Memory != "" && size < minProcessMemory:
		return l, fmt.Errorf("limits.memory = %q: address space, of which no program can do with less than 16MiB", o.Memory)
	case o.OpenFiles != 0 && (o.OpenFiles < 16 || o.OpenFiles > 1<<20):
		return l, errors.New("limits.open_files: want 16 to 1048576")
	}
	return ProcessLimits{Memory: size, OpenFiles: o.OpenFiles}, nil
}
