package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	idleCheck = 10 * time.Second
	idleHeap  = 8 << 20 // bytes that a quiet node may keep beyond what is in use
)

// returnIdleMemory gives memory back that a burst has left behind. Go collects when
// the heap grows: a node that fell quiet after a thousand handshakes would hold
// their garbage for minutes.
func returnIdleMemory(ctx context.Context, limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit) // near it, collecting is worth any price
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // the packet path allocates nothing: collecting is rare and cheap
	}
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	var last uint32
	var kept uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.NumGC == last && m.HeapSys-m.HeapReleased > idleHeap && m.HeapSys-m.HeapReleased > kept+idleHeap/2 {
			debug.FreeOSMemory()
			runtime.ReadMemStats(&m)
			kept = m.HeapSys - m.HeapReleased // what cannot be given back is not asked for again
		}
		last = m.NumGC
	}
}
