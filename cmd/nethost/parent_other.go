//go:build !linux

package main

import "syscall"

// dieWithParent has no means on this system.
func dieWithParent() *syscall.SysProcAttr { return nil }
