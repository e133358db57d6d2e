//go:build unix

package main

import "syscall"

// freeze stops a process without a word, or lets it go on.
func freeze(pid int, on bool) error {
	if on {
		return syscall.Kill(pid, syscall.SIGSTOP)
	}
	return syscall.Kill(pid, syscall.SIGCONT)
}
