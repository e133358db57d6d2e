package process

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

func groupAttr() *syscall.SysProcAttr { return nil }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func askGroup(int) {}

func (r *runner) wait() error {
	err := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reaped = true
	return err
}

func executable(fs.FileMode) bool { return true }

func lockFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
