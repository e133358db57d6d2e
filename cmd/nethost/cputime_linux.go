package main

import (
	"syscall"
	"time"
)

// threadTime is the processor time of the calling thread: what other processes
// take from it does not count.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
