package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	idleCheck  = 10 * time.Second
	idleSpare  = 1 << 20 // bytes that a quiet node may hold beyond what it held after the last time, or an eighth of that
	idleAllocs = 8 << 20 // bytes allocated between two checks, above which a node is not quiet
)

// returnIdleMemory gives memory back that a burst has left behind, the start of the
// node for one. Go collects when the heap grows: a node that fell quiet after a
// thousand handshakes would hold their garbage for minutes.
func returnIdleMemory(ctx context.Context, limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit) // near it, collecting is worth any price
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // the packet path allocates nothing: collecting is rare and cheap
	}
	tick := time.NewTicker(idleCheck)
	defer tick.Stop()
	var idle spareMemory
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if idle.spare(m.TotalAlloc, m.HeapSys-m.HeapReleased) {
			debug.FreeOSMemory()
			runtime.ReadMemStats(&m)
			idle.freed(m.TotalAlloc, m.HeapSys-m.HeapReleased)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// spareMemory decides when collecting is worth its price, which is some milliseconds
// for a node that holds little, and more for one that holds much.
type spareMemory struct {
	allocated uint64 // in all, at the last look
	kept      uint64 // what the node held when memory was given back last
}

// spare takes what was allocated so far and what is held now. It reports that the
// node is quiet and holds enough beyond what it will keep.
func (i *spareMemory) spare(allocated, held uint64) bool {
	quiet := allocated-i.allocated < idleAllocs
	i.allocated, i.kept = allocated, min(i.kept, held)
	return quiet && held > i.kept+max(idleSpare, i.kept/8)
}

func (i *spareMemory) freed(allocated, held uint64) { i.allocated, i.kept = allocated, held }
