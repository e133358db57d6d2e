package process

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf asks for the processor time of a process: its CPU clock has the id that
// clock_getcpuclockid(3) makes of a pid.
func cpuOf(pid int) (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
