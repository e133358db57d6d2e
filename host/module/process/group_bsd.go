//go:build unix && !linux

package process

import "syscall"

func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// wait returns when the program has ended, and ends its children. The group
// keeps the number taken as long as it has members.
func (r *runner) wait() error {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	killGroup(r.pid)
	r.reaped = true
	return err
}
