package guest

import (
	"runtime"
	"unsafe"

	"nethost/sdk"
	"nethost/sdk/abi"
)

// served and in are the guest: exports are functions without a receiver, and one
// instance of a wasm module is one guest. No other state is global.
var (
	served *abi.Dispatcher
	// in is where the host writes batches; uint64 makes it 8-aligned (A6.2).
	in []uint64
)

// Serve makes m the module of this guest. Call it once, from init.
func Serve(m sdk.Module) {
	if served != nil {
		panic("guest: Serve was called twice: one guest is one module")
	}
	served = abi.NewDispatcher(m)
	served.Yield = yield
}

// yield lets the module's own goroutines run until they wait. Without any it costs
// nothing: a trip through the scheduler takes over a microsecond, more than a
// batch of small events. The goroutine of the running export is the one counted.
func yield() {
	if runtime.NumGoroutine() > 1 {
		runtime.Gosched()
	}
}

// marker says which ABI this guest speaks; the host looks for the name and never
// calls it (A6.1).
//
//go:wasmexport nethost_abi_1
func marker() {}

// buffer gives room for a batch of n bytes, valid until the next call (A6.2).
//
//go:wasmexport nethost_buffer
func buffer(n uint32) unsafe.Pointer {
	if n > sdk.MaxBatchBytes {
		panic("guest: the host asks for room above the limit of a batch")
	}
	if words := (max(int(n), abi.HeaderSize) + 7) / 8; words > len(in) {
		in = make([]uint64, words)
	}
	return unsafe.Pointer(unsafe.SliceData(in))
}

// handle runs the batch at the start of the buffer and returns where its effects
// are, ptr<<32|len, or 0 when there are none (A6.3).
//
//go:wasmexport nethost_handle
func handle(p unsafe.Pointer, n uint32) uint64 {
	if served == nil {
		panic("guest: no module: call guest.Serve from an init function")
	}
	if p != unsafe.Pointer(unsafe.SliceData(in)) || uint64(n) > uint64(len(in))*8 {
		panic("guest: the batch is not in the buffer that nethost_buffer gave")
	}
	if err := served.Run(unsafe.Slice((*byte)(p), n)); err != nil {
		panic(err)
	}
	if served.HasWork() {
		served.RunWork()
	}
	out, err := served.Effects()
	if err != nil {
		panic(err)
	}
	if len(out) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(out))))<<32 | uint64(len(out))
}
