package process

import (
	"time"

	"nethost/host/module"
)

var _ module.Burner = (*instance)(nil)

// CPU implements module.Burner: the processor time of the program itself, without
// that of its children that still run.
func (in *instance) CPU() (time.Duration, bool) {
	if in.run == nil {
		return 0, false
	}
	return in.run.cpu()
}

func (r *runner) cpu() (time.Duration, bool) {
	select {
	case <-r.exited:
		if r.cmd == nil || r.cmd.ProcessState == nil {
			return 0, false
		}
		return r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime(), true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid == 0 || r.reaped {
		return 0, false
	}
	return cpuOf(r.pid)
}
