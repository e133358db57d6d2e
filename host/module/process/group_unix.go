//go:build unix

package process

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func askGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) }

func executable(m fs.FileMode) bool { return m&0o111 != 0 }

// lockFile takes an exclusive lock, which ends with the process, or fails at once.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
