package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttr puts the program into a process group of its own and lets the kernel
// kill it when the thread that started it ends, which lives as long as the host.
func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// wait returns when the program has ended and its children with it. The group is
// killed while the program is dead but not reaped, so its pid is nobody else's.
func (r *runner) wait() error {
	for unix.Waitid(unix.P_PID, r.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	killGroup(r.pid)
	r.reaped = true
	return r.cmd.Wait()
}
